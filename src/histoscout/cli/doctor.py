"""`histoscout doctor`."""

import typer


def doctor() -> None:
    """Say what this machine has, what is missing, and what to do about it."""
    from histoscout.doctor import doctor as look

    findings = look()
    for finding in findings:
        typer.echo(f"{finding.state:<8} {finding.what:<28} {finding.detail}")
        if finding.remedy:
            typer.echo(f"{'':<8} {'':<28} -> {finding.remedy}")
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(1)
