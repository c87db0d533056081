"""XML files: encodings, damage, and files made to do harm."""

import gzip
from pathlib import Path

import pytest

from histoscout.annotations.read import read_annotations
from histoscout.annotations.xml import MAX_DEPTH, read_xml_tree
from histoscout.errors import AnnotationError

LAYER = '<Annotation Name="{}"><Regions><Region><Vertices>{}</Vertices></Region></Regions></Annotation>'
TRIANGLE = '<Vertex X="0" Y="0"/><Vertex X="9" Y="0"/><Vertex X="0" Y="9"/>'
BOMB = """<?xml version="1.0"?>
<!DOCTYPE Annotations [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<Annotations>&b;</Annotations>"""
OUTSIDE = '<!DOCTYPE Annotations [<!ENTITY a SYSTEM "file:///etc/hostname">]><Annotations Name="&a;"/>'


def annotations_xml(name: str = "UDH", points: str = TRIANGLE) -> str:
    return f"<Annotations>{LAYER.format(name, points)}</Annotations>"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "slide.xml"


@pytest.mark.parametrize("content", [BOMB, OUTSIDE, "<!DOCTYPE html><Annotations/>"])
def test_document_types_and_entities_are_refused(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(AnnotationError, match=r"slide\.xml, line \d+: .*DOCTYPE"):
        read_annotations(path)


def test_an_entity_without_a_document_type_is_an_error_too(path: Path) -> None:
    path.write_text("<Annotations>\n<Annotation Name='&a;'/></Annotations>")
    with pytest.raises(AnnotationError, match=r"slide\.xml, line 2: "):
        read_annotations(path)


def test_nesting_is_limited(path: Path) -> None:
    path.write_text("<Annotations>" * 100_000)
    with pytest.raises(AnnotationError, match=rf"slide\.xml, line 1: .*{MAX_DEPTH}"):
        read_annotations(path)


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("windows-1252", "cp1252"),
        ("utf-8", "utf-8"),
        # what some Windows programs do
        ("utf-8", "cp1252"),
        (None, "cp1252"),
        ("utf-16", "utf-16"),
        # what .NET writes into a string
        ("utf-16", "utf-8"),
        ("iso-8859-1", "latin-1"),
        ("UTF-8", "utf-8-sig"),
    ],
)
def test_every_common_encoding_is_read(path: Path, declared: str | None, encoding: str) -> None:
    head = "" if declared is None else f'<?xml version="1.0" encoding="{declared}"?>\n'
    path.write_bytes((head + annotations_xml("naïve ±")).encode(encoding))
    assert read_annotations(path).regions.labels == ["naïve ±"]


def test_an_encoding_of_no_text_is_refused(path: Path) -> None:
    path.write_text(f'<?xml version="1.0" encoding="zlib"?>{annotations_xml()}')
    with pytest.raises(AnnotationError, match=r"slide\.xml"):
        read_annotations(path)


def test_a_gzipped_file_is_read(path: Path) -> None:
    path.write_bytes(gzip.compress(annotations_xml().encode()))
    assert read_annotations(path).regions.labels == ["UDH"]


@pytest.mark.parametrize("number", ["abc", "", "1_0", "1,234.5", "0x10", "--1"])
def test_a_coordinate_that_is_not_a_number_is_refused_with_its_line(path: Path, number: str) -> None:
    path.write_text(annotations_xml(points=f'\n<Vertex X="{number}" Y="0"/>'))
    with pytest.raises(AnnotationError, match=r"slide\.xml, line 2: X "):
        read_annotations(path)


def test_a_missing_coordinate_is_refused_with_its_line(path: Path) -> None:
    path.write_text(annotations_xml(points='\n\n<Vertex X="1"/>'))
    with pytest.raises(AnnotationError, match=r"slide\.xml, line 3: .*Vertex.* Y\."):
        read_annotations(path)


@pytest.mark.parametrize("number", ["nan", "inf", "-Infinity", "1e300"])
def test_points_outside_any_slide_are_refused(path: Path, number: str) -> None:
    path.write_text(annotations_xml(points=f'{TRIANGLE}<Vertex X="{number}" Y="0"/>'))
    with pytest.raises(AnnotationError, match=r"slide\.xml, line 1: point 4 "):
        read_annotations(path)


def test_xml_of_another_program_is_refused(path: Path) -> None:
    path.write_text("<gpx><trk/></gpx>")
    with pytest.raises(AnnotationError, match=r"slide\.xml: .*'gpx'.*ImageScope.*ASAP"):
        read_annotations(path)


def test_a_truncated_file_is_refused_with_its_line(path: Path) -> None:
    whole = annotations_xml().replace("><", ">\n<")
    for cut in range(1, 16):
        path.write_text(whole[: len(whole) * cut // 16])
        with pytest.raises(AnnotationError, match=r"slide\.xml, line \d+: "):
            read_annotations(path)


def test_many_points_are_numbers_and_not_elements(path: Path) -> None:
    """Memory and time grow in proportion to the file."""
    points = "".join(f'<Vertex X="{i % 1000}" Y="{i // 1000}"/>' for i in range(200_000))
    path.write_text(annotations_xml(points=points))
    (vertices,) = read_xml_tree(path).find("Annotation", "Regions", "Region", "Vertices")
    assert not vertices.children
    assert vertices.points.shape == (200_000, 2)
