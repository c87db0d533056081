"""Alignment of patches: do masks fit their images, exactly as training receives them?

Whatever happens on the way, a mask must tell its own picture's tissue apart better than it tells any other picture's.
So the masks are laid on their own pictures, and then on one another's: how much more of the stain's variance they
explain on their own, in standard deviations over random pairings, is the fit. A fault anywhere in reading, rasterising
or augmenting shows, also in windows that somebody else made; nothing is learnt. Where the slides are at hand, the same
windows straight from slide and outlines say how good the fit should be: large lesions fit a little even on the wrong
tile.

Where a window shows empty glass, however its colours were varied: judged by the window's own white.

A varied stain darkens glass to as little as two thirds of white, and pale tissue may be brighter than that. Glass is
therefore what is nearly as bright as the brightest usual grey of the window, if the window has glass at all: glass is
even, so that many cells are about equally bright, while the palest tissue is the thin end of a wide spread.

Whether masks were drawn as rectangles or along what they show, told by their edges alone.

The test at the network's door, before there is a network: windows drawn from a cohort just as training will draw them.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import shapely
from numpy.typing import NDArray

from histoscout.checks.alignment.scoring import (
    SMOOTH_UM,
    Maps,
    cell_means,
    measure_quantities,
    smooth_quantities,
)
from histoscout.checks.integrity import LoadedCase
from histoscout.cohort.annotated_slide import open_labeled_slide
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import label_map
from histoscout.geometry.vectorize import mask_to_polygons
from histoscout.recipe import BACKGROUND, IGNORE, SET_ASIDE, Recipe
from histoscout.sampling.augment import vary_colors
from histoscout.sampling.datasets import SampledExamples
from histoscout.sampling.sampler import PatchSampler
from histoscout.verdict import Verdict

USUAL = 99  # percentile of the cells' greys that counts as the window's white
NEARLY = 0.88  # of the white: 225 of 255
DARKEST_WHITE = 150  # of 255: no glass, its stain varied by as much as .2, was seen darker
MANY = 0.2  # of the cells nearly white: glass, since tissue varies more
# shares of the white: few cells may be nearly white if twice as many are even as just below
EVEN, BELOW = 0.95, 0.90
GLASS_TIMES = 2


def find_glass(picture: NDArray[np.uint8], per_cell: int) -> NDArray[np.bool_]:
    """Which cells of a window are mostly glass: bool (H, W). `picture` uint8 (H * per_cell, W * per_cell, 3).

    Args:
        picture: Image (H, W, 3) uint8.
        per_cell: Pixels along a side of a cell.
    """
    grays = np.stack(
        [cell_means(picture[..., color].astype(np.float32), per_cell) for color in range(3)]
    ).min(0)
    white = float(np.percentile(grays, USUAL))
    if white < DARKEST_WHITE or not _has_glass(grays / white):
        return np.zeros(grays.shape, bool)
    bright: Maps = (picture.min(-1) > NEARLY * white).astype(np.float32)
    return cell_means(bright, per_cell) >= 0.5


def _has_glass(share: Maps) -> bool:
    """Whether the brightest cells (as shares of white) are as many and as even as those of glass."""
    even, below = (share > EVEN).mean(), ((share > BELOW) & (share <= EVEN)).mean()
    return bool((share > NEARLY).mean() >= MANY or even >= GLASS_TIMES * below)


STEP_PX = 1.5  # a straight edge that does not lie along the pixels is a stair of this height
LONG = 0.6  # of the side of a square as large as the piece: a rectangle's edges are longer, a curve's are not
LEAST_PX = 16.0  # side of the smallest pieces that have a shape


def straightness(masks: Iterable[NDArray[np.uint8]]) -> float:
    """The share of all edges that are long and straight: about .8 for rectangles, .2 for outlines along glands.

    Masks uint8 (H, W): 0 background, 255 ignore, else classes; edges along the border of a mask do not count. 0 if there
    are no edges.

    Args:
        masks: Masks of patches.
    """
    straight = whole = 0.0
    for mask in masks:
        rows, columns = mask.shape
        frame = Box(0, 0, columns, rows)
        for piece in mask_to_polygons((mask != BACKGROUND) & (mask != IGNORE), frame, 1.0):
            side = float(np.sqrt(piece.area))
            if side >= LEAST_PX:
                lengths = _edges(piece, frame)
                straight += float(lengths[lengths > LONG * side].sum())
                whole += float(lengths.sum())
    return straight / whole if whole else 0.0


def _edges(piece: shapely.Polygon, frame: Box) -> NDArray[np.float64]:
    """The lengths of a piece's outer edges, stairs smoothed, without those along the frame: float64 (N,)."""
    corners = np.array(shapely.LineString(piece.exterior.coords).simplify(STEP_PX).coords)
    starts, ends = corners[:-1], corners[1:]
    limits = np.array([frame.width, frame.height])
    along = ((starts == ends) & ((starts <= 0) | (starts >= limits))).any(1)
    return np.asarray(np.linalg.norm(ends - starts, axis=1)[~along])


