"""Sanity checks of what training sees: augmentation, masks, validation, and the distance between the two sets.

In quotation marks: the fault of the replication study that a check detects.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Regions
from histoscout.recipe_sections import AugmentConfig
from histoscout.sampling.datasets import Example
from histoscout.verdict import Verdict

Pixels = NDArray[np.uint8]
"""(H, W, 3)."""

AugmentedPatch = Callable[[AugmentConfig, int], Pixels]
"""Reads always the same patch, augmented by these choices as the example of this number."""

MaskReader = Callable[[LabeledSlide, Box, float], NDArray[np.uint8]]
"""Reads the mask of a slide in a box at um/px."""

NO_AUGMENTATION = AugmentConfig(flip=False, rotate=False, scale=0, stain=0, brightness=0, blur=0, noise=0)

DRAWS = 8
"""Draws of one patch; that eight random poses agree by chance: 1 in 8 ** 7."""

MAX_CHECKED_PATCHES = 16
"""Tuning patches that are looked for among the inputs of the network."""

SIGNATURE_PX = 8
"""Side of the small image by which a patch is recognized."""

INPUT_TOLERANCE = 1e-2
"""Difference of signatures up to which two patches are the same."""

RIM_SHARE = 0.03
"""Share of a mask's area that may differ, besides its rim."""

MIN_AREA_PX = 200.0
"""Regions with a smaller area are mostly border."""

CHECKED_MASKS = 6
"""Masks that are compared with their annotations."""

# ---------------------------------------------------------------- augmentation


def check_augmentation_varies(patch: AugmentedPatch, choices: AugmentConfig) -> Verdict:
    """Check that the same patch differs under another number ("constant-flip").

    Args:
        patch: Reads one patch by choices and number.
        choices: The recipe's section `augment`.

    Returns:
        "failed" if geometry or colors are constant, each checked without the other.
    """
    name = "augmentation varies"
    geometry = choices.model_copy(update={"stain": 0.0, "brightness": 0.0, "blur": 0.0, "noise": 0.0})
    colors = choices.model_copy(update={"flip": False, "rotate": False, "scale": 0.0})
    kinds = {"rotation and flips": geometry, "colors": colors}
    kinds = {kind: part for kind, part in kinds.items() if part != NO_AUGMENTATION}
    constant = []
    for kind, part in kinds.items():
        first, *others = [patch(part, number) for number in range(DRAWS)]
        if all(np.array_equal(first, other) for other in others):
            constant.append(kind)
    if constant:
        return Verdict(
            name=name,
            state="failed",
            message=f"{' and '.join(constant)}: the same for {DRAWS} examples of one patch",
            remedy="Use a random generator for each example, seeded by its number",
        )
    message = (
        f"{' and '.join(kinds)} differ among {DRAWS} examples" if kinds else "the recipe has no augmentation"
    )
    return Verdict(name=name, state="good", message=message)


def check_validation_unaugmented(read: Callable[[int], Example], plain: Sequence[Example]) -> Verdict:
    """Check that tuning patches are not augmented: each read gives the same, and equals the slide.

    Args:
        read: Reads a tuning example by number.
        plain: The first examples, read straight from slide and annotations.

    Returns:
        "failed" if an example differs.
    """
    name = "no augmentation in validation"
    for number, (pixels, target) in enumerate(plain):
        for _ in range(2):
            read_pixels, read_target = read(number)
            if not (np.array_equal(read_pixels, pixels) and np.array_equal(read_target, target)):
                message = f"tuning patch {number} differs from the slide"
                return Verdict(
                    name=name, state="failed", message=message, remedy="Augment training patches only"
                )
    message = f"{len(plain)} patches, each read twice, are as on the slide"
    return Verdict(name=name, state="good", message=message)


# ---------------------------------------------------------------- validation


