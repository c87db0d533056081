"""Small slides to be scored: a few annotated discs, detections, and tissue."""

from collections.abc import Sequence

import numpy as np
import shapely
from hypothesis import strategies as st
from numpy.typing import NDArray

from histoscout.detection.heatmap import Heatmap
from histoscout.evaluation.reference import Reference
from histoscout.evaluation.regions import SlideComparison
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions
from histoscout.recipe import Recipe
from histoscout.tissue.mask import full_tissue

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
def comparisons(draw: st.DrawFn, name: str) -> SlideComparison:
    """A slide with lesions, look-alikes, areas to ignore, and detections of any kind."""
    truth = [*discs(draw(PLACES)), *discs(draw(PLACES), "ADH"), *discs(draw(PLACES)[:1], "unsure")]
    detected = discs(draw(PLACES))
    patient = draw(st.sampled_from(["a", "b", "c", name]))
    return SlideComparison(
        name=name, truth=Regions.of(truth), detected=detected, box=BOX, mpp=MPP, patient=patient
    )


COHORTS = st.integers(1, 4).flatmap(
    lambda count: st.tuples(*(comparisons(f"slide {number}") for number in range(count)))
)


def reference(regions: Regions, name: str = "slide", patient: str = "patient", box: Box = BOX) -> Reference:
    return Reference(
        name=name,
        patient=patient,
        regions=regions,
        tissue=full_tissue(box, MPP, RECIPE.tissue.mpp),
        mpp=MPP,
        recipe=RECIPE,
    )


def comparison(truth: Regions, detected: Regions, name: str = "slide") -> SlideComparison:
    return SlideComparison(name=name, truth=truth, detected=detected, box=BOX, mpp=MPP)


def heatmap(values: NDArray[np.uint8], box: Box = BOX, mpp: float = RECIPE.patches.mpp) -> Heatmap:
    """A heatmap of the positive class, uint8 (H, W), over a box."""
    return Heatmap(
        box=box,
        mpp=mpp,
        slide_mpp=MPP,
        slide_name="slide",
        labels=("UDH", "ADH"),
        values=np.stack([values, 255 - values]),
        windows=values.size,
    )
