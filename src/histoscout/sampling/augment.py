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

Pixels = NDArray[np.uint8]


# ---------------------------------------------------------------- rotation, scale and mirroring


@dataclass(frozen=True)
class Pose:
    """How a patch is rotated, scaled and mirrored.

    Attributes:
        angle: Rotation in degrees.
        scale: 1.1 shows structures 10 % larger.
        mirrored: Whether left and right are exchanged.
    """

    angle: float = 0.0
    scale: float = 1.0
    mirrored: bool = False


def draw_pose(choices: AugmentConfig, random: Generator) -> Pose:
    """Draw a random pose.

    Args:
        choices: The recipe's section on augmentation.
        random: Random generator.

    Returns:
        Any angle if the recipe rotates freely, else a multiple of 90 degrees.
    """
    # uniform in the logarithm: as often smaller as larger
    scale = math.exp(random.uniform(-1, 1) * math.log1p(choices.scale))
    angle = random.uniform(0, 360) if choices.rotate else 90.0 * random.integers(4) * choices.flip
    return Pose(float(angle), scale, choices.flip and bool(random.integers(2)))


def read_augmented(
    reads: tuple[ReadBox, ReadBox], box: Box, *, mpp: float, pose: Pose
) -> tuple[Pixels, Pixels]:
    """Read image and mask of a square box in a pose.

    For a rotated patch a larger box is read, so that no corner stays empty.

    Args:
        reads: Functions that read the image and the mask of a box at a resolution.
        box: A square box in level-0 px.
        mpp: Resolution in um/px.
        pose: Rotation, scale and mirroring.

    Returns:
        Image (H, W, 3) uint8 and mask (H, W) uint8, both of the size that the box has at `mpp`.
    """
    radians = math.radians(pose.angle)
    # side of the box around a rotated square, in sides of the square
    reach = abs(math.sin(radians)) + abs(math.cos(radians))
    read_box = Box.around(*box.center, box.width * reach / pose.scale, box.height * reach / pose.scale)
    image, mask = (read(read_box, mpp / pose.scale) for read in reads)
    side = max(1, round(image.shape[0] / reach))
    return (
        _rotate_and_crop(image, side, pose, resample=Image.Resampling.BILINEAR),
        _rotate_and_crop(mask, side, pose, resample=Image.Resampling.NEAREST),
    )


def _rotate_and_crop(pixels: Pixels, side: int, pose: Pose, *, resample: Image.Resampling) -> Pixels:
    """The middle `side` x `side` pixels, rotated about the center and mirrored."""
    radians = math.radians(pose.angle)
    cos, sin = math.cos(radians), math.sin(radians)
    flip = -1.0 if pose.mirrored else 1.0
    (height, width), half = pixels.shape[:2], side / 2
    # from output to input pixels, with the centers on each other
    affine = (
        *(flip * cos, -sin, width / 2 - half * (flip * cos - sin)),
        *(flip * sin, cos, height / 2 - half * (flip * sin + cos)),
    )
    image = Image.fromarray(pixels).transform((side, side), Image.Transform.AFFINE, affine, resample)
    # a copy, since torch needs arrays that it may write to
    return np.array(image)


# ---------------------------------------------------------------- colors


def vary_colors(image: Pixels, choices: AugmentConfig, random: Generator) -> Pixels:
    """Vary stain, brightness, contrast, blur and noise, as laboratories and scanners do.

    Stain is varied by HED jitter (Tellez et al. 2018): the density of each stain is multiplied by a normal number of
    mean 1 and sigma `2 * stain`, and shifted by a normal number of sigma `stain / 2`. Then brightness and contrast
    change, and a share of the patches is blurred or gets sensor noise.

    Args:
        image: Image (H, W, 3) uint8.
        choices: The recipe's section on augmentation.
        random: Random generator.

    Returns:
        Image (H, W, 3) uint8.
    """
    varied = _vary_stain(image, choices.stain, random) if choices.stain else image.astype(np.float32)
    if choices.brightness:
        contrast, brightness = 1 + random.uniform(-1, 1, 2) * choices.brightness
        varied = (varied - 128) * contrast + 128 * brightness
    if random.random() < choices.blur:
        sigma = random.uniform(0.3, 1.5)
        varied = gaussian_filter(varied, (sigma, sigma, 0))
    if random.random() < choices.noise:
        varied = varied + random.normal(0, random.uniform(1, 6), varied.shape).astype(np.float32)
    rounded: Pixels = np.clip(varied + 0.5, 0, 255).astype(np.uint8)
    return rounded


def _vary_stain(image: Pixels, sigma: float, random: Generator) -> NDArray[np.float32]:
    """Change the amount of each stain; white stays nearly white, since its density is nearly zero."""
    gain = np.diag(1 + random.normal(0, 2 * sigma, 3)).astype(np.float32)
    shift = random.normal(0, sigma / 2, 3).astype(np.float32)
    density = OPTICAL_DENSITY[image] @ (RGB_TO_HED @ gain @ HED) + shift @ HED
    varied: NDArray[np.float32] = np.exp(-density) * 256 - 1
    return varied
