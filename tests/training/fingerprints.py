"""Strategies of fingerprints: whatever a cohort may be like, and machines of all sizes."""

from typing import Any

from hypothesis import strategies as st

from histoscout.recipe_sections import plain
from histoscout.training.planning.fingerprint import (
    ClassStatistics,
    CohortFingerprint,
    Machine,
    Quantiles,
    SlideScale,
    StainStatistics,
)

NAMES = st.one_of(
    st.sampled_from(
        ["UDH", "ADH", "udh-sure", "UDH unsure", "DCIS [low]", "*", "tissue", "grade 1", "grade 2"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)


def quantiles(least: float, most: float) -> st.SearchStrategy[Quantiles]:
    three = st.lists(st.floats(least, most), min_size=3, max_size=3).map(sorted)
    return three.map(lambda values: Quantiles(*values))


@st.composite
def classes(draw: st.DrawFn, name: str) -> ClassStatistics:
    size = draw(quantiles(0.05, 60_000))
    counts = {which: draw(st.integers(1, 500)) for which in ("regions", "patients", "slides")}
    return ClassStatistics(
        name=name,
        **counts,
        area_mm2=1.0,
        diameter_um=size,
        extent_um=size,
        contained_share=draw(st.floats(0, 1)),
    )


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    memory = draw(st.none() | st.floats(0.5, 2000))
    device: Any = draw(st.sampled_from(["cpu", "cuda", "mps"]))
    return Machine(
        cores=draw(st.integers(1, 256)),
        memory_gb=memory,
        device=device,
        gpu_memory_gb=memory if device == "cuda" else None,
        bf16=draw(st.booleans()),
    )


@st.composite
def fingerprints(draw: st.DrawFn) -> CohortFingerprint:
    names = draw(st.lists(NAMES, min_size=1, max_size=20, unique_by=plain))
    scales = st.builds(
        SlideScale,
        name=st.just("a"),
        mpp=st.floats(0.05, 50),
        source=st.just("metadata"),
        shorter_um=st.floats(10, 200_000),
    )
    dyes = quantiles(0, 2)
    return CohortFingerprint(
        patients=draw(st.integers(1, 400)),
        slides=tuple(draw(st.lists(scales, min_size=1, max_size=5))),
        classes=tuple(draw(classes(name)) for name in names),
        machine=draw(machines()),
        sampled_slides=draw(st.integers(1, 40)),
        tissue_mm2=draw(st.floats(0, 3000)),
        annotated_share=draw(st.floats(0, 1)),
        stain=draw(st.none() | st.builds(StainStatistics, st.integers(1, 40), dyes, dyes)),
        without_annotations=draw(st.integers(0, 9)),
        test_slides=draw(st.integers(0, 9)),
        tuned_by_table=draw(st.booleans()),
        built_in=draw(st.booleans()),
    )
