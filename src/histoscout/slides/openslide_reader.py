"""Slides of the scanner makers, through OpenSlide: .svs .ndpi .mrxs .scn .bif .vms .tif, DICOM and others.

Undoing what a reader's interpolation did to an image.

OpenSlide is asked for places in whole level-0 px. Where a level's downsample is not a whole number (a slide of
803 px has 401 px on its second level: 2.0022), the place that can be asked for lies up to half a level-0 px off
the level's own pixels, and OpenSlide interpolates linearly between them. The same pixel would then differ between
two overlapping boxes, by 20 grey values at the rim of a nucleus. The interpolation is known exactly, so it is undone.
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
from histoscout.slides.open import Opened, one_mpp, plausible, spoilt
from histoscout.slides.tiff_levels import check_claims

# How many pixels beyond the wanted ones are needed; what is left out weighs less than (1/3) ** 8 at downsample 2.
REACH = 8

# A shift that changes a pixel by less than one grey value, even from black to white.
NOTHING = 1 / 512


def undone(pixels: NDArray[np.uint8], shift_x: float, shift_y: float) -> NDArray[np.uint8]:
    """The image whose linear interpolation, `shift` px to the right and down, is `pixels` (H, W, 3).

    |shift| < 1/2. Exact to rounding but for the last `REACH` rows and columns in the direction of the shift,
    where the image is taken to go on as it ends.
    """
    if abs(shift_x) < NOTHING and abs(shift_y) < NOTHING:
        return pixels
    image = np.pad(pixels, ((REACH, REACH), (REACH, REACH), (0, 0)), mode="edge").astype(np.float32)
    _undo(image, shift_y)
    _undo(image.swapaxes(0, 1), shift_x)
    image = image[REACH:-REACH, REACH:-REACH]
    moved: NDArray[np.uint8] = np.clip(image + 0.5, 0, 255).astype(np.uint8)
    return moved


def _undo(image: NDArray[np.float32], shift: float) -> None:
    """In place along the first axis: with r = f / (1 - f) and S the step to the neighbour, 1 / (1 - f) / (1 + r S).

    1 / (1 + r S) = (1 - r S)(1 + r^2 S^2)(1 + r^4 S^4)... up to `REACH` terms.
    """
    if shift < 0:
        image = image[::-1]
    factor = abs(shift) / (1 - abs(shift))
    image *= 1 + factor
    step, weight = 1, -factor
    while step < REACH:
        image[:-step] += weight * image[step:]
        step, weight = 2 * step, weight * weight


def open_with_openslide(path: Path) -> Opened | None:
    """What OpenSlide knows of a file; None if it is of no format that it knows. SlideError."""
    check_claims(path)
    try:
        handle = OpenSlide(path)
    except OpenSlideUnsupportedFormatError:
        return None
    except OpenSlideError as error:
        raise spoilt(path, _reason(path, error)) from error
    stated = handle.properties
    vendor = str(stated.get("openslide.vendor", "openslide"))
    mpp_x, mpp_y = _number(stated, "openslide.mpp-x"), _number(stated, "openslide.mpp-y")
    if vendor == "generic-tiff":  # here OpenSlide passes on the TIFF's resolution, whatever it says
        mpp_x, mpp_y = plausible(mpp_x), plausible(mpp_y)
    mpp, notes = one_mpp(mpp_x, mpp_y)
    source = OpenSlideLevels(path, mpp, handle)
    power = _number(stated, "openslide.objective-power")
    return Opened(source, vendor, power=power, bounds=_bounds(stated), notes=notes)


class OpenSlideLevels:
    """The levels of a slide as OpenSlide reads them. Pickles by path; opens the file again at first use."""

    def __init__(self, path: Path, mpp: float | None, handle: OpenSlide) -> None:
        self.path, self.mpp = path, mpp
        self.level_sizes: tuple[tuple[int, int], ...] = tuple(handle.level_dimensions)
        self._downsamples = tuple(handle.level_downsamples)
        self._handle: OpenSlide | None = handle
        self._process, self._lock = os.getpid(), threading.Lock()

    def __getstate__(self) -> dict[str, object]:
        return {
            name: value for name, value in vars(self).items() if name not in {"_handle", "_lock", "_process"}
        }

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state, _handle=None, _lock=threading.Lock(), _process=0)

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        down = self._downsamples[level]
        if down.is_integer():
            return self._region(level, (round(x * down), round(y * down)), (width, height))
        level_width, level_height = self.level_sizes[level]
        left, top = max(0, x - REACH), max(0, y - REACH)
        right, bottom = min(level_width, x + width + REACH), min(level_height, y + height + REACH)
        corner = round(left * down), round(top * down)
        pixels = self._region(level, corner, (right - left, bottom - top))
        pixels = undone(pixels, corner[0] / down - left, corner[1] / down - top)
        return pixels[y - top : y - top + height, x - left : x - left + width]

    def _region(self, level: int, corner: tuple[int, int], size: tuple[int, int]) -> NDArray[np.uint8]:
        """Pixels of a level, `size` in its own px, `corner` in level-0 px as OpenSlide counts them."""
        handle = self._opened()
        try:
            image = handle.read_region(corner, level, size)
        except OpenSlideError:
            image = self._second_try(handle, corner, level, size)
        return _on_white(image)

    def close(self) -> None:
        # Dropped, not closed: another thread may be reading. OpenSlide closes it with the last reference.
        self._handle = None

    def _second_try(
        self, spent: OpenSlide, corner: tuple[int, int], level: int, size: tuple[int, int]
    ) -> Image.Image:
        """After an error OpenSlide refuses all further reading: each thread tries once more on its own handle.

        The error may be that of another thread's box, and one spoilt tile must not cost the rest of the
        slide.
        """
        with self._lock:
            if self._handle is spent:
                self._handle = None
        try:
            return _handle(self.path).read_region(corner, level, size)
        except OpenSlideError as error:
            raise spoilt(self.path, _reason(self.path, error)) from error

    def _opened(self) -> OpenSlide:
        with self._lock:
            # a forked process shares the file position of its parent's handle: it needs its own
            if self._handle is None or self._process != os.getpid():
                self._handle, self._process = _handle(self.path), os.getpid()
            return self._handle


def _handle(path: Path) -> OpenSlide:
    try:
        return OpenSlide(path)
    except (OpenSlideError, OSError) as error:
        raise SlideError(
            path, f"can no longer be opened ({error})", "Check that it is still there"
        ) from error


def _reason(path: Path, error: OpenSlideError) -> str:
    """OpenSlide's message without the path, which our errors begin with."""
    return str(error).replace(f"Reading {path}: ", "").replace(str(path), "the file")


def _on_white(image: Image.Image) -> NDArray[np.uint8]:
    """RGB from what OpenSlide gives; where nothing was scanned (transparent) it is white like empty glass."""
    darkest, _ = image.getchannel("A").getextrema()
    if darkest == 255:
        return np.asarray(image.convert("RGB"))
    # half-transparent is the rim of a level, softened by interpolation: its colour is already the right one
    seen = image.getchannel("A").point([0] * 128 + [255] * 128)
    canvas = Image.new("RGB", image.size, (255, 255, 255))
    canvas.paste(image, mask=seen)
    return np.asarray(canvas)


def _number(stated: Mapping[str, str], name: str) -> float | None:
    try:
        return float(stated[name])
    except (KeyError, ValueError):
        return None


def _bounds(stated: Mapping[str, str]) -> Box | None:
    """The part of level 0 that was scanned. Its corner is the origin in QuPath, and so in its outlines."""
    sides = [_number(stated, f"openslide.bounds-{side}") for side in ("x", "y", "width", "height")]
    x, y, width, height = sides
    if x is None or y is None or not width or not height:
        return None
    return Box(x, y, width, height)
