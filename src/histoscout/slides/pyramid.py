"""Writing an image as a slide that pathology viewers open: a tiled TIFF with smaller copies of itself."""

from pathlib import Path
from typing import Literal

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from histoscout.io.files import replacing

TILE = 256
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
    """Save an image as a slide that QuPath and OpenSlide open, with its scale.

    `pixels` uint8 RGB (H, W, 3) at `mpp` um/px. A generic pyramidal TIFF (tiles of 256 px, each level half
    the last, down to one tile), resolution in pixels per centimetre, which is where OpenSlide looks for it.
    "zlib" keeps the pixels exactly. Raises OutputError.
    """
    per_centimetre = 1e4 / mpp
    how = {"level": quality} if compression == "jpeg" else {}
    with replacing(path) as temporary, tifffile.TiffWriter(temporary, bigtiff=pixels.nbytes > 2**31) as file:
        level, scale = pixels, 1
        while True:
            file.write(
                level,
                photometric="rgb",
                tile=(TILE, TILE),
                compression=compression,
                compressionargs=how,
                resolution=(per_centimetre / scale, per_centimetre / scale),
                resolutionunit="CENTIMETER",
                description=description if scale == 1 else None,
                subfiletype=int(scale > 1),
                software=False,
                metadata=None,
            )
            if max(level.shape[:2]) <= TILE or min(level.shape[:2]) < 2:
                return
            level, scale = halved(level), scale * 2


def halved(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Every 2 x 2 pixels averaged into one; an odd last row or column is dropped, as slide scanners do."""
    height, width = pixels.shape[0] // 2 * 2, pixels.shape[1] // 2 * 2
    return np.asarray(Image.fromarray(pixels[:height, :width]).reduce(2))
