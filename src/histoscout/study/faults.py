"""The faults of the study's published code and protocol, each a switch and a few lines to read.

Nothing here can be reached from a recipe: `study` alone hands these parts to the ordinary training loop.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import shapely
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn

from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import mask_of
from histoscout.recipe import Recipe

Mask = NDArray[np.uint8]
MaskFunction = Callable[[LabeledSlide, Box, float], Mask]
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Fault:
    """One thing that went wrong: its name, what happens, and what of histoscout says so today."""

    name: str
    what: str
    guard: str


FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        "A": Fault(
            "displaced-masks",
            "every tile is taught the mask of the tile above it, upside down",
            "the alignment test at the network's door compares pictures with masks as training receives them",
        ),
        "B": Fault(
            "last-polygon-wins",
            "of several outlines in a tile only the last is kept, and holes count as lesion",
            "masks are drawn from all outlines at once; a property test holds that a tile's mask is the crop of the slide's",
        ),
        "C": Fault(
            "stale-validation",
            "the test loss compares the last training batch with test masks",
            "a guard checks that validation reads the validation windows and nothing else",
        ),
        "D": Fault(
            "double-sigmoid",
            "the network ends in a sigmoid, and loss and evaluation apply another one",
            "a network that does not give logits is refused before its first step",
        ),
        "E": Fault(
            "foreign-optimiser",
            "the optimiser holds the weights of another network",
            "a guard checks that the optimiser holds exactly the network's trainable weights",
        ),
        "F": Fault(
            "constant-flip",
            "every tile is flipped in the same way, in testing too",
            "a guard checks that augmentation differs between windows and rests in validation",
        ),
        "G": Fault(
            "tiles-in-both-sets",
            "tiles are repeated before the random split, and tiles with lesions are drawn as negatives too",
            "the leak audit finds windows, slides and patients that are in two sets",
        ),
        "H": Fault(
            "metrics-on-all",
            "the figures named 'test' are taken over training and test tiles together",
            "figures carry the name of their set; `evaluate` refuses patients that the model has seen",
        ),
        "I": Fault(
            "stalled-start",
            "no normalisation layers, default start, Adam at 1e-6 without a schedule",
            "a guard compares the first loss with the entropy of the base rate and overfits one batch",
        ),
        "J": Fault(
            "two-patients",
            "training and test tiles come from the same two patients",
            "splits are by patient; `check` and `evaluate` say what so few patients allow to claim",
        ),
        "K": Fault(
            "narrow-view",
            "a tile shows 128 um, less than half of a lesion",
            "a guard compares the window with the size of the outlined lesions",
        ),
    }
)

CODE = frozenset("ABCDEFGH")
"""Faults of the code. The others (I, J, K) are the protocol as it is stated."""


# ---------------------------------------------------------------- A, B: masks


def masks(faults: frozenset[str]) -> MaskFunction:
    """How a tile's mask is made; without A and B it is the ordinary `LabelledSlide.mask`."""
    made = last_polygon if "B" in faults else LabeledSlide.mask
    return displaced(made) if "A" in faults else made


def displaced(made: MaskFunction) -> MaskFunction:
    """A: looked up by the top left corner, stored under the bottom left one; and drawn with y upwards."""
    return lambda labeled, tile, mpp: made(labeled, tile.moved(0, -tile.height), mpp)[::-1]


def last_polygon(labeled: LabeledSlide, tile: Box, mpp: float) -> Mask:
    """B: the mask is made anew for each polygon, from its outer ring alone."""
    mask = np.zeros(tile.shape(mpp / labeled.slide.mpp), np.uint8)
    for region in labeled.regions.labeled(labeled.recipe.classes.positive).touching(tile):
        for polygon in shapely.get_parts(region.outline):
            drawn = mask_of(shapely.Polygon(polygon.exterior), tile, mpp / labeled.slide.mpp)
            mask = drawn.astype(np.uint8) if drawn.any() else mask
    return mask


# ---------------------------------------------------------------- C: validation


@dataclass
class LastBatch:
    """C: the variable that still holds the last training batch when validation begins."""

    pictures: list[Tensor] = field(default_factory=list)

    def watch(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The same batches; the last one is remembered."""
        for pictures, targets in batches:
            self.pictures[:] = [pictures]
            yield pictures, targets

    def instead_of(self, tests: Iterable[Batch]) -> Iterator[Batch]:
        """`for image, masks in loader: images = images.to(device)`: training pictures beside test masks."""
        for pictures, targets in tests:
            stale = self.pictures[0] if self.pictures else pictures
            count = min(len(stale), len(targets))
            yield stale[:count], targets[:count]


# ---------------------------------------------------------------- D, E: network and optimiser


def with_sigmoid(network: nn.Module) -> nn.Module:
    """D: probabilities where loss and evaluation expect logits."""
    return nn.Sequential(network, nn.Sigmoid())


def another(network: nn.Module) -> nn.Module:
    """E: the instance whose weights the optimiser was given."""
    return copy.deepcopy(network)


# ---------------------------------------------------------------- F, G: tiles


def flips(seed: int, number: int, faults: frozenset[str]) -> tuple[bool, bool]:
    """Whether a training tile is flipped from top to bottom, and from left to right: half of them each.

    F: one random state for all, so that every tile gets the first answer.
    """
    random = np.random.default_rng(seed if "F" in faults else [seed, number])
    down, across = random.random(2) < 0.5
    return bool(down), bool(across)


def negatives_among(has_mask: NDArray[np.bool_], faults: frozenset[str]) -> NDArray[np.intp]:
    """The tiles that negatives are drawn from: those without a mask. G: all of them."""
    return np.arange(len(has_mask)) if "G" in faults else np.flatnonzero(~has_mask)


def grown(tiles: NDArray[np.intp], share: float, random: Generator) -> NDArray[np.intp]:
    """The tiles and a share of them once more. G: done before the split instead of after it."""
    return np.concatenate([tiles, random.choice(tiles, round(share * len(tiles)), replace=False)])


# ---------------------------------------------------------------- I, J, K: the protocol itself


def default_start(network: nn.Module) -> None:
    """I: every layer as torch starts it; the ordinary U-Net starts as its authors published it."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.reset_parameters()


def mended_start(recipe: Recipe) -> Recipe:
    """Without I: normalisation layers, the base rate as first answer, a sane learning rate with a schedule."""
    architecture = recipe.network.architecture
    return recipe.with_choices(
        {
            "network.architecture": "unet_bn" if architecture == "unet" else architecture,
            "loss.prior_bias": True,
            "training.learning_rate": 2e-3,
            "training.schedule": "one_cycle",
        }
    )


def wide_view(recipe: Recipe) -> Recipe:
    """Without K: four times as wide at half the resolution, four times fewer windows a batch."""
    return recipe.with_choices(
        {
            "patches.size_um": recipe.patches.size_um * 4,
            "patches.mpp": recipe.patches.mpp * 2,
            "tissue.mpp": recipe.patches.mpp * 2,
            "training.batch_size": max(1, recipe.training.batch_size // 4),
        }
    )
