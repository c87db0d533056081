import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from histoscout.geometry.box import Box
from histoscout.recipe_sections import AugmentConfig
from histoscout.sampling.augment import Pose, draw_pose, read_augmented, vary_colors

SCENE = np.random.default_rng(0).integers(0, 255, (400, 400), np.uint8)


def read_color(box: Box, mpp: float) -> NDArray[np.uint8]:
    return np.repeat(read_gray(box, mpp)[..., None], 3, axis=2)


def read_gray(box: Box, mpp: float) -> NDArray[np.uint8]:
    rows, columns = box.shape(mpp)
    y = np.clip((box.y + (np.arange(rows) + 0.5) * mpp).astype(int), 0, 399)
    x = np.clip((box.x + (np.arange(columns) + 0.5) * mpp).astype(int), 0, 399)
    return SCENE[np.ix_(y, x)]


@given(st.integers(0, 3), st.booleans())
def test_quarter_turns_and_mirrors_move_pixels_and_change_none(turns: int, mirrored: bool) -> None:
    box = Box(100, 120, 64, 64)
    _, mask = read_augmented((read_color, read_gray), box, mpp=1.0, pose=Pose(90.0 * turns, 1.0, mirrored))
    plain = read_gray(box, 1.0)
    rotations = [np.rot90(start, k) for start in (plain, plain[:, ::-1]) for k in range(4)]
    assert any(np.array_equal(mask, turned) for turned in rotations)


@given(st.floats(0, 360), st.floats(0.8, 1.25), st.booleans())
def test_image_and_mask_stay_together_and_keep_their_size(angle: float, scale: float, mirrored: bool) -> None:
    def read(box: Box, mpp: float) -> NDArray[np.uint8]:
        rows, columns = box.shape(mpp)
        y, x = box.y + (np.arange(rows) + 0.5) * mpp, box.x + (np.arange(columns) + 0.5) * mpp
        slope: NDArray[np.uint8] = np.clip(np.add.outer(y, x), 0, 255).astype(np.uint8)
        return slope

    def color(box: Box, mpp: float) -> NDArray[np.uint8]:
        return np.repeat(read(box, mpp)[..., None], 3, axis=2)

    box = Box(40, 50, 48, 48)
    image, mask = read_augmented((color, read), box, mpp=1.0, pose=Pose(angle, scale, mirrored))
    assert image.shape == (48, 48, 3)
    assert mask.shape == (48, 48)
    assert np.abs(image[..., 0].astype(int) - mask).max() <= 3


@settings(max_examples=25)
@given(st.integers(0, 2**32))
def test_colors_depend_on_the_seed_and_white_stays_bright(seed: int) -> None:
    white = np.full((8, 8, 3), 255, np.uint8)
    weak = AugmentConfig(brightness=0, blur=0, noise=0, stain=0.05)
    varied = vary_colors(white, weak, np.random.default_rng(seed))
    assert varied.min() > 180
    again = vary_colors(white, weak, np.random.default_rng(seed))
    assert np.array_equal(varied, again)


def test_different_patches_are_varied_differently() -> None:
    choices = AugmentConfig()
    poses = {draw_pose(choices, np.random.default_rng([0, number, 1])) for number in range(20)}
    assert len(poses) == 20


def test_augmentation_turned_off_changes_nothing() -> None:
    off = AugmentConfig(flip=False, rotate=False, scale=0, stain=0, brightness=0, blur=0, noise=0)
    image = read_color(Box(0, 0, 32, 32), 1.0)
    assert draw_pose(off, np.random.default_rng(1)) == Pose()
    assert np.array_equal(vary_colors(image, off, np.random.default_rng(1)), image)
