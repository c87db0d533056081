"""The published study: its numbers, its tables, and which networks it trained how.

"Detection of Region of Interests (RoIs) of Breast Cancer Biopsy using Deep Learning" (Nguyen, Jenlarpwattanakul,
Wang and Heyworth, 2024), on slides of BRACS (Brancati 2022). `main_runs` and `ablation_runs` list every training behind
the paper's tables and figures, with and without the faults.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

TITLE = "Detection of Region of Interests (RoIs) of Breast Cancer Biopsy using Deep Learning (2024)"

TILE_PX = 512
MPP = 0.25
"""Tiles at level 0 of an Aperio AT2: side in px, um/px."""

TILE_UM = TILE_PX * MPP
LESION_UM = 290.0
"""Width of the UDH regions of these slides, um."""

VIEW_PER_LESION = TILE_UM / LESION_UM
"""Width of a tile per width of a lesion."""

TILES = 49_616
TILES_WITH_MASK = 743
"""Tiles of the three slides, and those of them with a mask."""

TILES_ONE = 17_552
TILES_ONE_WITH_MASK = 379
REGIONS_ONE = 36
"""The same for BRACS_1494 alone, and its number of regions."""

KEPT_RATIO = 46
"""One tile in 46 has UDH among the tiles that the filter kept, as Table 3 implies."""

LOWEST_STD = 3.0
STD = 12.5
"""Thresholds of the filter in Figure 5: too low, and the one that was used."""

NEGATIVES_PER_POSITIVE = 3
TEST_SHARE = 0.2
REPEATED_SHARE = 0.5
"""Share of the tiles that are repeated, which grows the set by half."""

BATCH = 16
LEARNING_RATE = 1e-6
"""The learning rate that the paper calls best."""

OTHER_RATES = (1e-2, 1e-4, 1e-5)
"""The other learning rates, Figures 14 and 15; the training at 1e-2 was interrupted."""

EPOCHS = (50, 100)

SLIDES: Mapping[str, str] = MappingProxyType({"BRACS_1494": "49", "BRACS_1496": "49", "BRACS_1286": "23"})
"""The slides, and the patient of each."""

TRAINING_TILES = round(
    TILES_WITH_MASK * (1 + NEGATIVES_PER_POSITIVE) * (1 + REPEATED_SHARE) * (1 - TEST_SHARE)
)
STEPS_PER_EPOCH = -(-TRAINING_TILES // BATCH)

SEGMENTATION_FAULTS = frozenset("ABCFGHIJK")
"""The faults that every segmentation run had."""

STATED_FAULTS = frozenset("IJK")
"""The faults that the paper itself states: its protocol without the faults of the code."""

WholeSlides = Literal["none", "referee", "all"]
"""Which whole slides a run is evaluated on: none, the referee's, or also the left-out patient's."""


@dataclass(frozen=True, kw_only=True)
class PaperRow:
    """A row of the paper's tables.

    Attributes:
        accuracy: Accuracy.
        precision: Precision.
        recall: Recall.
        f1: F1 score.
    """

    accuracy: float
    precision: float
    recall: float
    f1: float


TABLE_1: Mapping[tuple[int, str], PaperRow] = MappingProxyType(
    {
        (50, "train"): PaperRow(accuracy=0.8708, precision=0.2277, recall=0.0001, f1=0.0002),
        (50, "test"): PaperRow(accuracy=0.8756, precision=0.2632, recall=0.0001, f1=0.0003),
        (100, "train"): PaperRow(accuracy=0.8707, precision=0.2230, recall=0.0000, f1=0.0000),
        (100, "test"): PaperRow(accuracy=0.8766, precision=0.2564, recall=0.0000, f1=0.0001),
    }
)
"""The U-Net at a learning rate of 1e-6, by epochs and set."""

TABLE_2: Mapping[tuple[int, str], PaperRow] = MappingProxyType(
    {
        (100, "train"): PaperRow(accuracy=0.1658, precision=0.1653, recall=0.9947, f1=0.2834),
        (100, "test"): PaperRow(accuracy=0.1772, precision=0.1765, recall=0.9963, f1=0.2999),
    }
)
"""The U-Net with a ResNet50 encoder."""

TABLE_3 = PaperRow(accuracy=0.8667, precision=0.5547, recall=0.8219, f1=0.5639)
"""The DenseNet121 classifier over the whole tile set: averages over the two classes."""

TABLE_3_UDH = PaperRow(accuracy=0.8667, precision=0.116, recall=0.776, f1=0.20)
"""The same for the UDH class alone; follows from the averages and one tile with UDH in 46."""

PREVALENCE: Mapping[str, float] = MappingProxyType({"Table 1": 0.124, "Table 2": 0.177})
"""Share of positive pixels in the sampled tiles, as accuracy, precision and recall imply."""

EPOCH_TIMES: tuple[tuple[str, str, str], ...] = (
    ("laptop, GTX 4050", "512 px, one slide", "more than one hour"),
    ("Tesla T4 (Colab)", "256 px, one slide, RGB", "about one minute"),
    ("MacBook Pro M1", "128 px, grayscale", "more than 50 minutes"),
    ("MacBook Pro M1", "64 px, grayscale", "under three minutes"),
    ("A100", "512 px, three slides, batch 16", "about 2.4 minutes (two hours for 50 epochs)"),
)
"""Time of one epoch: machine, input, time."""


@dataclass(frozen=True)
class Model:
    """One of the paper's networks.

    Attributes:
        title: Its name in the report.
        recipe: Name of its recipe in `study/recipes`.
        all_faults: The faults that its run had.
    """

    title: str
    recipe: str
    all_faults: frozenset[str]


MODELS: Mapping[str, Model] = MappingProxyType(
    {
        "unet": Model("U-Net", "unet", SEGMENTATION_FAULTS),
        "unet-rerun": Model("U-Net, the rerun", "unet", SEGMENTATION_FAULTS | {"E"}),
        "resnet50-unet": Model("U-Net + ResNet50", "resnet50_unet", SEGMENTATION_FAULTS | {"D"}),
        "densenet121": Model("DenseNet121 classifier", "densenet121", frozenset("AHIJK")),
        "densenet121-unet": Model("U-Net + DenseNet121", "densenet121_unet", SEGMENTATION_FAULTS),
    }
)
"""The paper's networks by name."""


