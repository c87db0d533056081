"""Files are written completely or not at all, and errors of the disk have their remedies."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from histoscout.errors import OutputError
from histoscout.io.files import (
    atomic_write,
    decode_text,
    encoding_note,
    holds_nothing,
    package_file,
    read_text,
    remove_leftovers,
    sha256,
    text_encoding,
    write_text,
)


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


def test_a_killed_writer_leaves_what_the_next_run_removes(tmp_path: Path) -> None:
    script = """
import sys, time
from pathlib import Path
from histoscout.io.files import atomic_write, scratch_folder
with scratch_folder(Path(sys.argv[1])) as folder, atomic_write(Path(sys.argv[1]) / "a.ome.tiff") as temporary:
    (folder / "b").touch()
    print(temporary.name, flush=True)
    time.sleep(60)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip().endswith(".ome.tiff")
        (tmp_path / ".12.part.old.csv").touch()
        (tmp_path / "mine").touch()
        remove_leftovers(tmp_path)
        assert len(list(tmp_path.iterdir())) == 4
        process.kill()
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".12.part.old.csv", "mine"}
    remove_leftovers(tmp_path, alone=True)
    assert {path.name for path in tmp_path.iterdir()} == {"mine"}


def test_a_folder_with_traces_of_a_killed_run_holds_nothing(tmp_path: Path) -> None:
    assert holds_nothing(tmp_path / "missing")
    (tmp_path / ".locks").mkdir()
    (tmp_path / ".locks" / "run.lock").touch()
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / ".part.123456-ab.csv").touch()
    assert holds_nothing(tmp_path)
    (tmp_path / "a" / "b" / "notes.txt").touch()
    assert not holds_nothing(tmp_path)


ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_text_of_every_encoding_is_read_and_noted_unless_it_is_utf8(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("slide,Müller\n".encode(encoding))
    assert read_text(path) == "slide,Müller\n"
    assert bool(encoding_note(path.read_bytes())) is not encoding.startswith("utf-8")


@pytest.mark.parametrize("content", [bytes(range(256)), b"\0" * 8, b"\x89PNG\r\n\x1a\n\0\0\0\r", b"a\0"])
def test_what_is_not_text(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    assert text_encoding(content) is None
    assert not encoding_note(content)
    with pytest.raises(UnicodeDecodeError):
        read_text(tmp_path / "a")


def test_a_name_of_no_encoding_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not in UTF-8"):
        write_text(tmp_path / "a.csv", "slide\nM\udcfcller.svs\n")
    assert not list(tmp_path.iterdir())
