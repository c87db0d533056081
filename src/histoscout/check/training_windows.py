"""The test at the network's door, before there is a network: windows drawn from a cohort just as training will draw them."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from histoscout.check.door import NAME, fits_in_training
from histoscout.check.readable import Read
from histoscout.detection.labelled import open_labelled
from histoscout.recipe import SET_ASIDE, Recipe
from histoscout.verdict import Verdict
from histoscout.windows.examples import SampledExamples
from histoscout.windows.sampler import WindowSampler

MOST_SLIDES = 24


def windows_fit(reads: Sequence[Read], recipe: Recipe) -> Verdict:
    """Whether training windows of these slides fit their masks; test slides, and those that cannot be read, left out.

    If the recipe's positive class does not occur, the commonest class stands for it. Of many slides some are drawn,
    the same for the recipe's seed. Raises SlideError where a slide breaks after all.
    """
    usable = [one for one in reads if not one.fault and len(one.regions) and one.case.split != "test"]
    recipe = _with_a_class(usable, recipe)
    chosen = np.random.default_rng(recipe.seed).permutation(len(usable))[:MOST_SLIDES]
    slides = [open_labelled(usable[number].case, recipe)[0] for number in sorted(chosen)]
    try:
        seen = [slide for slide in slides if slide.tissue.mask.any()]
        if not any(slide.has_positive for slide in seen):
            says = f"no outline of {recipe.classes.positive!r} to draw windows on"
            return Verdict(NAME, "cannot tell", says, "Name the class to look for with --positive")
        return fits_in_training(SampledExamples(seen, WindowSampler(seen, recipe, {}), recipe))
    finally:
        for slide in slides:
            slide.slide.close()


def _with_a_class(reads: Sequence[Read], recipe: Recipe) -> Recipe:
    counts = Counter(region.label for one in reads for region in one.regions if region.label)
    known = Counter(
        {label: n for label, n in counts.items() if recipe.classes.canonical(label) not in SET_ASIDE}
    )
    if not known or recipe.classes.positive in map(recipe.classes.canonical, counts):
        return recipe
    stand_in = min(known, key=lambda label: (-known[label], label))
    return recipe.with_choices({"classes.positive": stand_in, "classes.other": (), "classes.aliases": {}})
