"""`histoscout evaluate MODEL COHORT -o SCORES`."""

from pathlib import Path

import typer


def evaluate(
    model: Path = typer.Argument(help="A model folder.", show_default=False),
    cohort: Path = typer.Argument(
        help="cohort.csv, or a folder of slides with outlines.", show_default=False
    ),
    out: Path = typer.Option(..., "-o", "--out", help="Where to write the scores."),
    device: str = typer.Option("auto", help="auto, cpu, cuda, mps, openvino or torch."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Detect again on slides that are done."),
    quiet: bool = typer.Option(False, "--quiet", help="Say only what must be seen."),
) -> None:
    """Measure a model on patients it has not seen, beside trivial baselines."""
    from histoscout.cli.console import Console
    from histoscout.cli.tables import score_table
    from histoscout.evaluation.evaluate import EvaluateOptions
    from histoscout.evaluation.evaluate import evaluate as run

    with Console(quiet) as console:
        scores = run(model, cohort, out, EvaluateOptions(device, overwrite, console))
    typer.echo(score_table(scores))
    for note in scores.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"scores: {out / 'scores.json'}\noverlays: {out / 'overlays'}")
    if any("not evaluated" in note for note in scores.notes):
        raise typer.Exit(1)