class InputRecorder(nn.Module):
    """A network that predicts zeros and records a signature of each of its inputs.

    Attributes:
        recorded: The signatures, see `patch_signatures`.
    """

    def __init__(self, outputs: int, *, predicts_tiles: bool) -> None:
        """Make a recorder that looks like a network.

        Args:
            outputs: Number of channels of the logits.
            predicts_tiles: Whether logits are (N, C) instead of (N, C, H, W).
        """
        super().__init__()
        # some wrappers need a parameter
        self.zero = nn.Parameter(torch.zeros(()))
        self.outputs = outputs
        self.predicts_tiles = predicts_tiles
        self.recorded: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        """Record images (N, C, H, W)."""
        self.recorded.extend(patch_signatures(images))
        shape = () if self.predicts_tiles else images.shape[2:]
        return self.zero + torch.zeros(len(images), self.outputs, *shape, device=images.device)


def patch_signatures(images: Tensor) -> Tensor:
    """Compute the mean colors in 8 x 8 fields of images (N, C, H, W): float32 (N, C * 64).

    Args:
        images: Normalized patches (N, C, H, W).

    Returns:
        A row for each patch, float32 (N, C * 64).
    """
    small = nn.functional.adaptive_avg_pool2d(images.detach().float(), SIGNATURE_PX)
    return small.flatten(1).cpu()


def check_validation_batches(
    validate: Callable[[nn.Module], object],
    recorder: InputRecorder,
    expected: Callable[[int], Tensor],
    *,
    count: int,
) -> Verdict:
    """Check that validation shows the network each tuning patch once ("stale-validation").

    Args:
        validate: The very validation of the loop.
        recorder: The network to validate.
        expected: A tuning patch by number as the network should see it, (C, H, W).
        count: Number of tuning patches; at most 16 of them are looked for.

    Returns:
        "failed" if a patch is missing or the number of patches differs.
    """
    name = "validation uses the tuning patches"
    validate(recorder)
    recorded = recorder.recorded
    if not count or not recorded:
        return Verdict(name=name, state="cannot tell", message="there are no tuning patches")
    numbers = np.unique(np.linspace(0, count - 1, min(MAX_CHECKED_PATCHES, count)).astype(int))
    inputs = torch.stack(recorded)
    signatures = patch_signatures(torch.stack([expected(int(number)) for number in numbers]))
    if inputs.shape[1] != signatures.shape[1]:
        missing = len(numbers)
    else:
        distance = (signatures[:, None] - inputs[None]).abs().amax(-1).amin(1)
        missing = int((distance > INPUT_TOLERANCE).sum())
    if missing or len(recorded) != count:
        return Verdict(
            name=name,
            state="failed",
            message=f"{missing} of {len(numbers)} tuning patches never reached the network, which got {len(recorded)} "
            f"patches instead of {count}",
            remedy="Give the network the batch of the validation loader, not another variable",
        )
    return Verdict(name=name, state="good", message=f"{len(recorded)} patches, each as on the slide")


# ---------------------------------------------------------------- distance between the sets


@dataclass(frozen=True)
class PatchLocation:
    """Where a patch is.

    Attributes:
        slide: Anything that is equal for the same slide.
        box: The patch in level-0 px.
    """

    slide: object
    box: Box


def check_patch_overlap(training: Sequence[PatchLocation], tuning: Sequence[PatchLocation]) -> Verdict:
    """Check that no training patch shares tissue with a tuning patch ("tiles-in-both-sets").

    Args:
        training: Training patches.
        tuning: Tuning patches.

    Returns:
        "failed" with the number of training patches that overlap a tuning patch.
    """
    name = "no overlap of training and tuning patches"
    boxes_by_slide: dict[object, list[Box]] = {}
    for location in tuning:
        boxes_by_slide.setdefault(location.slide, []).append(location.box)
    trees = {
        slide: shapely.STRtree([shapely.box(*box.bounds) for box in boxes])
        for slide, boxes in boxes_by_slide.items()
    }
    overlapping = 0
    for location in training:
        # a little smaller, since neighbors touch and share nothing
        inner = shapely.box(*location.box.expand(-1e-6 * location.box.width).bounds)
        overlapping += location.slide in trees and len(trees[location.slide].query(inner)) > 0
    if overlapping:
        return Verdict(
            name=name,
            state="failed",
            message=f"{overlapping} of {len(training)} training patches overlap tuning patches",
            remedy="Split slides by patient before patches are drawn",
        )
    message = f"{len(training)} training patches overlap none of {len(tuning)} tuning patches"
    return Verdict(name=name, state="good", message=message)


