"""Does detection look at the slide as it is, and put every answer back in its place?

Is a window large enough for the lesions, and fine enough to show them?
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from histoscout.detection.grid import WindowPlan
from histoscout.detection.inference import answers_for
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Regions
from histoscout.recipe import Recipe
from histoscout.slides.slide import Slide
from histoscout.verdict import Verdict

MOST_SEEN = 4  # windows looked at


@dataclass(frozen=True)
class Echo:
    """An engine that answers with the red it sees, so that what it was shown can be read from its answers."""

    labels: tuple[str, ...] = ("red",)
    description: str = "echo"
    answers: Literal["pixels", "tile"] = "pixels"

    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The red of each window's first view, 0 to 1: float32 (N, H, W, 1)."""
        return windows[:, 0, :, :, :1].astype(np.float32) / np.float32(255)

    def stream(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        """The answers for each batch, in order."""
        return map(self, batches)

    def close(self) -> None:
        """Nothing is held."""


def detection_rests(slide: Slide, boxes: Sequence[Box], plan: WindowPlan) -> Verdict:
    """Windows are shown as they are on the slide: nothing is varied, and flipped views are turned back.

    Shows a few windows to an engine that answers with what it sees, by the road that detection takes (study:
    "constant-flip", which flipped at test time, too).
    """
    name = "augmentation rests in detection"
    some = list(boxes[:: max(1, len(boxes) // MOST_SEEN)])[:MOST_SEEN]
    if not some:
        return Verdict(name=name, state="cannot tell", message=f"{slide.name} has no window with tissue")
    for number, (box, answer) in enumerate(
        zip(some, answers_for(Echo(), slide.read, some, plan), strict=True)
    ):
        plain = slide.read(box, plan.mpp)[..., 0].astype(np.float32) / 255
        if answer.shape[:2] != plain.shape or float(np.abs(answer[..., 0] - plain).max()) > 1e-3:
            message = f"window {number} of {slide.name} is not seen as it is on the slide"
            return Verdict(
                name=name,
                state="failed",
                message=message,
                remedy="Vary training windows only; please report this",
            )
    return Verdict(
        name=name, state="good", message=f"{len(some)} windows of {slide.name} are seen as on the slide"
    )


LEAST_PX = 8.0  # across a lesion: below it nothing of its structure is left
GOOD_PX = 32.0
ROOM = 1.25  # a window this many times the larger lesions shows what is around them, too
MOST_PX = 768  # of a window, before it is better to look from further away
RESOLUTIONS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # um/px, halvings as scanners make them


def field_of_view(drawn: Sequence[tuple[Regions, float]], recipe: Recipe) -> Verdict:
    """The window's side against the size of the positive regions in um (study: "narrow-view").

    `drawn` are each slide's regions and its um per level-0 px.
    A region's extent is the longer side of its box; its diameter that of a circle of its area. "warning" if more
    than half of the regions do not fit into a window, or if the median one is less than 8 px across.
    """
    name = "field of view against lesion size"
    sizes = [
        (max(region.box.width, region.box.height) * mpp, 2 * math.sqrt(region.outline.area / math.pi) * mpp)
        for regions, mpp in drawn
        for region in regions.with_labels(recipe.classes.positive)
    ]
    if not sizes:
        return Verdict(name=name, state="cannot tell", message=f"no region of {recipe.classes.positive}")
    extent, diameter = np.array(sizes).T
    median, large = float(np.median(extent)), float(np.percentile(extent, 90))
    side, across = recipe.patches.size_um, float(np.median(diameter)) / recipe.patches.mpp
    message = (
        f"windows of {side:.0f} um; half of the {len(sizes)} {recipe.classes.positive} regions are wider than "
        f"{median:.0f} um, a tenth wider than {large:.0f} um; the median one is {across:.0f} px across"
    )
    if side < median:
        fitting_mpp, fitting = better_windows(large * ROOM, recipe.patches.mpp)
        remedy = (
            f"Set patches.size_um = {fitting:g} and patches.mpp = {fitting_mpp:g}, so that nine in ten fit"
        )
        return Verdict(
            name=name, state="warning", message=f"{message}: most do not fit into a window", remedy=remedy
        )
    if across < LEAST_PX:
        finer = [mpp for mpp in RESOLUTIONS if float(np.median(diameter)) / mpp >= GOOD_PX]
        mpp = finer[-1] if finer else RESOLUTIONS[0]
        remedy = f"Set patches.mpp = {mpp:g} and patches.size_um = {better_windows(side, mpp)[1]:g}"
        return Verdict(
            name=name, state="warning", message=f"{message}: too coarse to show what is inside", remedy=remedy
        )
    return Verdict(name=name, state="good", message=message)


def better_windows(um: float, mpp: float) -> tuple[float, float]:
    """A resolution and a side in um that hold `um`: at this um/px if it can be, else from further away."""
    coarser = [mpp, *(step for step in RESOLUTIONS if step > mpp)]
    chosen = next((step for step in coarser if um / step <= MOST_PX), coarser[-1])
    return chosen, math.ceil(um / chosen / 32) * 32 * chosen
