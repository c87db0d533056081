import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from histoscout.synthetic.layout import Kind, Placed
from histoscout.synthetic.lesions import draw_duct, filling, punched, slits
from histoscout.synthetic.patient import patient_of, stream
from histoscout.synthetic.textures import UM, Canvas, blob, depth, frame, soft


def roundness(holes: NDArray[np.bool_]) -> float:
    """4 pi area / perimeter^2 of the holes, weighted by area."""
    parts, count = ndimage.label(holes)
    area = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    edge = np.bincount(parts[holes & ~ndimage.binary_erosion(holes)], minlength=count + 1)[1:]
    return float((4 * np.pi * area**2 / edge**2).sum() / area.sum())


@pytest.mark.parametrize("share", [0.05, 0.12, 0.2])
@pytest.mark.parametrize("seed", range(4))
def test_holes_take_up_the_share_asked_for_whatever_their_shape(share: float, seed: int) -> None:
    shape = blob(stream(seed), 0, 0, 140)
    deep = depth(shape, frame(shape, 8))
    for make in (slits, punched):
        holes = make(stream(9, seed), deep, share) > 0
        assert (holes & (deep > 0)).sum() / (deep > 0).sum() == pytest.approx(share, abs=0.02)
        assert deep[holes].min() > 0


def test_slits_are_slits_and_punched_holes_are_round() -> None:
    shape = blob(stream(1), 0, 0, 140)
    deep = depth(shape, frame(shape, 8))
    for seed in range(6):
        long, round_ = (roundness(make(stream(9, seed), deep, 0.12) > 0) for make in (slits, punched))
        assert long < 0.7 < 0.85 < round_


def test_only_arrangement_tells_the_kinds_apart() -> None:
    who = patient_of(0)
    fillings = {kind: [filling(kind, who, stream(8, seed)) for seed in range(200)] for kind in ("UDH", "ADH")}
    for name in (
        "holes",
        "mean",
        "deviation",
        "cytoplasm",
        "nucleus",
        "chromatin",
        "blur",
        "cleft",
        "crowding",
    ):
        assert [getattr(one, name) for one in fillings["UDH"]] == [
            getattr(one, name) for one in fillings["ADH"]
        ]
    assert all(one.slit and one.mixed > 0.7 for one in fillings["UDH"])
    assert not any(one.slit for one in fillings["ADH"])
    assert 0.1 < np.mean([one.mixed < 0.3 for one in fillings["ADH"]]) < 0.4


@pytest.mark.parametrize("kind", ["UDH", "ADH", "unclear"])
def test_a_duct_has_the_hematoxylin_its_filling_asks_for(kind: Kind) -> None:
    who = patient_of(0)
    for seed in range(5):
        duct = Placed(kind, blob(stream(seed), 200, 200, 120))
        what = filling(kind, who, stream(8, seed))
        canvas = Canvas(np.zeros((800, 800), np.float32), np.zeros((800, 800), np.float32))
        draw_duct(canvas, duct, who, stream(8, seed))
        where = frame(duct.shape, 8)
        deep = np.repeat(np.repeat(depth(duct.shape, where), UM, 0), UM, 1)
        part = canvas.hematoxylin[where.top * UM :, where.left * UM :][: deep.shape[0], : deep.shape[1]]
        inside = deep > 0
        assert part[inside].mean() == pytest.approx(what.mean * (1 - what.holes), rel=0.06)


def test_soft_edges() -> None:
    cover = soft(np.array([-5, 0, 5], dtype=np.float32))
    assert cover.tolist() == [0, 0.5, 1]
