"""Plain images as slides: PNG, JPEG, BMP, JPEG 2000, WebP; fields such as the BRACS regions of interest.

A slide made of arrays: for tests, for the built-in cohort, and for images that come from elsewhere.
"""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from histoscout.errors import SlideError
from histoscout.io.tiff import can_hold
from histoscout.slides.open import MOST_PIXELS, Opened, one_mpp, plausible, spoilt
from histoscout.slides.slide import About, Slide

FORMATS = ("PNG", "JPEG", "BMP", "JPEG2000", "WEBP")
EIGHT_BIT = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"}
GRAY = {"1", "L", "LA"}

# What Pillow raises for files that are damaged in one way or another.
PILLOW_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, MemoryError)

_guard = threading.Lock()


def open_with_pillow(path: Path) -> Opened | None:
    """What Pillow knows of an image; None if it is none of `FORMATS`. Pixels are decoded when first read."""
    try:
        with _header(path) as image:
            width, height = image.size
            mode, bands, dpi = image.mode, image.getbands(), image.info.get("dpi")
            kind = str(image.format)
    except UnidentifiedImageError:
        return None
    except PILLOW_ERRORS as error:
        raise spoilt(path, error) from error
    if width * height > MOST_PIXELS:
        fault = f"{width} x {height} px are too many for a plain {kind} file, which is read as a whole"
        raise SlideError(
            path, fault, "Save it as a pyramidal TIFF, for example with QuPath (export as OME-TIFF)"
        )
    if not can_hold(path.stat().st_size, width * height * len(bands)):
        raise spoilt(path, f"a file so small cannot hold {width} x {height} px")
    if mode not in EIGHT_BIT:
        raise SlideError(path, f"its pixels are of kind {mode}, not 8-bit", "Save it as 8-bit RGB")
    mpp, notes = one_mpp(*(plausible(25_400 / float(value)) if value else None for value in dpi or (0, 0)))
    if mode in GRAY:
        notes = (*notes, "a grey image; it is read as red = green = blue")
    return Opened(WholeImage(path, mpp, (width, height)), kind, notes=notes)


class WholeImage:
    """The one level of a plain image, decoded at the first read and then kept. Pickles by path."""

    def __init__(self, path: Path, mpp: float | None, size: tuple[int, int]) -> None:
        self.path, self.mpp, self.level_sizes = path, mpp, (size,)
        self._pixels: NDArray[np.uint8] | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[object, ...]:
        return WholeImage, (self.path, self.mpp, self.level_sizes[0])

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        with self._lock:
            if self._pixels is None:
                self._pixels = _decoded(self.path)
            return self._pixels[y : y + height, x : x + width]

    def close(self) -> None:
        self._pixels = None


def _header(path: Path) -> Image.Image:
    """Pillow's image, its pixels not yet decoded.

    Pillow refuses large images, lest a web server be filled by a small file from a stranger. These are the
    user's own files, and fields of a slide are larger than its limit (179 million pixels); ours is
    `MOST_PIXELS`.
    """
    with _guard:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path, formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _decoded(path: Path) -> NDArray[np.uint8]:
    try:
        with _header(path) as image:
            if image.has_transparency_data:
                layer = image.convert("RGBA")
                canvas = Image.new("RGB", image.size, (255, 255, 255))
                canvas.paste(layer, mask=layer.getchannel("A"))
                return np.asarray(canvas)
            return np.asarray(image.convert("RGB"))
    except PILLOW_ERRORS as error:
        raise spoilt(path, error) from error


class Arrays:
    """A slide source whose levels are uint8 RGB arrays (H, W, 3), level 0 first. Pickles with its pixels."""

    def __init__(self, levels: Sequence[NDArray[np.uint8]], mpp: float | None) -> None:
        self.levels, self.mpp = tuple(levels), mpp
        self.level_sizes = tuple((level.shape[1], level.shape[0]) for level in self.levels)

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        return self.levels[level][y : y + height, x : x + width]

    def close(self) -> None:
        """Nothing to let go of: the arrays belong to whoever made them."""


def in_memory(
    pixels: NDArray[np.uint8], mpp: float, name: str = "in memory", levels: Sequence[NDArray[np.uint8]] = ()
) -> Slide:
    """A slide of these pixels: uint8 RGB (H, W, 3) at `mpp` um/px, with smaller copies if there are any."""
    arrays = (pixels, *levels)
    for array in arrays:
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
            fault = (
                f"its pixels are {array.dtype} of shape {array.shape}, not uint8 of shape (height, width, 3)"
            )
            raise SlideError(name, fault, "Convert them to 8-bit RGB")
    return Slide(Arrays(arrays, mpp), About(name=name, mpp=mpp))
