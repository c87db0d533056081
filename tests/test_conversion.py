"""Outlines from one format to another: what is kept, what is told, and how a folder fares."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
import tifffile
from PIL import Image

import histoscout as hs
from histoscout.annotations.geojson import write_geojson
from histoscout.annotations.read import Annotations, in_file, on_slide, read_annotations
from histoscout.annotations.write import WRITERS
from histoscout.conversion import ConvertOptions, convert
from histoscout.errors import AnnotationError, OutputError, SlideError
from histoscout.geometry.regions import Region, Regions
from histoscout.slides.pyramid import write_pyramid

SQUARE = Regions.of([Region(shapely.box(4, 4, 24, 24), "UDH", id="a")])


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
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
def test_to_every_format_and_back(tmp_path: Path, drawn: Path, slide: Path, suffix: str) -> None:
    there, back = tmp_path / f"there{suffix}", tmp_path / "back.geojson"
    options = ConvertOptions(slide=slide)
    (row,) = hs.convert(drawn, there, options)
    assert (row.source, row.target, row.regions, row.fault) == (drawn, there, 1, "")
    convert(there, back, options)
    (region,) = read_annotations(back).regions
    assert region.outline.equals(SQUARE[0].outline)
    assert region.label == "UDH"


def test_an_image_at_another_resolution(tmp_path: Path, drawn: Path, slide: Path) -> None:
    path = tmp_path / "mask.tif"
    convert(drawn, path, ConvertOptions(slide=slide.parent, mpp=1.0))
    values = tifffile.imread(path)
    assert values.shape == (20, 30)
    assert int(values.sum()) == 100
    (row,) = convert(path, tmp_path / "a.geojson", ConvertOptions(slide=slide))
    assert row.notes == ()
    assert read_annotations(row.target).regions[0].outline.equals(SQUARE[0].outline)


def test_an_image_by_size_alone(tmp_path: Path, drawn: Path) -> None:
    path = tmp_path / "mask.png"
    with pytest.raises(OutputError, match="needs the slide's size"):
        convert(drawn, path)
    with pytest.raises(OutputError, match="that of the slide is not known"):
        convert(drawn, path, ConvertOptions(size=(60, 40), mpp=2.0))
    (row,) = convert(drawn, path, ConvertOptions(size=(60, 40), slide_mpp=1.0, mpp=2.0, values=((9, "UDH"),)))
    assert row.notes == ("values: 0 = background, 9 = UDH",)
    assert np.asarray(Image.open(path)).shape == (20, 30)


def test_a_foreign_mask_is_as_fine_as_the_slide_unless_its_slide_is_given(
    tmp_path: Path, slide: Path
) -> None:
    path = tmp_path / "mask.png"
    Image.fromarray(np.pad(np.ones((4, 4), np.uint8), ((0, 16), (0, 26)))).save(path)
    (row,) = convert(path, tmp_path / "a.geojson", ConvertOptions(values=((1, "UDH"),)))
    assert "taken to be as fine as the slide" in row.notes[-1]
    assert read_annotations(row.target).regions[0].outline.area == 16
    convert(path, tmp_path / "b.geojson", ConvertOptions(slide=slide, values=((1, "UDH"),)))
    (region,) = read_annotations(tmp_path / "b.geojson").regions
    assert (region.label, region.outline.area) == ("UDH", 64)


def test_several_values_may_be_one_class_when_read_but_not_when_written(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    pixels = np.zeros((8, 8), np.uint8)
    pixels[:2], pixels[4:6] = 1, 2
    Image.fromarray(pixels).save(path)
    values = ConvertOptions(values=((1, "UDH"), (2, "udh"), (3, "UDH")), size=(8, 8))
    (row,) = convert(path, tmp_path / "a.geojson", values)
    assert [region.label for region in read_annotations(row.target).regions] == ["UDH", "udh"]
    assert row.notes == ("values that do not occur: 3 (UDH)",)
    with pytest.raises(OutputError, match="several values \\(1=UDH, 2=udh, 3=UDH\\)"):
        convert(row.target, tmp_path / "again.png", values)


def test_names_of_values_count_as_people_mean_them(tmp_path: Path, drawn: Path) -> None:
    path = tmp_path / "mask.png"
    convert(drawn, path, ConvertOptions(values=((7, "udh "),), size=(60, 40)))
    assert int(np.asarray(Image.open(path)).max()) == 7
    (row,) = convert(drawn, tmp_path / "none.png", ConvertOptions(values=((7, "ADH"),), size=(60, 40)))
    assert row.notes[-1].startswith("nothing is drawn")
    assert row.notes[-1].endswith("left out: UDH")


def test_detections_and_cells_only_if_asked_for(tmp_path: Path) -> None:
    cell = replace(SQUARE[0], id="b", properties={"objectType": "cell"})
    write_geojson(Regions((*SQUARE, cell)), tmp_path / "in.geojson")
    (row,) = convert(tmp_path / "in.geojson", tmp_path / "out.xml")
    assert row.regions == 1
    assert row.notes == ("1 detections, cells or tiles left out; --all keeps them",)
    (row,) = convert(tmp_path / "in.geojson", tmp_path / "all.xml", ConvertOptions(everything=True))
    assert row.regions == 2


def test_nothing_is_overwritten_unless_asked_for(tmp_path: Path, drawn: Path) -> None:
    path = tmp_path / "there.xml"
    path.write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        convert(drawn, path)
    assert path.read_text() == "mine"
    convert(drawn, path, ConvertOptions(overwrite=True))
    assert path.read_text() != "mine"


def test_an_unknown_target_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="of a format we do not write"):
        convert(tmp_path / "absent.geojson", tmp_path / "a.docx")
    with pytest.raises(AnnotationError, match="absent"):
        convert(tmp_path / "absent.geojson", tmp_path / "a.xml")


# ---------------------------------------------------------------- folders


def test_one_broken_file_does_not_stop_the_others(tmp_path: Path, drawn: Path) -> None:
    (drawn.parent / "broken.geojson").write_text("{")
    write_geojson(SQUARE, drawn.parent / "another.geojson.gz")
    (drawn.parent / "notes.txt").write_text("not outlines")
    Image.new("L", (4, 4)).save(drawn.parent / "thumbnail.png")
    out = tmp_path / "out"
    rows = convert(drawn.parent, out, ConvertOptions(to=".xml"))
    assert [(row.target.name, row.regions) for row in rows] == [
        ("another.xml", 1),
        ("broken.xml", None),
        ("slide.xml", 1),
    ]
    assert [bool(row.fault) for row in rows] == [False, True, False]
    assert "broken.geojson" in rows[1].fault
    assert sorted(file.name for file in out.iterdir()) == ["another.xml", "slide.xml"]


def test_a_second_run_does_what_is_missing(tmp_path: Path, drawn: Path) -> None:
    out = tmp_path / "out"
    convert(drawn.parent, out, ConvertOptions(to=".xml"))
    write_geojson(SQUARE, drawn.parent / "new.geojson")
    rows = convert(drawn.parent, out, ConvertOptions(to=".xml"))
    assert [(row.target.name, row.regions, row.fault) for row in rows] == [
        ("new.xml", 1, ""),
        ("slide.xml", None, ""),
    ]


def test_two_files_of_one_name_are_not_mixed_up(tmp_path: Path, drawn: Path) -> None:
    write_geojson(SQUARE, drawn.parent / "slide.json")
    first, second = convert(drawn.parent, tmp_path / "out", ConvertOptions(to=".xml"))
    assert (first.regions, second.regions) == (1, None)
    assert "slide.json: has the same name as slide.geojson" in second.fault


def test_masks_of_a_folder_find_their_slides(tmp_path: Path, drawn: Path, slide: Path) -> None:
    write_geojson(SQUARE, drawn.parent / "other.geojson")
    rows = convert(drawn.parent, tmp_path / "out", ConvertOptions(to=".png", slide=slide.parent))
    assert [(row.target.name, row.regions) for row in rows] == [("other.png", None), ("slide.png", 1)]
    assert "other.geojson: no slide of its name is given" in rows[0].fault
    write_geojson(SQUARE, tmp_path / "slide.tif.geojson")
    (row,) = convert(tmp_path / "slide.tif.geojson", tmp_path / "a.png", ConvertOptions(slide=slide.parent))
    assert row.regions == 1


def test_a_slide_that_is_given_and_not_there_is_refused(tmp_path: Path, drawn: Path) -> None:
    absent = ConvertOptions(slide=tmp_path / "nowhere", to=".xml")
    for source, target in ((drawn, tmp_path / "a.xml"), (drawn.parent, tmp_path / "out")):
        with pytest.raises(SlideError, match="nowhere"):
            convert(source, target, absent)


def test_a_file_without_a_slide_among_those_given_is_refused(tmp_path: Path, slide: Path) -> None:
    write_geojson(SQUARE, tmp_path / "other.geojson")
    with pytest.raises(AnnotationError, match=r"other\.geojson: no slide of its name"):
        convert(tmp_path / "other.geojson", tmp_path / "a.xml", ConvertOptions(slide=slide.parent))
    convert(tmp_path / "other.geojson", tmp_path / "a.xml", ConvertOptions(slide=slide))


def test_a_folder_without_outlines_is_told(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="holds no files of outlines"):
        convert(tmp_path, tmp_path / "out")


# ---------------------------------------------------------------- frames


@pytest.mark.parametrize(("name", "moves"), [("a.xml", True), ("a.annotations", True), ("a.geojson", False)])
def test_formats_that_count_from_the_whole_scan(name: str, moves: bool) -> None:
    corner = (100.0, 50.0)
    found = on_slide(Annotations(SQUARE, ("a note",)), Path(name), corner)
    assert found.regions == (SQUARE.moved(-100, -50) if moves else SQUARE)
    assert len(found.notes) == 1 + moves
    regions, notes = in_file(found.regions, Path(name), corner)
    assert regions == SQUARE
    assert bool(notes) == moves
    assert on_slide(Annotations(SQUARE), Path(name), (0, 0)) == Annotations(SQUARE)
