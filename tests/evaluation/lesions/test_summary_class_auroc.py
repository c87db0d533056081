"""AUROC between classes against scikit-learn, and annotation scores against masks of the whole heatmap."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from histoscout.detection.heatmap import Heatmap
from histoscout.evaluation.lesions.summary import (
    ALL_OTHERS,
    ScoredAnnotation,
    class_auroc_statistic,
    score_annotations,
)
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import polygon_to_mask
from histoscout.geometry.regions import Outline, Region, Regions
from tests import strategies
from tests.evaluation.scenes import reference, regions, square, tissue

_OUTLINES = st.lists(
    st.builds(
        ScoredAnnotation,
        st.just(""),
        st.sampled_from(["UDH", "ADH", "N"]),
        st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    ),
    max_size=8,
)


@given(st.lists(_OUTLINES, min_size=1, max_size=4), st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_auroc_agrees_with_scikit_learn(slides: list[list[ScoredAnnotation]], weights: list[int]) -> None:
    chosen = np.array(weights[: len(slides)], np.float64)
    values = class_auroc_statistic(slides, range(len(slides)), "UDH")(chosen)
    for label, value in values.items():
        rows = [
            (annotation.label == "UDH", annotation.score, weight)
            for slide, weight in zip(slides, chosen.tolist(), strict=True)
            for annotation in slide
            if weight and (annotation.label == "UDH" or label in (ALL_OTHERS, annotation.label))
        ]
        if len({positive for positive, _, _ in rows}) < 2:
            assert value is None
        else:
            truth, scores, times = zip(*rows, strict=True)
            assert value == pytest.approx(roc_auc_score(truth, scores, sample_weight=times), abs=1e-9)


def test_there_is_an_auroc_for_each_other_class_and_all_of_them() -> None:
    slide = [
        ScoredAnnotation("", "UDH", 0.9),
        ScoredAnnotation("", "ADH", 0.95),
        ScoredAnnotation("", "", 0.1),
    ]
    assert class_auroc_statistic([slide], [0], "UDH")(np.ones(1)) == {
        "unclassified": 1,
        "ADH": 0,
        ALL_OTHERS: 0.5,
    }


def _heatmap(values: NDArray[np.uint8], scale: float) -> Heatmap:
    height, width = values.shape
    return Heatmap(
        box=Box(0, 0, width * scale, height * scale),
        mpp=scale,
        slide_mpp=1.0,
        slide_name="slide",
        labels=("UDH",),
        values=values[None],
        windows=1,
    )


@given(st.lists(strategies.outlines(), min_size=1, max_size=3), st.integers(0, 2**32 - 1))
def test_an_annotation_has_the_mean_of_the_heatmap_inside_it(outlines: Sequence[Outline], seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 256, (60, 60), np.uint8)
    heatmap = _heatmap(values, 2.0)
    truth = Regions.of(Region(outline, "ADH").translate(60, 60) for outline in outlines)
    for region, scored in zip(truth, score_annotations(reference(truth, tissue()), heatmap), strict=True):
        mask = polygon_to_mask(region.outline, heatmap.box, 2.0)
        assert 0 <= scored.score <= 1
        if mask.any():
            assert scored.score == pytest.approx(values[mask].mean() / 255)


def test_an_annotation_smaller_than_a_cell_is_scored_by_the_cell_below_it() -> None:
    values = np.zeros((10, 10), np.uint8)
    values[3, 7] = 255
    truth = regions(square(71, 31, 1), square(61, 31, 1, "ADH"), square(10, 10, 20, "ignore"))
    scored = score_annotations(reference(truth), _heatmap(values, 10.0))
    assert [(annotation.label, annotation.score) for annotation in scored] == [("UDH", 1.0), ("ADH", 0.0)]
