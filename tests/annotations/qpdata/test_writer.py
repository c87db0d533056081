"""QuPath data files that histoscout writes: read back as they were, in classes and fields of real files."""

import struct
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from histoscout.annotations.qpdata.java import JavaClass, JavaStream
from histoscout.annotations.qpdata.java_output import JavaInstance, JavaWriter, encode_text, serializable
from histoscout.annotations.qpdata.reader import read_qpdata
from histoscout.annotations.qpdata.writer import write_qpdata
from histoscout.annotations.qupath_properties import is_uuid
from histoscout.errors import OutputError
from histoscout.geometry.regions import Region

SERVER = {"builderType": "uri", "providerClassName": "x", "uri": "file:/slides/A1.svs", "args": []}
HOLED = shapely.Polygon([(0, 0), (90, 0), (90, 90), (0, 90)], [[(10, 10), (20, 10), (20, 20), (10, 20)]])
PARTS = shapely.MultiPolygon([shapely.box(0, 0, 9, 9), shapely.box(50, 50, 60, 60)])

outlines = st.one_of(
    st.builds(
        lambda x, y, radius: shapely.Point(x, y).buffer(radius),
        st.integers(100, 100_000),
        st.integers(100, 100_000),
        st.integers(2, 90),
    ),
    st.sampled_from([HOLED, PARTS]),
)
texts = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=12)
regions = st.builds(
    lambda outline, label, score, name, locked: Region(
        outline,
        label,
        score,
        properties={"name": name, **({"isLocked": True} if locked else {}), "metadata": {"model": name}},
    ),
    outlines,
    st.one_of(texts, st.sampled_from(["UDH", "UDH: found", "Tumor: Invasive: rejected"])),
    st.one_of(st.none(), st.floats(0, 1)),
    texts,
    st.booleans(),
)


@settings(max_examples=25)
@given(drawn=st.lists(regions, min_size=1, max_size=5))
def test_regions_are_read_as_they_were_written(
    drawn: list[Region], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("qpdata") / "data.qpdata"
    write_qpdata(drawn, path, SERVER, 7)
    annotations = read_qpdata(path)
    assert annotations.image is not None
    assert annotations.image.name == "A1.svs"
    assert len(annotations.regions) == len(drawn)
    for before, after in zip(drawn, annotations.regions, strict=True):
        assert (after.id, after.label, after.score) == (before.id, before.label, before.score)
        assert dict(after.properties) == dict(before.properties)
        # single precision where points can be moved
        assert shapely.hausdorff_distance(after.outline, before.outline) < 0.01


def test_ids_that_qupath_does_not_know_become_uuids(tmp_path: Path) -> None:
    for _ in range(2):
        write_qpdata([Region(HOLED, "UDH", id="r1")], tmp_path / "a.qpdata", SERVER)
        (region,) = read_qpdata(tmp_path / "a.qpdata").regions
        assert is_uuid(region.id)
    write_qpdata([Region(HOLED, "UDH", id="r1")], tmp_path / "b.qpdata", SERVER)
    assert read_qpdata(tmp_path / "b.qpdata").regions[0].id == region.id


def test_a_region_without_area_is_refused_and_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        write_qpdata([Region(shapely.Polygon(), "UDH")], tmp_path / "a.qpdata", SERVER)
    assert not (tmp_path / "a.qpdata").exists()


@pytest.mark.parametrize("text", ["", "a\0b", "ö", "𝄞", "x" * 70_000])
def test_texts_of_any_kind_and_length(text: str, tmp_path: Path) -> None:
    writer = JavaWriter()
    writer.write(text)
    writer.write(text)
    assert list(JavaStream(bytes(writer.data), tmp_path)) == [text, text]
    assert len(encode_text("a\0")) == 3


def test_what_java_has_no_form_for_is_refused() -> None:
    with pytest.raises(TypeError):
        JavaWriter().write(1.5)
    with pytest.raises(ValueError, match="zip"):
        JavaWriter().write(JavaInstance(serializable("A", ("I", "x"))))


def described_classes(data: bytes) -> dict[str, bytes]:
    """The description of each class in a stream, up to its parent: version, flags, and fields with their types."""
    found: dict[str, bytes] = {}

    class Watching(JavaStream):
        def _new_class(self) -> JavaClass:
            start = self.position
            described = super()._new_class()
            (length,) = struct.unpack(">H", self.data[start : start + 2])
            head = self.data[start + 2 + length : start + 11 + length]
            fields = "".join(f"{code}{name} " for code, name in described.fields)
            parents = "".join(f"{one.name} " for one in described.ancestors)
            found[described.name] = head + f" {fields}| {parents}".encode()
            return described

    for item in Watching(data, Path("data")):
        if isinstance(item, str) and item == "EOF":
            break
    return found


@pytest.mark.shared
def test_classes_are_those_that_qupath_wrote(shared_data: Path, tmp_path: Path) -> None:
    drawn = [Region(HOLED, "UDH: found", 0.5), Region(shapely.box(0, 0, 9, 9), "UDH")]
    write_qpdata(drawn, tmp_path / "a.qpdata", SERVER, 1)
    own = described_classes((tmp_path / "a.qpdata").read_bytes())
    real: dict[str, bytes] = {}
    for path in sorted((shared_data / "qupath").rglob("*.qpdata")):
        if "v0.1" not in path.name and "v0.2" not in path.name:
            real |= described_classes(path.read_bytes())
    assert own.keys() <= real.keys()
    assert {name: real[name] for name in own} == own
    assert np.all([len(value) > 9 for value in own.values()])
