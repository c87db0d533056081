"""Faults in image classification data are reported before time is spent."""

from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

from histoscout.cli.main import app
from histoscout.errors import CohortError, HistoscoutError, MppMissingError, OutputError, RecipeError


def write_images(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / name)
    return folder


@pytest.mark.parametrize(
    ("names", "more", "error", "words"),
    [
        (("train/N/a.png", "train/UDH/b.png"), ("--mpp", "1"), CohortError, "test images"),
        (
            ("N/a.png", "test/UDH/b.png"),
            ("--mpp", "1", "--scores", "full"),
            OutputError,
            "scores",
        ),
        (("N/a.png", "UDH/b.png", "test/UDH/c.png"), (), MppMissingError, "--mpp"),
        (
            ("train/N/a.png", "train/UDH/b.png", "test/UDH/c.png"),
            ("--mpp", "1", "--incomplete"),
            RecipeError,
            "--incomplete|complete",
        ),
        (("a.png",), (), typer.BadParameter, "--scores"),
        (("a.png",), ("--mpp", "1"), typer.BadParameter, "--mpp"),
    ],
)
def test_faults_are_reported_at_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, ...],
    more: tuple[str, ...],
    error: type[HistoscoutError],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "images", *names)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "scores.json").write_text('{"images": 3}', encoding="utf-8")
    with pytest.raises(error, match=words):
        app(["train", "images", "-o", "model", "--scores", "scores", *more], standalone_mode=False)
    assert not (tmp_path / "model").exists()


def test_a_plan_is_made_for_images(tmp_path: Path) -> None:
    rois = write_images(tmp_path / "rois", "train/0_N/BRACS_1_N_1.png", "train/2_UDH/BRACS_2_UDH_1.png")
    app(["plan", str(rois), "-o", str(tmp_path / "plan.toml"), "--quiet"], standalone_mode=False)
    assert 'positive = "UDH"' in (tmp_path / "plan.toml").read_text()
