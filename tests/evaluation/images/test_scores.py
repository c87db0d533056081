"""Classification metrics against scikit-learn, groups of classes, and files."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics

from histoscout.cohort.image_folders import RoiImage
from histoscout.evaluation.images.evaluate import NONE_OF_THESE
from histoscout.evaluation.images.scores import (
    BRACS_GROUPS,
    Classifications,
    ClassifiedImage,
    class_metric,
    classification_statistic,
    group_classes,
    score_images,
    write_image_scores,
)

NAMES = ("UDH", "ADH", "N")


@st.composite
def classifications(draw: st.DrawFn) -> Classifications:
    count = draw(st.integers(1, 15))
    numbers = st.lists(st.integers(0, 2), min_size=count, max_size=count)
    truth, predicted, patient = (np.array(draw(numbers), np.int64) for _ in range(3))
    probabilities = np.array(
        [[draw(st.sampled_from([0.0, 0.2, 0.5, 1.0])) for _ in NAMES] for _ in range(count)]
    )
    return Classifications(
        classes=NAMES, truth=truth, predicted=predicted, probabilities=probabilities, patient=patient
    )


@given(classifications(), st.lists(st.integers(0, 3), min_size=3, max_size=3))
def test_metrics_agree_with_scikit_learn(images: Classifications, times: list[int]) -> None:
    weights = np.array(times, np.float64)
    values = classification_statistic(images, 3)(weights)
    counted = weights[images.patient] > 0
    if not counted.any():
        assert set(values.values()) == {None}
        return
    truth = images.truth[counted]
    predicted = images.predicted[counted]
    image_weights = weights[images.patient][counted]
    for name, value in _by_sklearn(truth, predicted, image_weights).items():
        assert values[name] == pytest.approx(value, abs=1e-9), name
    for number, label in enumerate(NAMES):
        is_class, scores = truth == number, images.probabilities[counted, number]
        if 0 < is_class.sum() < len(is_class):
            expected = metrics.roc_auc_score(is_class, scores, sample_weight=image_weights)
            assert values[class_metric("auroc", label)] == pytest.approx(expected)
        else:
            assert values[class_metric("auroc", label)] is None


def _by_sklearn(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], weights: NDArray[np.float64]
) -> dict[str, float | None]:
    there, weighted = np.unique(truth), {"sample_weight": weights}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of kappa and of classes that are not there
        kappa = float(metrics.cohen_kappa_score(truth, predicted, **weighted))
        f1 = metrics.f1_score(truth, predicted, labels=there, average=None, zero_division=0, **weighted)
        recall = metrics.recall_score(
            truth, predicted, labels=there, average=None, zero_division=0, **weighted
        )
        mean = metrics.f1_score(
            truth, predicted, labels=there, average="weighted", zero_division=0, **weighted
        )
    by_class = {}
    for number, class_f1, class_recall in zip(there.tolist(), f1, recall, strict=True):
        by_class[class_metric("f1", NAMES[number])] = float(class_f1)
        by_class[class_metric("recall", NAMES[number])] = float(class_recall)
    return {
        **by_class,
        "accuracy": float(metrics.accuracy_score(truth, predicted, **weighted)),
        "balanced_accuracy": float(recall.mean()),
        "macro_f1": float(f1.mean()),
        "weighted_f1": float(mean),
        "kappa": None if np.isnan(kappa) else kappa,
    }


def test_perfect_predictions_score_one() -> None:
    truth = np.array([0, 1, 2, 2])
    perfect = Classifications(
        classes=NAMES, truth=truth, predicted=truth, probabilities=np.eye(3)[truth], patient=np.arange(4)
    )
    assert set(classification_statistic(perfect, 4)(np.ones(4)).values()) == {1.0}


# ---------------------------------------------------------------- images


def classified(
    truth: str, predicted: str, probabilities: tuple[float, ...], patient: str = ""
) -> ClassifiedImage:
    return ClassifiedImage(
        image=RoiImage(Path("x.png"), truth, patient),
        truth=truth,
        predicted=predicted,
        probabilities=probabilities,
    )


def test_classes_that_do_not_occur_are_left_out_and_intervals_need_patients() -> None:
    images = [classified("UDH", "UDH", (0.9, 0.1, 0.0)), classified("ADH", "UDH", (0.6, 0.4, 0.0))]
    scores = score_images(images, ("UDH", "ADH", NONE_OF_THESE))
    assert scores.classes == ("UDH", "ADH")
    assert scores.confusion().tolist() == [[1, 0], [1, 0]]
    assert scores.confusion_shares().tolist() == [[1, 0], [1, 0]]
    assert scores.overall["accuracy"].value == 0.5
    assert scores.overall["accuracy"].low is None
    assert scores.by_class["UDH"]["auroc"].value == 1
    known = [
        classified(*pair, (1.0, 0.0), f"p{n}") for n, pair in enumerate([("UDH", "UDH"), ("ADH", "ADH")] * 4)
    ]
    assert score_images(known, ("UDH", "ADH"), draws=50).overall["accuracy"].low == 1


def test_bracs_is_grouped_into_three_classes(tmp_path: Path) -> None:
    names = tuple(BRACS_GROUPS)
    images = [
        classified(name, names[(place + 1) % 7], tuple(np.eye(7)[place])) for place, name in enumerate(names)
    ]
    three = group_classes(score_images(images, names), BRACS_GROUPS)
    assert three is not None
    assert three.classes == ("benign", "atypical", "malignant")
    assert three.confusion().tolist() == [[2, 1, 0], [0, 1, 1], [1, 0, 1]]
    assert three.by_class["benign"]["auroc"].value == 1
    assert group_classes(score_images(images, names), {"N": "benign"}) is None
    write_image_scores(score_images(images, names), tmp_path)
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written["in_groups"]["confusion"]["counts"] == three.confusion().tolist()


def test_a_class_without_images_counts_in_its_group(tmp_path: Path) -> None:
    names = ("UDH", "FEA", "ADH")
    images = [classified("ADH", "UDH", (0.45, 0.44, 0.11)), classified("UDH", "UDH", (0.8, 0.0, 0.2))]
    scores = score_images(images, names)
    assert scores.classes == ("UDH", "ADH")
    assert scores.by_class["ADH"]["auroc"].value == 0  # .11 for its own image, .2 for the other
    two = group_classes(scores, BRACS_GROUPS)
    assert two is not None
    assert [image.probabilities[1] for image in two.images] == pytest.approx([0.55, 0.2])
    assert two.by_class["atypical"]["auroc"].value == 1
    write_image_scores(scores, tmp_path)
    head, *rows = (tmp_path / "images.csv").read_text().splitlines()
    assert head.endswith("p UDH,p ADH")
    assert rows[0].endswith("0.4500,0.1100")
