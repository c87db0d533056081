"""Scanner formats through OpenSlide: .svs .ndpi .mrxs .scn .bif .vms .tif, DICOM and others.

OpenSlide reads positions in whole level-0 px. Where a level's downsample is not a whole number (a slide of 803 px has
401 px on its second level: 2.0022), such a position is up to half a level-0 px off the level's own pixels, and
OpenSlide interpolates linearly between them. The same pixel would then differ between two overlapping boxes, by 20
gray values at the edge of a nucleus. The interpolation is known exactly, so it is undone.

Of the properties of a file only format, resolution, magnification and bounds are read, never barcode or label.
"""

import os
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from openslide import OpenSlide, OpenSlideError, OpenSlideUnsupportedFormatError
from PIL import Image

from histoscout.errors import SlideError
from histoscout.geometry.box import Box
from histoscout.io.units import parse_number
from histoscout.slides.open import OpenedFile, damaged_file
from histoscout.slides.scale import StatedScale, combine_mpp, plausible_mpp
from histoscout.slides.tiff_checks import check_orientation, check_tiff, open_tiff_directories
from histoscout.slides.tiff_images import list_images, no_such_series, read_page_mpp

MARGIN_PX = 8
"""Pixels to read beyond the wanted ones; what lies beyond weighs less than (1/3) ** 8 at downsample 2."""

MIN_SHIFT_PX = 1 / 512
"""A smaller shift changes a pixel by less than one gray value, even from black to white."""


PLAIN_TIFF = frozenset({"generic-tiff", "aperio"})
"""OpenSlide's names of formats whose tiles any TIFF reader can put together.

What OpenSlide refuses of them (a compression) may be read as TIFF. In other formats tiles overlap, or private tags place
them: there, OpenSlide's refusal is final.
"""


def open_with_openslide(path: Path, series: int | None = None) -> OpenedFile | None:
    """Open a slide with OpenSlide.

    Args:
        path: The file.
        series: The number of the image; OpenSlide knows only 0.

    Returns:
        The opened file; None if its format is not one of OpenSlide's, or it is a TIFF that our own reader reads.

    Raises:
        SlideError: The file is damaged, or it is of OpenSlide's format and of a kind that it does not read.
    """
    check_tiff(path)
    vendor = OpenSlide.detect_format(path)
    if vendor is None or (vendor in PLAIN_TIFF and not _is_one_image(path, vendor, series)):
        return None
    if series:
        raise no_such_series(path, series, 1)
    try:
        handle = OpenSlide(path)
    except OpenSlideUnsupportedFormatError:
        return None
    except OpenSlideError as error:
        if vendor in PLAIN_TIFF:
            return None
        raise _refusal(path, vendor, error) from error
    scale = _read_scale(path, vendor, handle.properties)
    notes = []
    sizes = handle.level_dimensions
    if len(sizes) > 1 and sizes[0] == sizes[1]:
        count = sizes.count(sizes[0])
        notes.append(f"the file has {count} images of this size, such as focal planes; the first is read")
    return OpenedFile(
        source=OpenSlideSource(path, scale.mpp, handle),
        format=vendor,
        scale=scale,
        power=_read_power(handle.properties),
        bounds=_read_bounds(handle.properties),
        center_offset_um=_read_center_offset(handle.properties),
        notes=tuple(notes),
    )


def _is_one_image(path: Path, vendor: str, series: int | None) -> bool:
    """Whether a TIFF has no other image beside the first that could be meant.

    OpenSlide takes the first image of a plain TIFF, whether label or slide, and passes over others.
    """
    with open_tiff_directories(path) as file:
        if file is None:
            return True
        check_orientation(path, file.pages.first)
        if vendor != "generic-tiff":
            return not series
        images = list_images(file)
        return len(images) == 1 and not images[0].is_associated


def _refusal(path: Path, vendor: str, error: OpenSlideError) -> SlideError:
    fault = f"it is a {vendor} file of a kind that OpenSlide cannot read ({_reason(path, error)})"
    remedy = "Copy it again if it was cut off; otherwise export it as OME-TIFF from QuPath or the scanner's program"
    return SlideError(path, fault, remedy)