PATCH_ALIGNMENT = "masks fit their images"
PAIRS = 192
"""Patches that are compared; more add nothing."""

LEAST_PAIRS = 24  # with both tissue of a class and other tissue in them
ALONG = 64  # cells along a window's side
PAIRINGS = 200
FITS = 5.0
"""More than for slides: patches show the same lesions repeatedly, which makes chance look larger."""

EACH = 0.4  # fit for each window that outlines along the tissue have at least
RECTANGLES = 0.41  # from this straightness on, masks are taken to be rectangles
UNRELATED = 2.0  # below it there is no sign that masks and pictures belong together
MARGIN, MARGIN_TIMES = 3.0, 1.5
LOST = 0.5  # of the fit of the same windows straight from the slides: less is a fault on the way
SHIFTS = (1 / 8, 1 / 4, 1 / 2)  # of a window's side
SHIFTED = "shifted"
LOOK = "Look at some windows"
SEED = 0
FLAT = 1e-9

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]
Change = Callable[[Maps], Maps]


@dataclass(frozen=True)
class PatchMeasures:
    """Windows measured: `values` float32 (N, K, H, W), white and of mean zero in each window; `inside` float32
    (N, C, H, W), the share of each cell that is of each class."""

    values: Maps
    inside: Maps


def check_training_patches(examples: SampledExamples, count: int = PAIRS) -> Verdict:
    """Whether training's own windows fit, after all that was done to them, as well as straight from the slides.

    Args:
        examples: Training patches by number.
        count: How many at most.
    """
    numbers = range(count)
    straight = (_straight(examples, number) for number in numbers)
    return check_patch_alignment((examples[n] for n in numbers), examples.recipe.patches.mpp, straight)


def _straight(examples: SampledExamples, number: int) -> Pair:
    """A training window by the shortest way: read from the slide, painted from the outlines, not turned.

    Its colours are varied as those of training are, so that both tell tissue from tissue equally well.
    """
    recipe = examples.recipe
    window, mpp = examples.sampler.draw(number), recipe.patches.mpp
    labeled = examples.slides[window.slide]
    random = np.random.default_rng([recipe.seed, number, 2])
    picture = vary_colors(labeled.picture(window.box, mpp), recipe.augment, random)
    return picture, label_map(labeled.layers, window.box, mpp / labeled.slide.mpp)


