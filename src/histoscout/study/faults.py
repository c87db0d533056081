"""The faults of the study's published code and protocol, each a switch and a few lines.

No recipe can select them: only `study` passes these parts to the ordinary training loop.
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
from histoscout.geometry.rasterize import polygon_to_mask
from histoscout.recipe import Recipe

Mask = NDArray[np.uint8]
MaskFunction = Callable[[LabeledSlide, Box, float], Mask]
"""Makes the mask of a tile: slide, tile in level-0 px, um/px."""

Batch = tuple[Tensor, Tensor]
"""Images uint8 (N, H, W, 3), and targets."""


@dataclass(frozen=True)
class Fault:
    """One mistake of the study.

    Attributes:
        name: Short name.
        effect: What happens.
        safeguard: What prevents or reports it in histoscout.
    """

    name: str
    effect: str
    safeguard: str


# A to H are faults of the code; I, J and K are the protocol as the paper states it.
FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        "A": Fault(
            "displaced-masks",
            "every tile is trained with the mask of the tile above it, upside down",
            "the patch alignment check compares images with masks exactly as training receives them",
        ),
        "B": Fault(
            "last-polygon-wins",
            "of several outlines in a tile only the last is kept, and holes count as lesion",
            "masks are drawn from all outlines at once; a property test holds that a tile's mask is the crop of the slide's",
        ),
        "C": Fault(
            "stale-validation",
            "the test loss compares the last training batch with test masks",
            "a sanity check tests that validation reads the validation patches and nothing else",
        ),
        "D": Fault(
            "double-sigmoid",
            "the network ends in a sigmoid, and loss and evaluation apply another one",
            "a network that does not return logits is refused before its first step",
        ),
        "E": Fault(
            "foreign-optimizer",
            "the optimizer holds the weights of another network",
            "a sanity check tests that the optimizer holds exactly the network's trainable weights",
        ),
        "F": Fault(
            "constant-flip",
            "every tile is flipped in the same way, in testing too",
            "a sanity check tests that augmentation differs between patches and is off in validation",
        ),
        "G": Fault(
            "tiles-in-both-sets",
            "tiles are repeated before the random split, and tiles with lesions are drawn as negatives too",
            "the leakage check finds patches, slides and patients that are in two sets",
        ),
        "H": Fault(
            "metrics-on-all",
            "the metrics called 'test' are computed over training and test tiles together",
            "metrics carry the name of their set; `evaluate` refuses patients that the model was trained on",
        ),
        "I": Fault(
            "stalled-start",
            "no normalization layers, default initialization, Adam at 1e-6 without a schedule",
            "a sanity check compares the first loss with the entropy of the base rate and overfits one batch",
        ),
        "J": Fault(
            "two-patients",
            "training and test tiles come from the same two patients",
            "splits are by patient; `check` and `evaluate` state what so few patients can support",
        ),
        "K": Fault(
            "narrow-view",
            "a tile shows 128 um, less than half of a lesion",
            "a sanity check compares the patch with the size of the annotated lesions",
        ),
    }
)
"""The faults by letter."""


# ---------------------------------------------------------------- A, B: masks


def mask_function(faults: frozenset[str]) -> MaskFunction:
    """Return how masks are made: without A and B by the ordinary `LabeledSlide.mask`.

    Args:
        faults: Letters of the faults that are on.
    """
    make_mask = last_polygon_mask if "B" in faults else LabeledSlide.mask
    return displace_masks(make_mask) if "A" in faults else make_mask


def displace_masks(make_mask: MaskFunction) -> MaskFunction:
    """A: looked up by the top left corner, stored under the bottom left one, with y upward.

    Args:
        make_mask: Makes the correct mask of a tile.
    """
    return lambda labeled, tile, mpp: make_mask(labeled, tile.translate(0, -tile.height), mpp)[::-1]


def last_polygon_mask(labeled: LabeledSlide, tile: Box, mpp: float) -> Mask:
    """B: each polygon overwrites the mask, and only its outer ring is drawn.

    Args:
        labeled: A slide with its annotations.
        tile: The tile in level-0 px.
        mpp: Resolution of the mask in um/px.
    """
    mask = np.zeros(tile.shape(mpp / labeled.slide.mpp), np.uint8)
    for region in labeled.regions.with_labels(labeled.recipe.classes.positive).intersecting(tile):
        for polygon in shapely.get_parts(region.outline):
            exterior = shapely.Polygon(polygon.exterior)
            polygon_mask = polygon_to_mask(exterior, tile, mpp / labeled.slide.mpp)
            mask = polygon_mask.astype(np.uint8) if polygon_mask.any() else mask
    return mask


# ---------------------------------------------------------------- C: validation


@dataclass
class LastBatch:
    """C: the variable that still holds the last training batch when validation starts.

    Attributes:
        images: The images of the last training batch; empty before the first one.
    """

    images: list[Tensor] = field(default_factory=list)

    def remember(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Return the same batches, and remember the last one."""
        for images, targets in batches:
            self.images[:] = [images]
            yield images, targets

    def replace_images(self, test_batches: Iterable[Batch]) -> Iterator[Batch]:
        """Return test targets beside training images.

        The published loop reads `for image, masks in loader: images = images.to(device)`.
        """
        for images, targets in test_batches:
            stale = self.images[0] if self.images else images
            count = min(len(stale), len(targets))
            yield stale[:count], targets[:count]


