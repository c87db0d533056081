"""Sensitivity by size."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from hypothesis import given

from histoscout.evaluation.lesions.summary import (
    EDGES_UM,
    lesions_by_size,
    size_statistic,
    strata_of,
    stratum_names,
)
from histoscout.geometry.regions import Regions
from tests.evaluation.scenes import cohorts, compared, disc, regions


def _row(radii: Sequence[float]) -> Regions:
    return regions(*(disc(500 + 1000 * number, 0, radius) for number, radius in enumerate(radii)))


def test_fixed_strata_where_they_say_something() -> None:
    slide = compared(_row([40] * 5 + [75] * 5), Regions())
    assert strata_of([slide]) == EDGES_UM
    assert lesions_by_size([slide], EDGES_UM) == {
        "under 100 um": 5,
        "100 to 200 um": 5,
        "200 to 400 um": 0,
        "400 um and more": 0,
    }


def test_thirds_where_all_lesions_fall_into_one_stratum() -> None:
    strata = strata_of([compared(_row([float(r) for r in range(10, 40)]), Regions())])
    assert strata == (39.0, 59.0)
    assert stratum_names(strata) == ["under 39 um", "39 to 59 um", "59 um and more"]


def test_none_where_there_are_too_few() -> None:
    assert strata_of([compared(_row([40.0] * 9), Regions())]) == ()
    assert stratum_names(()) == ["any size"]


def test_each_lesion_counts_in_its_stratum() -> None:
    drawn = _row([40, 40, 75, 250])
    slide = compared(drawn, drawn[1:])
    said = size_statistic([slide], [0], EDGES_UM)(np.ones(1))
    assert said == {"under 100 um": 0.5, "100 to 200 um": 1.0, "200 to 400 um": None, "400 um and more": 1.0}


def test_a_lesion_of_just_the_size_of_an_edge_is_of_the_larger_ones() -> None:
    slide = compared(_row([50]), Regions())
    exact = replace(slide, lesions=(replace(slide.lesions[0], diameter_um=100.0),))
    assert lesions_by_size([exact], EDGES_UM)["100 to 200 um"] == 1
    assert size_statistic([exact], [0], EDGES_UM)(np.ones(1))["100 to 200 um"] == 0


@given(cohorts())
def test_strata_hold_all_lesions_and_add_up_to_the_sensitivity(cohort: list[tuple[Regions, Regions]]) -> None:
    slides = [compared(*scene, 0.3) for scene in cohort]
    counts = lesions_by_size(slides, EDGES_UM)
    said = size_statistic(slides, range(len(slides)), EDGES_UM)(np.ones(len(slides)))
    found = sum((said[name] or 0) * count for name, count in counts.items())
    assert round(found, 6) == sum(len(slide.hits()) for slide in slides)
    assert sum(counts.values()) == sum(len(slide.lesions) for slide in slides)
