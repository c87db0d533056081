"""What the paper prints and states: figures to stand beside ours, and the numbers its protocol is made of.

"Detection of Region of Interests (RoIs) of Breast Cancer Biopsy using Deep Learning" (Nguyen, Jenlarpwattanakul,
Wang and Heyworth, 2024), on slides of BRACS (Brancati 2022).

Which networks are trained how: every row of the paper's tables and figures, with and without the faults.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

TITLE = "Detection of Region of Interests (RoIs) of Breast Cancer Biopsy using Deep Learning (2024)"

TILE_PX, MPP = 512, 0.25  # tiles at level 0 of an Aperio AT2
SIDE_UM = TILE_PX * MPP
LESION_UM = 290.0  # width of the UDH regions of these slides
VIEW = SIDE_UM / LESION_UM  # field of view for each lesion

TILES, TILES_WITH_MASK = 49_616, 743  # of three slides
TILES_ONE, TILES_ONE_WITH_MASK, REGIONS_ONE = 17_552, 379, 36  # of BRACS_1494
KEPT_RATIO = 46  # one tile in 46 has UDH among the tiles that the filter kept, as Table 3 implies

LOWEST_STD, STD = 3.0, 12.5  # thresholds of Figure 5: too low, and the one that was taken
NEGATIVES = 3  # tiles without mask for each tile with one
TEST_SHARE = 0.2
GROWTH = 0.5
BATCH = 16
RATE = 1e-6  # the learning rate that the paper calls best
RATES = (1e-2, 1e-4, 1e-5)  # the others, Figures 14 and 15; 1e-2 was interrupted
EPOCHS = (50, 100)

SLIDES: Mapping[str, str] = MappingProxyType({"BRACS_1494": "49", "BRACS_1496": "49", "BRACS_1286": "23"})
"""The slides, and the patient of each."""

TRAINING_TILES = round(TILES_WITH_MASK * (1 + NEGATIVES) * (1 + GROWTH) * (1 - TEST_SHARE))
STEPS_PER_EPOCH = -(-TRAINING_TILES // BATCH)


def rate_times_steps(rate: float, epochs: int) -> float:
    """How far each weight could move in all under Adam: what a smaller copy of the study must keep."""
    return rate * epochs * STEPS_PER_EPOCH


@dataclass(frozen=True)
class Printed:
    """A row of the paper's tables."""

    accuracy: float
    precision: float
    recall: float
    f1: float


TABLE_1: Mapping[tuple[int, str], Printed] = MappingProxyType(
    {
        (50, "train"): Printed(0.8708, 0.2277, 0.0001, 0.0002),
        (50, "test"): Printed(0.8756, 0.2632, 0.0001, 0.0003),
        (100, "train"): Printed(0.8707, 0.2230, 0.0000, 0.0000),
        (100, "test"): Printed(0.8766, 0.2564, 0.0000, 0.0001),
    }
)
"""The U-Net at a learning rate of 1e-6, by epochs and set."""

TABLE_2: Mapping[tuple[int, str], Printed] = MappingProxyType(
    {
        (100, "train"): Printed(0.1658, 0.1653, 0.9947, 0.2834),
        (100, "test"): Printed(0.1772, 0.1765, 0.9963, 0.2999),
    }
)
"""The U-Net with a ResNet50 encoder."""

TABLE_3 = Printed(0.8667, 0.5547, 0.8219, 0.5639)
"""The DenseNet121 classifier over the whole tile set: averages over the two classes."""

TABLE_3_UDH = Printed(0.8667, 0.116, 0.776, 0.20)
"""The same for the UDH class alone: follows from the averages and one tile with UDH in 46."""

PREVALENCE: Mapping[str, float] = MappingProxyType({"Table 1": 0.124, "Table 2": 0.177})
"""Share of positive pixels among the drawn tiles, as accuracy, precision and recall imply."""

EPOCH_TIMES: tuple[tuple[str, str, str], ...] = (
    ("laptop, GTX 4050", "512 px, one slide", "more than one hour"),
    ("Tesla T4 (Colab)", "256 px, one slide, RGB", "about one minute"),
    ("MacBook Pro M1", "128 px, greyscale", "more than 50 minutes"),
    ("MacBook Pro M1", "64 px, greyscale", "under three minutes"),
    ("A100", "512 px, three slides, batch 16", "about 2.4 minutes (two hours for 50 epochs)"),
)
"""What one epoch took: machine, input, time."""


SHARED = frozenset("ABCFGHIJK")
"""What every segmentation run had."""

STATED = frozenset("IJK")
"""What the paper itself states: the protocol without the faults of the code."""


Whole = Literal["none", "referee", "all"]


@dataclass(frozen=True)
class Model:
    """One of the paper's networks: how it is called, its recipe, and the faults that its run had."""

    title: str
    recipe: str
    had: frozenset[str]


