import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from histoscout.synthetic.canvas import (
    PX_PER_UM,
    Field,
    StainCanvas,
    depth_inside,
    frame_around,
    random_blob,
    soft_mask,
)
from histoscout.synthetic.layout import Structure, StructureKind
from histoscout.synthetic.lesions import choose_filling, draw_duct, round_holes, slit_holes
from histoscout.synthetic.patient import make_patient, random_stream


def duct_depth(seed: int) -> Field:
    shape = random_blob(random_stream(seed), 0, 0, radius=140)
    return depth_inside(shape, frame_around(shape, 8))


def roundness(holes: NDArray[np.bool_]) -> float:
    """4 pi area / perimeter^2 of the holes, weighted by area."""
    parts, count = ndimage.label(holes)
    area = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    edge = np.bincount(parts[holes & ~ndimage.binary_erosion(holes)], minlength=count + 1)[1:]
    return float((4 * np.pi * area**2 / edge**2).sum() / area.sum())


@pytest.mark.parametrize("share", [0.05, 0.12, 0.2])
@pytest.mark.parametrize("seed", range(4))
def test_holes_take_up_their_share_whatever_their_shape(share: float, seed: int) -> None:
    depth = duct_depth(seed)
    for make_holes in (slit_holes, round_holes):
        holes = make_holes(random_stream(9, seed), depth, share) > 0
        assert (holes & (depth > 0)).sum() / (depth > 0).sum() == pytest.approx(share, abs=0.02)
        assert depth[holes].min() > 0


def test_slits_are_long_and_round_holes_are_round() -> None:
    depth = duct_depth(1)
    for seed in range(6):
        slits = roundness(slit_holes(random_stream(9, seed), depth, 0.12) > 0)
        punched = roundness(round_holes(random_stream(9, seed), depth, 0.12) > 0)
        assert slits < 0.7 < 0.85 < punched


def test_only_arrangement_differs_between_udh_and_look_alikes() -> None:
    patient = make_patient(0)
    udh, adh = (
        [choose_filling(kind, patient, random_stream(8, seed)) for seed in range(200)]
        for kind in ("UDH", "ADH")
    )
    same = "holes mean deviation cytoplasm nucleus chromatin blur cleft crowding"
    for name in same.split():
        assert [getattr(filling, name) for filling in udh] == [getattr(filling, name) for filling in adh]
    assert all(filling.slits and filling.mixed > 0.7 for filling in udh)
    assert not any(filling.slits for filling in adh)
    assert 0.1 < np.mean([filling.mixed < 0.3 for filling in adh]) < 0.4


@pytest.mark.parametrize("kind", ["UDH", "ADH", "unclear"])
def test_a_duct_has_the_hematoxylin_of_its_filling(kind: StructureKind) -> None:
    patient = make_patient(0)
    for seed in range(5):
        duct = Structure(kind, random_blob(random_stream(seed), 200, 200, radius=120))
        filling = choose_filling(kind, patient, random_stream(8, seed))
        canvas = StainCanvas(np.zeros((800, 800), np.float32), np.zeros((800, 800), np.float32))
        draw_duct(canvas, duct, patient, random_stream(8, seed))
        # the same area of the canvas as the frame of the duct
        frame = frame_around(duct.shape, 8)
        depth = depth_inside(duct.shape, frame).repeat(PX_PER_UM, 0).repeat(PX_PER_UM, 1)
        rows = slice(frame.top * PX_PER_UM, frame.top * PX_PER_UM + depth.shape[0])
        columns = slice(frame.left * PX_PER_UM, frame.left * PX_PER_UM + depth.shape[1])
        mean = canvas.hematoxylin[rows, columns][depth > 0].mean()
        assert mean == pytest.approx(filling.mean * (1 - filling.holes), rel=0.06)


def test_soft_edges() -> None:
    assert soft_mask(np.array([-5, 0, 5], dtype=np.float32)).tolist() == [0, 0.5, 1]
