"""What holds for every file format that is written, and which regions come back from it unchanged."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from shapely.geometry import MultiPolygon, Polygon

from histoscout.annotations.masks import read_class_values, read_mask
from histoscout.annotations.overlaps import lift_lesions
from histoscout.annotations.read import format_of, read_annotations
from histoscout.annotations.write import PROGRAMS, WRITERS, MaskCanvas, write_annotations
from histoscout.errors import OutputError
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import label_map
from histoscout.geometry.regions import Region, Regions
from histoscout.geometry.vectorize import mask_to_polygons
from tests.annotations.notes import note_with, only_note
from tests.strategies import DYADIC, masks, outlines, region_lists

CANVAS = MaskCanvas(width=60, height=40)
TWO = Regions.of(
    [
        Region(
            Polygon([(2, 2), (20, 2), (20, 12), (2, 12)], [[(5, 5), (9, 5), (9, 9), (5, 9)]]), "UDH", id="a"
        ),
        Region(Polygon([(30, 20), (50, 20), (50, 35), (30, 35)]), "ADH", id="b"),
    ]
)
every_writer = pytest.mark.parametrize("suffix", WRITERS)
Folders = pytest.TempPathFactory


# ---------------------------------------------------------------- every writer


@every_writer
def test_every_format_that_is_written_is_read(suffix: str) -> None:
    assert format_of(Path(f"a{suffix}")) == suffix


@every_writer
def test_two_polygons_come_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"slide{suffix.upper()}"
    notes = write_annotations(TWO, path, CANVAS)
    assert isinstance(notes, tuple)
    read_back = read_annotations(path).regions
    assert {(region.label, region.outline.area) for region in read_back} == {("UDH", 164), ("ADH", 300)}
    for region in read_back:
        (original,) = TWO.with_labels(region.label)
        assert region.outline.equals(original.outline)


@every_writer
def test_no_regions_make_a_file_too(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"slide{suffix}"
    write_annotations(Regions(), path, CANVAS)
    read_back = read_annotations(path)
    assert len(read_back.regions) == 0
    assert read_back.notes


@every_writer
def test_the_same_regions_make_the_same_file(tmp_path: Path, suffix: str) -> None:
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    for path in (first, second):
        write_annotations(TWO, path, CANVAS)
    assert first.read_bytes() == second.read_bytes()


@every_writer
def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file"):
        write_annotations(TWO, tmp_path / "file" / f"a{suffix}", CANVAS)
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@every_writer
def test_a_mask_needs_a_canvas(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if WRITERS[suffix].needs_canvas:
        with pytest.raises(OutputError, match="--slide"):
            write_annotations(TWO, path)
    else:
        write_annotations(TWO, path)
        assert path.exists()


@pytest.mark.parametrize("program", PROGRAMS)
def test_two_polygons_come_back_from_every_program(tmp_path: Path, program: str) -> None:
    path = tmp_path / f"slide{PROGRAMS[program].suffix}"
    island = Region(shapely.box(6, 6, 8, 8), "UDH", 0.5, id="c")
    parts = Region(MultiPolygon([shapely.box(0, 30, 5, 35), shapely.box(10, 30, 15, 35)]), "ADH", id="d")
    regions = Regions.of([*TWO, island, parts])
    write_annotations(regions, path, program=program)
    read_back = {region.id: region for region in read_annotations(path).regions}
    assert len(read_back) == 4
    for region in regions:
        other = read_back[region.id]
        assert (other.label, other.score) == (region.label, region.score)
        assert other.outline.equals(region.outline)


def test_a_program_and_another_suffix_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.json"):
        write_annotations(TWO, tmp_path / "a.xml", program="histomicsui")
    with pytest.raises(OutputError, match="imagescope"):
        write_annotations(TWO, tmp_path / "a.xml", program="photoshop")


def test_an_unknown_format_is_refused_with_the_known_suffixes(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"a\.svg: .*\.geojson, .*\.xml"):
        write_annotations(TWO, tmp_path / "a.svg")


# ---------------------------------------------------------------- ASAP


_PLAIN = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=8
)


@st.composite
def asap_regions(draw: st.DrawFn) -> Region:
    """Regions that ASAP can hold: no measurements, a name that is text, one color per class."""
    outline = draw(outlines())
    name = draw(_PLAIN)
    label = draw(_PLAIN.filter(lambda text: text != "None"))
    color = {"color": draw(st.sampled_from([[1, 2, 3], [255, 255, 255]]))} if draw(st.booleans()) else {}
    identity = draw(st.uuids().map(str) | _PLAIN.filter(str.strip))
    return Region(
        outline,
        label,
        draw(st.none() | st.floats(0, 1)),
        id=identity,
        properties={**({"name": name} if name else {}), **color},
    )


@given(st.lists(asap_regions(), max_size=4, unique_by=lambda region: region.id))
def test_what_asap_can_hold_comes_back_from_it(tmp_path_factory: Folders, regions: list[Region]) -> None:
    path = tmp_path_factory.mktemp("law") / "slide.xml"
    write_annotations(Regions.of(regions), path)
    assert read_annotations(path).regions == Regions.of(regions)


@given(region_lists())
def test_polygons_and_scores_of_any_region_come_back_from_asap(
    tmp_path_factory: Folders, regions: Regions
) -> None:
    regions = Regions.of(replace(region, id=str(number)) for number, region in enumerate(regions))
    path = tmp_path_factory.mktemp("law") / "slide.xml"
    write_annotations(regions, path)
    read_back = read_annotations(path).regions
    assert [region.score for region in read_back] == [region.score for region in regions]
    for region, original in zip(read_back, regions, strict=True):
        single = isinstance(original.outline, MultiPolygon) and len(original.outline.geoms) == 1
        assert region.outline == (original.outline.geoms[0] if single else original.outline)  # type: ignore[union-attr]


def test_asap_gets_groups_and_polygons_and_the_rest_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "slide.xml"
    regions = Regions.of([replace(TWO[0], properties={"classColor": [1, 2, 3], "measurements": {"a": 1.0}})])
    notes = write_annotations(regions, path)
    assert len(notes) == 2
    assert note_with(notes, "Exclusion")
    assert note_with(notes, "measurements")
    text = path.read_text()
    assert '<Group Name="UDH" PartOfGroup="None" Color="#010203">' in text
    assert text.count('Type="Polygon"') == 2
    assert '<Coordinate Order="3" X="2.0" Y="12.0" />' in text


def test_a_file_that_asap_saved_again_keeps_its_holes(tmp_path: Path) -> None:
    """ASAP drops attributes that it does not know; then a hole is subtracted from what it is in."""
    path = tmp_path / "slide.xml"
    write_annotations(TWO, path)
    text = path.read_text().replace(' Region="a"', "").replace(' Region="b"', "").replace(' Hole="1"', "")
    path.write_text(text)
    assert [(region.label, region.outline.area) for region in read_annotations(path).regions] == [
        ("UDH", 164),
        ("ADH", 300),
    ]


# ---------------------------------------------------------------- masks

Read = Callable[[Path], NDArray[np.uint8]]


def _read_png(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path))


def _read_tiff(path: Path) -> NDArray[np.uint8]:
    with tifffile.TiffFile(path) as file:
        pixels: NDArray[np.uint8] = file.pages[0].asarray()
        return pixels


every_image = pytest.mark.parametrize(("suffix", "read"), [(".png", _read_png), (".tif", _read_tiff)])


@every_image
@given(masks(), DYADIC)
def test_polygons_along_pixels_come_back_from_masks(
    tmp_path_factory: Folders, suffix: str, read: Read, mask: NDArray[np.bool_], scale: float
) -> None:
    height, width = mask.shape
    box = Box(0, 0, width * scale, height * scale)
    regions = Regions.of(Region(outline, "UDH") for outline in mask_to_polygons(mask, box, scale))
    path = tmp_path_factory.mktemp("law") / f"slide{suffix}"
    write_annotations(regions, path, MaskCanvas(width=box.width, height=box.height, scale=scale))
    np.testing.assert_array_equal(read(path), mask.astype(np.uint8))
    read_back = read_annotations(path).regions
    assert [(region.label, region.outline) for region in read_back] == [
        (region.label, region.outline) for region in regions
    ]


@every_image
@given(regions=region_lists(), scale=DYADIC)
def test_a_mask_is_the_label_map_of_its_regions(
    tmp_path_factory: Folders, suffix: str, read: Read, regions: Regions, scale: float
) -> None:
    path = tmp_path_factory.mktemp("law") / f"slide{suffix}"
    classes = [label for label in regions.labels if label != "Ignore*"]
    values = {label: number for number, label in enumerate(classes, 1)} | {"Ignore*": 255}
    write_annotations(regions, path, MaskCanvas(width=40, height=30, scale=scale, values=values))
    # what has no class is painted first, what is ignored last, without the lesions inside
    lifted, _ = lift_lesions(regions, [label for label in classes if label.strip()], ["Ignore*"])
    ignored, others = lifted.with_labels("Ignore*"), lifted.where(lambda region: region.label != "Ignore*")
    ordered = sorted(others, key=lambda region: bool(region.label.strip()))
    layers = [(Regions((region,)), values[region.label]) for region in (*ordered, *ignored)]
    np.testing.assert_array_equal(read(path), label_map(layers, Box(0, 0, 40, 30), scale))


def test_values_are_by_name_and_unsure_ones_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "slide.png"
    regions = Regions((*TWO, Region(shapely.box(50, 0, 60, 5), "UDH-unsure")))
    notes = write_annotations(regions, path, CANVAS)
    assert only_note(notes, "1 = ADH, 2 = UDH, 255 = UDH-unsure")
    assert sorted(np.unique(_read_png(path))) == [0, 1, 2, 255]
    assert read_annotations(path).regions.labels == ["ADH", "UDH", "ignore"]
    # the names that the user gives replace those of the file
    assert read_mask(path, {1: "one"}).regions.labels == ["2", "ignore", "one"]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_what_was_not_reviewed_is_ignored(tmp_path: Path, suffix: str) -> None:
    reviewed = Region(shapely.box(0, 0, 20, 40), "Reviewed")
    inside = Region(shapely.box(4, 4, 12, 12), "UDH")
    outside = Region(shapely.box(28, 4, 36, 12), "UDH")
    path = tmp_path / f"mask{suffix}"
    notes = write_annotations(
        Regions((inside, outside, reviewed)), path, MaskCanvas(width=40, height=40, scale=2.0)
    )
    pixels = read_class_values(path, None)
    assert note_with(notes, "1 = UDH")
    assert note_with(notes, "reviewed")
    assert np.unique(pixels[:, :10]).tolist() == [0, 1]
    assert np.unique(pixels[:, 10:]).tolist() == [1, 255]
    assert (pixels == 1).sum() == 2 * 16


def test_given_values_are_kept_and_others_left_out(tmp_path: Path) -> None:
    notes = write_annotations(TWO, tmp_path / "a.png", replace(CANVAS, values={"UDH": 7, "DCIS": 9}))
    assert len(notes) == 2
    assert note_with(notes, "7 = UDH")
    assert note_with(notes, "ADH")
    with pytest.raises(OutputError, match="UDH=0"):
        write_annotations(TWO, tmp_path / "b.png", replace(CANVAS, values={"UDH": 0}))


def test_too_many_classes_or_pixels_are_refused(tmp_path: Path) -> None:
    many = Regions.of(Region(shapely.box(i, 0, i + 1, 1), f"class {i}") for i in range(255))
    with pytest.raises(OutputError, match="255 "):
        write_annotations(many, tmp_path / "a.png", MaskCanvas(width=300, height=2))
    with pytest.raises(OutputError, match="100000 x 80000 px"):
        write_annotations(TWO, tmp_path / "a.png", MaskCanvas(width=100_000, height=80_000))


def test_a_large_mask_is_a_pyramid_of_classes_with_its_scale(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    regions = Regions.of([Region(shapely.Point(3000, 2000).buffer(900), "UDH"), *TWO])
    write_annotations(regions, path, MaskCanvas(width=6001, height=4003, scale=2.0, mpp=0.5))
    with tifffile.TiffFile(path) as file:
        pages = [page.aspage() for page in file.pages]
        assert [page.shape for page in pages] == [(2002, 3000), (1001, 1500), (500, 750), (250, 375)]
        assert [page.is_reduced for page in pages] == [False, True, True, True]
        for page in pages:
            assert page.is_tiled
            assert set(np.unique(page.asarray())) <= {0, 1, 2}
        shares = [float((page.asarray() == 2).mean()) for page in pages]
        assert shares == pytest.approx([shares[0]] * 4, rel=0.02)
        assert pages[0].resolution == (20_000, 20_000)
        metadata: dict[str, Any] = json.loads(pages[0].description)
        assert metadata["histoscout"]["labels"] == {"1": "ADH", "2": "UDH"}
    read_back = read_annotations(path).regions
    assert max(region.box.width for region in read_back) == pytest.approx(1800, abs=4)
