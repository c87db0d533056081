"""`histoscout demo`."""

from pathlib import Path

import typer


def demo(
    out: Path = typer.Option(Path("histoscout-demo"), "-o", "--out", help="Where to put everything."),
    device: str = typer.Option("auto", help="auto, cpu, cuda or mps."),
    quiet: bool = typer.Option(False, "--quiet", help="Say only what must be seen."),
) -> None:
    """Walk the whole road on the built-in slides: draw, train, detect on unseen patients, measure, report."""
    from histoscout.cli.console import Console
    from histoscout.cli.tables import score_table
    from histoscout.demo import demo as run

    with Console(quiet) as console:
        made = run(out, device=device, progress=console)
    typer.echo(score_table(made.scores))
    scores = out / "scores"
    typer.echo(f"cohort:   {made.cohort}\nmodel:    {made.model.path}\nscores:   {scores / 'scores.json'}")
    typer.echo(f"overlays: {scores / 'overlays'}\nreport:   {made.report}")
