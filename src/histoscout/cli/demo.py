"""`histoscout demo`."""

from pathlib import Path
from typing import Annotated

import typer

from histoscout.cli.options import Quiet, TrainingDevice


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for all results.")] = Path(
        "histoscout-demo"
    ),
    device: TrainingDevice = "auto",
    quiet: Quiet = False,
) -> None:
    """Try histoscout on synthetic slides, in a few minutes.

    Draws slides, trains a detector, evaluates it on test patients, and writes a report.
    """
    from histoscout.cli.console import Console
    from histoscout.cli.tables import score_table
    from histoscout.demonstration import demo as run

    with Console(quiet) as console:
        result = run(out, device=device, progress=console)
    typer.echo(score_table(result.scores))
    scores = out / "scores"
    typer.echo(
        f"cohort:   {result.cohort}\nmodel:    {result.model.path}\nscores:   {scores / 'scores.json'}"
    )
    typer.echo(f"overlays: {scores / 'overlays'}\nreport:   {result.report}")
