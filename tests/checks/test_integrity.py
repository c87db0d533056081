"""Unreadable files are reported slide by slide; implausible annotations and scales are noted."""

from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from histoscout.annotations.geojson import write_geojson
from histoscout.checks.integrity import (
    LoadedCase,
    check_annotations,
    check_classes,
    check_readable,
    count_classes,
    describe_odd_annotations,
    find_duplicate_annotations,
    load_case,
)
from histoscout.cohort.case import Case
from histoscout.geometry.regions import Region, Regions
from histoscout.recipe_sections import ClassConfig
from histoscout.slides.image_reader import slide_from_array
from histoscout.slides.pyramid import write_pyramid
from tests import toy

SLIDE = slide_from_array(np.full((400, 400, 3), 200, np.uint8), 0.5)


def circle(x: float, y: float, radius: float = 20, label: str = "UDH") -> Region:
    return Region(shapely.Point(x, y).buffer(radius), label)


def read(*regions: Region, name: str = "a", patient: str = "p") -> LoadedCase:
    return LoadedCase(
        case=Case(Path(f"{name}.svs"), Path(f"{name}.geojson"), patient), mpp=0.5, regions=Regions(regions)
    )


@pytest.fixture
def case(tmp_path: Path) -> Case:
    pixels, regions = toy.draw(0)
    write_pyramid(tmp_path / "a.tif", pixels, 0.5)
    write_geojson(regions, tmp_path / "a.geojson")
    return Case(tmp_path / "a.tif", tmp_path / "a.geojson")


def test_a_sound_case(case: Case) -> None:
    found = load_case(case)
    assert (found.fault, found.odd, found.mpp, len(found.regions)) == ("", (), 0.5, 8)


def test_a_broken_slide_is_a_fault_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "b.svs").write_text("nothing")
    assert "b.svs" in load_case(Case(tmp_path / "b.svs")).fault


def test_broken_annotations_are_a_fault_and_no_error(case: Case) -> None:
    assert case.annotations is not None
    case.annotations.write_text("{")
    assert "a.geojson" in load_case(case).fault


def test_an_unusual_scale_is_odd(tmp_path: Path) -> None:
    write_pyramid(tmp_path / "a.tif", toy.draw(0)[0], 8.0)
    assert "unusual" in load_case(Case(tmp_path / "a.tif")).odd[0]


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        ([circle(900, 900), circle(100, 100)], "1 of 2 annotations outside"),
        ([circle(5, 100)], "1 of 1 annotation beyond"),
        ([circle(100, 100, 3)], "1 annotation smaller than a nucleus"),
        ([circle(100, 100), circle(100.1, 100)], "1 annotation drawn twice"),
        ([circle(100, 100), circle(100, 100, label="ADH")], "with different classes"),
    ],
)
def test_odd_annotations(regions: list[Region], message: str) -> None:
    (sentence,) = describe_odd_annotations(Regions.of(regions), SLIDE)
    assert message in sentence


def test_annotations_that_touch_or_contain_each_other_are_not_odd() -> None:
    assert not list(
        describe_odd_annotations(Regions((circle(100, 100), circle(140, 100), circle(100, 100, 50))), SLIDE)
    )
    assert not list(describe_odd_annotations(Regions(), SLIDE))


@given(order=st.permutations(range(4)))
def test_duplicates_are_found_in_any_order(order: list[int]) -> None:
    regions = [circle(100, 100), circle(100, 100), circle(200, 100), circle(300, 100)]
    pairs = find_duplicate_annotations(Regions.of(regions[place] for place in order))
    assert [tuple(sorted(order[place] for place in pair)) for pair in pairs] == [(0, 1)]


def test_classes_by_slide_and_patient() -> None:
    rows = count_classes(
        [read(circle(0, 0), circle(90, 0), circle(9, 9, label="ADH")), read(circle(0, 0), name="b")]
    )
    assert [(row.label, row.slide, row.annotations) for row in rows] == [
        ("ADH", "a", 1),
        ("UDH", "a", 2),
        ("UDH", "b", 1),
    ]
    assert rows[0].area_mm2 == pytest.approx(np.pi * 100 * 1e-6, rel=0.01)


def test_verdict_on_readable_files() -> None:
    bare = LoadedCase(case=Case(Path("c.svs")), mpp=0.5)
    broken = LoadedCase(case=Case(Path("d.svs")), fault="d.svs: is broken")
    assert check_readable([read(circle(0, 0))]).state == "good"
    assert check_readable([read(circle(0, 0)), bare]).state == "warning"
    # an empty file says that the slide holds no lesion
    assert check_readable([read(), read(circle(0, 0))]).state == "good"
    assert check_readable([bare]).state == "failed"
    verdict = check_readable([read(circle(0, 0)), broken])
    assert verdict.state == "failed"
    assert "1 of 2 slides: d.svs: is broken" in verdict.message


def test_verdict_on_odd_annotations() -> None:
    assert check_annotations([read()]).state == "good"
    odd = LoadedCase(case=Case(Path("a.svs")), mpp=0.5, odd=("1 annotation is tiny",))
    assert "a: 1 annotation is tiny" in check_annotations([odd]).message


def test_verdict_on_classes() -> None:
    classes = ClassConfig(positive="UDH")
    assert check_classes([read()], classes, True).state == "cannot tell"
    assert check_classes([read(circle(0, 0))], classes, True).state == "good"
    assert check_classes([read(circle(0, 0, label="ADH"))], classes, True).state == "failed"
    assert check_classes([read(circle(0, 0, label="ADH"))], classes, False).state == "warning"
    slip = check_classes([read(circle(0, 0), circle(1, 1), circle(2, 2, label="UHD"))], classes, True)
    assert (slip.state, "'UHD' beside 'UDH'" in slip.message) == ("warning", True)
    same = check_classes([read(circle(0, 0), circle(1, 1, label="udh"))], classes, True)
    assert (same.state, "'UDH' = 'udh'" in same.message) == ("good", True)
