"""What holds for every file format that is read."""

import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import shapely
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from shapely.geometry import Polygon

from histoscout.annotations.asap import write_asap
from histoscout.annotations.dsa import write_dsa
from histoscout.annotations.geojson import write_geojson
from histoscout.annotations.read import FORMATS, Annotations, format_of, read_annotations
from histoscout.annotations.write import write_annotations
from histoscout.errors import AnnotationError
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions
from histoscout.geometry.vectorize import mask_to_polygons
from tests.annotations import qpdata_writer

MASK = np.zeros((40, 60), bool)
MASK[5:20, 10:30] = True
MASK[8:12, 15:20] = False
MASK[30:35, 40:55] = True
# for formats that have no holes; coordinates are in their own unit
SOLID_MASK = MASK.copy()
SOLID_MASK[8:12, 15:20] = True


def _geojson(path: Path) -> None:
    outlines = mask_to_polygons(MASK, Box(0, 0, 60, 40), 1)
    write_geojson(Regions.of(Region(outline, "1", id=str(n)) for n, outline in enumerate(outlines)), path)


def _zip(path: Path) -> None:
    _geojson(path.with_suffix(".geojson"))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path.with_suffix(".geojson"), "slide.geojson")
        archive.writestr("__MACOSX/._slide.geojson", "clutter")


def _asap(path: Path) -> None:
    outlines = mask_to_polygons(MASK, Box(0, 0, 60, 40), 1)
    write_asap(Regions.of(Region(outline, "1", id=str(n)) for n, outline in enumerate(outlines)), path)


def _halo(path: Path) -> None:
    rings = [
        (ring, int(number > 0))
        for outline in mask_to_polygons(MASK, Box(0, 0, 60, 40), 1)
        for number, ring in enumerate((outline.exterior, *outline.interiors))
    ]
    vertices = ["".join(f'<V X="{x:g}" Y="{y:g}"/>' for x, y in ring.coords) for ring, _ in rings]
    regions = "".join(
        f'<Region Type="Polygon" NegativeROA="{is_hole}"><Vertices>{points}</Vertices></Region>'
        for (_, is_hole), points in zip(rings, vertices, strict=True)
    )
    path.write_text(
        f'<Annotations><Annotation Name="1"><Regions>{regions}</Regions></Annotation></Annotations>'
    )


def _ndpview(path: Path) -> None:
    states = "".join(
        f"<ndpviewstate><title>1</title><annotation type='freehand'><closed>1</closed><pointlist>{points}"
        "</pointlist></annotation></ndpviewstate>"
        for points in (
            "".join(f"<point><x>{x:g}</x><y>{y:g}</y></point>" for x, y in outline.exterior.coords)
            for outline in _solid_polygons()
        )
    )
    path.write_text(f"<annotations>{states}</annotations>")


def _slideflow(path: Path) -> None:
    rows = [
        f"ROI_{number},1,{x:g},{y:g}\n"
        for number, outline in enumerate(_solid_polygons())
        for x, y in outline.exterior.coords
    ]
    path.write_text("roi_name,label,x_base,y_base\n" + "".join(rows))


def _dsa(path: Path) -> None:
    outlines = mask_to_polygons(MASK, Box(0, 0, 60, 40), 1)
    write_dsa(Regions.of(Region(outline, "1", id=str(n)) for n, outline in enumerate(outlines)), path)


def _solid_polygons() -> list[Polygon]:
    return mask_to_polygons(SOLID_MASK, Box(0, 0, 60, 40), 1)


def _qpdata(path: Path) -> None:
    outlines = mask_to_polygons(MASK, Box(0, 0, 60, 40), 1)
    label = qpdata_writer.path_class("1")
    objects = [
        qpdata_writer.QupathObject(qpdata_writer.geometry_roi(outline), label, id=f"0-{number}")
        for number, outline in enumerate(outlines)
    ]
    path.write_bytes(bytes(qpdata_writer.DataFile(objects)))


def _picture(path: Path) -> None:
    Image.fromarray(MASK.astype(np.uint8)).save(path)


def _tiff(path: Path) -> None:
    tifffile.imwrite(path, MASK.astype(np.uint8))


