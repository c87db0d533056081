"""What every registered writer promises, and which regions come back from each format as they were."""

import json
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
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

from histoscout.annotations.masks import read_label_image, read_pixels
from histoscout.annotations.read import format_of, read_annotations
from histoscout.annotations.write import WRITERS, Canvas, write_annotations
from histoscout.errors import OutputError
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import label_map
from histoscout.geometry.regions import Region, Regions
from histoscout.geometry.vectorize import trace
from tests.strategies import DYADIC, masks, outlines, region_lists

CANVAS = Canvas(60, 40)
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
def test_the_writer_exists_is_documented_and_its_format_is_read(suffix: str) -> None:
    module, function = WRITERS[suffix].made_by.split(":")
    assert getattr(import_module(module), function).__doc__
    assert format_of(Path(f"a{suffix}")) == suffix


@every_writer
def test_two_outlines_come_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"slide{suffix.upper()}"
    notes = write_annotations(TWO, path, CANVAS)
    assert isinstance(notes, tuple)
    found = read_annotations(path).regions
    assert {(one.label, one.outline.area) for one in found} == {("UDH", 164), ("ADH", 300)}
    for one in found:
        (drawn,) = (region for region in TWO if region.label == one.label)
        assert one.outline.equals(drawn.outline)


@every_writer
def test_no_outlines_are_a_file_too(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"slide{suffix}"
    write_annotations(Regions(), path, CANVAS)
    found = read_annotations(path)
    assert len(found.regions) == 0
    assert found.notes


@every_writer
def test_the_same_regions_make_the_same_file(tmp_path: Path, suffix: str) -> None:
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    for path in (first, second):
        write_annotations(TWO, path, CANVAS)
    assert first.read_bytes() == second.read_bytes()


@every_writer
def test_where_nothing_can_be_written_is_told(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file"):
        write_annotations(TWO, tmp_path / "file" / f"a{suffix}", CANVAS)
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@every_writer
def test_an_image_asks_for_the_slide(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if WRITERS[suffix].on_canvas:
        with pytest.raises(OutputError, match="needs the slide's size"):
            write_annotations(TWO, path)
    else:
        write_annotations(TWO, path)
        assert path.exists()


def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.geojson, .*\.xml"):
        write_annotations(TWO, tmp_path / "a.svg")


# ---------------------------------------------------------------- ASAP


_PLAIN = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=8
)


@st.composite
def asap_regions(draw: st.DrawFn) -> Region:
    """Regions that ASAP has words for: no measurements, a name that is text, one colour a class."""
    outline = draw(outlines())
    name = draw(_PLAIN)
    label = draw(_PLAIN.filter(lambda text: text != "None"))
    color = {"color": draw(st.sampled_from([[1, 2, 3], [255, 255, 255]]))} if draw(st.booleans()) else {}
    identity = draw(st.uuids().map(str) | _PLAIN.filter(str.strip))
    return Region(
        outline,
        label,
        draw(st.none() | st.floats(0, 1)),
        identity,
        {**({"name": name} if name else {}), **color},
    )


@given(st.lists(asap_regions(), max_size=4, unique_by=lambda region: region.id))
def test_what_asap_has_words_for_comes_back_from_it(tmp_path_factory: Folders, drawn: list[Region]) -> None:
    path = tmp_path_factory.mktemp("law") / "slide.xml"
    write_annotations(Regions.of(drawn), path)
    assert read_annotations(path).regions == Regions.of(drawn)


@given(region_lists())
def test_outlines_and_scores_of_any_region_come_back_from_asap(
    tmp_path_factory: Folders, drawn: Regions
) -> None:
    drawn = Regions.of(replace(region, id=str(number)) for number, region in enumerate(drawn))
    path = tmp_path_factory.mktemp("law") / "slide.xml"
    write_annotations(drawn, path)
    found = read_annotations(path).regions
    assert [one.score for one in found] == [one.score for one in drawn]
    for one, other in zip(found, drawn, strict=True):
        single = isinstance(other.outline, MultiPolygon) and len(other.outline.geoms) == 1
        assert one.outline == (other.outline.geoms[0] if single else other.outline)  # type: ignore[union-attr]


def test_asap_is_told_what_it_knows(tmp_path: Path) -> None:
    path = tmp_path / "slide.xml"
    regions = Regions.of([replace(TWO[0], properties={"classColor": [1, 2, 3], "measurements": {"a": 1.0}})])
    notes = write_annotations(regions, path)
    assert notes == (
        'holes are outlines of the group "Exclusion": in ASAP give it the last place and the value 0',
        "left out, as ASAP has no place for it: measurements",
    )
    text = path.read_text()
    assert '<Group Name="UDH" PartOfGroup="None" Color="#010203">' in text
    assert text.count('Type="Polygon"') == 2
    assert '<Coordinate Order="3" X="2.0" Y="12.0" />' in text


def test_a_file_that_asap_saved_again_keeps_its_holes(tmp_path: Path) -> None:
    """ASAP drops our attributes; then a hole is taken out of what it lies in."""
    path = tmp_path / "slide.xml"
    write_annotations(TWO, path)
    text = path.read_text().replace(' Region="a"', "").replace(' Region="b"', "").replace(' Hole="1"', "")
    path.write_text(text)
    assert [(one.label, one.outline.area) for one in read_annotations(path).regions] == [
        ("UDH", 164),
        ("ADH", 300),
    ]


# ---------------------------------------------------------------- label images

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
def test_outlines_along_pixels_come_back_from_images(
    tmp_path_factory: Folders, suffix: str, read: Read, mask: NDArray[np.bool_], scale: float
) -> None:
    height, width = mask.shape
    box = Box(0, 0, width * scale, height * scale)
    regions = Regions.of(Region(outline, "UDH") for outline in trace(mask, box, scale))
    path = tmp_path_factory.mktemp("law") / f"slide{suffix}"
    write_annotations(regions, path, Canvas(box.width, box.height, scale))
    np.testing.assert_array_equal(read(path), mask.astype(np.uint8))
    found = read_annotations(path).regions
    assert [(one.label, one.outline) for one in found] == [(one.label, one.outline) for one in regions]


@every_image
@given(regions=region_lists(), scale=DYADIC)
def test_an_image_is_the_map_of_its_regions(
    tmp_path_factory: Folders, suffix: str, read: Read, regions: Regions, scale: float
) -> None:
    path = tmp_path_factory.mktemp("law") / f"slide{suffix}"
    known = [label for label in regions.labels if label != "Ignore*"]
    values = {label: number for number, label in enumerate(known, 1)} | {"Ignore*": 255}
    write_annotations(regions, path, Canvas(40, 30, scale, values=values))
    ignored, others = regions.labeled("Ignore*"), regions.where(lambda region: region.label != "Ignore*")
    layers = [(Regions((region,)), values[region.label]) for region in (*others, *ignored)]
    np.testing.assert_array_equal(read(path), label_map(layers, Box(0, 0, 40, 30), scale))


def test_values_are_by_name_and_unsure_ones_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "slide.png"
    regions = Regions((*TWO, Region(shapely.box(50, 0, 60, 5), "UDH-unsure")))
    assert write_annotations(regions, path, CANVAS) == (
        "values: 0 = background, 1 = ADH, 2 = UDH, 255 = UDH-unsure",
    )
    assert sorted(np.unique(_read_png(path))) == [0, 1, 2, 255]
    assert read_annotations(path).regions.labels == ["ADH", "UDH", "ignore"]
    assert read_label_image(path, {1: "one"}).regions.labels == [
        "2",
        "ignore",
        "one",
    ]  # the user's word counts


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_what_nobody_reviewed_is_ignored(tmp_path: Path, suffix: str) -> None:
    looked_at = Region(shapely.box(0, 0, 20, 40), "Reviewed")
    inside, beyond = Region(shapely.box(4, 4, 12, 12), "UDH"), Region(shapely.box(28, 4, 36, 12), "UDH")
    path = tmp_path / f"mask{suffix}"
    notes = write_annotations(Regions((inside, beyond, looked_at)), path, Canvas(40, 40, 2.0))
    pixels = read_pixels(path, None)
    assert notes[0] == "values: 0 = background, 1 = UDH"
    assert any("outside the reviewed areas" in note for note in notes)
    assert np.unique(pixels[:, :10]).tolist() == [0, 1]
    assert np.unique(pixels[:, 10:]).tolist() == [1, 255]
    assert (pixels == 1).sum() == 2 * 16


def test_given_values_are_kept_and_others_left_out(tmp_path: Path) -> None:
    notes = write_annotations(TWO, tmp_path / "a.png", replace(CANVAS, values={"UDH": 7, "DCIS": 9}))
    assert notes == ("values: 0 = background, 7 = UDH", "classes without a value, left out: ADH")
    with pytest.raises(OutputError, match="UDH=0"):
        write_annotations(TWO, tmp_path / "b.png", replace(CANVAS, values={"UDH": 0}))


def test_too_many_classes_or_pixels_are_refused(tmp_path: Path) -> None:
    many = Regions.of(Region(shapely.box(i, 0, i + 1, 1), f"class {i}") for i in range(255))
    with pytest.raises(OutputError, match="255 classes"):
        write_annotations(many, tmp_path / "a.png", Canvas(300, 2))
    with pytest.raises(OutputError, match="100000 x 80000 px, too many for a PNG"):
        write_annotations(TWO, tmp_path / "a.png", Canvas(100_000, 80_000))


def test_a_large_image_is_a_pyramid_of_classes_with_its_scale(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    regions = Regions.of([Region(shapely.Point(3000, 2000).buffer(900), "UDH"), *TWO])
    write_annotations(regions, path, Canvas(6001, 4003, 2.0, mpp=0.5))
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
        said: dict[str, Any] = json.loads(pages[0].description)
        assert said["histoscout"]["labels"] == {"1": "ADH", "2": "UDH"}
    found = read_annotations(path).regions
    assert max(one.box.width for one in found) == pytest.approx(1800, abs=4)