def check_patch_alignment(pairs: Iterable[Pair], mpp: float, straight: Iterable[Pair] = ()) -> Verdict:
    """Check that masks belong to their images, as a network receives them.

    The first `PAIRS` patches are compared. With `straight`, fewer faults stay open: loosely drawn rectangles hardly fit
    their own tissue, and lesions as large as a patch fit each other's a little.

    Args:
        pairs: Images (H, W, 3) uint8 with masks (H, W) uint8 of one size: 0 background, 1.. classes, 255 ignore.
        mpp: Resolution in um/px.
        straight: The same patches, read directly from slide and annotations.

    Returns:
        Failed with the most likely mistake if the masks fit other images as well; "cannot tell" with too few patches.

    Example:
        >>> import numpy as np
        >>> from histoscout import check_patch_alignment
        >>> image, mask = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8)
        >>> check_patch_alignment([(image, mask)], mpp=2.0).state
        'cannot tell'
    """
    some = [pair for pair in islice(pairs, PAIRS) if _is_mixed(pair[1])]
    known = [pair for pair in islice(straight, PAIRS) if _is_mixed(pair[1])]
    if len(known) >= LEAST_PAIRS and len(some) < LOST * len(known):
        message = f"{len(some)} patches show a class beside other tissue; read directly from the slides {len(known)} do"
        return Verdict(
            name=PATCH_ALIGNMENT,
            state="failed",
            message=message,
            remedy=f"Something in between loses or displaces masks. {LOOK}",
        )
    if len(some) < LEAST_PAIRS:
        message = f"only {len(some)} patches show a class beside other tissue ({LEAST_PAIRS} are needed)"
        return Verdict(name=PATCH_ALIGNMENT, state="cannot tell", message=message, remedy=LOOK)
    looks = measure_patches(some, mpp)
    given = patch_fit(looks.values, looks.inside)
    expected = _expected(known, mpp)
    if expected is None or given < LOST * expected:
        mistaken = {name: patch_fit(*laid) for name, laid in _mistakes(looks).items()}
        named = max(mistaken, key=lambda one: mistaken[one])
        seen = PatchFit(given, named, mistaken[named], len(some))
    else:
        seen = PatchFit(given, "", 0.0, len(some))
    if expected is not None:
        return _against_slides(seen, expected)
    boxes = straightness(mask for _, mask in some) >= RECTANGLES
    return _rectangles_alone(seen) if boxes else _outlines_alone(seen)


@dataclass(frozen=True)
class PatchFit:
    """What was found: the fit as given, and after undoing the likeliest mistake; of how many windows."""

    given: float
    mistake: str
    undone: float
    windows: int

    @property
    def shown(self) -> str:
        return f"fit {self.given:.1f} over {self.windows} windows"

    @property
    def is_mistaken(self) -> bool:
        """Whether masks fit clearly better once the mistake is undone."""
        return self.undone >= FITS and self.undone >= max(self.given + MARGIN, self.given * MARGIN_TIMES)


def _expected(straight: list[Pair], mpp: float) -> float | None:
    if len(straight) < LEAST_PAIRS:
        return None
    looks = measure_patches(straight, mpp)
    return patch_fit(looks.values, looks.inside)


def _is_mixed(mask: NDArray[np.uint8]) -> bool:
    """Whether a mask tells tissue of a class from other tissue."""
    if mask.ndim != 2:
        return False
    share = float(((mask != BACKGROUND) & (mask != IGNORE)).mean())
    return 0.03 < share < 0.97 and float((mask == IGNORE).mean()) < 0.5


