"""Writing an image as a pyramidal TIFF that pathology viewers open."""

from pathlib import Path
from typing import Literal

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from histoscout.io.files import atomic_write

TILE = 256
"""Side of a tile, in px."""

Compression = Literal["jpeg", "zlib"]


def write_pyramid(
    path: Path,
    pixels: NDArray[np.uint8],
    mpp: float,
    *,
    description: str = "",
    compression: Compression = "jpeg",
    quality: int = 90,
) -> None:
    """Write an image as a slide that QuPath and OpenSlide open, with its resolution.

    The file is a generic pyramidal TIFF: tiles of 256 px, each level half the size of the last, down to one tile.
    The resolution is stored in pixels per centimeter, which is where OpenSlide looks for it.

    Args:
        path: The file to write.
        pixels: RGB pixels, (H, W, 3) uint8.
        mpp: Resolution in um/px.
        description: Text for the tag ImageDescription.
        compression: "jpeg", or "zlib", which keeps the pixels exactly.
        quality: Quality of JPEG, 0 to 100.

    Raises:
        OutputError: The file cannot be written.
    """
    px_per_cm = 1e4 / mpp
    options = {"level": quality} if compression == "jpeg" else {}
    with (
        atomic_write(path) as temporary,
        tifffile.TiffWriter(temporary, bigtiff=pixels.nbytes > 2**31) as file,
    ):
        level, scale = pixels, 1
        while True:
            file.write(
                level,
                photometric="rgb",
                tile=(TILE, TILE),
                compression=compression,
                compressionargs=options,
                resolution=(px_per_cm / scale, px_per_cm / scale),
                resolutionunit="CENTIMETER",
                description=description if scale == 1 else None,
                subfiletype=int(scale > 1),
                software=False,
                metadata=None,
            )
            if max(level.shape[:2]) <= TILE or min(level.shape[:2]) < 2:
                return
            level, scale = downsample_by_two(level), scale * 2


def downsample_by_two(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average every 2 x 2 pixels; an odd last row or column is dropped, as slide scanners do.

    Args:
        pixels: (H, W, 3) uint8.

    Returns:
        (H // 2, W // 2, 3) uint8.
    """
    height, width = pixels.shape[0] // 2 * 2, pixels.shape[1] // 2 * 2
    return np.asarray(Image.fromarray(pixels[:height, :width]).reduce(2))
