"""The built-in slides are shaped like the paper's, and are drawn once."""

from pathlib import Path

import numpy as np
import pytest
import shapely

from histoscout.annotations.geojson import read_geojson
from histoscout.cohort.case import Case
from histoscout.cohort.cohort import Cohort
from histoscout.errors import CohortError, OutputError
from histoscout.geometry.regions import Region, Regions
from histoscout.study import protocol
from histoscout.study.bench import study_cases
from histoscout.study.slides import SCALES, Mosaic, as_in_bracs, bracs, built_in
from tests.study.miniature import MOSAIC


def test_three_slides_of_two_patients_and_a_referee(cohort: Cohort) -> None:
    cases, referees = study_cases(cohort)
    assert [case.patient for case in cases] == ["A", "A", "B"]
    assert [case.patient for case in referees] == ["referee"]
    for case in cohort.cases:
        assert case.annotations is not None
        labels = set(read_geojson(case.annotations).regions.labels)
        assert "UDH-sure" in labels
        assert labels <= {"UDH-sure", "ADH-sure"}


def test_a_second_call_draws_nothing_and_another_size_is_refused(cohort: Cohort) -> None:
    folder = Path(cohort.where).parent
    before = {path: path.stat().st_mtime_ns for path in (folder / "slides").iterdir()}
    built_in(folder, MOSAIC)
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "slides").iterdir()}
    with pytest.raises(OutputError, match="another version or size"):
        built_in(folder, Mosaic(1, 1, 512, (1, 1, 1, 1)))


def test_outlines_are_drawn_as_in_bracs() -> None:
    circles = [Region(shapely.Point(1000 * n, 500).buffer(280), "UDH") for n in range(300)]
    drawn = as_in_bracs(
        Regions.of([*circles, Region(shapely.box(0, 0, 9, 9), "Normal")]), np.random.default_rng(0)
    )
    rectangles = [one for one in drawn if one.outline.area == pytest.approx(one.box.area)]
    holed = [one for one in drawn if any(part.interiors for part in shapely.get_parts(one.outline))]
    assert set(drawn.labels) == {"UDH-sure"}
    assert len({region.id for region in drawn}) == len(drawn)
    assert 0.5 < len(rectangles) / 300 < 0.7
    assert 0.06 < len(holed) / 300 < 0.18
    assert len(drawn) > 300  # some are in two parts
    assert all(region.outline.is_valid for region in drawn)


def test_quick_slides_have_about_as_many_tiles_with_lesions_as_the_papers() -> None:
    """By area: lesions 0.29 mm wide touch about 10.5 tiles of 128 um, as 36 regions touch 379 in the paper."""
    mosaic = SCALES["quick"].mosaic
    tiles = 3 * mosaic.rows * mosaic.columns * mosaic.mm2 * 1e6 / protocol.SIDE_UM**2
    share = sum(mosaic.lesions[:3]) * protocol.TILES_ONE_WITH_MASK / protocol.REGIONS_ONE / tiles
    assert share == pytest.approx(protocol.TILES_WITH_MASK / protocol.TILES, rel=0.5)


def test_bracs_is_found_wherever_it_lies_and_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"BRACS_1494\.svs"):
        bracs(tmp_path)
    for number, name in enumerate(protocol.SLIDES):
        folder = tmp_path / "train" / f"Group_{number}" / "Type_UDH"
        folder.mkdir(parents=True)
        (folder / f"{name}.svs").touch()
        (folder / f"{name}.qpdata").touch()
    found = bracs(tmp_path)
    assert [case.patient for case in found.cases] == ["49", "49", "23"]
    assert all(case.annotations is not None for case in found.cases)


def test_the_left_out_patients_slides_come_last() -> None:
    slides = [
        Case(Path(f"{name}.svs"), Path(f"{name}.json"), name[0])
        for name in ("B1", "A1", "A2", "C1", "A3", "C2")
    ]
    cases, _ = study_cases(Cohort(tuple(slides), "here"))
    assert [case.name for case in cases] == ["A1", "A2", "C1", "A3", "C2", "B1"]
