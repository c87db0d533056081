from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from shapely.geometry import Polygon

from histoscout.annotations.read import Annotations, ImageFacts, read_annotations, read_image_facts
from tests.fuzz.seeds import HALO, IMAGESCOPE
from tests.strategies import stars

Reader = Callable[[str], Annotations]
SQUARE = ((0.0, 0.0), (40.0, 0.0), (40.0, 40.0), (0.0, 40.0))


def vertices(*points: tuple[float, float]) -> str:
    return "".join(f'<Vertex X="{x!r}" Y="{y!r}" Z="0"/>' for x, y in points)


def region(points: str = vertices(*SQUARE), **attributes: object) -> str:
    said = " ".join(f'{name}="{value}"' for name, value in attributes.items())
    return f"<Region {said}><Vertices>{points}</Vertices></Region>"


def layer(*regions: str, **attributes: object) -> str:
    said = " ".join(f'{name}="{value}"' for name, value in attributes.items())
    return f"<Annotation {said}><Regions>{''.join(regions)}</Regions></Annotation>"


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """What is read of some layers."""

    def written_and_read(layers: str) -> Annotations:
        path = tmp_path / "slide.xml"
        path.write_text(f"<Annotations>{layers}</Annotations>", encoding="utf-8")
        return read_annotations(path)

    return written_and_read


def test_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "slide.xml"
    path.write_bytes(IMAGESCOPE.encode("cp1252"))
    found = read_annotations(path)
    first, second, third = found.regions
    assert [first.label, second.label, third.label] == ["UDH", "UDH", "ADH"]
    assert first.properties == {"name": "a duct", "classColor": [0, 255, 0]}
    assert third.properties == {"classColor": [255, 0, 0], "metadata": {"sure": "yes"}}
    assert second.outline.equals(shapely.box(50, 5, 70, 22))
    assert found.image == read_image_facts(path) == ImageFacts(mpp=0.252)
    assert found.notes == (
        "points, arrows and rulers left out, as they have no area: 1 (layer 1, region 4)",
        "layers hidden in the viewer, read all the same: 1 (layer 2)",
    )


def test_a_negative_ellipse_is_a_hole_of_the_area_of_an_ellipse(tmp_path: Path) -> None:
    path = tmp_path / "slide.xml"
    path.write_bytes(IMAGESCOPE.encode("cp1252"))
    outline = read_annotations(path).regions[0].outline
    whole = Polygon([(0, 0), (40.5, 0), (40, 40), (0, 40)]).area
    assert whole - outline.area == pytest.approx(np.pi * 5 * 3.5, rel=1e-3)
    assert isinstance(outline, Polygon)
    assert len(outline.interiors) == 1


@given(stars(), stars())
def test_a_hole_is_what_both_share_taken_out(
    tmp_path_factory: pytest.TempPathFactory, solid: Polygon, hole: Polygon
) -> None:
    path = tmp_path_factory.mktemp("law") / "slide.xml"
    ring, other = (vertices(*one.exterior.coords) for one in (solid, hole))
    path.write_text(f"<Annotations>{layer(region(ring), region(other, NegativeROA=1))}</Annotations>")
    found = read_annotations(path)
    left = solid.difference(hole).area
    assert sum(one.outline.area for one in found.regions) == pytest.approx(left, abs=1e-6)
    assert any("holes" in note for note in found.notes) == (solid.intersection(hole).area == 0 or left < 1e-9)


def test_a_hole_lies_in_its_own_layer_first(read: Reader) -> None:
    small = vertices((10, 10), (20, 10), (20, 20), (10, 20))
    found = read(layer(region(), Name="a") + layer(region(), region(small, NegativeROA="1"), Name="b"))
    assert [one.outline.area for one in found.regions] == [1600, 1500]
    found = read(layer(region(), Name="a") + layer(region(small, NegativeROA="1"), Name="b"))
    assert [one.outline.area for one in found.regions] == [1500]


def test_a_comb_across_a_comb_is_told_not_computed(read: Reader) -> None:
    """Two outlines of 2,000 teeth each cross four million times."""

    def comb(turned: bool) -> str:
        along = [(x, (0.0 if i % 2 else 4000.0)) for i, x in enumerate(np.arange(0, 2000, 0.5).tolist())]
        points = [*along, (2000.0, -1.0), (0.0, -1.0)]
        return vertices(*[(y, x) if turned else (x, y) for x, y in points])

    found = read(layer(region(comb(False)), region(comb(True), NegativeROA="1"), Name="a"))
    assert len(found.regions) == 0
    assert "holes cross them too often" in found.notes[0]


def test_a_hole_in_nothing_is_told(read: Reader) -> None:
    far = vertices((100, 100), (120, 100), (120, 120))
    found = read(layer(region(), region(far, Id="7", NegativeROA="1"), Name="a"))
    assert found.notes == ("holes that lie in no outline, left out: 1 (layer 1, region 7)",)


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
    drawn = layer(region(Text="its text"), **attributes).replace("<Regions>", f"{inner}<Regions>")
    (found,) = read(drawn).regions
    assert found.label == label
    assert found.properties == {"name": "its text"}


def test_no_class_at_all_is_told(read: Reader) -> None:
    assert read(layer(region(Id="3"))).notes == ("unclassified outlines: 1 (layer 1, region 3)",)


def test_a_rectangle_by_two_corners_and_by_four(read: Reader) -> None:
    two = region(vertices((10, 5), (30, 25)), Type="1")
    turned = region(vertices((10, 0), (20, 10), (10, 20), (0, 10)), Type="1")
    first, second = read(layer(two, turned, Name="a")).regions
    assert first.outline.equals(shapely.box(10, 5, 30, 25))
    assert second.outline.area == pytest.approx(200)


def test_points_keep_every_digit_and_commas_are_points(read: Reader) -> None:
    points = '<Vertex X="0,1" Y="0.1"/><Vertex X="10.123456789012345" Y="0"/><Vertex X="1e1" Y=" 9 "/>'
    (found,) = read(layer(region(points), Name="a")).regions
    assert list(found.outline.exterior.coords)[:3] == [(0.1, 0.1), (10.123456789012345, 0), (10, 9)]  # type: ignore[union-attr]


def test_an_open_stroke_is_closed_and_told(read: Reader) -> None:
    half_circle = [(float(100 * np.cos(t)), float(100 * np.sin(t))) for t in np.linspace(0, np.pi, 40)]
    found = read(layer(region(vertices(*half_circle)), Name="a"))
    assert found.notes == ("outlines left open, closed by a straight line: 1 (layer 1, region 1)",)
    assert len(found.regions) == 1


def test_crossing_and_tiny_outlines_are_named(read: Reader) -> None:
    bow_tie = region(vertices((0, 0), (4, 4), (4, 0), (0, 4)), Id="1")
    flat = region(vertices((0, 0), (4, 4)), Id="2")
    found = read(layer(bow_tie, flat, Name="a"))
    assert found.notes == (
        "outlines that crossed themselves, mended: 1 (layer 1, region 1)",
        "objects left out, as their outline encloses no area: 1 (layer 1, region 2)",
    )


def test_halo_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "slide.annotations"
    path.write_text(HALO)
    found = read_annotations(path)
    (region,) = found.regions
    assert region.label == "Tumour"
    assert region.outline.area == pytest.approx(40.5 - np.pi, rel=1e-3)


def test_ids_are_the_same_each_time_and_differ(read: Reader) -> None:
    text = layer(region(), region(), Name="a") + layer(region(), Name="a")
    first, second = read(text), read(text)
    assert first == second
    assert len({one.id for one in first.regions}) == 3