# ---------------------------------------------------------------- masks


def check_masks(read_mask: MaskReader, slides: Sequence[LabeledSlide], *, mpp: float) -> Verdict:
    """Check that masks show all annotations, at the right place, without their holes ("last-polygon-wins").

    Masks around positive regions, those with holes or several regions first, are compared pixel by pixel with
    the exact geometry at the center of each pixel; a rim as wide as a pixel may differ. Also detects what
    "displaced-masks" does on the way from annotations to masks.

    Args:
        read_mask: Reads a mask.
        slides: The training slides.
        mpp: Resolution of the masks, um/px.

    Returns:
        "failed" with the slide of the first mask that differs; "cannot tell" without large regions.
    """
    name = "masks match the annotations"
    boxes = _boxes_to_check(slides, mpp)[:CHECKED_MASKS]
    with_several = with_holes = 0
    for labeled, box in boxes:
        regions = labeled.regions.with_labels(labeled.recipe.classes.positive).intersecting(box)
        with_several += len(regions) > 1
        with_holes += any(_has_hole(region.outline) for region in regions)
        mask = read_mask(labeled, box, mpp) == 1
        exact, border_px = _exact_mask(labeled, regions, box, shape=mask.shape)
        wrong = int((mask != exact).sum())
        if wrong > RIM_SHARE * exact.sum() + border_px:
            return Verdict(
                name=name,
                state="failed",
                message=f"on {labeled.slide.name} {wrong} px of a mask of {exact.sum()} px differ from the annotations",
                remedy="Paint all annotations of a patch into one mask, where they are, without their holes",
            )
    if not boxes:
        message = f"no positive region has {MIN_AREA_PX:.0f} px"
        return Verdict(name=name, state="cannot tell", message=message)
    message = f"{len(boxes)} masks match ({with_several} with several regions, {with_holes} with holes)"
    return Verdict(name=name, state="good", message=message)


def _boxes_to_check(slides: Sequence[LabeledSlide], mpp: float) -> list[tuple[LabeledSlide, Box]]:
    """Boxes around positive regions and their neighbors, those with most to go wrong first."""
    ranked: list[tuple[tuple[int, int], LabeledSlide, Box]] = []
    for labeled in slides:
        min_area = MIN_AREA_PX * (mpp / labeled.slide.mpp) ** 2
        positive = labeled.regions.with_labels(labeled.recipe.classes.positive)
        for region in positive:
            if region.outline.area < min_area:
                continue
            side = max(labeled.px(labeled.recipe.patches.size_um), region.box.width, region.box.height)
            # off center: a round lesion in the middle is the same upside down
            box = Box.around(*region.box.center, side, side).translate(0.2 * side, 0.13 * side)
            rank = (-int(_has_hole(region.outline)), -min(9, len(positive.intersecting(box))))
            ranked.append((rank, labeled, box))
    ranked.sort(key=lambda entry: entry[0])
    return [(labeled, box) for _, labeled, box in ranked]


def _exact_mask(
    labeled: LabeledSlide, regions: Regions, box: Box, *, shape: tuple[int, int]
) -> tuple[NDArray[np.bool_], float]:
    """Whether each pixel's center is positive and not ignored, bool of this shape; and the border's length in px."""
    ignored = [region.outline for region in labeled.regions.with_labels("ignore").intersecting(box)]
    positive = shapely.union_all([region.outline for region in regions])
    outline = positive.intersection(shapely.box(*box.bounds)).difference(shapely.union_all(ignored))
    shapely.prepare(outline)
    x, y = (
        start + (np.arange(count) + 0.5) * length / count
        for start, length, count in ((box.x, box.width, shape[1]), (box.y, box.height, shape[0]))
    )
    return shapely.contains_xy(outline, *np.meshgrid(x, y)), outline.length / (box.width / shape[1])


def _has_hole(outline: shapely.Geometry) -> bool:
    return any(shapely.get_num_interior_rings(part) > 0 for part in shapely.get_parts(outline))
