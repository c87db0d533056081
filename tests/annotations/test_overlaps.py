"""Annotations on top of others: lesions inside ignored areas count, and what nobody would see is named."""

from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from histoscout.annotations.geojson import write_geojson
from histoscout.annotations.overlaps import describe_overlaps, find_hidden, lift_lesions
from histoscout.annotations.write import MaskCanvas, write_annotations
from histoscout.cohort.annotated_slide import labeled_regions
from histoscout.cohort.case import Case
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions
from histoscout.recipe_sections import ClassConfig

BOX = Box(0, 0, 100, 100)
UDH = ClassConfig(positive="UDH", other=("ADH",))


def square(label: str, x: float = 10, y: float = 10, side: float = 20) -> Region:
    return Region(shapely.box(x, y, x + side, y + side), label)


def labeled(folder: Path, *regions: Region, classes: ClassConfig = UDH) -> tuple[Regions, str]:
    """Annotations as a training reads them, and their notes."""
    write_geojson(Regions.of(regions), folder / "a.geojson")
    annotations = labeled_regions(Case(folder / "a.tif", folder / "a.geojson"), classes, BOX)
    return annotations.regions, "; ".join(annotations.notes)


@given(
    st.lists(st.tuples(st.integers(0, 80), st.integers(0, 80), st.integers(2, 30)), min_size=1, max_size=6),
    st.booleans(),
)
def test_a_lesion_inside_an_ignored_area_counts_whole_in_any_order(
    places: list[tuple[int, int, int]], area_first: bool
) -> None:
    lesions = [square("UDH", x, y, side) for x, y, side in places]
    area = square("Region*", -10, -10, 130)
    regions = Regions.of([area, *lesions] if area_first else [*lesions, area])
    lifted, inside = lift_lesions(regions, ["UDH"], ["Region*"])
    assert len(inside) == len(lesions)
    (rest,) = lifted.with_labels("Region*")
    union = shapely.union_all([lesion.outline for lesion in lesions])
    assert rest.outline.intersection(union).area == pytest.approx(0, abs=1e-6)
    assert rest.outline.area == pytest.approx(area.outline.area - union.area)


@pytest.mark.parametrize(
    "ignored",
    [square("Ignore*", 15, 15, 5), square("Ignore*"), square("Ignore*", 12, 12, 40), square("Ignore*", 60)],
)
def test_what_is_ignored_in_a_lesion_beside_it_or_instead_of_it_stays(ignored: Region) -> None:
    regions = Regions.of([square("UDH"), ignored])
    lifted, inside = lift_lesions(regions, ["UDH"], ["Ignore*"])
    assert (lifted, len(inside)) == (regions, 0)


def test_hidden_outlines() -> None:
    beneath, left, right = square("ADH"), square("UDH", 10, 10, 20), square("UDH", 60)
    assert find_hidden([(beneath, 2), (left, 1), (right, 1)]) == [(beneath, False)]
    assert find_hidden([(left, 1), (beneath, 2), (right, 1)]) == [(left, False)]
    assert find_hidden([(beneath, 1), (left, 1)]) == []
    assert find_hidden([(beneath, 1), (square("Ignore*", 0, 0, 90), 255)]) == [(beneath, True)]
    # two that cover a half each, and two that cover the same half
    halves = [(Region(shapely.box(x, 0, x + 10, 40), ""), 3) for x in (10, 20)]
    assert find_hidden([(beneath, 2), *halves]) == [(beneath, False)]
    assert find_hidden([(beneath, 2), halves[0], halves[0]]) == []


def test_a_training_counts_lesions_inside_ignored_areas_and_names_hidden_ones(tmp_path: Path) -> None:
    regions, notes = labeled(
        tmp_path,
        square("Region*", 0, 0, 50),
        square("UDH"),
        square("UDH", 60),
        square("Ignore*", 60),
        square("Stroma", 35, 35, 5),
    )
    assert len(regions.with_labels("UDH")) == 2
    assert "inside ignored areas, which count all the same: UDH (1)" in notes
    assert "hidden completely by ignored areas: Stroma (1), UDH (1)" in notes
    regions, notes = labeled(tmp_path, square("ADH", 12, 12, 5), square("UDH"))
    assert "hidden completely by outlines of another class: ADH (1)" in notes


def test_without_overlaps_there_is_no_note(tmp_path: Path) -> None:
    regions, notes = labeled(tmp_path, square("UDH"), square("ADH", 60), square("Ignore*", 10, 60))
    assert (len(regions), notes) == (3, "")


def test_before_the_classes_are_known_every_named_one_may_be_a_lesion() -> None:
    regions = Regions.of([square("Region*", 0, 0, 50), square("tumor"), square("", 35, 35, 5)])
    first, second = describe_overlaps(regions, ClassConfig())
    assert "count all the same: tumor (1)" in first
    assert "unclassified (1)" in second


@pytest.mark.parametrize("order", [1, -1])
def test_in_a_mask_a_lesion_counts_inside_ignored_and_unclassified_areas(tmp_path: Path, order: int) -> None:
    regions = Regions.of(
        [square("", 0, 0, 50), square("UDH"), square("Region*", 50, 50, 50), square("UDH", 60, 60)][::order]
    )
    canvas = MaskCanvas(width=100, height=100)
    notes = " ".join(write_annotations(regions, tmp_path / "a.png", canvas))
    mask = np.asarray(Image.open(tmp_path / "a.png"))
    udh = mask[20, 20]
    assert udh not in (0, 255, mask[5, 5])
    assert (mask[70, 70], mask[55, 55]) == (udh, 255)
    assert "count all the same: UDH (1)" in notes
    assert "hidden" not in notes


def test_a_class_that_a_later_one_hides_in_a_mask_is_named(tmp_path: Path) -> None:
    regions = Regions.of([square("ADH", 12, 12, 5), square("UDH")])
    notes = " ".join(write_annotations(regions, tmp_path / "a.tif", MaskCanvas(width=100, height=100)))
    assert "hidden completely by outlines of another class: ADH (1)" in notes