def _read_scale(path: Path, vendor: str, properties: Mapping[str, str]) -> StatedScale:
    mpp_x, mpp_y = _read_number(properties, "openslide.mpp-x"), _read_number(properties, "openslide.mpp-y")
    if mpp_x is None and mpp_y is None and vendor == "aperio":
        # OpenSlide does not read a decimal comma
        mpp_x = mpp_y = _read_number(properties, "aperio.MPP")
    if vendor != "generic-tiff":
        return combine_mpp(mpp_x, mpp_y)
    # for these, OpenSlide passes on the TIFF's resolution tags, whatever they state, and no description
    with open_tiff_directories(path) as file:
        if file is not None:
            return combine_mpp(*read_page_mpp(file.pages.first))
    return combine_mpp(*plausible_mpp(mpp_x, mpp_y))


def _read_power(properties: Mapping[str, str]) -> float | None:
    power = _read_number(properties, "openslide.objective-power")
    return power or _read_number(properties, "aperio.AppMag") or None


def _read_number(properties: Mapping[str, str], name: str) -> float | None:
    return parse_number(properties.get(name))


def _read_bounds(properties: Mapping[str, str]) -> Box | None:
    """The part of level 0 that was scanned; its corner is the origin of QuPath's annotations."""
    sides = [_read_number(properties, f"openslide.bounds-{side}") for side in ("x", "y", "width", "height")]
    x, y, width, height = sides
    if x is None or y is None or not width or not height:
        return None
    return Box(x, y, width, height)


def _read_center_offset(properties: Mapping[str, str]) -> tuple[float, float] | None:
    """Place of the scan's center from the center of the glass slide in um; Hamamatsu states it in nm."""
    x, y = (_read_number(properties, f"hamamatsu.{axis}OffsetFromSlideCentre") for axis in "XY")
    return None if x is None or y is None else (x / 1000, y / 1000)


class OpenSlideSource:
    """The levels of a slide as OpenSlide reads them.

    Pickled by its path; the file is opened again at first use.

    Args:
        path: The file.
        mpp: The um/px that it states, or None.
        handle: OpenSlide's handle of the file.
    """

    def __init__(self, path: Path, mpp: float | None, handle: OpenSlide) -> None:
        self.path = path
        self.mpp = mpp
        self.level_sizes: tuple[tuple[int, int], ...] = tuple(handle.level_dimensions)
        self._downsamples = tuple(handle.level_downsamples)
        self._handle: OpenSlide | None = handle
        self._process = os.getpid()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, object]:
        return {
            name: value for name, value in vars(self).items() if name not in {"_handle", "_lock", "_process"}
        }

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state, _handle=None, _lock=threading.Lock(), _process=0)

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Read pixels of a level, as `SlideSource.read_level` does."""
        down = self._downsamples[level]
        if down.is_integer():
            return self._read_region(level, (round(x * down), round(y * down)), (width, height))
        # read a margin around the box, from the nearest level-0 px, and undo the shift
        level_width, level_height = self.level_sizes[level]
        left, top = max(0, x - MARGIN_PX), max(0, y - MARGIN_PX)
        right, bottom = min(level_width, x + width + MARGIN_PX), min(level_height, y + height + MARGIN_PX)
        corner = round(left * down), round(top * down)
        pixels = self._read_region(level, corner, (right - left, bottom - top))
        pixels = undo_interpolation(pixels, corner[0] / down - left, corner[1] / down - top)
        return pixels[y - top : y - top + height, x - left : x - left + width]

    def close(self) -> None:
        """Release the file."""
        # dropped, not closed: another thread may be reading. OpenSlide closes it with the last reference.
        self._handle = None

    def _read_region(self, level: int, corner: tuple[int, int], size: tuple[int, int]) -> NDArray[np.uint8]:
        """Pixels of a level, `size` in its own px, `corner` in level-0 px as OpenSlide counts them."""
        with self._lock:
            # a forked process shares the file position of its parent's handle: it needs its own
            if self._handle is None or self._process != os.getpid():
                self._handle, self._process = _open_again(self.path), os.getpid()
            handle = self._handle
        try:
            image = handle.read_region(corner, level, size)
        except OpenSlideError:
            image = self._retry(handle, level, (corner, size))
        return _on_white(image)

    def _retry(
        self, failed: OpenSlide, level: int, region: tuple[tuple[int, int], tuple[int, int]]
    ) -> Image.Image:
        """Read once more on a new handle: after an error, OpenSlide refuses all further reading.

        The error may come from another thread's box, and one damaged tile must not cost the rest of the slide.
        """
        corner, size = region
        with self._lock:
            if self._handle is failed:
                self._handle = None
        try:
            return _open_again(self.path).read_region(corner, level, size)
        except OpenSlideError as error:
            raise damaged_file(self.path, _reason(self.path, error)) from error


def _open_again(path: Path) -> OpenSlide:
    try:
        return OpenSlide(path)
    except (OpenSlideError, OSError) as error:
        fault = f"the file can no longer be opened ({error})"
        raise SlideError(path, fault, "Check that it still exists") from error


def _reason(path: Path, error: OpenSlideError) -> str:
    """OpenSlide's message without the path, which our errors start with."""
    return str(error).replace(f"Reading {path}: ", "").replace(str(path), "the file")


