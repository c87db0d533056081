"""Only regular files are read: nothing waits for a pipe, and no link leads round in a circle."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from histoscout.annotations.read import read_annotations
from histoscout.errors import AnnotationError, CohortError, HistoscoutError, RecipeError, SlideError
from histoscout.io.files import read_text, sha256
from histoscout.io.inputs import open_regular, read_bytes, real_path, why_no_file
from histoscout.io.locks import read_facts
from histoscout.io.tables import read_table
from histoscout.recipe import Recipe
from histoscout.slides.files import main_file
from histoscout.slides.open import open_slide

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes among its files"),
    pytest.mark.timeout(20),
]


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    with open_regular(path) as file:
        assert file.read() == b"abc"
    assert read_bytes(path) == b"abc"
    assert why_no_file(path) == ""


@pytest.mark.parametrize("read", [open_regular, read_bytes, read_text, sha256])
def test_pipes_devices_and_folders_are_refused(tmp_path: Path, read: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path(os.devnull), tmp_path, tmp_path / "none"):
        with pytest.raises(OSError, match=r"pipe|directory") as raised:
            read(path)
        assert raised.value.strerror


@pytest.mark.parametrize(
    ("name", "read", "error"),
    [
        ("a.svs", open_slide, SlideError),
        ("a.vms", open_slide, SlideError),
        ("a.dcm", open_slide, SlideError),
        ("a.csv", read_table, CohortError),
        ("a.toml", Recipe.read, RecipeError),
        *(
            (f"a{suffix}", read_annotations, AnnotationError)
            for suffix in (".geojson", ".xml", ".csv", ".qpdata")
        ),
        ("a.png", read_annotations, AnnotationError),
    ],
)
def test_no_reader_waits_for_a_pipe(
    tmp_path: Path, name: str, read: Callable[[Path], object], error: type[HistoscoutError]
) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(error) as raised:
        read(tmp_path / name)
    assert raised.value.where.startswith(str(tmp_path / name))
    main_file(tmp_path / name)
    assert read_facts(tmp_path / name) == {}


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to pipe").symlink_to("pipe")
    (tmp_path / "folder").mkdir()
    faults = {path.name: why_no_file(path) for path in tmp_path.iterdir()}
    assert faults == {
        "dangling": "a link to nothing",
        "loop": "a link to nothing",
        "pipe": "a pipe or a device",
        "to pipe": "a pipe or a device",
        "folder": "a folder",
    }


def test_the_real_path_of_links(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "loop").symlink_to("loop")
    assert real_path(tmp_path / "link") == real_path(tmp_path) / "a"
    assert real_path(tmp_path / "loop").name == "loop"
    assert real_path(tmp_path / "none").name == "none"