MODELS: Mapping[str, Model] = MappingProxyType(
    {
        "unet": Model("U-Net", "unet", SHARED),
        "unet-rerun": Model("U-Net, the rerun", "unet", SHARED | {"E"}),
        "resnet50-unet": Model("U-Net + ResNet50", "resnet50_unet", SHARED | {"D"}),
        "densenet121": Model("DenseNet121 classifier", "densenet121", frozenset("AHIJK")),
        "densenet121-unet": Model("U-Net + DenseNet121", "densenet121_unet", SHARED),
    }
)


@dataclass(frozen=True)
class Run:
    """One training. `epochs` are the paper's, at each of which it is judged; `share` of the steps are really done.

    `whole` says which whole slides are looked at when it ends: the referee's, or also the left-out patient's;
    `slides` how many of the study's are used (None: all).
    """

    model: str
    faults: frozenset[str]
    seed: int = 0
    epochs: tuple[int, ...] = EPOCHS
    rate: float = RATE
    channels: int = 3
    slides: int | None = None
    share: float = 1.0
    whole: Whole = "referee"

    @property
    def letters(self) -> str:
        return "".join(sorted(self.faults)) or "none"

    @property
    def name(self) -> str:
        """What the run's folder is called: everything that distinguishes it."""
        parts = [self.model, self.letters, f"lr{self.rate:g}", f"e{self.epochs[-1]}", f"s{self.seed}"]
        parts += ["grey"] * (self.channels == 1) + [f"{self.slides}slide"] * (self.slides is not None)
        return "_".join(parts)

    @property
    def classifier(self) -> "Run | None":
        """The tile classifier whose encoder this run begins with."""
        if self.model != "densenet121-unet":
            return None
        had = MODELS["densenet121"].had
        return Run("densenet121", self.faults & had, self.seed, epochs=(50,))


def main_runs() -> dict[str, Run]:
    """The runs of `histoscout study`, by the name under which the report finds them, in the order they are made."""
    runs = {}
    for model, epochs in (
        ("unet", EPOCHS),
        ("resnet50-unet", EPOCHS),
        ("densenet121", EPOCHS[:1]),
        ("densenet121-unet", EPOCHS[:1]),
    ):
        had = MODELS[model].had
        whole: Whole = "all" if model == "unet" else "none" if model == "densenet121" else "referee"
        runs[f"{model}, as run"] = Run(model, had, epochs=epochs, whole=whole)
        runs[f"{model}, as stated"] = Run(model, had & STATED, epochs=epochs, whole=whole)
        if model in {"unet", "resnet50-unet"}:
            runs[f"{model}, mended"] = Run(model, frozenset(), epochs=epochs[-1:], whole=whole)
    had = MODELS["resnet50-unet"].had
    runs["resnet50-unet, as run but one sigmoid"] = Run("resnet50-unet", had - {"D"})
    runs["unet-rerun, as run"] = Run("unet-rerun", MODELS["unet-rerun"].had, epochs=(50,), whole="none")
    return runs | _variants() | _labels_alone()


def _variants() -> dict[str, Run]:
    """The U-Net in grey, on one slide, and at the other learning rates; not looked at on whole slides."""
    had, short = MODELS["unet"].had, EPOCHS[:1]
    runs = {}
    for column, faults in (("as run", had), ("as stated", had & STATED)):
        runs[f"unet in grey, {column}"] = Run("unet", faults, epochs=short, channels=1, whole="none")
        runs[f"unet on one slide, {column}"] = Run("unet", faults, epochs=short, slides=1, whole="none")
    for rate in RATES:
        share = 0.1 if rate == max(RATES) else 1.0  # 1e-2 was interrupted
        runs[f"unet at {rate:g}, as run"] = Run(
            "unet", had, epochs=short, rate=rate, share=share, whole="none"
        )
    return runs


def _labels_alone() -> dict[str, Run]:
    """At a sane learning rate: masks as displaced and where they belong, all else as it was run; and without C, too.

    A network that learns is kept from that by C: the test loss that is no test loss is lowest before it has learnt.
    """
    had = MODELS["unet"].had - {"I"}
    return {
        "unet at a sane rate, displaced masks": Run("unet", had, epochs=(100,)),
        "unet at a sane rate, masks in place": Run("unet", had - {"A"}, epochs=(100,)),
        "unet at a sane rate, true validation, displaced masks": Run("unet", had - {"C"}, epochs=(100,)),
        "unet at a sane rate, true validation, masks in place": Run("unet", had - {"C", "A"}, epochs=(100,)),
    }


def ablation_runs(seeds: int) -> list[Run]:
    """All that a run had; each alone; all but each; none: for every model the faults that it is the judge of."""
    judged = {"unet": sorted(SHARED), "resnet50-unet": ["D"], "unet-rerun": ["E"]}
    sets: list[tuple[str, frozenset[str]]] = []
    for model, letters in judged.items():
        had = MODELS[model].had
        sets += [(model, had), (model, frozenset())]
        sets += [(model, frozenset(letter)) for letter in letters]
        sets += [(model, had - {letter}) for letter in letters]
    sets += [("unet", SHARED - {"I", *more}) for more in ("A", "C", "AC")]
    unique = list(dict.fromkeys(sets))
    return [Run(model, faults, seed, epochs=(100,)) for seed in range(seeds) for model, faults in unique]