def _on_white(image: Image.Image) -> NDArray[np.uint8]:
    """RGB pixels of an RGBA image; what was not scanned (transparent) is white like empty glass."""
    min_alpha, _ = image.getchannel("A").getextrema()
    if min_alpha == 255:
        return np.asarray(image.convert("RGB"))
    # half-transparent is the edge of a level, softened by interpolation: its color is already right
    opaque = image.getchannel("A").point([0] * 128 + [255] * 128)
    canvas = Image.new("RGB", image.size, (255, 255, 255))
    canvas.paste(image, mask=opaque)
    return np.asarray(canvas)


# ---------------------------------------------------------------- sub-pixel shifts


def undo_interpolation(pixels: NDArray[np.uint8], shift_x: float, shift_y: float) -> NDArray[np.uint8]:
    """Find the image whose linear interpolation, shifted to the right and down, is the given one.

    Exact to rounding except for the last `MARGIN_PX` rows and columns in the direction of the shift, where the image
    is assumed to continue as it ends.

    Args:
        pixels: (H, W, 3) uint8.
        shift_x: Shift to the right in px, less than 1/2.
        shift_y: Shift down in px, less than 1/2.

    Returns:
        The image before the shift, (H, W, 3) uint8.
    """
    if abs(shift_x) < MIN_SHIFT_PX and abs(shift_y) < MIN_SHIFT_PX:
        return pixels
    margin = (MARGIN_PX, MARGIN_PX)
    image = np.pad(pixels, (margin, margin, (0, 0)), mode="edge").astype(np.float32)
    _undo_along_rows(image, shift_y)
    _undo_along_rows(image.swapaxes(0, 1), shift_x)
    image = image[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
    sharp: NDArray[np.uint8] = np.clip(image + 0.5, 0, 255).astype(np.uint8)
    return sharp


def _undo_along_rows(image: NDArray[np.float32], shift: float) -> None:
    """Undo a shift in place along the first axis.

    With r = f / (1 - f) and S the step to the neighbor, the inverse is 1 / (1 - f) / (1 + r S), and
    1 / (1 + r S) = (1 - r S)(1 + r^2 S^2)(1 + r^4 S^4)... up to `MARGIN_PX` terms.
    """
    if shift < 0:
        image = image[::-1]
    factor = abs(shift) / (1 - abs(shift))
    image *= 1 + factor
    step = 1
    weight = -factor
    while step < MARGIN_PX:
        image[:-step] += weight * image[step:]
        step *= 2
        weight *= weight
