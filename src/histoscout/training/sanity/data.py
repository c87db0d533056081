"""Guards over what training sees: are windows varied, masks whole, validation itself, and the two sets apart?"""

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
from histoscout.recipe import AugmentConfig
from histoscout.sampling.datasets import Example
from histoscout.verdict import Verdict

Picture = NDArray[np.uint8]
Look = Callable[
    [AugmentConfig, int], Picture
]  # one and the same window, varied by these choices as this example's number
Mask = Callable[[LabeledSlide, Box, float], NDArray[np.uint8]]
STILL = AugmentConfig(flip=False, rotate=False, scale=0, stain=0, brightness=0, blur=0, noise=0)

DRAWS = 8  # of one window; that all draws of eight poses agree by chance: 1 in 8 ** 7
MOST_SEEN = 16  # validation windows that are looked for among what the network was shown
SIGNATURE = 8  # side of the small picture that a window is known by
RIM_SHARE = 0.03  # of an outline's area that may differ beside its rim
LEAST_PX = 200.0  # outlines with a smaller area in px are mostly border


def augmentation_varies(look: Look, choices: AugmentConfig) -> Verdict:
    """The same window must look otherwise under another number (study: "constant-flip").

    Turning and mirroring are asked about without colours, colours without turning: one must not hide the other.
    """
    name = "augmentation differs between items"
    turned = choices.model_copy(update={"stain": 0.0, "brightness": 0.0, "blur": 0.0, "noise": 0.0})
    colored = choices.model_copy(update={"flip": False, "rotate": False, "scale": 0.0})
    asked = {"turning and mirroring": turned, "colours": colored}
    asked = {what: some for what, some in asked.items() if some != STILL}
    constant = [what for what, some in asked.items() if not _differ([look(some, n) for n in range(DRAWS)])]
    if constant:
        message = f"{' and '.join(constant)}: the same for {DRAWS} items of one window"
        return Verdict(
            name=name,
            state="failed",
            message=message,
            remedy="Draw from a random state of each item's own, seeded by its number",
        )
    message = (
        f"{' and '.join(asked)} differ among {DRAWS} items"
        if asked
        else "the recipe asks for no augmentation"
    )
    return Verdict(name=name, state="good", message=message)


def _differ(pictures: Sequence[Picture]) -> bool:
    return any(not np.array_equal(pictures[0], other) for other in pictures[1:])


def augmentation_rests(see: Callable[[int], Example], plain: Sequence[Example]) -> Verdict:
    """What a network is judged by is never varied: the same window twice gives the same, and equals a plain read.

    `see` gives validation examples by number, `plain` are the first ones read straight from slide and outlines.
    """
    name = "augmentation rests in validation"
    for number, (picture, target) in enumerate(plain):
        for _ in range(2):
            seen, answer = see(number)
            if not (np.array_equal(seen, picture) and np.array_equal(answer, target)):
                message = f"validation window {number} is not as it is on the slide"
                return Verdict(
                    name=name, state="failed", message=message, remedy="Vary training windows only"
                )
    return Verdict(name=name, state="good", message=f"{len(plain)} windows are as on the slide, twice")


class Recorder(nn.Module):
    """A network that answers nothing and remembers what it was shown, as small pictures."""

    def __init__(self, outputs: int, tile: bool) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(()))  # some wrappers ask for a parameter
        self.outputs, self.tile = outputs, tile
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.extend(signatures(images))
        shape = () if self.tile else images.shape[2:]
        return self.nothing + torch.zeros(len(images), self.outputs, *shape, device=images.device)


def signatures(images: Tensor) -> Tensor:
    """What windows (N, C, H, W) are known by: their mean colours in 8 x 8 fields, float32 (N, C * 64)."""
    small = nn.functional.adaptive_avg_pool2d(images.detach().float(), SIGNATURE)
    return small.flatten(1).cpu()


def validation_sees(
    judge: Callable[[nn.Module], object], recorder: Recorder, wanted: Callable[[int], Tensor], count: int
) -> Verdict:
    """Validation must show the network the validation windows, each once (study: "stale-validation").

    `judge` is the very validation of the loop; `wanted` gives the `count` windows it should show by number, as
    `prepare` makes them (C, H, W). At most 16 of them are looked for, evenly chosen; their number must agree.
    """
    name = "validation batches are validation windows"
    judge(recorder)
    shown = recorder.seen
    if not count or not shown:
        return Verdict(name=name, state="cannot tell", message="there are no validation windows")
    numbers = np.unique(np.linspace(0, count - 1, min(MOST_SEEN, count)).astype(int))
    seen, looked_for = torch.stack(shown), signatures(torch.stack([wanted(int(n)) for n in numbers]))
    if seen.shape[1] != looked_for.shape[1]:
        absent = len(numbers)
    else:
        distance = (looked_for[:, None] - seen[None]).abs().amax(-1).amin(1)
        absent = int((distance > 1e-2).sum())
    remedy = "Feed the network the batch that the validation loader gave, not another variable"
    if absent or len(shown) != count:
        message = (
            f"{absent} of {len(numbers)} validation windows were never shown to the network; it saw {len(shown)} "
            f"windows instead of {count}"
        )
        return Verdict(name=name, state="failed", message=message, remedy=remedy)
    return Verdict(name=name, state="good", message=f"{len(shown)} windows, each as it is on the slide")


