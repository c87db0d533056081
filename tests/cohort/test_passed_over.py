"""What is named like a slide or like annotations and is no file is named, never passed over silently."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from histoscout.cohort.case import open_case
from histoscout.cohort.cohort import Cohort, read_cohort
from histoscout.cohort.image_folders import read_all_images
from histoscout.errors import CohortError, SlideError
from histoscout.slides.pyramid import write_pyramid

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and pipes of Linux and macOS")


def odd_entries(folder: Path, suffix: str) -> set[str]:
    """Make one entry of each kind that is no file; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"dangling{suffix}").symlink_to("nowhere")
    (folder / f"loop{suffix}").symlink_to(f"loop{suffix}")
    os.mkfifo(folder / f"pipe{suffix}")
    (folder / f"folder{suffix}").mkdir()
    return {f"{name}{suffix}" for name in ("dangling", "loop", "pipe", "folder")}


def names_in(notes: tuple[str, ...], names: set[str]) -> set[str]:
    return {name for name in names if any(name in note for note in notes)}


def slide(path: Path) -> Path:
    write_pyramid(path, np.full((64, 64, 3), 240, np.uint8), 0.5)
    return path


def test_a_folder_of_slides(tmp_path: Path) -> None:
    slide(tmp_path / "good.tif")
    names = odd_entries(tmp_path, ".svs") | odd_entries(tmp_path / "annotations", ".geojson")
    names |= odd_entries(tmp_path, ".xml")
    cohort = read_cohort(tmp_path)
    assert [case.name for case in cohort.cases] == ["good"]
    assert names_in(cohort.notes, names) == names


def test_a_folder_of_nothing_else(tmp_path: Path) -> None:
    names = odd_entries(tmp_path, ".svs")
    with pytest.raises(CohortError) as raised:
        read_cohort(tmp_path)
    assert names_in((raised.value.fault,), names) == names


def test_images_by_class(tmp_path: Path) -> None:
    names = odd_entries(tmp_path / "UDH", ".png")
    (tmp_path / "UDH" / "good.png").touch()
    data = read_all_images(tmp_path)
    assert len(data.images) == 1
    assert names_in(tuple(data.notes), names) == names


@pytest.mark.parametrize("kind", ["loop", "pipe", "folder"])
def test_a_table_with_no_file(tmp_path: Path, kind: str) -> None:
    slide(tmp_path / "good.tif")
    odd_entries(tmp_path, ".svs")
    (tmp_path / "c.csv").write_text(f"slide\ngood.tif\n{kind}.svs\n")

    def read() -> Cohort:
        cohort = read_cohort(tmp_path / "c.csv")
        with open_case(cohort.cases[1]):
            pass
        return cohort

    with pytest.raises((CohortError, SlideError), match=kind):
        read()
