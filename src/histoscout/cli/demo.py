"""`histoscout demo`."""

from pathlib import Path
from typing import Annotated

import typer

from histoscout.cli.options import Quiet, TrainingDevice, Verbose, echo


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for all results.")] = Path(
        "histoscout-demo"
    ),
    device: TrainingDevice = "auto",
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Try histoscout on synthetic slides, in a few minutes.

    Draws slides, trains a detector, evaluates it on test patients, and writes a report.
    """
    from histoscout.cli.console import Console, command_line, show_next
    from histoscout.cli.tables import answer_text, score_table
    from histoscout.demonstration import demo as run

    with Console(quiet) as console:
        console.say(f"5 to 13 minutes on two cores, and 350 MB in {out}")
        result = run(out, device=device, progress=console)
    echo(score_table(result.scores) if verbose else answer_text(result.scores))
    scores = out / "scores"
    echo(f"cohort:   {result.cohort}\nmodel:    {result.model.path}\nscores:   {scores / 'scores.json'}")
    echo(f"overlays: {scores / 'overlays'}\nreport:   {result.report}")
    show_next(
        f"open {result.report} in a browser",
        f"{command_line('train', 'project.qpproj', '-o', 'model')}   (your own QuPath project)",
    )
