"""Slides that consist of several files: DICOM series, .vms and .vmu."""

import struct
from pathlib import Path

import pytest

from histoscout.slides.files import dicom_series, main_file, main_files

EXPLICIT, IMPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"


def element(group: int, number: int, vr: bytes, value: bytes, *, explicit: bool = True) -> bytes:
    head = struct.pack("<HH", group, number)
    value += b"\0" * (len(value) % 2)
    if not explicit:
        return head + struct.pack("<I", len(value)) + value
    if vr in (b"SQ", b"OB", b"UN"):
        return head + vr + b"\0\0" + struct.pack("<I", len(value)) + value
    return head + vr + struct.pack("<H", len(value)) + value


def dicom(series: str, syntax: str = EXPLICIT, *, undefined: bool = False) -> bytes:
    """A DICOM header whose first sequence refers to another series."""
    explicit = syntax != IMPLICIT
    other = element(0x20, 0xE, b"UI", b"9.9.9", explicit=explicit)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(other)) + other
    sequence = element(0x8, 0x1115, b"SQ", item, explicit=explicit)
    if undefined:
        item = (
            struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + other + struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
        )
        place = 8 if explicit else 4
        sequence = (
            sequence[:place] + struct.pack("<I", 0xFFFFFFFF) + item + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
        )
    meta = element(0x2, 0x10, b"UI", syntax.encode())
    uid = element(0x20, 0xE, b"UI", series.encode(), explicit=explicit)
    return bytes(128) + b"DICM" + meta + sequence + uid


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize("undefined", [False, True])
def test_the_series_of_a_dicom_file_is_its_own(tmp_path: Path, syntax: str, undefined: bool) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(dicom("1.2.3", syntax, undefined=undefined))
    assert dicom_series(path) == "1.2.3"


@pytest.mark.parametrize("content", [b"", b"text", bytes(128) + b"DICM", bytes(128) + b"DICM" + bytes(7), dicom("1.2", BIG_ENDIAN)])  # fmt: skip
def test_files_without_a_series_have_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(content)
    assert dicom_series(path) == ""
    assert main_file(path) == path


def test_files_of_a_dicom_series_are_one_slide(tmp_path: Path) -> None:
    for name, series in (("b.dcm", "1.1"), ("a.dcm", "1.2"), ("c.dcm", "1.1"), ("d.dcm", "1.2")):
        (tmp_path / name).write_bytes(dicom(series))
    paths = sorted(tmp_path.iterdir())
    assert [main_files(paths)[path].name for path in paths] == ["a.dcm", "b.dcm", "b.dcm", "a.dcm"]


@pytest.mark.parametrize("suffix", [".vms", ".VMU"])
def test_images_that_an_index_names_are_part_of_its_slide(tmp_path: Path, suffix: str) -> None:
    index = tmp_path / f"S1{suffix}"
    index.write_text(
        "[Virtual Microscope Specimen]\nImageFile=S1.jpg\nImageFile(1,0)=S1(1,0).JPG\nMapFile=S1_map.jpg\n"
    )
    for name in ("S1.jpg", "S1(1,0).jpg", "S1_map.jpg", "other.jpg"):
        (tmp_path / name).touch()
    found = main_files(tmp_path.iterdir())
    assert {path.name for path, main in found.items() if main == index} == {index.name, "S1.jpg", "S1(1,0).jpg", "S1_map.jpg"}  # fmt: skip
    assert found[tmp_path / "other.jpg"] == tmp_path / "other.jpg"
