"""Small slides to be judged: a few discs drawn, something found, tissue all over or on a part."""

from collections.abc import Sequence

import numpy as np
import shapely
from hypothesis import strategies as st
from numpy.typing import NDArray

from histoscout.detection.heatmap import Heatmap
from histoscout.evaluation.reference import Ground
from histoscout.evaluation.regions import ComparedSlide
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions
from histoscout.recipe import Recipe
from histoscout.tissue.mask import all_of

SIDE, MPP = 256, 2.0
BOX = Box(0, 0, SIDE, SIDE)
RECIPE = Recipe.from_dict(
    {"patches": {"mpp": 4.0, "size_um": 128.0}, "classes": {"positive": "UDH", "other": ["ADH"]}}
)

Place = tuple[int, int, int]


def discs(places: Sequence[Place], label: str = "UDH") -> Regions:
    return Regions.of(Region(shapely.Point(x, y).buffer(r), label) for x, y, r in places)


PLACES = st.lists(
    st.tuples(st.integers(30, SIDE - 30), st.integers(30, SIDE - 30), st.integers(6, 25)), max_size=5
)


@st.composite
def compared(draw: st.DrawFn, name: str) -> ComparedSlide:
    """A slide with lesions, look-alikes, areas to ignore, and findings of any kind."""
    drawn = [*discs(draw(PLACES)), *discs(draw(PLACES), "ADH"), *discs(draw(PLACES)[:1], "unsure")]
    found = discs(draw(PLACES))
    patient = draw(st.sampled_from(["a", "b", "c", name]))
    return ComparedSlide(name, Regions.of(drawn), found, BOX, MPP, patient)


COHORTS = st.integers(1, 4).flatmap(
    lambda count: st.tuples(*(compared(f"slide {number}") for number in range(count)))
)


def ground(regions: Regions, name: str = "slide", patient: str = "patient", box: Box = BOX) -> Ground:
    return Ground(name, patient, regions, all_of(box, MPP, RECIPE.tissue.mpp), MPP, RECIPE)


def heatmap(values: NDArray[np.uint8], box: Box = BOX, mpp: float = RECIPE.patches.mpp) -> Heatmap:
    """A heatmap of the positive class, uint8 (H, W), over a box."""
    return Heatmap(box, mpp, MPP, "slide", ("UDH", "ADH"), np.stack([values, 255 - values]), values.size)
