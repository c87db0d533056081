"""Sanity checks of detection: no augmentation, outputs in their place, patches that fit the lesions."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from histoscout.detection.grid import WindowPlan
from histoscout.detection.inference import predict_windows
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Regions
from histoscout.recipe import Recipe
from histoscout.slides.slide import Slide
from histoscout.verdict import Verdict

CHECKED_WINDOWS = 4
"""Windows that are checked."""


@dataclass(frozen=True)
class IdentityEngine:
    """An engine that returns the red channel of its windows, which shows what the network is given.

    Attributes:
        labels: One label.
        description: Name of the engine.
        answers: Kind of output.
    """

    labels: tuple[str, ...] = ("red",)
    description: str = "echo"
    answers: Literal["pixels", "tile"] = "pixels"

    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The red channel, 0 to 1: float32 (N, H, W, 1)."""
        return windows[:, 0, :, :, :1].astype(np.float32) / np.float32(255)

    def stream(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        """The output of each batch, in order."""
        return map(self, batches)

    def close(self) -> None:
        """Nothing to release."""


def check_no_augmentation(slide: Slide, boxes: Sequence[Box], plan: WindowPlan) -> Verdict:
    """Check that detection shows the network windows as they are, and turns TTA views back.

    A few windows go through detection with an engine that returns what it is shown (fault F of the study, which
    flipped at test time, too).

    Args:
        slide: A slide.
        boxes: Its windows.
        plan: How windows are predicted.

    Returns:
        Failed if a window is changed.
    """
    name = "no augmentation in detection"
    some = list(boxes[:: max(1, len(boxes) // CHECKED_WINDOWS)])[:CHECKED_WINDOWS]
    if not some:
        return Verdict(name=name, state="cannot tell", message=f"{slide.name} has no window with tissue")
    # each output must equal the window as it is read from the slide
    for number, (box, answer) in enumerate(
        zip(some, predict_windows(IdentityEngine(), slide.read, some, plan), strict=True)
    ):
        plain = slide.read(box, plan.mpp)[..., 0].astype(np.float32) / 255
        if answer.shape[:2] != plain.shape or float(np.abs(answer[..., 0] - plain).max()) > 1e-3:
            message = f"window {number} of {slide.name} is changed before the network sees it"
            return Verdict(
                name=name,
                state="failed",
                message=message,
                remedy="Augment training patches only; please report this",
            )
    return Verdict(
        name=name, state="good", message=f"{len(some)} windows of {slide.name} reach the network unchanged"
    )


MIN_LESION_PX = 8.0
"""Diameter of a lesion in px below which nothing of its structure is visible."""

GOOD_PX = 32.0
"""Diameter of a lesion in px that shows its structure well."""

CONTEXT_FACTOR = 1.25
"""A patch this many times the larger lesions shows their surroundings, too."""

MAX_PATCH_PX = 768
"""Side of a patch beyond which a coarser resolution is better."""

RESOLUTIONS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""um/px, halved as scanners do."""


def check_field_of_view(annotations: Sequence[tuple[Regions, float]], recipe: Recipe) -> Verdict:
    """Check that patches are large enough for the lesions, and fine enough to show them (fault K of the study).

    A region's extent is the longer side of its bounding box, its diameter that of a circle of its area.

    Args:
        annotations: Each slide's regions and its um per level-0 px.
        recipe: Size and resolution of patches.

    Returns:
        A warning, with a better patch, if more than half of the regions do not fit into a patch or if the median one
        is less than 8 px across.
    """
    name = "patch size and lesion size"
    sizes = [
        (max(region.box.width, region.box.height) * mpp, 2 * math.sqrt(region.outline.area / math.pi) * mpp)
        for regions, mpp in annotations
        for region in regions.with_labels(recipe.classes.positive)
    ]
    if not sizes:
        return Verdict(name=name, state="cannot tell", message=f"no annotation of {recipe.classes.positive}")
    extent, diameter = np.array(sizes).T
    median, large = float(np.median(extent)), float(np.percentile(extent, 90))
    side, across = recipe.patches.size_um, float(np.median(diameter)) / recipe.patches.mpp
    message = (
        f"patches of {side:.0f} um; half of the {len(sizes)} {recipe.classes.positive} annotations are wider than "
        f"{median:.0f} um, a tenth wider than {large:.0f} um; the median one is {across:.0f} px wide"
    )
    if side < median:
        fitting_mpp, fitting = fitting_patch(large * CONTEXT_FACTOR, recipe.patches.mpp)
        remedy = (
            f"Set patches.size_um = {fitting:g} and patches.mpp = {fitting_mpp:g}, so that nine in ten fit"
        )
        return Verdict(
            name=name, state="warning", message=f"{message}: most do not fit into a patch", remedy=remedy
        )
    if across < MIN_LESION_PX:
        finer = [mpp for mpp in RESOLUTIONS if float(np.median(diameter)) / mpp >= GOOD_PX]
        mpp = finer[-1] if finer else RESOLUTIONS[0]
        remedy = f"Set patches.mpp = {mpp:g} and patches.size_um = {fitting_patch(side, mpp)[1]:g}"
        return Verdict(
            name=name,
            state="warning",
            message=f"{message}: too coarse to show their structure",
            remedy=remedy,
        )
    return Verdict(name=name, state="good", message=message)


def fitting_patch(um: float, mpp: float) -> tuple[float, float]:
    """Choose a patch that shows a length: at the given resolution if possible, else at a coarser one.

    Args:
        um: The length in um.
        mpp: The preferred resolution in um/px.

    Returns:
        Resolution in um/px and side in um.
    """
    coarser = [mpp, *(step for step in RESOLUTIONS if step > mpp)]
    chosen = next((step for step in coarser if um / step <= MAX_PATCH_PX), coarser[-1])
    return chosen, math.ceil(um / chosen / 32) * 32 * chosen
