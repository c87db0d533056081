"""Outlines and the image they were drawn on: compared with the slide, and its scale used where the slide has none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from shapely.geometry import box

from histoscout.annotations.read import Annotations, ImageMetadata
from histoscout.cohort.annotated_slide import labeled_regions
from histoscout.cohort.case import Case, open_case, to_shown_frame
from histoscout.errors import AnnotationError, MppMissingError
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions
from histoscout.recipe_sections import ClassConfig
from histoscout.slides.image_reader import ArraySource
from histoscout.slides.pyramid import write_pyramid
from histoscout.slides.slide import Slide, SlideMetadata
from tests.annotations import qpdata_writer as write
from tests.annotations.qpdata_writer import DataFile, QupathObject

PATH = Path("a.qpdata")


def slide(name: str = "a.svs", bounds: Box | None = None, mpp: float = 0.5) -> Slide:
    """A slide of 60 x 40 px, or the part of it that was scanned."""
    pixels = np.full((40, 60, 3), 255, np.uint8)
    return Slide(ArraySource([pixels], mpp), SlideMetadata(name="a", mpp=mpp, path=Path(name), bounds=bounds))


def drawn(image: ImageMetadata | None) -> Annotations:
    return Annotations(Regions.of([Region(box(25, 15, 35, 25), "UDH", id="a")]), ("a note",), image)


@pytest.mark.parametrize(
    "image",
    [
        None,
        ImageMetadata(),
        ImageMetadata(name="a.svs", width=60, height=40, mpp=0.5),
        ImageMetadata(name="A.ndpi", width=61, height=39),
    ],
)
def test_the_very_image_gives_no_word(image: ImageMetadata | None) -> None:
    assert to_shown_frame(drawn(image), PATH, slide()) == drawn(image)


@pytest.mark.parametrize("name", ["b.svs", "aa.svs"])
def test_another_name_is_noted(name: str) -> None:
    notes = to_shown_frame(drawn(ImageMetadata(name=name)), PATH, slide()).notes
    assert notes == ("a note", f"drawn on an image called {name}, not a.svs; is it the right slide?")


@pytest.mark.parametrize("name", ["a.svs", "A", "a.jpg"])
def test_a_suffix_more_or_less_is_the_same_name(name: str) -> None:
    assert to_shown_frame(drawn(ImageMetadata(name=name)), PATH, slide("a.svs")).notes == ("a note",)
    assert to_shown_frame(drawn(ImageMetadata(name="a.jpg")), PATH, slide("a.jpg.tif")).notes == ("a note",)


def test_another_scale_is_noted() -> None:
    (_, note) = to_shown_frame(drawn(ImageMetadata(mpp=0.25)), PATH, slide()).notes
    assert note == "drawn at 0.25 um/px, but the slide has 0.5, which is used"


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((120, 80), "copy of it 2 times as small"),
        ((30, 20), "copy of it 2 times as large"),
        ((60, 60), "annotated.$"),
    ],
)
def test_another_size_is_refused(size: tuple[int, int], expected: str) -> None:
    with pytest.raises(
        AnnotationError,
        match=rf"a\.qpdata: the annotations were drawn on an image of .* but its slide .*{expected}",
    ):
        to_shown_frame(drawn(ImageMetadata(name="a.svs", width=size[0], height=size[1])), PATH, slide())
    with pytest.raises(AnnotationError, match="drawn on"):
        to_shown_frame(
            drawn(ImageMetadata(name="a.svs", width=size[0], height=size[1])), PATH, Box(0, 0, 60, 40)
        )


def test_annotations_on_the_whole_scan_are_moved_to_the_part_that_is_the_slide() -> None:
    part = slide(bounds=Box(20, 10, 30, 25))
    found = to_shown_frame(drawn(ImageMetadata(name="a.svs", width=60, height=40)), PATH, part)
    assert found.regions[0].outline.bounds == (5, 5, 15, 15)
    assert (
        found.notes[1]
        == "drawn on the whole scan, of which the slide is the part from 20, 10: taken into account"
    )
    assert to_shown_frame(drawn(ImageMetadata(name="a.svs", width=30, height=25)), PATH, part) == drawn(
        ImageMetadata(name="a.svs", width=30, height=25)
    )


# ---------------------------------------------------------------- through files


def case(folder: Path, **metadata: Any) -> Case:
    """A slide that does not say its scale, with outlines of QuPath beside it."""
    tifffile.imwrite(folder / "a.tif", np.full((40, 60, 3), 255, np.uint8), photometric="rgb")
    server = {
        "builderType": "uri",
        "uri": "file:/x/a.tif",
        "metadata": {"width": 60, "height": 40, **metadata},
    }
    roi = write.corners_roi("RectangleROI", 5, 5, 15, 15)
    (folder / "a.qpdata").write_bytes(
        bytes(DataFile([QupathObject(roi, write.path_class("UDH"))], server=server))
    )
    return Case(folder / "a.tif", folder / "a.qpdata")


def calibrated(mpp: float) -> dict[str, Any]:
    return {side: {"value": mpp, "unit": "µm"} for side in ("pixelWidth", "pixelHeight")}


def test_the_scale_of_the_annotations_is_used_where_the_slide_has_none(tmp_path: Path) -> None:
    found = case(tmp_path, pixelCalibration=calibrated(0.25))
    with open_case(found) as opened:
        assert (opened.mpp, opened.mpp_source) == (0.25, "annotations")
    with open_case(Case(found.slide, found.annotations, mpp=0.5)) as opened:
        assert (opened.mpp, opened.mpp_source) == (0.5, "cohort")


def test_without_any_scale_the_slide_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MppMissingError):
        open_case(case(tmp_path))
    with pytest.raises(MppMissingError):
        open_case(Case(case(tmp_path).slide))


def test_annotations_of_another_image_are_refused_in_a_cohort(tmp_path: Path) -> None:
    found = case(tmp_path, pixelCalibration=calibrated(0.25))
    classes = ClassConfig(positive="UDH")
    with open_case(found) as opened:
        read = labeled_regions(found, classes, opened)
        assert [region.label for region in read.regions] == ["UDH"]
        assert read.notes == ()
        other = case(tmp_path, width=600, height=400)
        with pytest.raises(
            AnnotationError, match=r"a\.qpdata: the annotations were drawn on an image of 600 x 400 px"
        ):
            labeled_regions(other, classes, opened)


def test_a_scale_that_was_corrected_in_qupath_wins_for_an_image_of_that_size(tmp_path: Path) -> None:
    found = case(tmp_path, pixelCalibration=calibrated(0.25))
    write_pyramid(found.slide, np.full((40, 60, 3), 200, np.uint8), 0.5)
    with open_case(found) as opened:
        assert (opened.mpp, opened.mpp_source) == (0.25, "qupath")
        assert any("0.25" in note for note in opened.notes)
    write_pyramid(found.slide, np.full((160, 60, 3), 200, np.uint8), 0.5)
    with open_case(found) as opened:
        assert (opened.mpp, opened.mpp_source) == (0.5, "metadata")
