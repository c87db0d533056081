from pathlib import Path

from histoscout.cohort.image_folders import RoiImage
from histoscout.evaluation.images.scores import ImageScores, NamedImage, score_images
from histoscout.network.model_folder import ModelFolder
from histoscout.report.images import write_images_report
from tests.report.html import Reading

CLASSES = ("N", "PB", "UDH", "FEA", "ADH", "DCIS", "IC")


def scores(patients: int, classes: tuple[str, ...] = CLASSES) -> ImageScores:
    """Every image is taken for what it is, but for the first class, which is taken for the second."""
    images = []
    for patient in range(patients):
        for number, label in enumerate(classes):
            chosen = max(number, 1)
            probable = tuple(0.9 if place == chosen else 0.01 for place in range(len(classes)))
            image = RoiImage(Path(f"{label} {patient}.png"), label, f"p{patient}")
            images.append(NamedImage(image, label, classes[chosen], probable))
    return score_images(images, classes, ("one note",), draws=200)


def written(made: ImageScores, model: ModelFolder, out: Path) -> Reading:
    return Reading.of(write_images_report(made, out, model).read_text(encoding="utf-8"))


def test_classes_and_their_groups_are_shown_with_confusions(model: ModelFolder, tmp_path: Path) -> None:
    reading = written(scores(6), model, tmp_path)
    assert not reading.faults
    assert reading.tags.count("svg") == 4
    for words in ("weighted F1", "accuracy .86", "Benign, atypical, malignant", "one note", model.hash):
        assert words in reading.text


def test_published_figures_stand_beside_those_of_the_seven_classes(
    model: ModelFolder, tmp_path: Path
) -> None:
    reading = written(scores(6), model, tmp_path)
    for words in (
        "HACT-Net",
        "hact-net",
        ".615",
        "570 test images",
        "recall of UDH",
        "table 6.2",
        "order of magnitude",
    ):
        assert words in reading.text
    assert "HACT-Net" not in written(scores(6, CLASSES[1:]), model, tmp_path).text


def test_classes_that_are_in_no_group_are_not_folded(model: ModelFolder, tmp_path: Path) -> None:
    reading = written(scores(2, ("UDH", "<b>other</b>")), model, tmp_path)
    assert not reading.faults
    assert "Benign, atypical" not in reading.text
    assert "not estimable" in reading.text
