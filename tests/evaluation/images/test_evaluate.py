"""Evaluation of a model on image classification data, from files to metrics."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histoscout.errors import CohortError, OutputError
from histoscout.evaluation.images.evaluate import NONE_OF_THESE, ImageOptions, evaluate_images
from histoscout.network.model_folder import ModelFolder
from tests import toy


def write_images(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / name)


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of the toy lesions, of their look-alikes and of plain tissue, of patients that no model knows."""
    folder = tmp_path_factory.mktemp("crops")
    for patient in range(20, 24):
        pixels, annotations = toy.draw(patient)
        for number, region in enumerate(annotations):
            if region.label == "UDH-unsure":
                continue
            x, y = (int(value) for value in region.box.center)
            name = f"{region.label}/BRACS_{patient}_{region.label}_{number}.png"
            (folder / name).parent.mkdir(exist_ok=True)
            Image.fromarray(pixels[max(0, y - 20) : y + 20, max(0, x - 20) : x + 20]).save(folder / name)
        (folder / "N").mkdir(exist_ok=True)
        Image.fromarray(pixels[18:36, 18:490]).save(folder / "N" / f"BRACS_{patient}_N_0.png")
    return folder


def test_a_model_classifies_new_images(model: ModelFolder, crops: Path, tmp_path: Path) -> None:
    (crops / "N" / "broken.png").write_text("no image")
    scores = evaluate_images(model, crops, tmp_path, ImageOptions(device="torch", mpp=1.0, draws=50))
    assert scores.classes == ("UDH", "ADH", NONE_OF_THESE)
    assert scores.by_class["UDH"]["auroc"].value == 1
    assert (scores.overall["accuracy"].value or 0) > 0.6
    assert any("not evaluated" in note and "broken" in note for note in scores.notes)
    assert any("none of these: N" in note for note in scores.notes)
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written["images"]["count"] == len(scores.images)
    assert sum(map(sum, written["images"]["confusion"]["counts"])) == len(scores.images)
    assert len((tmp_path / "images.csv").read_text().splitlines()) == len(scores.images) + 1
    with pytest.raises(OutputError, match="image classification data"):
        evaluate_images(model, crops, tmp_path, ImageOptions(device="torch", mpp=1.0))


def test_images_of_patients_that_the_model_knows_are_refused(model: ModelFolder, tmp_path: Path) -> None:
    write_images(tmp_path, "a.png")
    (tmp_path / "images.csv").write_text("image,class,patient\na.png,UDH,patient 0\n")
    with pytest.raises(CohortError, match="patient 0"):
        evaluate_images(model, tmp_path / "images.csv", tmp_path / "out")


def test_images_without_a_scale_are_refused(model: ModelFolder, tmp_path: Path) -> None:
    write_images(tmp_path, "UDH/a.png", "ADH/b.png")
    with pytest.raises(CohortError, match="resolution"):
        evaluate_images(model, tmp_path, tmp_path / "out", ImageOptions(device="torch"))
