"""What is said, before time is spent, of images by class that cannot be learnt from as asked."""

from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

from histoscout.cli.main import app
from histoscout.errors import CohortError, HistoscoutError, MppMissingError, OutputError, RecipeError


def _images(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / name)
    return folder


@pytest.mark.parametrize(
    ("names", "more", "error", "words"),
    [
        (("train/N/a.png", "train/UDH/b.png"), ("--mpp", "1"), CohortError, "no images of the split test"),
        (
            ("N/a.png", "test/UDH/b.png"),
            ("--mpp", "1", "--scores", "full"),
            OutputError,
            "the scores of images",
        ),
        (("N/a.png", "UDH/b.png", "test/UDH/c.png"), (), MppMissingError, "--mpp"),
        (
            ("train/N/a.png", "train/UDH/b.png", "test/UDH/c.png"),
            ("--mpp", "1", "--incomplete"),
            RecipeError,
            "nothing is outlined",
        ),
        (("a.png",), (), typer.BadParameter, "--scores is for images by class"),
        (("a.png",), ("--mpp", "1"), typer.BadParameter, "--mpp is for images by class"),
    ],
)
def test_faults_are_told_at_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, ...],
    more: tuple[str, ...],
    error: type[HistoscoutError],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    _images(tmp_path / "images", *names)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "scores.json").write_text('{"images": 3}', encoding="utf-8")
    with pytest.raises(error, match=words):
        app(["train", "images", "-o", "model", "--scores", "scores", *more], standalone_mode=False)
    assert not (tmp_path / "model").exists()


def test_a_plan_is_made_for_images(tmp_path: Path) -> None:
    rois = _images(tmp_path / "rois", "train/0_N/BRACS_1_N_1.png", "train/2_UDH/BRACS_2_UDH_1.png")
    app(["plan", str(rois), "-o", str(tmp_path / "plan.toml"), "--quiet"], standalone_mode=False)
    assert 'positive = "UDH"' in (tmp_path / "plan.toml").read_text()
