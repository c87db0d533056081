"""Half-written files are never taken for whole ones, and a full disk is called a full disk."""

import os
from pathlib import Path

import pytest

from histoscout.errors import OutputError
from histoscout.io.files import replacing, sha256, write_text


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "a.txt", "first")
    write_text(tmp_path / "new" / "a.txt", "second")
    assert (tmp_path / "new" / "a.txt").read_text() == "second"
    assert len(list((tmp_path / "new").iterdir())) == 1
    assert sha256(tmp_path / "new" / "a.txt").startswith("16367aacb67a4a01")


def test_an_interruption_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def interrupted() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="the disk is full") as raised, replacing(tmp_path / "a.txt"):
        Path("/dev/full").write_text("no room")
    assert "Free some space" in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_a_file_where_a_folder_should_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="not a folder"):
        write_text(tmp_path / "file" / "a.txt", "x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_closed_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="no permission"):
        write_text(tmp_path / "closed" / "a.txt", "x")
