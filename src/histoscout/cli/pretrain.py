"""`histoscout pretrain -o WEIGHTS`."""

from pathlib import Path
from typing import Annotated

import typer

from histoscout.cli.options import Quiet, TrainingDevice, echo


def pretrain(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for slides, model and weights.")],
    encoder: Annotated[str, typer.Option(help="Encoder to train, as in network.encoder.")] = "resnet18",
    minutes: Annotated[
        float | None, typer.Option(help="Training time in minutes.", show_default="6,000 steps")
    ] = None,
    patients: Annotated[int, typer.Option(help="Number of synthetic patients.")] = 120,
    seed: Annotated[int, typer.Option(help="Random seed (another seed, other patients).")] = 0,
    device: TrainingDevice = "auto",
    quiet: Quiet = False,
) -> None:
    """Pre-train an encoder on synthetic slides.

    For encoders that ship without weights. Re-run the same command to resume.
    """
    from histoscout.cli.console import Console
    from histoscout.cli.tables import training_table
    from histoscout.training.pretrain import PretrainOptions
    from histoscout.training.pretrain import pretrain as run

    with Console(quiet) as console:
        options = PretrainOptions(
            encoder=encoder,
            minutes=minutes,
            patients=patients,
            seed=seed,
            device=device,
            progress=console,
        )
        result = run(out, options)
    echo(training_table(result.model))
    echo(
        f"weights: {result.encoder}\n"
        f"Train with them: histoscout train COHORT -o MODEL --weights {result.encoder}"
    )
