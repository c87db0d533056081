from pathlib import Path

import pytest
import shapely

from histoscout.annotations.read import Annotations, read_annotations
from tests.fuzz.seeds import ASAP

SQUARE = ((0, 0), (40, 0), (40, 40), (0, 40))


def annotation(points: tuple[tuple[float, float], ...] = SQUARE, kind: str = "Polygon", **said: str) -> str:
    attributes = {"Name": "a", "Type": kind, "PartOfGroup": "UDH", **said}
    written = " ".join(f'{name}="{value}"' for name, value in attributes.items())
    coordinates = [f'<Coordinate Order="{i}" X="{x}" Y="{y}"/>' for i, (x, y) in enumerate(points)]
    return f"<Annotation {written}><Coordinates>{''.join(coordinates)}</Coordinates></Annotation>"


def read(folder: Path, *annotations: str, groups: str = "") -> Annotations:
    path = folder / "slide.xml"
    body = f"<Annotations>{''.join(annotations)}</Annotations><AnnotationGroups>{groups}</AnnotationGroups>"
    path.write_text(f"<ASAP_Annotations>{body}</ASAP_Annotations>")
    return read_annotations(path)


def test_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "slide.xml"
    path.write_text(ASAP)
    found = read_annotations(path)
    assert [(one.label, one.score) for one in found.regions] == [
        ("Tumour", 0.5),
        ("Tumour: invasive", None),
        ("", None),
    ]
    ours, theirs, rectangle = found.regions
    assert ours.id == "one"
    assert ours.outline.area == 112.5 - 2
    assert theirs.outline.area == pytest.approx(1610 - 8)
    assert theirs.properties == {"name": "Annotation 0", "classColor": [0, 255, 0]}
    assert rectangle.outline.equals(shapely.box(50, 5, 70, 9))
    assert rectangle.properties == {"name": "r", "color": [0, 255, 0]}
    assert found.notes == (
        "points and lines left out, as they have no area: 1 (d: Dot)",
        "unclassified outlines: 1 (r)",
    )


def test_points_come_in_their_order_not_the_files(tmp_path: Path) -> None:
    coordinates = '<Coordinate Order="2" X="9" Y="9"/><Coordinate Order="0" X="0" Y="0"/><Coordinate Order="1" X="9" Y="0"/>'
    text = f'<Annotation Name="a" Type="Polygon" PartOfGroup="b"><Coordinates>{coordinates}</Coordinates></Annotation>'
    (found,) = read(tmp_path, text).regions
    assert list(found.outline.exterior.coords)[:3] == [(0, 0), (9, 0), (9, 9)]  # type: ignore[union-attr]


def test_holes_as_in_camelyon16(tmp_path: Path) -> None:
    small = ((10, 10), (20, 10), (20, 20), (10, 20))
    found = read(tmp_path, annotation(PartOfGroup="_0"), annotation(small, PartOfGroup="_2"))
    assert [(one.label, one.outline.area) for one in found.regions] == [("_0", 1500)]
    assert found.notes == ("outlines of the group _2, which are holes in CAMELYON16, taken out: 1 (1)",)
    found = read(tmp_path, annotation(PartOfGroup="tumour"), annotation(small, PartOfGroup="_2"))
    assert [one.label for one in found.regions] == ["tumour", "_2"]  # here it is somebody's own class


def test_splines_are_the_polygon_of_their_points(tmp_path: Path) -> None:
    (found,) = read(tmp_path, annotation(kind="Spline")).regions
    assert found.outline.area == 1600


def test_an_unknown_kind_is_told(tmp_path: Path) -> None:
    found = read(tmp_path, annotation(kind="Blob"))
    assert found.notes == ("annotations of an unknown kind, read as polygons: 1 (a: blob)",)


def test_groups_that_are_part_of_each_other_have_an_end(tmp_path: Path) -> None:
    groups = '<Group Name="UDH" PartOfGroup="b"/><Group Name="b" PartOfGroup="UDH"/>'
    (found,) = read(tmp_path, annotation(), groups=groups).regions
    assert found.label == "b: UDH"