@dataclass(frozen=True)
class Place:
    """Where a window lies: its slide, known by anything that is the same for the same slide, and the box."""

    slide: object
    box: Box


def windows_apart(learnt: Sequence[Place], judged: Sequence[Place]) -> Verdict:
    """No training window may share tissue with a tuning window (study: "tiles-in-both-sets")."""
    name = "no tissue in two sets"
    by_slide: dict[object, list[Box]] = {}
    for place in judged:
        by_slide.setdefault(place.slide, []).append(place.box)
    trees = {
        slide: shapely.STRtree([shapely.box(*box.bounds) for box in boxes])
        for slide, boxes in by_slide.items()
    }
    both = sum(
        place.slide in trees
        and len(trees[place.slide].query(shapely.box(*place.box.grown(-1e-6 * place.box.width).bounds))) > 0
        for place in learnt
    )
    if both:
        message = f"{both} of {len(learnt)} training windows share tissue with tuning windows"
        return Verdict(
            name=name,
            state="failed",
            message=message,
            remedy="Divide slides by patient before windows are drawn",
        )
    return Verdict(
        name=name,
        state="good",
        message=f"{len(learnt)} training windows touch none of {len(judged)} tuning windows",
    )


def masks_are_whole(mask: Mask, slides: Sequence[LabeledSlide], mpp: float, most: int = 6) -> Verdict:
    """A window's mask holds all its outlines, where they lie, and no hole (study: "last-polygon-wins", and what
    "displaced-masks" does on the way from outlines to masks).

    Windows round the positive class, those with holes or several outlines first, are compared pixel by pixel with
    what exact geometry says of each pixel's centre; a rim as wide as a pixel is forgiven.
    """
    name = "masks hold every outline and no hole"
    windows, several, holes = _telling_windows(slides, mpp)[:most], 0, 0
    for labeled, box in windows:
        regions = labeled.regions.labeled(labeled.recipe.classes.positive).touching(box)
        several += len(regions) > 1
        holes += any(_has_hole(region.outline) for region in regions)
        drawn = mask(labeled, box, mpp) == 1
        exact, rim = _exact(labeled, regions, box, drawn.shape)
        wrong = int((drawn != exact).sum())
        if wrong > RIM_SHARE * exact.sum() + rim:
            message = f"on {labeled.slide.name} {wrong} px of a mask of {exact.sum()} px are not as outlined"
            remedy = "Paint all outlines of a window into one mask, where they lie, holes left out"
            return Verdict(name=name, state="failed", message=message, remedy=remedy)
    if not windows:
        return Verdict(
            name=name,
            state="cannot tell",
            message=f"no outline of the positive class is large enough ({LEAST_PX:.0f} px)",
        )
    message = f"{len(windows)} masks agree with their outlines ({several} with several, {holes} with holes)"
    return Verdict(name=name, state="good", message=message)


def _telling_windows(slides: Sequence[LabeledSlide], mpp: float) -> list[tuple[LabeledSlide, Box]]:
    """Boxes round positive outlines and what lies beside them, the ones that could go wrong most first."""
    ranked: list[tuple[tuple[int, int], LabeledSlide, Box]] = []
    for labeled in slides:
        least = LEAST_PX * (mpp / labeled.slide.mpp) ** 2
        positive = labeled.regions.labeled(labeled.recipe.classes.positive)
        for region in positive.where(lambda region: region.outline.area >= least):  # noqa: B023 (used at once)
            side = max(labeled.px(labeled.recipe.patches.size_um), region.box.width, region.box.height)
            # off the centre: a round lesion in the middle looks the same upside down
            box = Box.around(*region.box.center, side, side).moved(0.2 * side, 0.13 * side)
            rank = (-int(_has_hole(region.outline)), -min(9, len(positive.touching(box))))
            ranked.append((rank, labeled, box))
    ranked.sort(key=lambda entry: entry[0])
    return [(labeled, box) for _, labeled, box in ranked]


def _exact(
    labeled: LabeledSlide, regions: Regions, box: Box, shape: tuple[int, int]
) -> tuple[NDArray[np.bool_], float]:
    """Whether each pixel's centre is positive and not ignored, bool of this shape; and the length of the border in px."""
    ignored = [region.outline for region in labeled.regions.labeled("ignore").touching(box)]
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