# how to write the two polygons of MASK in each format; JPEG cannot hold classes without a threshold
EXAMPLES: dict[str, Callable[[Path], None]] = {
    ".geojson": _geojson,
    ".geojson.gz": _geojson,
    ".json": _geojson,
    ".json.gz": _geojson,
    ".geojson.zip": _zip,
    ".zip": _zip,
    ".xml": _asap,
    ".annotations": _halo,
    ".anot": _dsa,
    ".ndpa": _ndpview,
    ".csv": _slideflow,
    ".qpdata": _qpdata,
    ".png": _picture,
    ".tif": _tiff,
    ".tiff": _tiff,
}
WITHOUT_HOLES = {".ndpa", ".csv"}
NEEDS_A_THRESHOLD = {".jpg", ".jpeg"}

every_format = pytest.mark.parametrize("suffix", FORMATS)


@every_format
def test_two_polygons_are_read_alike_from_every_format(tmp_path: Path, suffix: str) -> None:
    if suffix in NEEDS_A_THRESHOLD:
        pytest.skip("a JPEG needs a threshold; see test_masks")
    path = tmp_path / f"slide{suffix.upper()}"
    EXAMPLES[suffix](path)
    annotations = read_annotations(path)
    mask = SOLID_MASK if suffix in WITHOUT_HOLES else MASK
    assert [region.outline for region in annotations.regions] == mask_to_polygons(mask, Box(0, 0, 60, 40), 1)
    assert annotations.regions.labels == ["1"]
    assert len({region.id for region in annotations.regions}) == 2
    assert all(region.score is None for region in annotations.regions)
    assert read_annotations(path) == annotations


@every_format
def test_a_missing_file_is_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(AnnotationError, match="absent"):
        read_annotations(tmp_path / f"absent{suffix}")


@every_format
def test_a_folder_is_refused(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(AnnotationError, match="folder"):
        read_annotations(tmp_path / f"folder{suffix}")


@every_format
@pytest.mark.parametrize(
    "content", [b"", b"\0" * 100, b"hello", b"\x1f\x8b", b"II*\0", b"\x89PNG\r\n\x1a\n", b"\xff\xd8"]
)
def test_rubbish_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"rubbish{suffix}"
    path.write_bytes(content)
    with pytest.raises(AnnotationError, match="rubbish"):
        read_annotations(path)


@every_format
def test_a_truncated_file_is_read_or_refused(tmp_path: Path, suffix: str) -> None:
    if suffix in NEEDS_A_THRESHOLD:
        pytest.skip("not read without a threshold; see the fuzz tests")
    path = tmp_path / f"whole{suffix}"
    EXAMPLES[suffix](path)
    whole = path.read_bytes()
    for sixteenths in range(16):
        cut = tmp_path / f"cut{suffix}"
        cut.write_bytes(whole[: len(whole) * sixteenths // 16])
        outcome = _read_or_refuse(cut)
        if isinstance(outcome, AnnotationError):
            assert cut.name in str(outcome)
        else:
            assert isinstance(outcome.notes, tuple)
            # a table of points may end after any row
            assert sixteenths > 8 or suffix == ".csv", "half a file is not a file"


def _read_or_refuse(path: Path) -> Annotations | AnnotationError:
    try:
        return read_annotations(path)
    except AnnotationError as error:
        return error


@every_format
def test_a_file_without_permission_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"secret{suffix}"
    path.write_bytes(b"{}")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(AnnotationError, match="secret"):
        read_annotations(path)


@given(st.sampled_from(sorted(FORMATS)), st.binary(max_size=200))
def test_any_content_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / f"any{suffix}"
    path.write_bytes(content)
    with suppress(AnnotationError):
        read_annotations(path)


def test_the_longest_suffix_decides_and_case_does_not() -> None:
    assert format_of(Path("A.SVS.GeoJSON.GZ")) == ".geojson.gz"
    assert format_of(Path("a.Tif")) == ".tif"
    assert format_of(Path("a.docx")) is None


def test_an_unknown_format_is_refused_with_the_known_suffixes() -> None:
    with pytest.raises(AnnotationError, match=r"a\.docx: .*\.geojson, .*\.qpdata"):
        read_annotations(Path("a.docx"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("suffix", [".geojson", ".xml"])
def test_class_names_in_any_encoding(tmp_path: Path, suffix: str, encoding: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_annotations(Regions.of([Region(shapely.box(0, 0, 9, 9), "Drüse")]), path)
    text = path.read_text(encoding="utf-8").replace("\\u00fc", "ü")
    path.write_bytes(text.encode(encoding))
    annotations = read_annotations(path)
    assert annotations.regions.labels == ["Drüse"]
    assert any("UTF-8" in note for note in annotations.notes) is (encoding != "utf-8-sig")
