"""Plain images (PNG, JPEG, BMP, JPEG 2000, WebP) and arrays as slides."""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from histoscout.errors import SlideError
from histoscout.io.tiff import ORIENTATION, SAVE_UPRIGHT, can_hold, orientation_fault
from histoscout.io.units import UM_PER_UNIT, parse_number
from histoscout.slides.open import OpenedFile, damaged_file
from histoscout.slides.scale import MAX_WHOLE_PIXELS, combine_mpp, plausible_mpp
from histoscout.slides.slide import Slide, SlideMetadata
from histoscout.slides.tiff_images import no_such_series

FORMATS = ("PNG", "JPEG", "BMP", "JPEG2000", "WEBP")
EIGHT_BIT = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"}
GRAY = {"1", "L", "LA"}

# What Pillow raises for files that are damaged in one way or another.
PILLOW_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, MemoryError)

_limit_lock = threading.Lock()


def open_with_pillow(path: Path, series: int | None = None) -> OpenedFile | None:
    """Open a plain image; its pixels are decoded when they are first read.

    Args:
        path: The file.
        series: The number of the image; there is only 0.

    Returns:
        The opened file; None if it is not one of `FORMATS`.

    Raises:
        SlideError: The image is damaged, too large, not 8-bit, or stored turned, or there is no such image.
    """
    try:
        with _open_header(path) as image:
            width, height = image.size
            mode = image.mode
            channels = len(image.getbands())
            dpi = image.info.get("dpi")
            turned = orientation_fault(image.getexif().get(ORIENTATION))
            image_format = str(image.format)
    except UnidentifiedImageError:
        return None
    except PILLOW_ERRORS as error:
        raise damaged_file(path, error) from error

    if series:
        raise no_such_series(path, series, 1)
    if turned:
        raise SlideError(path, turned, SAVE_UPRIGHT)
    # refuse what cannot be decoded as a whole, or is not what it states
    if width * height > MAX_WHOLE_PIXELS:
        fault = f"{width} x {height} px are too many for {image_format}, which is decoded as a whole"
        remedy = "Save it as a pyramidal TIFF, for example with QuPath (export as OME-TIFF)"
        raise SlideError(path, fault, remedy)
    if not can_hold(path.stat().st_size, width * height * channels):
        raise damaged_file(path, f"so small a file cannot contain {width} x {height} px")
    if mode not in EIGHT_BIT:
        raise SlideError(path, f"the pixels have mode {mode}, not 8 bits", "Save it as 8-bit RGB")

    per_inch = [parse_number(float(value)) for value in dpi or (0, 0)]
    sides = (UM_PER_UNIT["inch"] / value if value else None for value in per_inch)
    scale = combine_mpp(*plausible_mpp(*sides))
    notes = ("the image is gray; it is read as red = green = blue",) if mode in GRAY else ()
    source = PlainImageSource(path, scale.mpp, (width, height))
    return OpenedFile(source=source, format=image_format, scale=scale, notes=notes)


class PlainImageSource:
    """The one level of a plain image, decoded at the first read and then kept. Pickled by its path.

    Args:
        path: The file.
        mpp: The um/px that it states, or None.
        size: Width and height in px.
    """

    def __init__(self, path: Path, mpp: float | None, size: tuple[int, int]) -> None:
        self.path = path
        self.mpp = mpp
        self.level_sizes = (size,)
        self._pixels: NDArray[np.uint8] | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[object, ...]:
        return PlainImageSource, (self.path, self.mpp, self.level_sizes[0])

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Read pixels of the image, as `SlideSource.read_level` does."""
        with self._lock:
            if self._pixels is None:
                self._pixels = _decode(self.path)
            return self._pixels[y : y + height, x : x + width]

    def close(self) -> None:
        """Free the pixels."""
        self._pixels = None


def _open_header(path: Path) -> Image.Image:
    """Pillow's image before its pixels are decoded.

    Pillow refuses images above 179 million pixels, to protect web servers from small files that expand. These are
    the user's own files, and regions of slides may be larger; our limit is `MAX_WHOLE_PIXELS`.
    """
    with _limit_lock:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path, formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _decode(path: Path) -> NDArray[np.uint8]:
    """All pixels as RGB; transparent ones are white like empty glass."""
    try:
        with _open_header(path) as image:
            if image.has_transparency_data:
                layer = image.convert("RGBA")
                canvas = Image.new("RGB", image.size, (255, 255, 255))
                canvas.paste(layer, mask=layer.getchannel("A"))
                return np.asarray(canvas)
            return np.asarray(image.convert("RGB"))
    except PILLOW_ERRORS as error:
        raise damaged_file(path, error) from error


class ArraySource:
    """A slide source in memory. Pickled with its pixels.

    Args:
        levels: RGB pixels of each level, (H, W, 3) uint8, level 0 first.
        mpp: Resolution in um per level-0 px, or None.
    """

    def __init__(self, levels: Sequence[NDArray[np.uint8]], mpp: float | None) -> None:
        self.levels = tuple(levels)
        self.mpp = mpp
        self.level_sizes = tuple((level.shape[1], level.shape[0]) for level in self.levels)

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Read pixels of a level, as `SlideSource.read_level` does."""
        return self.levels[level][y : y + height, x : x + width]

    def close(self) -> None:
        """Do nothing: the arrays belong to the caller."""


def slide_from_array(
    pixels: NDArray[np.uint8],
    mpp: float,
    name: str = "in memory",
    *,
    levels: Sequence[NDArray[np.uint8]] = (),
) -> Slide:
    """Make a slide from an image in memory.

    Args:
        pixels: RGB pixels, (H, W, 3) uint8.
        mpp: Resolution in um/px.
        name: Name of the slide.
        levels: Smaller copies of the image, if any.

    Returns:
        The slide.

    Raises:
        SlideError: An array is not (H, W, 3) uint8.
    """
    arrays = (pixels, *levels)
    for array in arrays:
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
            fault = f"the pixels are {array.dtype} of shape {array.shape}, not uint8 of shape (H, W, 3)"
            raise SlideError(name, fault, "Convert them to 8-bit RGB")
    return Slide(ArraySource(arrays, mpp), SlideMetadata(name=name, mpp=mpp))
