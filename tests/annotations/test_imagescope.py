"""ImageScope and HALO: layers, holes, shapes and classes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from shapely.geometry import Polygon

from histoscout.annotations.read import Annotations, ImageMetadata, read_annotations, read_image_metadata
from tests.annotations.notes import note_with, only_note
from tests.fuzz.seeds import HALO, IMAGESCOPE
from tests.strategies import stars

Reader = Callable[[str], Annotations]
SQUARE = ((0.0, 0.0), (40.0, 0.0), (40.0, 40.0), (0.0, 40.0))


def vertices_xml(*points: tuple[float, float]) -> str:
    return "".join(f'<Vertex X="{x!r}" Y="{y!r}" Z="0"/>' for x, y in points)


def region_xml(points: str = vertices_xml(*SQUARE), **attributes: object) -> str:
    text = " ".join(f'{name}="{value}"' for name, value in attributes.items())
    return f"<Region {text}><Vertices>{points}</Vertices></Region>"


def layer_xml(*regions: str, **attributes: object) -> str:
    text = " ".join(f'{name}="{value}"' for name, value in attributes.items())
    return f"<Annotation {text}><Regions>{''.join(regions)}</Regions></Annotation>"


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """Reads layers after writing them to a file."""

    def write_and_read(layers: str) -> Annotations:
        path = tmp_path / "slide.xml"
        path.write_text(f"<Annotations>{layers}</Annotations>", encoding="utf-8")
        return read_annotations(path)

    return write_and_read


def test_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "slide.xml"
    path.write_bytes(IMAGESCOPE.encode("cp1252"))
    annotations = read_annotations(path)
    first, second, third = annotations.regions
    assert [first.label, second.label, third.label] == ["UDH", "UDH", "ADH"]
    assert first.properties == {"name": "a duct", "classColor": [0, 255, 0]}
    assert third.properties == {"classColor": [255, 0, 0], "metadata": {"sure": "yes"}}
    assert second.outline.equals(shapely.box(50, 5, 70, 22))
    assert annotations.image == read_image_metadata(path) == ImageMetadata(mpp=0.252)
    assert len(annotations.notes) == 2
    assert note_with(annotations.notes, "arrows", "layer 1, region 4")
    assert note_with(annotations.notes, "hidden", "layer 2")


def test_a_negative_ellipse_is_a_hole_of_the_area_of_an_ellipse(tmp_path: Path) -> None:
    path = tmp_path / "slide.xml"
    path.write_bytes(IMAGESCOPE.encode("cp1252"))
    outline = read_annotations(path).regions[0].outline
    whole = Polygon([(0, 0), (40.5, 0), (40, 40), (0, 40)]).area
    assert whole - outline.area == pytest.approx(np.pi * 5 * 3.5, rel=1e-3)
    assert isinstance(outline, Polygon)
    assert len(outline.interiors) == 1


@given(stars(), stars())
def test_a_hole_is_subtracted(
    tmp_path_factory: pytest.TempPathFactory, solid: Polygon, hole: Polygon
) -> None:
    path = tmp_path_factory.mktemp("law") / "slide.xml"
    ring, other = (vertices_xml(*polygon.exterior.coords) for polygon in (solid, hole))
    path.write_text(
        f"<Annotations>{layer_xml(region_xml(ring), region_xml(other, NegativeROA=1))}</Annotations>"
    )
    annotations = read_annotations(path)
    left = solid.difference(hole).area
    assert sum(region.outline.area for region in annotations.regions) == pytest.approx(left, abs=1e-6)
    assert any("holes" in note for note in annotations.notes) == (
        solid.intersection(hole).area == 0 or left < 1e-9
    )


def test_a_hole_is_subtracted_from_its_own_layer_first(read: Reader) -> None:
    small = vertices_xml((10, 10), (20, 10), (20, 20), (10, 20))
    annotations = read(
        layer_xml(region_xml(), Name="a")
        + layer_xml(region_xml(), region_xml(small, NegativeROA="1"), Name="b")
    )
    assert [region.outline.area for region in annotations.regions] == [1600, 1500]
    annotations = read(
        layer_xml(region_xml(), Name="a") + layer_xml(region_xml(small, NegativeROA="1"), Name="b")
    )
    assert [region.outline.area for region in annotations.regions] == [1500]


def test_a_comb_across_a_comb_is_noted_and_not_computed(read: Reader) -> None:
    """Two polygons of 2,000 teeth each cross four million times."""

    def comb(rotated: bool) -> str:
        along = [(x, (0.0 if i % 2 else 4000.0)) for i, x in enumerate(np.arange(0, 2000, 0.5).tolist())]
        points = [*along, (2000.0, -1.0), (0.0, -1.0)]
        return vertices_xml(*[(y, x) if rotated else (x, y) for x, y in points])

    annotations = read(layer_xml(region_xml(comb(False)), region_xml(comb(True), NegativeROA="1"), Name="a"))
    assert len(annotations.regions) == 0
    assert only_note(annotations.notes, "too often")


def test_a_hole_in_nothing_is_noted(read: Reader) -> None:
    far = vertices_xml((100, 100), (120, 100), (120, 120))
    annotations = read(layer_xml(region_xml(), region_xml(far, Id="7", NegativeROA="1"), Name="a"))
    assert only_note(annotations.notes, "holes", "layer 1, region 7")


@pytest.mark.parametrize(
    ("attributes", "inner", "label"),
    [
        ({"Name": " UDH "}, "", "UDH"),
        ({"Name": ""}, '<Attributes><Attribute Name="Description" Value="UDH"/></Attributes>', "UDH"),
        ({}, '<Attributes><Attribute Name="UDH" Value=""/></Attributes>', "UDH"),
        ({}, '<Attributes><Attribute Name="Description" Value=""/></Attributes>', "its text"),
        ({}, "", "its text"),
    ],
)
def test_the_class_is_the_layers_name_or_attribute_or_the_text(
    read: Reader, attributes: dict[str, str], inner: str, label: str
) -> None:
    text = layer_xml(region_xml(Text="its text"), **attributes).replace("<Regions>", f"{inner}<Regions>")
    (region,) = read(text).regions
    assert region.label == label
    assert region.properties == {"name": "its text"}


def test_a_region_without_a_class_is_noted(read: Reader) -> None:
    assert only_note(read(layer_xml(region_xml(Id="3"))).notes, "class", "layer 1, region 3")


def test_a_rectangle_by_two_corners_and_by_four(read: Reader) -> None:
    two = region_xml(vertices_xml((10, 5), (30, 25)), Type="1")
    rotated = region_xml(vertices_xml((10, 0), (20, 10), (10, 20), (0, 10)), Type="1")
    first, second = read(layer_xml(two, rotated, Name="a")).regions
    assert first.outline.equals(shapely.box(10, 5, 30, 25))
    assert second.outline.area == pytest.approx(200)


def test_points_keep_every_digit_and_commas_are_points(read: Reader) -> None:
    points = '<Vertex X="0,1" Y="0.1"/><Vertex X="10.123456789012345" Y="0"/><Vertex X="1e1" Y=" 9 "/>'
    (region,) = read(layer_xml(region_xml(points), Name="a")).regions
    assert list(region.outline.exterior.coords)[:3] == [(0.1, 0.1), (10.123456789012345, 0), (10, 9)]  # type: ignore[union-attr]


def test_an_open_stroke_is_closed_and_noted(read: Reader) -> None:
    half_circle = [(float(100 * np.cos(t)), float(100 * np.sin(t))) for t in np.linspace(0, np.pi, 40)]
    annotations = read(layer_xml(region_xml(vertices_xml(*half_circle)), Name="a"))
    assert only_note(annotations.notes, "open", "layer 1, region 1")
    assert len(annotations.regions) == 1


def test_crossing_and_flat_polygons_are_noted(read: Reader) -> None:
    bow_tie = region_xml(vertices_xml((0, 0), (4, 4), (4, 0), (0, 4)), Id="1")
    flat = region_xml(vertices_xml((0, 0), (4, 4)), Id="2")
    annotations = read(layer_xml(bow_tie, flat, Name="a"))
    assert len(annotations.notes) == 2
    assert note_with(annotations.notes, "repaired", "layer 1, region 1")
    assert note_with(annotations.notes, "no area", "layer 1, region 2")


def test_halo_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "slide.annotations"
    path.write_text(HALO)
    annotations = read_annotations(path)
    (region,) = annotations.regions
    assert region.label == "Tumour"
    assert region.outline.area == pytest.approx(40.5 - np.pi, rel=1e-3)


def test_ids_are_the_same_each_time_and_differ(read: Reader) -> None:
    text = layer_xml(region_xml(), region_xml(), Name="a") + layer_xml(region_xml(), Name="a")
    first, second = read(text), read(text)
    assert first == second
    assert len({region.id for region in first.regions}) == 3
