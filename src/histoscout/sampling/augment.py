"""Data augmentation, so that a network learns tissue and not the colors or orientation of one laboratory.

Rotation, mirroring and scaling change image and mask alike; colors change the image only.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from histoscout.detection.inference import ReadBox
from histoscout.geometry.box import Box
from histoscout.recipe_sections import AugmentConfig
from histoscout.tissue.artifacts import HED, OPTICAL_DENSITY, RGB_TO_HED

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Pose:
    """How a patch is rotated and scaled.

    Attributes:
        angle: Degrees.
        size: 1.1: structures look 10 % larger.
        mirrored: Whether left and right are flipped.
    """

    angle: float = 0.0
    size: float = 1.0
    mirrored: bool = False


def draw_pose(choices: AugmentConfig, random: Generator) -> Pose:
    """Draw a random pose.

    Args:
        choices: The recipe's section.
        random: Random generator.
    """
    size = math.exp(random.uniform(-1, 1) * math.log1p(choices.scale))
    angle = random.uniform(0, 360) if choices.rotate else 90.0 * random.integers(4) * choices.flip
    return Pose(float(angle), size, choices.flip and bool(random.integers(2)))


def read_augmented(
    reads: tuple[ReadBox, ReadBox], box: Box, mpp: float, pose: Pose
) -> tuple[Picture, NDArray[np.uint8]]:
    """Read image and mask of a square box in a pose, both of the size the box has at `mpp`.

    `reads` give the picture and the mask of any box at any um/px. More is read than shown where the window is
    turned, so that no corner stays empty.

    Args:
        reads: Read image and mask of a box at an um/px.
        box: A box in level-0 px.
        mpp: Resolution in um/px.
        pose: Rotation, size and mirroring.
    """
    radians = math.radians(pose.angle)
    reach = abs(math.sin(radians)) + abs(math.cos(radians))
    wide = Box.around(*box.center, box.width * reach / pose.size, box.height * reach / pose.size)
    picture, mask = (read(wide, mpp / pose.size) for read in reads)
    side = max(1, round(picture.shape[0] / reach))
    return _turned(picture, side, pose, Image.Resampling.BILINEAR), _turned(
        mask, side, pose, Image.Resampling.NEAREST
    )


def _turned(
    pixels: NDArray[np.uint8], side: int, pose: Pose, resample: Image.Resampling
) -> NDArray[np.uint8]:
    """The middle `side` x `side` pixels, turned about the centre and mirrored."""
    radians = math.radians(pose.angle)
    cos, sin = math.cos(radians), math.sin(radians)
    flip = -1.0 if pose.mirrored else 1.0
    (height, width), half = pixels.shape[:2], side / 2
    affine = (
        *(flip * cos, -sin, width / 2 - half * (flip * cos - sin)),
        *(flip * sin, cos, height / 2 - half * (flip * sin + cos)),
    )
    image = Image.fromarray(pixels).transform((side, side), Image.Transform.AFFINE, affine, resample)
    return np.array(image)  # a copy: torch wants arrays it may write to


def vary_colors(picture: Picture, choices: AugmentConfig, random: Generator) -> Picture:
    """The picture as another laboratory, scanner or day would have made it: uint8 (H, W, 3) in and out.

    Stain by HED jitter (Tellez 2018): each stain's density is multiplied by a normal number of mean 1 and sigma twice
    `stain`, and shifted by one of sigma half of `stain`; then brightness and contrast, and for a share of the windows blur or sensor noise.

    Args:
        picture: Image (H, W, 3) uint8.
        choices: The recipe's section.
        random: Random generator.
    """
    shown = _vary_stain(picture, choices.stain, random) if choices.stain else picture.astype(np.float32)
    if choices.brightness:
        contrast, brightness = 1 + random.uniform(-1, 1, 2) * choices.brightness
        shown = (shown - 128) * contrast + 128 * brightness
    if random.random() < choices.blur:
        sigma = random.uniform(0.3, 1.5)
        shown = gaussian_filter(shown, (sigma, sigma, 0))
    if random.random() < choices.noise:
        shown = shown + random.normal(0, random.uniform(1, 6), shown.shape).astype(np.float32)
    varied: Picture = np.clip(shown + 0.5, 0, 255).astype(np.uint8)
    return varied


def _vary_stain(picture: Picture, sigma: float, random: Generator) -> NDArray[np.float32]:
    """Change how much of each stain there is; white stays nearly white because its density is nearly nothing."""
    gain = np.diag(1 + random.normal(0, 2 * sigma, 3)).astype(np.float32)
    shift = random.normal(0, sigma / 2, 3).astype(np.float32)
    density = OPTICAL_DENSITY[picture] @ (RGB_TO_HED @ gain @ HED) + shift @ HED
    varied: NDArray[np.float32] = np.exp(-density) * 256 - 1
    return varied
