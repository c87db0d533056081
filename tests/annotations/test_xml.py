import gzip
from pathlib import Path

import pytest

from histoscout.annotations.read import read_annotations
from histoscout.annotations.xml import DEEPEST, read_tags
from histoscout.errors import AnnotationError

LAYER = '<Annotation Name="{}"><Regions><Region><Vertices>{}</Vertices></Region></Regions></Annotation>'
TRIANGLE = '<Vertex X="0" Y="0"/><Vertex X="9" Y="0"/><Vertex X="0" Y="9"/>'
BOMB = """<?xml version="1.0"?>
<!DOCTYPE Annotations [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<Annotations>&b;</Annotations>"""
OUTSIDE = '<!DOCTYPE Annotations [<!ENTITY a SYSTEM "file:///etc/hostname">]><Annotations Name="&a;"/>'


def annotations(name: str = "UDH", points: str = TRIANGLE) -> str:
    return f"<Annotations>{LAYER.format(name, points)}</Annotations>"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "slide.xml"


@pytest.mark.parametrize("content", [BOMB, OUTSIDE, "<!DOCTYPE html><Annotations/>"])
def test_document_types_and_entities_are_refused(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(AnnotationError, match=r"slide\.xml, line \d+: has a document type"):
        read_annotations(path)


def test_an_entity_without_a_document_type_is_an_error_too(path: Path) -> None:
    path.write_text("<Annotations>\n<Annotation Name='&a;'/></Annotations>")
    with pytest.raises(AnnotationError, match="line 2: is not valid XML"):
        read_annotations(path)


def test_tags_within_one_another_have_an_end(path: Path) -> None:
    path.write_text("<Annotations>" * 100_000)
    with pytest.raises(AnnotationError, match=f"more than {DEEPEST} tags within one another"):
        read_annotations(path)


@pytest.mark.parametrize(
    ("declared", "written"),
    [
        ("windows-1252", "cp1252"),
        ("utf-8", "utf-8"),
        ("utf-8", "cp1252"),  # what Windows programs do that do not care
        (None, "cp1252"),
        ("utf-16", "utf-16"),
        ("utf-16", "utf-8"),  # what .NET writes into a string
        ("iso-8859-1", "latin-1"),
        ("UTF-8", "utf-8-sig"),
    ],
)
def test_every_encoding_that_people_have(path: Path, declared: str | None, written: str) -> None:
    head = "" if declared is None else f'<?xml version="1.0" encoding="{declared}"?>\n'
    path.write_bytes((head + annotations("naïve ±")).encode(written))
    assert read_annotations(path).regions.labels == ["naïve ±"]


def test_an_encoding_that_is_none_is_refused(path: Path) -> None:
    path.write_text(f'<?xml version="1.0" encoding="zlib"?>{annotations()}')
    with pytest.raises(AnnotationError, match=r"slide\.xml"):
        read_annotations(path)


def test_a_gzipped_file_is_read(path: Path) -> None:
    path.write_bytes(gzip.compress(annotations().encode()))
    assert read_annotations(path).regions.labels == ["UDH"]


@pytest.mark.parametrize("number", ["abc", "", "1_0", "1,234.5", "0x10", "--1"])
def test_what_is_no_number_is_named_with_its_line(path: Path, number: str) -> None:
    path.write_text(annotations(points=f'\n<Vertex X="{number}" Y="0"/>'))
    with pytest.raises(AnnotationError, match=r"slide\.xml, line 2: X is .*, no number"):
        read_annotations(path)


def test_a_missing_coordinate_is_named(path: Path) -> None:
    path.write_text(annotations(points='\n\n<Vertex X="1"/>'))
    with pytest.raises(AnnotationError, match="line 3: Vertex has no number Y"):
        read_annotations(path)


@pytest.mark.parametrize("number", ["nan", "inf", "-Infinity", "1e300"])
def test_points_where_no_slide_is_are_refused(path: Path, number: str) -> None:
    path.write_text(annotations(points=f'{TRIANGLE}<Vertex X="{number}" Y="0"/>'))
    with pytest.raises(AnnotationError, match=r"line 1: point 4 of an outline is at .* where no slide is"):
        read_annotations(path)


def test_another_programs_xml_is_refused_with_what_is_read(path: Path) -> None:
    path.write_text("<gpx><trk/></gpx>")
    with pytest.raises(AnnotationError, match="'gpx', which neither ImageScope"):
        read_annotations(path)


def test_the_truncated_file_is_refused_at_its_line(path: Path) -> None:
    whole = annotations().replace("><", ">\n<")
    for cut in range(1, 16):
        path.write_text(whole[: len(whole) * cut // 16])
        with pytest.raises(AnnotationError, match=r"slide\.xml, line \d+: is not valid XML"):
            read_annotations(path)


def test_many_points_are_numbers_not_tags(path: Path) -> None:
    """What keeps memory in proportion to the file; time would run out if it were not in proportion too."""
    points = "".join(f'<Vertex X="{i % 1000}" Y="{i // 1000}"/>' for i in range(200_000))
    path.write_text(annotations(points=points))
    (vertices,) = read_tags(path).named("Annotation", "Regions", "Region", "Vertices")
    assert not vertices.children
    assert vertices.points.shape == (200_000, 2)