def measure_patches(pairs: list[Pair], mpp: float) -> PatchMeasures:
    """Measure windows: each quantity less its mean over the window, so that no two slides are compared.

    Glass, and the white beyond a slide's edge, count for nothing: that masks avoid them proves little. Lumens count.

    Args:
        pairs: Images and masks of patches.
        mpp: Resolution in um/px.
    """
    per_cell = max(1, min(pairs[0][1].shape) // ALONG)
    values = np.stack([_measured(picture, per_cell, mpp) for picture, _ in pairs])
    seen = ~np.stack([find_glass(picture, per_cell) for picture, _ in pairs])[:, None]
    count = np.maximum(seen.sum((2, 3), keepdims=True), 1)
    values = (values - (values * seen).sum((2, 3), keepdims=True) / count) * seen
    classes = sorted({int(value) for _, mask in pairs for value in np.unique(mask)} - {BACKGROUND, IGNORE})
    inside = np.stack([_shares(mask, classes, per_cell) for _, mask in pairs]) * seen
    flat = values.swapaxes(0, 1).reshape(values.shape[1], -1)
    variances, vectors = np.linalg.eigh(np.cov(flat))
    turn = (vectors / np.sqrt(np.maximum(variances, FLAT))).T
    white = np.tensordot(turn, values, (1, 1)).swapaxes(0, 1)
    return PatchMeasures(np.ascontiguousarray(white, np.float32), inside.astype(np.float32))


def _measured(picture: NDArray[np.uint8], per_cell: int, mpp: float) -> Maps:
    return smooth_quantities(measure_quantities(picture, per_cell, mpp), SMOOTH_UM / (per_cell * mpp))


def _shares(mask: NDArray[np.uint8], classes: list[int], per_cell: int) -> Maps:
    return np.stack([cell_means((mask == one).astype(np.float32), per_cell) for one in classes])


def patch_fit(values: Maps, inside: Maps) -> float:
    """By how many standard deviations masks explain their own pictures better than they explain one another's.

    Args:
        values: Quantities of each cell.
        inside: Whether each cell is annotated.
    """
    windows, kinds = values.shape[:2]
    classes = inside.shape[1]
    masks = inside.reshape(windows * classes, -1)
    # what mask j sees in picture i: (N, C, N, K)
    seen = (masks @ values.reshape(windows * kinds, -1).T).reshape(windows, classes, windows, kinds)
    covered = np.maximum(inside.sum((0, 2, 3)), 1)

    def explained(which: NDArray[np.intp]) -> float:
        sums = seen[which, :, np.arange(windows)].sum(0)
        return float((sums**2 / covered[:, None]).sum())

    random = np.random.default_rng(SEED)
    others = [explained(_strangers(windows, random)) for _ in range(PAIRINGS)]
    return (explained(np.arange(windows)) - float(np.mean(others))) / (float(np.std(others)) + 1e-9)


def _strangers(count: int, random: np.random.Generator) -> NDArray[np.intp]:
    """A pairing in which nobody meets their own: a random ring."""
    ring = random.permutation(count)
    paired = np.empty(count, np.intp)
    paired[ring] = np.roll(ring, 1)
    return paired


def _mistakes(looks: PatchMeasures) -> Mapping[str, tuple[Maps, Maps]]:
    """Values and masks after undoing each mistake."""
    turns: dict[str, Change] = {
        "mirrored top to bottom": lambda maps: maps[..., ::-1, :],
        "mirrored left to right": lambda maps: maps[..., ::-1],
        "turned upside down": lambda maps: maps[..., ::-1, ::-1],
    }
    if looks.inside.shape[-1] == looks.inside.shape[-2]:
        turns |= {
            "rows and columns swapped": lambda maps: maps.swapaxes(-1, -2),
            "turned to the left": lambda maps: np.rot90(maps, -1, (-2, -1)),
            "turned to the right": lambda maps: np.rot90(maps, 1, (-2, -1)),
        }
    found = {
        name: (looks.values, np.ascontiguousarray(change(looks.inside))) for name, change in turns.items()
    }
    rows, columns = looks.inside.shape[-2:]
    for share in SHIFTS:
        for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            lag = (round(down * share * rows), round(right * share * columns))
            way = ("down", "up")[down < 0] if down else ("right", "left")[right < 0]
            found[f"{SHIFTED} {way} by {share:g} of a window"] = _overlap(looks, *lag)
    return found


def _overlap(looks: PatchMeasures, down: int, right: int) -> tuple[Maps, Maps]:
    """Values, and the masks that lie on them once moved back by (down, right) cells, where both are known."""
    rows, columns = looks.inside.shape[-2:]
    seen = looks.values[..., max(0, -down) : rows - max(0, down), max(0, -right) : columns - max(0, right)]
    masks = looks.inside[..., max(0, down) : rows + min(0, down), max(0, right) : columns + min(0, right)]
    return np.ascontiguousarray(seen), np.ascontiguousarray(masks)


def _against_slides(seen: PatchFit, expected: float) -> Verdict:
    if seen.is_mistaken:
        return _mistaken(seen)
    if expected >= FITS and seen.given < LOST * expected:
        message = f"{seen.shown}, but {expected:.1f} read directly from the slides: something in between displaces masks"
        return Verdict(name=PATCH_ALIGNMENT, state="failed", message=message, remedy=LOOK)
    if seen.given >= FITS:
        return _good(seen)
    message = (
        f"{seen.shown}; nor can the classes be told from what surrounds them on the slides themselves "
        f"({expected:.1f})"
    )
    return Verdict(name=PATCH_ALIGNMENT, state="cannot tell", message=message, remedy=LOOK)


def _outlines_alone(seen: PatchFit) -> Verdict:
    """Outlines along what they show fit well, each window adding to it; where the same few lesions come again and
    again, masks from a place beside fit a little."""
    if seen.is_mistaken:
        return _mistaken(seen)
    enough = max(FITS, EACH * seen.windows)
    if seen.given >= enough:
        return _good(seen)
    if seen.given >= UNRELATED:
        return Verdict(
            name=PATCH_ALIGNMENT,
            state="cannot tell",
            message=f"{seen.shown}; {enough:.1f} would do",
            remedy=LOOK,
        )
    message = f"masks explain their own images no better than those of other patches do ({seen.shown})"
    return Verdict(
        name=PATCH_ALIGNMENT,
        state="failed",
        message=message,
        remedy=f"Are they the masks of another slide, or of a place nearby? {LOOK}",
    )


def _rectangles_alone(seen: PatchFit) -> Verdict:
    """Rectangles hold so much else that they may fit a place beside as well as their own, or nothing at all."""
    if seen.is_mistaken and not seen.mistake.startswith(SHIFTED):
        return _mistaken(seen)
    if seen.given >= FITS:
        return _good(seen)
    message = f"the masks are rectangles, which hardly follow the tissue ({seen.shown}; {FITS:g} are needed)"
    return Verdict(
        name=PATCH_ALIGNMENT,
        state="cannot tell",
        message=message,
        remedy=f"{LOOK}, or let `histoscout check` see the slides",
    )


def _mistaken(seen: PatchFit) -> Verdict:
    message = f"masks seem {seen.mistake}: corrected, fit {seen.undone:.1f} (as given: {seen.shown})"
    return Verdict(
        name=PATCH_ALIGNMENT,
        state="failed",
        message=message,
        remedy=f"{LOOK} with their masks, and repair how masks are made or read",
    )


def _good(seen: PatchFit) -> Verdict:
    return Verdict(
        name=PATCH_ALIGNMENT,
        state="good",
        message=f"{seen.shown}: standard deviations better than with masks of other patches",
    )


MOST_SLIDES = 24


def check_cohort_patches(reads: Sequence[LoadedCase], recipe: Recipe) -> Verdict:
    """Whether training windows of these slides fit their masks; test slides, and those that cannot be read, left out.

    If the recipe's positive class does not occur, the commonest class stands for it. Of many slides some are drawn,
    the same for the recipe's seed. Raises SlideError where a slide breaks after all.

    Args:
        reads: Slides and their annotations.
        recipe: The recipe.
    """
    usable = [one for one in reads if not one.fault and len(one.regions) and one.case.split != "test"]
    recipe = _with_a_class(usable, recipe)
    chosen = np.random.default_rng(recipe.seed).permutation(len(usable))[:MOST_SLIDES]
    slides = [open_labeled_slide(usable[number].case, recipe)[0] for number in sorted(chosen)]
    try:
        seen = [slide for slide in slides if slide.tissue.mask.any()]
        if not any(slide.has_positive for slide in seen):
            message = f"no annotation of {recipe.classes.positive!r} to draw patches on"
            return Verdict(
                name=PATCH_ALIGNMENT,
                state="cannot tell",
                message=message,
                remedy="Name the class to detect with --positive",
            )
        return check_training_patches(SampledExamples(seen, PatchSampler(seen, recipe, {}), recipe))
    finally:
        for slide in slides:
            slide.slide.close()


def _with_a_class(reads: Sequence[LoadedCase], recipe: Recipe) -> Recipe:
    counts = Counter(region.label for one in reads for region in one.regions if region.label)
    known = Counter(
        {label: n for label, n in counts.items() if recipe.classes.canonical(label) not in SET_ASIDE}
    )
    if not known or recipe.classes.positive in map(recipe.classes.canonical, counts):
        return recipe
    stand_in = min(known, key=lambda label: (-known[label], label))
    return recipe.with_choices({"classes.positive": stand_in, "classes.other": (), "classes.aliases": {}})
