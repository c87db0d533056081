"""Whether masks of patches fit their images, exactly as training receives them.

A mask must explain the image of its own patch better than the images of other patches, as `patch_scoring` measures it.
A fault anywhere in reading, rasterizing or augmenting shows, also in patches that were made elsewhere. Where the slides
are available, the same patches read directly from slide and annotations say how good the fit should be: large lesions
fit a little even on the wrong tile.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from histoscout.checks.alignment.patch_scoring import (
    SHIFTED,
    Pair,
    correct_patches,
    is_mixed,
    measure_patches,
    patch_fit,
    straightness,
)
from histoscout.checks.integrity import LoadedCase
from histoscout.cohort.annotated_slide import open_labeled_slide
from histoscout.geometry.rasterize import label_map
from histoscout.recipe import SET_ASIDE, Recipe
from histoscout.sampling.augment import vary_colors
from histoscout.sampling.datasets import SampledExamples
from histoscout.sampling.sampler import PatchSampler
from histoscout.verdict import Verdict, VerdictState

PATCH_ALIGNMENT = "masks fit their images"
"""Name of the check."""

PAIRS = 192
"""Patches that are compared; more add nothing."""

MIN_PAIRS = 24
"""Patches that are needed, with tissue of some class and other tissue in them."""

MIN_FIT = 5.0
"""Standard deviations from which masks fit.