@dataclass(frozen=True)
class Run:
    """One training of the study.

    Attributes:
        model: Name of the network in `MODELS`.
        faults: Letters of the faults that are switched on.
        seed: Random seed.
        epochs: Epochs of the paper after which the network is evaluated.
        rate: Learning rate of the paper.
        channels: Input channels: 3, or 1 for grayscale.
        slides: Number of the study's slides that are used; None for all.
        step_share: Share of the steps after which the training is stopped.
        whole_slides: The whole slides that the run is evaluated on at its end.
    """

    model: str
    faults: frozenset[str]
    seed: int = 0
    epochs: tuple[int, ...] = EPOCHS
    rate: float = LEARNING_RATE
    channels: int = 3
    slides: int | None = None
    step_share: float = 1.0
    whole_slides: WholeSlides = "referee"

    @property
    def letters(self) -> str:
        """The letters of its faults in order, or "none"."""
        return "".join(sorted(self.faults)) or "none"

    @property
    def name(self) -> str:
        """The name of the run's folder: everything that distinguishes the run."""
        parts = [self.model, self.letters, f"lr{self.rate:g}", f"e{self.epochs[-1]}", f"s{self.seed}"]
        parts += ["grey"] * (self.channels == 1) + [f"{self.slides}slide"] * (self.slides is not None)
        return "_".join(parts)

    @property
    def classifier(self) -> "Run | None":
        """The tile classifier from whose encoder this run starts."""
        if self.model != "densenet121-unet":
            return None
        all_faults = MODELS["densenet121"].all_faults
        return Run("densenet121", self.faults & all_faults, self.seed, epochs=(50,))


def rate_times_steps(rate: float, epochs: int) -> float:
    """Return learning rate times steps: how far Adam can move each weight.

    Args:
        rate: Learning rate.
        epochs: Number of epochs.
    """
    return rate * epochs * STEPS_PER_EPOCH


