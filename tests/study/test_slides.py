"""The synthetic slides are shaped like the paper's, and are drawn once."""

from pathlib import Path

import numpy as np
import pytest
import shapely

from histoscout.annotations.geojson import read_geojson
from histoscout.cohort.case import Case
from histoscout.cohort.cohort import Cohort
from histoscout.errors import CohortError, OutputError, RecipeError
from histoscout.geometry.regions import Region, Regions
from histoscout.study import protocol
from histoscout.study.context import select_cases
from histoscout.study.slides import (
    SCALES,
    Mosaic,
    draw_study_cohort,
    find_bracs,
    get_scale,
    outline_as_in_bracs,
)
from tests.study.miniature import MOSAIC


def test_three_slides_of_two_patients_and_a_referee(cohort: Cohort) -> None:
    cases, referees = select_cases(cohort)
    assert [case.patient for case in cases] == ["A", "A", "B"]
    assert [case.patient for case in referees] == ["referee"]
    for case in cohort.cases:
        assert case.annotations is not None
        labels = set(read_geojson(case.annotations).regions.labels)
        assert "UDH-sure" in labels
        assert labels <= {"UDH-sure", "ADH-sure"}


def test_a_second_call_draws_nothing_and_refuses_another_size(cohort: Cohort) -> None:
    folder = Path(cohort.where).parent
    before = {path: path.stat().st_mtime_ns for path in (folder / "slides").iterdir()}
    draw_study_cohort(folder, MOSAIC)
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "slides").iterdir()}
    with pytest.raises(OutputError) as error:
        draw_study_cohort(folder, Mosaic(rows=1, columns=1, fragment=512, lesions=(1, 1, 1, 1)))
    assert error.value.where == str(folder)


def test_outlines_are_drawn_as_in_bracs() -> None:
    circles = [Region(shapely.Point(1000 * n, 500).buffer(280), "UDH") for n in range(300)]
    normal = Region(shapely.box(0, 0, 9, 9), "Normal")
    regions = outline_as_in_bracs(Regions.of([*circles, normal]), np.random.default_rng(0))
    rectangles = [region for region in regions if region.outline.area == pytest.approx(region.box.area)]
    holed = [
        region for region in regions if any(part.interiors for part in shapely.get_parts(region.outline))
    ]
    assert set(regions.labels) == {"UDH-sure"}
    assert len({region.id for region in regions}) == len(regions)
    assert 0.5 < len(rectangles) / 300 < 0.7
    assert 0.06 < len(holed) / 300 < 0.18
    # some are in two parts
    assert len(regions) > 300
    assert all(region.outline.is_valid for region in regions)


def test_quick_slides_have_about_as_many_tiles_with_lesions_as_the_papers() -> None:
    """By area: lesions 0.29 mm wide touch about 10.5 tiles of 128 um, as 36 regions touch 379 in the paper."""
    mosaic = SCALES["quick"].mosaic
    tiles = 3 * mosaic.rows * mosaic.columns * mosaic.mm2 * 1e6 / protocol.TILE_UM**2
    share = sum(mosaic.lesions[:3]) * protocol.TILES_ONE_WITH_MASK / protocol.REGIONS_ONE / tiles
    assert share == pytest.approx(protocol.TILES_WITH_MASK / protocol.TILES, rel=0.5)


@pytest.mark.parametrize("rate", [protocol.LEARNING_RATE, *protocol.OTHER_RATES])
def test_the_quick_scale_keeps_rate_times_steps(rate: float) -> None:
    quick, full = SCALES["quick"], SCALES["full"]
    steps = quick.count_steps(50, protocol.TRAINING_TILES)
    expected = rate * full.count_steps(50, protocol.TRAINING_TILES)
    assert quick.learning_rate(rate, 50, steps) * steps == pytest.approx(expected)
    assert full.learning_rate(rate, 50, 1) == rate


def test_an_unknown_scale_is_refused() -> None:
    with pytest.raises(RecipeError) as error:
        get_scale("huge")
    assert error.value.where == "--scale"
    assert "quick" in error.value.remedy


def test_bracs_slides_are_found_in_any_folder(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"BRACS_1494\.svs"):
        find_bracs(tmp_path)
    for number, name in enumerate(protocol.SLIDES):
        folder = tmp_path / "train" / f"Group_{number}" / "Type_UDH"
        folder.mkdir(parents=True)
        (folder / f"{name}.svs").touch()
        (folder / f"{name}.qpdata").touch()
    cohort = find_bracs(tmp_path)
    assert [case.patient for case in cohort.cases] == ["49", "49", "23"]
    assert all(case.annotations is not None for case in cohort.cases)


def test_the_left_out_patients_slides_come_last() -> None:
    cases = [
        Case(slide=Path(f"{name}.svs"), annotations=Path(f"{name}.json"), patient=name[0])
        for name in ("B1", "A1", "A2", "C1", "A3", "C2")
    ]
    ordered, _ = select_cases(Cohort(tuple(cases), "here"))
    assert [case.name for case in ordered] == ["A1", "A2", "C1", "A3", "C2", "B1"]
