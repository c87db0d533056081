"""Annotations from one format to another: what is kept, what is noted, and folders."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
import tifffile
from PIL import Image

import histoscout as hs
from histoscout.annotations.geojson import write_geojson
from histoscout.annotations.read import Annotations, read_annotations, to_file_frame, to_slide_frame
from histoscout.annotations.write import WRITERS
from histoscout.conversion import ConvertOptions, convert
from histoscout.errors import AnnotationError, OutputError, SlideError
from histoscout.geometry.regions import Region, Regions
from histoscout.slides.pyramid import write_pyramid

SQUARE = Regions.of([Region(shapely.box(4, 4, 24, 24), "UDH", id="a")])


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "slide.geojson"
    write_geojson(SQUARE, path)
    return path


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    path = tmp_path / "slides" / "slide.tif"
    path.parent.mkdir()
    write_pyramid(path, np.full((40, 60, 3), 200, np.uint8), 0.5)
    return path


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_keeps_polygon_and_label(
    tmp_path: Path, annotations: Path, slide: Path, suffix: str
) -> None:
    there, back = tmp_path / f"there{suffix}", tmp_path / "back.geojson"
    options = ConvertOptions(slide=slide)
    (row,) = hs.convert(annotations, there, options)
    assert (row.source, row.target, row.regions, row.fault) == (annotations, there, 1, "")
    convert(there, back, options)
    (region,) = read_annotations(back).regions
    assert region.outline.equals(SQUARE[0].outline)
    assert region.label == "UDH"


def test_a_mask_at_another_resolution(tmp_path: Path, annotations: Path, slide: Path) -> None:
    path = tmp_path / "mask.tif"
    convert(annotations, path, ConvertOptions(slide=slide.parent, mpp=1.0))
    values = tifffile.imread(path)
    assert values.shape == (20, 30)
    assert int(values.sum()) == 100
    (row,) = convert(path, tmp_path / "a.geojson", ConvertOptions(slide=slide))
    assert row.notes == ()
    assert read_annotations(row.target).regions[0].outline.equals(SQUARE[0].outline)


def test_a_mask_by_slide_size_alone(tmp_path: Path, annotations: Path) -> None:
    path = tmp_path / "mask.png"
    with pytest.raises(OutputError, match="mask"):
        convert(annotations, path)
    with pytest.raises(OutputError, match="um/px"):
        convert(annotations, path, ConvertOptions(size=(60, 40), mpp=2.0))
    (row,) = convert(
        annotations, path, ConvertOptions(size=(60, 40), slide_mpp=1.0, mpp=2.0, values=((9, "UDH"),))
    )
    (note,) = row.notes
    assert "9 = UDH" in note
    assert np.asarray(Image.open(path)).shape == (20, 30)


def test_a_foreign_mask_has_the_resolution_of_the_slide_unless_its_slide_is_given(
    tmp_path: Path, slide: Path
) -> None:
    path = tmp_path / "mask.png"
    Image.fromarray(np.pad(np.ones((4, 4), np.uint8), ((0, 16), (0, 26)))).save(path)
    (row,) = convert(path, tmp_path / "a.geojson", ConvertOptions(values=((1, "UDH"),)))
    assert len(row.notes) == 1
    assert read_annotations(row.target).regions[0].outline.area == 16
    convert(path, tmp_path / "b.geojson", ConvertOptions(slide=slide, values=((1, "UDH"),)))
    (region,) = read_annotations(tmp_path / "b.geojson").regions
    assert (region.label, region.outline.area) == ("UDH", 64)


def test_several_values_may_be_one_class_only_in_masks_that_are_read(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    pixels = np.zeros((8, 8), np.uint8)
    pixels[:2], pixels[4:6] = 1, 2
    Image.fromarray(pixels).save(path)
    values = ConvertOptions(values=((1, "UDH"), (2, "udh"), (3, "UDH")), size=(8, 8))
    (row,) = convert(path, tmp_path / "a.geojson", values)
    assert [region.label for region in read_annotations(row.target).regions] == ["UDH", "udh"]
    (note,) = row.notes
    assert "3 (UDH)" in note
    with pytest.raises(OutputError, match="1=UDH, 2=udh, 3=UDH"):
        convert(row.target, tmp_path / "again.png", values)


def test_class_names_are_matched_without_case_and_spaces(tmp_path: Path, annotations: Path) -> None:
    path = tmp_path / "mask.png"
    convert(annotations, path, ConvertOptions(values=((7, "udh "),), size=(60, 40)))
    assert int(np.asarray(Image.open(path)).max()) == 7
    (row,) = convert(annotations, tmp_path / "none.png", ConvertOptions(values=((7, "ADH"),), size=(60, 40)))
    assert "UDH" in row.notes[-1]
    assert not np.asarray(Image.open(row.target)).any()


def test_detections_and_cells_are_left_out_by_default(tmp_path: Path) -> None:
    cell = replace(SQUARE[0], id="b", properties={"objectType": "cell"})
    write_geojson(Regions((*SQUARE, cell)), tmp_path / "in.geojson")
    (row,) = convert(tmp_path / "in.geojson", tmp_path / "out.xml")
    assert row.regions == 1
    (note,) = row.notes
    assert "--all" in note
    (row,) = convert(tmp_path / "in.geojson", tmp_path / "all.xml", ConvertOptions(everything=True))
    assert row.regions == 2


def test_nothing_is_overwritten_by_default(tmp_path: Path, annotations: Path) -> None:
    path = tmp_path / "there.xml"
    path.write_text("mine")
    with pytest.raises(OutputError, match=r"there\.xml"):
        convert(annotations, path)
    assert path.read_text() == "mine"
    convert(annotations, path, ConvertOptions(overwrite=True))
    assert path.read_text() != "mine"


def test_an_unknown_target_format_raises_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "damaged.geojson").write_text("{")
    with pytest.raises(OutputError, match=r"a\.docx"):
        convert(tmp_path / "damaged.geojson", tmp_path / "a.docx")
    with pytest.raises(AnnotationError, match="damaged"):
        convert(tmp_path / "damaged.geojson", tmp_path / "a.xml")


# ---------------------------------------------------------------- folders


def test_one_broken_file_does_not_stop_the_others(tmp_path: Path, annotations: Path) -> None:
    (annotations.parent / "broken.geojson").write_text("{")
    write_geojson(SQUARE, annotations.parent / "another.geojson.gz")
    (annotations.parent / "notes.txt").write_text("no annotations")
    Image.new("L", (4, 4)).save(annotations.parent / "thumbnail.png")
    out = tmp_path / "out"
    rows = convert(annotations.parent, out, ConvertOptions(suffix=".xml"))
    assert [(row.target.name, row.regions) for row in rows] == [
        ("another.xml", 1),
        ("broken.xml", None),
        ("slide.xml", 1),
    ]
    assert [bool(row.fault) for row in rows] == [False, True, False]
    assert "broken.geojson" in rows[1].fault
    assert sorted(file.name for file in out.iterdir()) == ["another.xml", "slide.xml"]


def test_a_second_run_converts_what_is_missing(tmp_path: Path, annotations: Path) -> None:
    out = tmp_path / "out"
    convert(annotations.parent, out, ConvertOptions(suffix=".xml"))
    write_geojson(SQUARE, annotations.parent / "new.geojson")
    rows = convert(annotations.parent, out, ConvertOptions(suffix=".xml"))
    assert [(row.target.name, row.regions, row.fault) for row in rows] == [
        ("new.xml", 1, ""),
        ("slide.xml", None, ""),
    ]


def test_two_files_of_one_name_are_not_mixed_up(tmp_path: Path, annotations: Path) -> None:
    write_geojson(SQUARE, annotations.parent / "slide.json")
    first, second = convert(annotations.parent, tmp_path / "out", ConvertOptions(suffix=".xml"))
    assert (first.regions, second.regions) == (1, None)
    assert "slide.json" in second.fault
    assert "slide.geojson" in second.fault


def test_masks_of_a_folder_find_their_slides(tmp_path: Path, annotations: Path, slide: Path) -> None:
    write_geojson(SQUARE, annotations.parent / "other.geojson")
    rows = convert(annotations.parent, tmp_path / "out", ConvertOptions(suffix=".png", slide=slide.parent))
    assert [(row.target.name, row.regions) for row in rows] == [("other.png", None), ("slide.png", 1)]
    assert "other.geojson" in rows[0].fault
    write_geojson(SQUARE, tmp_path / "slide.tif.geojson")
    (row,) = convert(tmp_path / "slide.tif.geojson", tmp_path / "a.png", ConvertOptions(slide=slide.parent))
    assert row.regions == 1


def test_a_missing_slide_raises(tmp_path: Path, annotations: Path) -> None:
    absent = ConvertOptions(slide=tmp_path / "nowhere", suffix=".xml")
    for source, target in ((annotations, tmp_path / "a.xml"), (annotations.parent, tmp_path / "out")):
        with pytest.raises(SlideError, match="nowhere"):
            convert(source, target, absent)


def test_a_file_without_a_matching_slide_raises(tmp_path: Path, slide: Path) -> None:
    write_geojson(SQUARE, tmp_path / "other.geojson")
    with pytest.raises(AnnotationError, match=r"other\.geojson"):
        convert(tmp_path / "other.geojson", tmp_path / "a.xml", ConvertOptions(slide=slide.parent))
    convert(tmp_path / "other.geojson", tmp_path / "a.xml", ConvertOptions(slide=slide))


def test_a_folder_without_annotations_raises(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError) as raised:
        convert(tmp_path, tmp_path / "out")
    assert raised.value.where == str(tmp_path)


# ---------------------------------------------------------------- frames


@pytest.mark.parametrize(("name", "moves"), [("a.xml", True), ("a.annotations", True), ("a.geojson", False)])
def test_formats_whose_origin_is_the_whole_scan(name: str, moves: bool) -> None:
    corner = (100.0, 50.0)
    found = to_slide_frame(Annotations(SQUARE, ("a note",)), Path(name), corner)
    assert found.regions == (SQUARE.translate(-100, -50) if moves else SQUARE)
    assert len(found.notes) == 1 + moves
    regions, notes = to_file_frame(found.regions, Path(name), corner)
    assert regions == SQUARE
    assert bool(notes) == moves
    assert to_slide_frame(Annotations(SQUARE), Path(name), (0, 0)) == Annotations(SQUARE)


@pytest.mark.parametrize("name", ["gone.qpproj", "gone.geojson", "gone"])
def test_a_source_that_is_missing_is_no_fault_of_the_target(name: str, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="no such file") as caught:
        convert(tmp_path / name, tmp_path / "out")
    assert caught.value.where == str(tmp_path / name)
