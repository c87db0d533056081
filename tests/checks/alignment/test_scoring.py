"""The fit of a displacement is the fit of displaced outlines."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout.checks.alignment.scoring import ZONES, AlignmentTest, CellGrid, annotation_zones
from tests.checks.conftest import toy_subject

SUBJECT = toy_subject(0)


@given(dx=st.integers(-12, 12), dy=st.integers(-12, 12))
def test_displacing_zones_is_looking_elsewhere_in_the_map(dx: int, dy: int) -> None:
    cells, test = SUBJECT.cells, SUBJECT.test
    outlines = [region.outline for region in SUBJECT.regions.where(lambda one: far_from_rim(one.box.bounds))]
    zones = annotation_zones(outlines, cells.shape, cells.side, cells.side_um)
    moved = np.roll(zones, (dy, dx), (1, 2))
    explained, tissue = test.explained(zones)
    displaced, under = test.explained(moved)
    assert displaced[0, 0] == pytest.approx(explained[dy, dx], rel=1e-3, abs=1e-5)
    assert under[0, 0] == pytest.approx(tissue[dy, dx], rel=1e-3, abs=0.1)


def far_from_rim(bounds: tuple[float, float, float, float]) -> bool:
    left, top, right, bottom = bounds
    return min(left, top) > 90 and max(right, bottom) < 512 - 90


def test_what_is_explained_is_the_share_of_variance_between_zones() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(1, 40, 40)).astype(np.float32)
    tissue = np.ones((40, 40), bool)
    zones = np.zeros((ZONES, 40, 40), np.float32)
    zones[0, 10:20, 10:20] = 1
    zones[-1, 20:30, 10:20] = 1
    explained, _ = AlignmentTest(CellGrid(values=values, tissue=tissue, side=4.0, side_um=4.0)).explained(
        zones
    )
    inside, outside = values[0, 10:20, 10:20], values[0, 20:30, 10:20]
    overall = (inside.mean() + outside.mean()) / 2
    by_hand = ((inside.mean() - overall) ** 2 + (outside.mean() - overall) ** 2) / 2
    assert explained[0, 0] == pytest.approx(by_hand, rel=1e-3)


def test_no_annotation_on_the_slide_has_no_fit() -> None:
    cells = SUBJECT.cells
    fit = SUBJECT.test(np.zeros((ZONES, *cells.shape), np.float32), 10.0, 3.0)
    assert np.isnan(fit.z)
    assert fit.on_tissue == 0


def test_a_slide_without_tissue_has_no_fit() -> None:
    cells = SUBJECT.cells
    bare = replace(cells, tissue=np.zeros_like(cells.tissue), values=np.zeros_like(cells.values))
    zones = annotation_zones([one.outline for one in SUBJECT.regions], cells.shape, cells.side, cells.side_um)
    assert np.isnan(AlignmentTest(bare)(zones, float(zones[:-1].sum()), 3.0).z)
