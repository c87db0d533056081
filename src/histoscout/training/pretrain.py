"""Pre-train an encoder on synthetic slides: starting weights without patient data and without other licenses."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from histoscout.cohort.cohort import read_cohort
from histoscout.io.files import StrPath, package_file
from histoscout.network.build import build_network
from histoscout.network.encoders import save_encoder
from histoscout.network.model_folder import ModelFolder
from histoscout.network.save import load_network
from histoscout.progress import NoProgress, Progress
from histoscout.recipe import Recipe
from histoscout.synthetic.cohort import write_synthetic_cohort
from histoscout.training.train import TrainOptions, train

PATIENTS = 120
"""Synthetic patients to train on."""

FIRST_SEED = 500
"""Synthetic patients from this seed on are for pre-training; those before are for tests, demo and benchmarks."""


@dataclass(frozen=True, kw_only=True)
class PretrainOptions:
    """Options of pre-training.

    Attributes:
        encoder: The encoder.
        minutes: Minutes of training; None for the 6,000 steps of the recipe.
        patients: Number of synthetic patients.
        seed: Random seed of slides and weights.
        device: "auto", "cpu", "cuda" or "mps".
        progress: Who is informed.

    Example:
        >>> from histoscout import PretrainOptions
        >>> PretrainOptions(encoder="resnet34", minutes=30).patients
        120
    """

    encoder: str = "resnet18"
    minutes: float | None = None
    patients: int = PATIENTS
    seed: int = 0
    device: str = "auto"
    progress: Progress = field(default_factory=NoProgress)


@dataclass(frozen=True)
class Pretrained:
    """The result of pre-training.

    Attributes:
        model: The model that tells the synthetic classes apart.
        encoder: The file of its encoder, for `network.weights` of a recipe or `--weights`.

    Example:
        >>> import dataclasses
        >>> import histoscout as hs
        >>> [field.name for field in dataclasses.fields(hs.Pretrained)]
        ['model', 'encoder']
    """

    model: ModelFolder
    encoder: Path


def pretrain_recipe(options: PretrainOptions) -> Recipe:
    """Read the packaged recipe of pre-training.

    Args:
        options: Encoder, minutes and seed.

    Returns:
        The recipe with these choices.

    Raises:
        RecipeError: If there is no such encoder.
    """
    choices = {"network.encoder": options.encoder, "seed": options.seed}
    if options.minutes is not None:
        choices |= {"training.epochs": None, "training.minutes": options.minutes}
    return Recipe.read(package_file("training", "pretrain.toml")).with_choices(choices)


def pretrain(out: StrPath, options: PretrainOptions | None = None) -> Pretrained:
    """Pre-train an encoder on synthetic slides, as a start for real ones.

    Draws the slides (out/cohort), trains a U-Net on them (out/model), and writes its encoder in bfloat16 as
    out/ENCODER.safetensors, which fits every architecture with this encoder. A second call does only what is
    missing.

    Args:
        out: Where to write.
        options: Encoder, minutes and so on.

    Returns:
        The model and the file of its encoder.

    Raises:
        RecipeError: If there is no such encoder.
        TrainingError: If the training fails.
        OutputError: If `out` holds something else.

    Example:
        >>> from pathlib import Path
        >>> import histoscout as hs
        >>> options = hs.PretrainOptions(encoder="resnet34", minutes=30)
        >>> weights = hs.pretrain(Path("weights"), options).encoder  # doctest: +SKIP
    """
    out = Path(out)
    options = options or PretrainOptions()
    recipe, progress = pretrain_recipe(options), options.progress
    # an encoder that does not exist is reported before slides are drawn
    build_network(recipe)
    progress.start("drawing synthetic slides", options.patients)
    table = write_synthetic_cohort(
        out / "cohort",
        patients=options.patients,
        seed=FIRST_SEED + options.seed,
        on_slide=lambda done, total: progress.advance(),
    )
    progress.done()
    # test patients are trained on too: nothing is claimed about these slides
    cohort = read_cohort(table)
    cases = tuple(replace(case, split="train") if case.split == "test" else case for case in cohort.cases)
    train_options = TrainOptions(device=options.device, progress=progress)
    model = train(replace(cohort, cases=cases), out / "model", recipe, options=train_options)
    encoder = out / f"{options.encoder}.safetensors"
    save_encoder(load_network(model), encoder)
    return Pretrained(model, encoder)