def main_runs() -> dict[str, Run]:
    """Return the runs of `histoscout study` by their names in the report, in order.

    A classifier stands before the network that starts from its encoder.
    """
    runs = {}
    for model, epochs in (
        ("unet", EPOCHS),
        ("resnet50-unet", EPOCHS),
        ("densenet121", EPOCHS[:1]),
        ("densenet121-unet", EPOCHS[:1]),
    ):
        all_faults = MODELS[model].all_faults
        whole: WholeSlides = "all" if model == "unet" else "none" if model == "densenet121" else "referee"
        runs[f"{model}, as run"] = Run(model, all_faults, epochs=epochs, whole_slides=whole)
        runs[f"{model}, as stated"] = Run(
            model, all_faults & STATED_FAULTS, epochs=epochs, whole_slides=whole
        )
        if model in {"unet", "resnet50-unet"}:
            runs[f"{model}, repaired"] = Run(model, frozenset(), epochs=epochs[-1:], whole_slides=whole)
    # single faults that the paper's text leads one to ask about
    all_faults = MODELS["resnet50-unet"].all_faults
    runs["resnet50-unet, as run but one sigmoid"] = Run("resnet50-unet", all_faults - {"D"})
    rerun_faults = MODELS["unet-rerun"].all_faults
    runs["unet-rerun, as run"] = Run("unet-rerun", rerun_faults, epochs=(50,), whole_slides="none")
    return runs | _variant_runs() | _mask_comparison_runs()


def ablation_runs(seeds: int) -> list[Run]:
    """Return the runs of the ablation: all faults of a model, each alone, all but each, none.

    Args:
        seeds: Trainings of each set of faults.

    Returns:
        The runs, seed by seed. The U-Net serves for its own faults; the ResNet50 U-Net and the rerun only for the fault
        that they have in addition.
    """
    varied = {"unet": sorted(SEGMENTATION_FAULTS), "resnet50-unet": ["D"], "unet-rerun": ["E"]}
    sets: list[tuple[str, frozenset[str]]] = []
    for model, letters in varied.items():
        all_faults = MODELS[model].all_faults
        sets += [(model, all_faults), (model, frozenset())]
        sets += [(model, frozenset(letter)) for letter in letters]
        sets += [(model, all_faults - {letter}) for letter in letters]
    # at a learning rate at which the network learns
    sets += [("unet", SEGMENTATION_FAULTS - {"I", *letters}) for letters in ("A", "C", "AC")]
    unique = list(dict.fromkeys(sets))
    return [Run(model, faults, seed, epochs=(100,)) for seed in range(seeds) for model, faults in unique]


def _variant_runs() -> dict[str, Run]:
    """The U-Net in grayscale, on one slide, and at the other learning rates."""
    all_faults = MODELS["unet"].all_faults
    short = EPOCHS[:1]
    runs = {}
    for column, faults in (("as run", all_faults), ("as stated", all_faults & STATED_FAULTS)):
        runs[f"unet in gray, {column}"] = Run("unet", faults, epochs=short, channels=1, whole_slides="none")
        runs[f"unet on one slide, {column}"] = Run(
            "unet", faults, epochs=short, slides=1, whole_slides="none"
        )
    for rate in OTHER_RATES:
        # the training at 1e-2 was interrupted
        step_share = 0.1 if rate == max(OTHER_RATES) else 1.0
        runs[f"unet at {rate:g}, as run"] = Run(
            "unet", all_faults, epochs=short, rate=rate, step_share=step_share, whole_slides="none"
        )
    return runs


def _mask_comparison_runs() -> dict[str, Run]:
    """Displaced masks and masks in place at a sane learning rate, with and without C.

    C keeps a network that learns from being kept: the false test loss is lowest before it has learned.
    """
    faults = MODELS["unet"].all_faults - {"I"}
    return {
        "unet at a sane rate, displaced masks": Run("unet", faults, epochs=(100,)),
        "unet at a sane rate, masks in place": Run("unet", faults - {"A"}, epochs=(100,)),
        "unet at a sane rate, true validation, displaced masks": Run("unet", faults - {"C"}, epochs=(100,)),
        "unet at a sane rate, true validation, masks in place": Run(
            "unet", faults - {"C", "A"}, epochs=(100,)
        ),
    }
