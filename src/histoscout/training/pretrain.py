"""Weights to begin with, learnt from built-in slides: nobody's patients, and nobody else's licence."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from histoscout.cohort.cohort import Cohort, read_cohort
from histoscout.io.files import packaged
from histoscout.network.build import build_network
from histoscout.network.encoders import save_encoder
from histoscout.network.model_folder import ModelFolder
from histoscout.network.save import load_network
from histoscout.progress import Progress, Silent
from histoscout.recipe import Recipe
from histoscout.synthetic.cohort import write as write_phantoms
from histoscout.training.train import TrainOptions, train

PATIENTS = 120
FIRST_SEED = 500
"""Built-in patients from here on teach; those before are for tests, demonstrations and benchmarks."""


@dataclass(frozen=True)
class PretrainOptions:
    """Which encoder learns, for how long (None: the recipe's 6,000 steps), from how many built-in patients."""

    encoder: str = "resnet18"
    minutes: float | None = None
    patients: int = PATIENTS
    seed: int = 0
    device: str = "auto"
    progress: Progress = field(default_factory=Silent)


@dataclass(frozen=True)
class Pretrained:
    """The model that tells built-in classes apart, and the file of its encoder, to give to `--weights`."""

    model: ModelFolder
    encoder: Path


def pretrain_recipe(options: PretrainOptions) -> Recipe:
    """The recipe that comes with the package for learning from built-in slides, with the user's choices."""
    chosen = {"network.encoder": options.encoder, "seed": options.seed}
    given = {} if options.minutes is None else {"training.epochs": None, "training.minutes": options.minutes}
    return Recipe.read(packaged("training", "pretrain.toml")).with_choices(chosen | given)


def pretrain(out: Path, options: PretrainOptions | None = None) -> Pretrained:
    """Teach an encoder to tell the ducts of built-in slides apart, as a start for real ones.

    Draws the slides (out/cohort), trains a U-Net on them (out/model) and writes its encoder, in bfloat16, as
    out/ENCODER.safetensors: what `network.weights` of a recipe or `--weights` takes, for every architecture that has this
    encoder. A second call does only what is missing. Errors are those of `train`.
    """
    options = options or PretrainOptions()
    recipe, progress = pretrain_recipe(options), options.progress
    build_network(recipe)  # an encoder that cannot be had is told before slides are drawn
    progress.start("drawing built-in slides", options.patients)
    table = write_phantoms(
        out / "cohort",
        patients=options.patients,
        seed=FIRST_SEED + options.seed,
        on_slide=lambda done, total: progress.advance(),
    )
    progress.done()
    model = train(
        _all_learnt_from(read_cohort(table)),
        out / "model",
        recipe,
        TrainOptions(device=options.device, progress=progress),
    )
    encoder = out / f"{options.encoder}.safetensors"
    save_encoder(load_network(model), encoder)
    return Pretrained(model, encoder)


def _all_learnt_from(cohort: Cohort) -> Cohort:
    """Patients who would be kept for testing are learnt from, too: nothing is claimed of these slides."""
    cases = (replace(case, split="train") if case.split == "test" else case for case in cohort.cases)
    return replace(cohort, cases=tuple(cases))
