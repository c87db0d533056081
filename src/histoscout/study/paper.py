"""What the paper prints and states: figures to stand beside ours, and the numbers its protocol is made of.

"Detection of Region of Interests (RoIs) of Breast Cancer Biopsy using Deep Learning" (Nguyen, Jenlarpwattanakul,
Wang and Heyworth, 2024), on slides of BRACS (Brancati 2022).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

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
