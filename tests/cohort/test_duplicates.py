"""The same tissue is recognized wherever it was cropped and however it is turned; other tissue is not."""

import io
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from histoscout.cohort.duplicates import (
    MIN_SHARED,
    Landmarks,
    count_shared_landmarks,
    find_landmarks,
    find_shared_tissue,
)
from histoscout.recipe_sections import PatchConfig, TissueConfig
from histoscout.slides.image_reader import slide_from_array
from histoscout.tissue.mask import find_tissue

Pixels = NDArray[np.uint8]
SIDE, MPP = 1024, 2.0


@cache
def tissue(seed: int) -> Pixels:
    """Pink tissue with nests of nuclei of all sizes."""
    random = np.random.default_rng(seed)
    clouds = [ndimage.gaussian_filter(random.normal(0, 1, (SIDE, SIDE)), one) * one for one in (4, 12, 30)]
    dense = np.sum(clouds, axis=0)
    dense = (dense - dense.min()) / np.ptp(dense)
    pink, purple = np.array([235, 175, 205]), np.array([90, 50, 130])
    return np.asarray(pink + dense[..., None] * (purple - pink), np.uint8)


def landmarks(pixels: Pixels, name: str, patient: str = "", split: str = "") -> Landmarks:
    slide = slide_from_array(pixels, MPP, name)
    return find_landmarks(
        slide, find_tissue(slide, TissueConfig(artifacts=False), PatchConfig()), patient or name, split
    )


def jpeg(pixels: Pixels) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=70)
    return np.array(Image.open(file))


@pytest.fixture(scope="module")
def whole() -> Landmarks:
    return landmarks(tissue(0), "whole")


@pytest.mark.parametrize(
    "change",
    [
        jpeg,
        lambda pixels: pixels[137:, 211:900],
        lambda pixels: np.ascontiguousarray(pixels[137:, ::-1]),
        lambda pixels: np.ascontiguousarray(np.rot90(pixels[:, 150:])),
    ],
    ids=["compressed again", "cropped elsewhere", "mirrored", "turned"],
)
def test_a_copy_is_recognized(whole: Landmarks, change: object) -> None:
    assert callable(change)
    assert count_shared_landmarks(whole, landmarks(change(tissue(0)), "copy")) >= MIN_SHARED


@pytest.mark.parametrize("seed", range(1, 4))
def test_other_tissue_is_not(whole: Landmarks, seed: int) -> None:
    assert count_shared_landmarks(whole, landmarks(tissue(seed), "other")) < MIN_SHARED


def test_nothing_on_a_slide_shares_nothing(whole: Landmarks) -> None:
    bare = landmarks(np.full((SIDE, SIDE, 3), 245, np.uint8), "bare")
    assert len(bare.patches) == 0
    assert count_shared_landmarks(whole, bare) == count_shared_landmarks(bare, whole) == 0


def test_all_pairs_are_compared(whole: Landmarks) -> None:
    slides = [whole, landmarks(tissue(1), "other"), landmarks(jpeg(tissue(0)), "copy")]
    (found,) = find_shared_tissue(slides)
    assert (found.first.slide, found.second.slide) == ("whole", "copy")
