from pathlib import Path

from histoscout.cohort.image_folders import RoiImage
from histoscout.evaluation.images.scores import ClassifiedImage, ImageScores, score_images
from histoscout.network.model_folder import ModelFolder
from histoscout.report.images import write_images_report
from tests.report.html import ParsedPage

CLASSES = ("N", "PB", "UDH", "FEA", "ADH", "DCIS", "IC")


def scores(patients: int, classes: tuple[str, ...] = CLASSES) -> ImageScores:
    """All images are classified correctly, except that the first class is predicted as the second."""
    images = []
    for patient in range(patients):
        for number, label in enumerate(classes):
            predicted = max(number, 1)
            probabilities = tuple(0.9 if place == predicted else 0.01 for place in range(len(classes)))
            image = RoiImage(Path(f"{label} {patient}.png"), label, f"p{patient}")
            images.append(
                ClassifiedImage(
                    image=image, truth=label, predicted=classes[predicted], probabilities=probabilities
                )
            )
    return score_images(images, classes, ("one note",), draws=200)


def write_page(image_scores: ImageScores, model: ModelFolder, out: Path) -> ParsedPage:
    return ParsedPage.of(write_images_report(image_scores, out, model).read_text(encoding="utf-8"))


def test_classes_and_their_groups_have_confusion_matrices(model: ModelFolder, tmp_path: Path) -> None:
    page = write_page(scores(6), model, tmp_path)
    assert not page.faults
    assert page.tags.count("svg") == 4
    assert {"Classes", "Benign, atypical, malignant"} <= set(page.titles)
    for words in ("weighted F1", "accuracy .86", "one note", model.hash):
        assert words in page.text


def test_classes_that_are_in_no_group_are_not_grouped(model: ModelFolder, tmp_path: Path) -> None:
    page = write_page(scores(2, ("UDH", "<b>other</b>")), model, tmp_path)
    assert not page.faults
    assert "Benign, atypical, malignant" not in page.titles
    assert "not estimable" in page.text