# ---------------------------------------------------------------- D, E: network and optimizer


def add_sigmoid(network: nn.Module) -> nn.Module:
    """D: probabilities where loss and evaluation expect logits.

    Args:
        network: The network.
    """
    return nn.Sequential(network, nn.Sigmoid())


def copy_network(network: nn.Module) -> nn.Module:
    """E: the other instance, whose weights the optimizer was given.

    Args:
        network: The network.
    """
    return copy.deepcopy(network)


# ---------------------------------------------------------------- F, G: tiles


def draw_flips(seed: int, number: int, faults: frozenset[str]) -> tuple[bool, bool]:
    """Draw whether a training tile is flipped vertically and horizontally, each for half of them.

    F: the same random state for every tile, so that all get the first draw.

    Args:
        seed: Random seed.
        number: Number of the tile.
        faults: Letters of the faults that are on.
    """
    random = np.random.default_rng(seed if "F" in faults else [seed, number])
    vertical, horizontal = random.random(2) < 0.5
    return bool(vertical), bool(horizontal)


def negative_candidates(has_mask: NDArray[np.bool_], faults: frozenset[str]) -> NDArray[np.intp]:
    """Return the tiles that negatives are drawn from: those without a mask. G: all of them.

    Args:
        has_mask: Whether each tile holds part of a lesion.
        faults: Letters of the faults that are on.
    """
    return np.arange(len(has_mask)) if "G" in faults else np.flatnonzero(~has_mask)


def repeat_tiles(tiles: NDArray[np.intp], share: float, random: Generator) -> NDArray[np.intp]:
    """Return the tiles and a random share of them once more. G: before instead of after the split.

    Args:
        tiles: Indices of tiles.
        share: Share of the tiles.
        random: Random generator.
    """
    return np.concatenate([tiles, random.choice(tiles, round(share * len(tiles)), replace=False)])


# ---------------------------------------------------------------- I, J, K: the protocol itself


def reset_to_default_init(network: nn.Module) -> None:
    """I: torch's default initialization instead of the one that the U-Net's authors published.

    Args:
        network: The network.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.reset_parameters()


def with_repaired_start(recipe: Recipe) -> Recipe:
    """Without I: normalization, the base rate as first output, a sane learning rate and a schedule.

    Args:
        recipe: The recipe.
    """
    architecture = recipe.network.architecture
    return recipe.with_choices(
        {
            "network.architecture": "unet_bn" if architecture == "unet" else architecture,
            "loss.prior_bias": True,
            "training.learning_rate": 2e-3,
            "training.schedule": "one_cycle",
        }
    )


def with_wide_view(recipe: Recipe) -> Recipe:
    """Without K: tiles four times as wide at half the resolution, a quarter as many per batch.

    Args:
        recipe: The recipe.
    """
    return recipe.with_choices(
        {
            "patches.size_um": recipe.patches.size_um * 4,
            "patches.mpp": recipe.patches.mpp * 2,
            "tissue.mpp": recipe.patches.mpp * 2,
            "training.batch_size": max(1, recipe.training.batch_size // 4),
        }
    )
