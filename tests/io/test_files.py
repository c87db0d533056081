"""Files are written completely or not at all, and errors of the disk have their remedies."""

import os
from pathlib import Path

import pytest

from histoscout.errors import OutputError
from histoscout.io.files import atomic_write, decode_text, package_file, sha256, write_text


def test_a_file_is_replaced_completely(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "a.txt", "first")
    write_text(tmp_path / "new" / "a.txt", "second")
    assert (tmp_path / "new" / "a.txt").read_text() == "second"
    assert len(list((tmp_path / "new").iterdir())) == 1
    assert sha256(tmp_path / "new" / "a.txt").startswith("16367aacb67a4a01")


def test_an_interruption_keeps_the_old_file_and_leaves_no_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def interrupt() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_raises(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="full") as raised, atomic_write(tmp_path / "a.txt"):
        Path("/dev/full").write_text("too much")
    assert raised.value.where == str(tmp_path / "a.txt")
    assert "space" in raised.value.remedy
    assert not list(tmp_path.iterdir())


def test_a_file_in_place_of_a_folder_raises(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="folder"):
        write_text(tmp_path / "file" / "a.txt", "x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_raises(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="permission"):
        write_text(tmp_path / "closed" / "a.txt", "x")


def test_binary_content_is_no_text() -> None:
    assert decode_text(b"a\0b") is None
    assert decode_text("Müller".encode("cp1252")) == "Müller"


def test_package_files_are_found() -> None:
    assert package_file("demonstration.toml").is_file()
