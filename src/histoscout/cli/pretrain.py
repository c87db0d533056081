"""`histoscout pretrain -o WEIGHTS`."""

from pathlib import Path

import typer


def pretrain(
    out: Path = typer.Option(..., "-o", "--out", help="Where to put slides, model and weights."),
    encoder: str = typer.Option("resnet18", help="The encoder that learns, as in network.encoder."),
    minutes: float | None = typer.Option(None, help="How long to train; if not given, 6,000 steps."),
    patients: int = typer.Option(120, help="How many built-in patients to draw."),
    seed: int = typer.Option(0, help="Another seed draws other patients."),
    device: str = typer.Option("auto", help="auto, cpu, cuda or mps."),
    quiet: bool = typer.Option(False, "--quiet", help="Say only what must be seen."),
) -> None:
    """Make weights to begin with from built-in slides, for encoders that none come with. Started again, it goes on."""
    from histoscout.cli.console import Console
    from histoscout.cli.tables import training_table
    from histoscout.training.pretrain import PretrainOptions
    from histoscout.training.pretrain import pretrain as run

    with Console(quiet) as console:
        made = run(out, PretrainOptions(encoder, minutes, patients, seed, device, console))
    typer.echo(training_table(made.model))
    typer.echo(
        f"weights: {made.encoder}\nBegin with them: histoscout train COHORT -o MODEL --weights {made.encoder}"
    )