More than for slides: patches show the same lesions repeatedly, which makes chance look larger.
"""

MIN_FIT_PER_PATCH = 0.4
"""Fit for each patch that polygons along the tissue have at least."""

MIN_RELATED_FIT = 2.0
"""Fit below which nothing shows that masks and images belong together."""

MIN_GAIN = 3.0
"""A mistake is found if its correction improves the fit by this much ..."""

MIN_GAIN_FACTOR = 1.5
"""... and this many times."""

MIN_SHARE_OF_EXPECTED = 0.5
"""Share of the fit of the same patches read directly from the slides: less is a fault on the way."""

RECTANGLES = 0.41
"""Share of straight edges from which masks count as rectangles."""

MAX_SLIDES = 24
"""Slides of a cohort that are checked."""

_LOOK = "Look at some patches"


@dataclass(frozen=True, kw_only=True)
class PatchFit:
    """How well masks fit their images, as given and after the most likely correction.

    Attributes:
        given: The fit as given.
        patches: Number of patches.
        mistake: The most likely mistake; "" if none was tried.
        corrected: The fit after its correction.
    """

    given: float
    patches: int
    mistake: str = ""
    corrected: float = 0.0

    @property
    def shown(self) -> str:
        """The fit as messages show it."""
        return f"fit {self.given:.1f} over {self.patches} patches"

    @property
    def is_mistaken(self) -> bool:
        """Whether masks fit clearly better after the correction."""
        needed = max(MIN_FIT, self.given + MIN_GAIN, self.given * MIN_GAIN_FACTOR)
        return self.corrected >= needed


def check_patch_alignment(pairs: Iterable[Pair], mpp: float, straight: Iterable[Pair] = ()) -> Verdict:
    """Check that masks belong to their images, as a network receives them.

    The first `PAIRS` patches are compared. With `straight`, fewer cases stay open: loosely drawn rectangles hardly fit
    their own tissue, and lesions as large as a patch fit each other's a little.

    Args:
        pairs: Images (H, W, 3) uint8 with masks (H, W) uint8 of one size: 0 background, 1.. classes, 255 ignore.
        mpp: Resolution in um/px.
        straight: The same patches, read directly from slide and annotations.

    Returns:
        "failed" with the most likely mistake if the masks fit other images as well; "cannot tell" with too few patches.

    Example:
        >>> import numpy as np
        >>> from histoscout import check_patch_alignment
        >>> image, mask = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8)
        >>> check_patch_alignment([(image, mask)], mpp=2.0).state
        'cannot tell'
    """
    mixed = [pair for pair in islice(pairs, PAIRS) if is_mixed(pair[1])]
    direct = [pair for pair in islice(straight, PAIRS) if is_mixed(pair[1])]
    if len(direct) >= MIN_PAIRS and len(mixed) < MIN_SHARE_OF_EXPECTED * len(direct):
        return Verdict(
            name=PATCH_ALIGNMENT,
            state="failed",
            message=f"{len(mixed)} patches show a class beside other tissue; read directly from the slides, "
            f"{len(direct)} do",
            remedy=f"Something in between loses or displaces masks. {_LOOK}",
        )
    if len(mixed) < MIN_PAIRS:
        message = f"only {len(mixed)} patches show a class beside other tissue ({MIN_PAIRS} are needed)"
        return Verdict(name=PATCH_ALIGNMENT, state="cannot tell", message=message, remedy=_LOOK)
    measures = measure_patches(mixed, mpp)
    fit = PatchFit(given=patch_fit(measures.values, measures.inside), patches=len(mixed))
    expected = None
    if len(direct) >= MIN_PAIRS:
        direct_measures = measure_patches(direct, mpp)
        expected = patch_fit(direct_measures.values, direct_measures.inside)
    # Corrections are tried unless the fit is what it should be.
    if expected is None or fit.given < MIN_SHARE_OF_EXPECTED * expected:
        fits = {name: patch_fit(*corrected) for name, corrected in correct_patches(measures).items()}
        best = max(fits, key=lambda name: fits[name])
        fit = PatchFit(given=fit.given, patches=fit.patches, mistake=best, corrected=fits[best])
    rectangles = expected is None and straightness(mask for _, mask in mixed) >= RECTANGLES
    return patch_verdict(fit, expected, rectangles)


def patch_verdict(fit: PatchFit, expected: float | None = None, rectangles: bool = False) -> Verdict:
    """Decide whether masks fit their images.

    Args:
        fit: The fit as given and after the correction of the most likely mistake.
        expected: The fit of the same patches read directly from the slides; None if it is not known.
        rectangles: Whether the masks are rectangles. They hold so much other tissue that they may fit a place nearby as
            well as their own, or nothing at all.

    Returns:
        The result.
    """
    # Rectangles that seem shifted may just be loose.
    uncertain = rectangles and fit.mistake.startswith(SHIFTED)
    if fit.is_mistaken and not uncertain:
        message = f"masks seem {fit.mistake}: corrected, fit {fit.corrected:.1f} (as given: {fit.shown})"
        return _verdict("failed", message, f"{_LOOK} with their masks, and repair how masks are made or read")
    if expected is not None and expected >= MIN_FIT and fit.given < MIN_SHARE_OF_EXPECTED * expected:
        message = f"{fit.shown}, but {expected:.1f} read directly from the slides: something in between displaces masks"
        return _verdict("failed", message, _LOOK)
    # Every patch adds to the fit of polygons along the tissue. If the same few lesions are repeated, masks of a place
    # nearby fit a little, too.
    enough = MIN_FIT
    if expected is None and not rectangles:
        enough = max(MIN_FIT, MIN_FIT_PER_PATCH * fit.patches)
    if fit.given >= enough:
        return _verdict("good", f"{fit.shown}: standard deviations better than with masks of other patches")
    if expected is not None:
        message = (
            f"{fit.shown}; on the slides themselves, the classes do not differ enough from the tissue around them "
            f"({expected:.1f})"
        )
        return _verdict("cannot tell", message, _LOOK)
    if rectangles:
        message = (
            f"the masks are rectangles, which hardly follow the tissue ({fit.shown}; {enough:g} are needed)"
        )
        return _verdict("cannot tell", message, f"{_LOOK}, or run `histoscout check` on the slides")
    if fit.given >= MIN_RELATED_FIT:
        return _verdict("cannot tell", f"{fit.shown}; {enough:.1f} are needed", _LOOK)
    message = f"masks explain their own images no better than those of other patches do ({fit.shown})"
    return _verdict("failed", message, f"Are they the masks of another slide, or of a place nearby? {_LOOK}")


def _verdict(state: VerdictState, message: str, remedy: str = "") -> Verdict:
    return Verdict(name=PATCH_ALIGNMENT, state=state, message=message, remedy=remedy)


# ---------------------------------------------------------------- patches of a training or cohort


def check_training_patches(examples: SampledExamples, count: int = PAIRS) -> Verdict:
    """Check whether training patches fit as well as patches read directly from the slides.

    Args:
        examples: Training patches by number.
        count: Number of patches.

    Returns:
        The result.

    Raises:
        SlideError: If a slide cannot be read.
    """
    numbers = range(count)
    direct = (_read_directly(examples, number) for number in numbers)
    return check_patch_alignment(
        (examples[number] for number in numbers), examples.recipe.patches.mpp, direct
    )


def _read_directly(examples: SampledExamples, number: int) -> Pair:
    """A training patch read from slide and annotations without rotation.

    Its colors are varied as those of training patches, so that both show differences of tissue equally well.
    """
    recipe = examples.recipe
    patch = examples.sampler.draw(number)
    labeled = examples.slides[patch.slide]
    random = np.random.default_rng([recipe.seed, number, 2])
    picture = vary_colors(labeled.picture(patch.box, recipe.patches.mpp), recipe.augment, random)
    return picture, label_map(labeled.layers, patch.box, recipe.patches.mpp / labeled.slide.mpp)


def check_cohort_patches(cases: Sequence[LoadedCase], recipe: Recipe) -> Verdict:
    """Check whether training patches of a cohort fit their masks.

    If the recipe's positive class does not occur, the most frequent class is used instead. Of many slides, `MAX_SLIDES`
    are drawn at random, the same for the recipe's seed.

    Args:
        cases: The cases; test slides and those that cannot be read are left out.
        recipe: The recipe.

    Returns:
        The result.

    Raises:
        SlideError: If a slide cannot be read after all.
    """
    usable = [
        loaded for loaded in cases if not loaded.fault and len(loaded.regions) and loaded.case.split != "test"
    ]
    recipe = _with_present_class(usable, recipe)
    chosen = np.random.default_rng(recipe.seed).permutation(len(usable))[:MAX_SLIDES]
    slides = [open_labeled_slide(usable[number].case, recipe)[0] for number in sorted(chosen)]
    try:
        with_tissue = [slide for slide in slides if slide.tissue.mask.any()]
        if not any(slide.has_positive for slide in with_tissue):
            message = f"no annotation of {recipe.classes.positive!r} to draw patches on"
            return _verdict("cannot tell", message, "Name the class to detect with --positive")
        sampler = PatchSampler(with_tissue, recipe, {})
        return check_training_patches(SampledExamples(with_tissue, sampler, recipe))
    finally:
        for slide in slides:
            slide.slide.close()


def _with_present_class(cases: Sequence[LoadedCase], recipe: Recipe) -> Recipe:
    """The recipe; with the most frequent class as the positive one if its own does not occur."""
    counts = Counter(region.label for loaded in cases for region in loaded.regions if region.label)
    usable = {
        label: count for label, count in counts.items() if recipe.classes.canonical(label) not in SET_ASIDE
    }
    if not usable or recipe.classes.positive in map(recipe.classes.canonical, counts):
        return recipe
    positive = min(usable, key=lambda label: (-usable[label], label))
    return recipe.with_choices({"classes.positive": positive, "classes.other": (), "classes.aliases": {}})
