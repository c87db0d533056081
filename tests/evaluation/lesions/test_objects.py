"""Object metrics against an independent implementation on label images, as the GlaS challenge defines them."""

from collections.abc import Callable

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from histoscout.evaluation.bootstrap import bootstrap
from histoscout.evaluation.lesions.objects import (
    compare_objects,
    hausdorff_distance,
    object_statistic,
)
from histoscout.geometry.regions import Region, Regions

SIDE = 120
Labels = NDArray[np.int64]


def regions_of(boxes: list[tuple[int, int, int, int]]) -> Regions:
    return Regions.of(Region(shapely.box(x, y, x + w, y + h), "UDH") for x, y, w, h in boxes)


def labels_of(boxes: list[tuple[int, int, int, int]]) -> Labels:
    labels = np.zeros((SIDE, SIDE), np.int64)
    for number, (x, y, w, h) in enumerate(boxes, 1):
        labels[y : y + h, x : x + w] = number
    return labels


def pixel_hausdorff(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    a, b = np.argwhere(first), np.argwhere(second)
    return float(max(np.max(cKDTree(b).query(a)[0]), np.max(cKDTree(a).query(b)[0])))


def dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def weighted(
    labels: Labels,
    others: Labels,
    measure: Callable[[NDArray[np.bool_], NDArray[np.bool_]], float],
    far: bool,
) -> float:
    total = 0.0
    for number in range(1, labels.max() + 1):
        mask = labels == number
        overlapped = others[mask & (others > 0)]
        if len(overlapped):
            value = measure(mask, others == np.bincount(overlapped).argmax())
        elif far:
            value = min(measure(mask, others == other) for other in range(1, others.max() + 1))
        else:
            value = 0.0
        total += value * mask.sum() / (labels > 0).sum()
    return total


def challenge(truth: Labels, found: Labels) -> dict[str, float]:
    """F1, object Dice and object Hausdorff distance on label images (Sirinukunwattana 2017, section 5)."""
    tp = 0
    for number in range(1, found.max() + 1):
        overlapped = truth[(found == number) & (truth > 0)]
        if len(overlapped):
            best = np.bincount(overlapped).argmax()
            tp += bool((overlapped == best).sum() >= 0.5 * (truth == best).sum())
    return {
        "object_f1": 2 * tp / (truth.max() + found.max()),
        "object_dice": (weighted(truth, found, dice, False) + weighted(found, truth, dice, False)) / 2,
        "object_hausdorff_um": (
            weighted(truth, found, pixel_hausdorff, True) + weighted(found, truth, pixel_hausdorff, True)
        )
        / 2,
    }


@st.composite
def disjoint_boxes(draw: st.DrawFn) -> list[tuple[int, int, int, int]]:
    """One box in some of the cells of a grid, so that boxes of a side never overlap."""
    boxes = []
    for column in range(3):
        for row in range(3):
            if draw(st.booleans()):
                w, h = draw(st.integers(6, 30)), draw(st.integers(6, 30))
                x, y = draw(st.integers(0, 38 - w)), draw(st.integers(0, 38 - h))
                boxes.append((column * 40 + x, row * 40 + y, w, h))
    return boxes or [(0, 0, 20, 20)]


@settings(max_examples=60, deadline=None)
@given(disjoint_boxes(), disjoint_boxes(), st.integers(0, 15))
def test_metrics_agree_with_label_images(
    truth: list[tuple[int, int, int, int]], found: list[tuple[int, int, int, int]], shift: int
) -> None:
    found = [(min(x + shift, SIDE - w), y, w, h) for x, y, w, h in found]
    if labels_of(found).astype(bool).sum() != sum(w * h for _, _, w, h in found):
        return  # shifted boxes overlap one another
    metrics = compare_objects(regions_of(truth), regions_of(found)).metrics()
    expected = challenge(labels_of(truth), labels_of(found))
    assert metrics["object_dice"] == pytest.approx(expected["object_dice"], abs=1e-9)
    # equal overlaps with two objects are a draw that either may win
    hausdorff = metrics["object_hausdorff_um"]
    assert hausdorff is not None
    assert hausdorff == pytest.approx(expected["object_hausdorff_um"], abs=2.5)
    assert metrics["object_f1"] == pytest.approx(expected["object_f1"])


def test_perfect_outlines_score_1_and_have_no_distance() -> None:
    objects = regions_of([(0, 0, 20, 20), (50, 50, 30, 10)])
    metrics = compare_objects(objects, objects, mpp=0.5).metrics()
    assert metrics == {
        "object_f1": 1.0,
        "object_dice": 1.0,
        "object_hausdorff_um": 0.0,
        "panoptic_quality": 1.0,
    }


def test_objects_that_run_together_cost_all_but_one() -> None:
    objects = regions_of([(0, 0, 20, 20), (22, 0, 20, 20), (44, 0, 20, 20)])
    merged = regions_of([(0, 0, 64, 20)])
    metrics = compare_objects(objects, merged).metrics()
    assert metrics["object_f1"] == pytest.approx(2 / 4)
    assert metrics["panoptic_quality"] == 0.0
    # each object's Dice is 2 * 400 / (400 + 1280)
    assert metrics["object_dice"] == pytest.approx(800 / 1680)


def test_hausdorff_distance_knows_the_hole() -> None:
    disk = shapely.Point(0, 0).buffer(100, quad_segs=32)
    ring = shapely.Polygon(disk.exterior, [shapely.Point(0, 0).buffer(80, quad_segs=32).exterior])
    assert hausdorff_distance(disk, ring) == pytest.approx(80, abs=8)
    assert hausdorff_distance(disk, disk) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("mpp", [0.25, 1.0, 4.0])
def test_distance_is_in_um(mpp: float) -> None:
    objects = regions_of([(0, 0, 20, 20)])
    found = regions_of([(10, 0, 20, 20)])
    assert compare_objects(objects, found, mpp).metrics()["object_hausdorff_um"] == pytest.approx(10 * mpp)


def test_nothing_on_one_side() -> None:
    objects = regions_of([(0, 0, 20, 20)])
    missed = compare_objects(objects, Regions()).metrics()
    assert missed == {
        "object_f1": 0.0,
        "object_dice": 0.0,
        "object_hausdorff_um": None,
        "panoptic_quality": 0.0,
    }
    nothing = compare_objects(Regions(), Regions()).metrics()
    assert set(nothing.values()) == {None}


def test_intervals_over_patients() -> None:
    good = compare_objects(regions_of([(0, 0, 20, 20)]), regions_of([(0, 0, 20, 20)]))
    bad = compare_objects(regions_of([(0, 0, 20, 20)]), regions_of([(15, 0, 20, 20)]))
    slides = [good, bad, good, bad, good, good]
    pooled = bootstrap(object_statistic(slides, [0, 1, 2, 3, 4, 4]), 5, draws=200)["object_f1"]
    assert pooled.value == pytest.approx(2 * 4 / (8 + 2 + 2))
    assert (pooled.low or 1) < (pooled.value or 0) < (pooled.high or 0)
