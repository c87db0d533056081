"""`histoscout doctor`."""

import typer

from histoscout.cli.options import echo


def doctor() -> None:
    """Check this machine: packages, memory, disk and GPUs.

    Exits with code 1 if something that histoscout needs is missing.
    """
    from histoscout.machine import doctor as check_machine

    checks = check_machine()
    for check in checks:
        echo(f"{check.state:<8} {check.name:<28} {check.detail}")
        if check.remedy:
            echo(f"{'':<8} {'':<28} -> {check.remedy}")
    if any(check.state == "missing" for check in checks):
        raise typer.Exit(1)
