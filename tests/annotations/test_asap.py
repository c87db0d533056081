"""ASAP: groups, holes, rectangles and splines."""

from pathlib import Path

import pytest
import shapely

from histoscout.annotations.read import Annotations, read_annotations
from tests.annotations.notes import note_with, only_note
from tests.fuzz.seeds import ASAP

SQUARE = ((0, 0), (40, 0), (40, 40), (0, 40))


def annotation_xml(
    points: tuple[tuple[float, float], ...] = SQUARE, kind: str = "Polygon", **attributes: str
) -> str:
    attributes = {"Name": "a", "Type": kind, "PartOfGroup": "UDH", **attributes}
    text = " ".join(f'{name}="{value}"' for name, value in attributes.items())
    coordinates = [f'<Coordinate Order="{i}" X="{x}" Y="{y}"/>' for i, (x, y) in enumerate(points)]
    return f"<Annotation {text}><Coordinates>{''.join(coordinates)}</Coordinates></Annotation>"


def read(folder: Path, *annotations: str, groups: str = "") -> Annotations:
    path = folder / "slide.xml"
    body = f"<Annotations>{''.join(annotations)}</Annotations><AnnotationGroups>{groups}</AnnotationGroups>"
    path.write_text(f"<ASAP_Annotations>{body}</ASAP_Annotations>")
    return read_annotations(path)


def test_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "slide.xml"
    path.write_text(ASAP)
    annotations = read_annotations(path)
    assert [(region.label, region.score) for region in annotations.regions] == [
        ("Tumour", 0.5),
        ("Tumour: invasive", None),
        ("", None),
    ]
    own, foreign, rectangle = annotations.regions
    assert own.id == "one"
    assert own.outline.area == 112.5 - 2
    assert foreign.outline.area == pytest.approx(1610 - 8)
    assert foreign.properties == {"name": "Annotation 0", "classColor": [0, 255, 0]}
    assert rectangle.outline.equals(shapely.box(50, 5, 70, 9))
    assert rectangle.properties == {"name": "r", "color": [0, 255, 0]}
    assert len(annotations.notes) == 2
    assert note_with(annotations.notes, "d: Dot")
    assert note_with(annotations.notes, "class", "(r)")


def test_points_are_sorted_by_their_order(tmp_path: Path) -> None:
    coordinates = '<Coordinate Order="2" X="9" Y="9"/><Coordinate Order="0" X="0" Y="0"/><Coordinate Order="1" X="9" Y="0"/>'
    text = f'<Annotation Name="a" Type="Polygon" PartOfGroup="b"><Coordinates>{coordinates}</Coordinates></Annotation>'
    (region,) = read(tmp_path, text).regions
    assert list(region.outline.exterior.coords)[:3] == [(0, 0), (9, 0), (9, 9)]  # type: ignore[union-attr]


def test_holes_as_in_camelyon16(tmp_path: Path) -> None:
    small = ((10, 10), (20, 10), (20, 20), (10, 20))
    annotations = read(tmp_path, annotation_xml(PartOfGroup="_0"), annotation_xml(small, PartOfGroup="_2"))
    assert [(region.label, region.outline.area) for region in annotations.regions] == [("_0", 1500)]
    assert only_note(annotations.notes, "CAMELYON16", "_2")
    # with other groups, _2 is a class of its own
    annotations = read(
        tmp_path, annotation_xml(PartOfGroup="tumour"), annotation_xml(small, PartOfGroup="_2")
    )
    assert [region.label for region in annotations.regions] == ["tumour", "_2"]


def test_a_spline_is_the_polygon_of_its_points(tmp_path: Path) -> None:
    (region,) = read(tmp_path, annotation_xml(kind="Spline")).regions
    assert region.outline.area == 1600


def test_an_unknown_type_is_read_as_a_polygon_and_noted(tmp_path: Path) -> None:
    annotations = read(tmp_path, annotation_xml(kind="Blob"))
    assert len(annotations.regions) == 1
    assert only_note(annotations.notes, "a: blob")


def test_groups_that_are_part_of_each_other_end(tmp_path: Path) -> None:
    groups = '<Group Name="UDH" PartOfGroup="b"/><Group Name="b" PartOfGroup="UDH"/>'
    (region,) = read(tmp_path, annotation_xml(), groups=groups).regions
    assert region.label == "b: UDH"
