"""Read masks: images whose pixel values are classes.

0 is background; the user names the other values. 255 beside other values is ignored, with a note; a single value is the
class, whatever it is.
"""

import json
import math
import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from histoscout.annotations.qupath_properties import stable_id
from histoscout.annotations.read import Annotations
from histoscout.errors import AnnotationError
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions
from histoscout.geometry.vectorize import mask_to_polygons
from histoscout.io.inputs import open_regular
from histoscout.io.tiff import (
    BY_LIBTIFF,
    JPEG,
    LOSSLESS,
    ORIENTATION,
    SAVE_UPRIGHT,
    can_hold,
    compression_name,
    orientation_fault,
)
from histoscout.recipe import BACKGROUND, IGNORE

MAX_PIXELS = 2**29
"""23,000 px a side; with its polygons a mask takes some ten bytes per pixel."""
MAX_CLASSES = 64
"""An image with more values than this is a photograph, or has one value per object."""
METADATA_KEY = "histoscout"
"""Key of the metadata in a PNG's text or in a TIFF's description."""
_DECODE_ERRORS = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    MemoryError,
)
"""What tifffile and Pillow raise on damaged files, depending on which byte is wrong."""
_CODECS = JPEG | BY_LIBTIFF | LOSSLESS
_WHITE_IS_ZERO = 0
_GIVE_THRESHOLD = "Give the column mask_threshold (such as 128) in the cohort's table, or --threshold"
_SAVE_AGAIN = "Save the mask again, as PNG or TIFF"


# ---------------------------------------------------------------- masks as regions


def read_mask(
    path: Path,
    labels: Mapping[int, str] | None = None,
    threshold: int | None = None,
    scale: float | None = None,
) -> Annotations:
    """Read a mask of classes as regions, one per connected piece of a value.

    Polygons follow the edges of pixels. A mask that histoscout wrote holds the names of its values and its
    scale.

    Args:
        path: The image: PNG, TIFF, or JPEG with a threshold.
        labels: Name of each value. 0 is background; 255 becomes "ignore" unless it is named or the only value;
            other values without a name get their number as a label. Both with a note.
        threshold: Gray values from it on count as 1, all below as 0. JPEG needs it, as its values are not
            exact.
        scale: Level-0 px per pixel of the mask; 1 if neither it nor the file states it.

    Returns:
        Regions in level-0 px, and notes on values without a name and names without a value.

    Raises:
        AnnotationError: The file is not an image, has colors instead of classes, or cannot be read.
    """
    class_map = read_class_values(path, threshold)
    metadata = read_mask_metadata(path)
    # names and scale: what the user gives counts before what the file states
    given = labels or metadata.labels
    names = {1: "1", **given} if threshold is not None else dict(given)
    scale = scale or metadata.scale or 1.0
    values = [int(value) for value in np.unique(class_map) if value != BACKGROUND]
    if len(values) > MAX_CLASSES:
        fault = f"the image has {len(values)} values, too many for classes"
        raise AnnotationError(path, fault, "Give a threshold (column mask_threshold, or --threshold)")
    # each connected piece becomes a region; its id depends on value, number and place alone
    height, width = class_map.shape
    box = Box(0, 0, width * scale, height * scale)
    regions: list[Region] = []
    # with a threshold, or in a file of histoscout, the meaning of a single value is known
    is_known = threshold is not None or metadata.scale is not None
    names, convention_notes = _with_conventions(names, values, is_known=is_known)
    for value in values:
        label = names.get(value, str(value))
        for number, outline in enumerate(mask_to_polygons(class_map == value, box, scale), 1):
            identity = stable_id(f"value {value}, piece {number}, {outline.bounds}")
            regions.append(Region(outline, label, id=identity))
    stated = names if len(values) == 1 and convention_notes else given
    return Annotations(Regions.of(regions), (*_notes(values, stated), *convention_notes))


def _with_conventions(
    names: dict[int, str], values: list[int], *, is_known: bool
) -> tuple[dict[int, str], list[str]]:
    """The names of values, with those that no name says and conventions decide, and notes on these.

    A mask of 0 and one other value holds one class, whatever the value; beside other values, 255 is "ignore".
    """
    # several names, but none for this value: 255 is no class then
    if len(values) == 1 and len(names) <= 1 and values[0] not in names and not is_known:
        (value,) = values
        # a name given for value 1 is that of the one class
        label = names.get(1, str(value))
        if value == IGNORE or label != str(value):
            note = f"the only value of the mask is {value}: taken as the class {label}"
            how = f"{value}=ignore" if value == IGNORE else f"{value}=NAME"
            note += f" (otherwise give {how} in the column mask_labels, or with --values)"
            return {value: label}, [note]
    if IGNORE in values and IGNORE not in names:
        note = "value 255 is read as areas to ignore (otherwise give 255=NAME in the column mask_labels, or --values)"
        return {**names, IGNORE: "ignore"}, [note]
    return names, []


def _notes(values: list[int], labels: Mapping[int, str]) -> Iterator[str]:
    """What the user has to know of the values of a mask."""
    if not values:
        yield "this image is all background"
    if unnamed := [str(value) for value in values if value not in labels and value != IGNORE]:
        how = "column mask_labels, or --values"
        yield f"values without a name, labeled by their number: {', '.join(unnamed)} ({how})"
    if absent := [f"{value} ({name})" for value, name in labels.items() if value not in values]:
        yield f"values that do not occur: {', '.join(absent)}"


# ---------------------------------------------------------------- pixels and metadata


def read_class_values(path: Path, threshold: int | None) -> NDArray[np.integer[Any]]:
    """Read the class of each pixel of a mask.

    Args:
        path: The image.
        threshold: Gray values from it on count as 1, all below as 0; None to read values as they are.

    Returns:
        (H, W) integers.

    Raises:
        AnnotationError: The file is not an image, or its values cannot be classes: colors, fractions, or JPEG
            without a threshold.
    """
    # refuse huge images before they are decoded
    width, height = mask_size(path)
    if width * height > MAX_PIXELS:
        fault = f"the image is too large ({width} x {height} px)"
        remedy = "Save the mask at half the resolution or less; it is scaled to its slide"
        raise AnnotationError(path, fault, remedy)
    pixels, is_lossy = _decode(path)
    if is_lossy and threshold is None:
        fault = "the image is a JPEG, which does not keep exact values, and there is no threshold"
        raise AnnotationError(path, fault, _GIVE_THRESHOLD)
    # one channel, and values that can be classes
    values = _gray_values(pixels, path, is_lossy)
    if threshold is not None:
        return (values >= threshold).astype(np.uint8)
    if values.dtype.kind not in "bui":
        fault = f"the image holds fractions ({values.dtype}) instead of classes"
        raise AnnotationError(path, fault, _GIVE_THRESHOLD)
    if values.dtype.kind == "i" and values.size and values.min() < 0:
        fault = "the image holds negative values, which cannot be classes"
        raise AnnotationError(path, fault, "Save it with values from 0 on")
    return values.astype(np.uint8) if values.dtype == bool else values


def mask_size(path: Path) -> tuple[int, int]:
    """Read width and height of a mask in px, without its pixels.

    Args:
        path: The image.

    Returns:
        Width and height.

    Raises:
        AnnotationError: The file is not an image, or is damaged.
    """
    with _decode_errors(path):
        if _is_tiff(path):
            with tifffile.TiffFile(path) as tiff:
                page = tiff.pages[0].aspage()
                return int(page.imagewidth), int(page.imagelength)
        with Image.open(path) as image:
            return image.size


@dataclass(frozen=True)
class MaskMetadata:
    """The metadata of a mask that histoscout wrote.

    Attributes:
        labels: Name of each value; empty if the mask comes from another program.
        scale: Level-0 px per pixel of the mask; None if unknown.
    """

    labels: dict[int, str]
    scale: float | None


def read_mask_metadata(path: Path) -> MaskMetadata:
    """Read the names of a mask's values and its scale.

    Args:
        path: The image.

    Returns:
        The metadata, empty if another program wrote the mask.

    Raises:
        AnnotationError: The file is not an image, or is damaged.
    """
    with _decode_errors(path):
        if _is_tiff(path):
            with tifffile.TiffFile(path) as tiff:
                text = tiff.pages[0].aspage().description
        else:
            with Image.open(path) as image:
                text = str(image.info.get(METADATA_KEY, ""))
    # descriptions of other programs may hold anything
    try:
        content = json.loads(text)[METADATA_KEY]
        labels = {int(value): str(name) for value, name in content["labels"].items()}
        return MaskMetadata(labels, float(content["scale"]))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return MaskMetadata({}, None)


# ---------------------------------------------------------------- decoding


def _decode(path: Path) -> tuple[NDArray[Any], bool]:
    """The pixels as they are stored, palette indices included, and whether the file is a JPEG."""
    with _decode_errors(path):
        if _is_tiff(path):
            with tifffile.TiffFile(path) as tiff:
                page = tiff.pages[0].aspage()
                tag = page.tags.get(ORIENTATION)
                _check_upright(None if tag is None else tag.value, path)
                _check_codec(page, path)
                _check_single_image(tiff, page, path)
                _check_plausible(max(page.nbytes, math.prod(page.chunks)), path)
                if int(page.compression) not in BY_LIBTIFF:
                    return page.asarray(maxworkers=1), page.compression in JPEG
        # what libtiff decodes is read by Pillow, like all that is not TIFF
        with Image.open(path) as image:
            _check_plausible(image.width * image.height * len(image.getbands()), path)
            _check_upright(image.getexif().get(ORIENTATION), path)
            return np.asarray(image), image.format in {"JPEG", "MPO"}


def _check_upright(orientation: object, path: Path) -> None:
    if fault := orientation_fault(orientation):
        raise AnnotationError(path, fault, SAVE_UPRIGHT)


def _check_codec(page: tifffile.TiffPage, path: Path) -> None:
    """Refuse unusual compressions; some decoders, such as that for fax, crash on damaged data."""
    is_fax = int(page.compression) in BY_LIBTIFF and page.photometric == _WHITE_IS_ZERO
    if int(page.compression) not in _CODECS or is_fax:
        fault = f"the compression {compression_name(page.compression)} is not supported for masks"
        raise AnnotationError(path, fault, "Save it with Deflate")


def _check_single_image(tiff: tifffile.TiffFile, page: tifffile.TiffPage, path: Path) -> None:
    """Refuse a stack of images; smaller copies of the one image are allowed.

    Only the next page is read: a damaged file may list pages without end.
    """
    try:
        other = tiff.pages[1].aspage()
    except IndexError:
        return
    if other.shape == page.shape and not other.is_reduced:
        fault = "the file holds several images of one size instead of one"
        raise AnnotationError(path, fault, "Save it as one gray image")


def _check_plausible(size: int, path: Path) -> None:
    """Refuse a small file that claims to be a huge image, before memory is allocated."""
    file_size = path.stat().st_size
    if not can_hold(file_size, size):
        fault = f"the file claims {size >> 20} MiB of pixels, which its {file_size} bytes cannot hold"
        raise AnnotationError(path, fault, _SAVE_AGAIN)


def _gray_values(pixels: NDArray[Any], path: Path, is_lossy: bool) -> NDArray[Any]:
    """The gray values of an image, (H, W), without opacity; equal color channels count as one."""
    # drop the opacity
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        pixels = pixels[..., :-1]
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim == 2:
        return pixels
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        fault = f"the pixels have the shape {pixels.shape}, not that of one image"
        raise AnnotationError(path, fault, "Save it as one gray image")
    first, *others = (pixels[..., channel] for channel in range(3))
    if is_lossy or all(np.array_equal(first, other) for other in others):
        # JPEG's luminance is mostly green
        return pixels[..., 1] if is_lossy else first
    fault = "the image holds colors instead of classes"
    raise AnnotationError(path, fault, "Save it as a gray or palette image of class numbers")


def _is_tiff(path: Path) -> bool:
    with open_regular(path) as file:
        return file.read(4) in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}


@contextmanager
def _decode_errors(path: Path) -> Iterator[None]:
    """Turn whatever the image libraries raise into an AnnotationError."""
    try:
        with warnings.catch_warnings():
            # whole slides are large; tags are damaged
            for category in (Image.DecompressionBombWarning, UserWarning):
                warnings.simplefilter("ignore", category)
            yield
    except Image.DecompressionBombError as error:
        fault = "the image is larger than can be read from this format"
        raise AnnotationError(path, fault, "Save the mask as TIFF with Deflate") from error
    except (UnidentifiedImageError, tifffile.TiffFileError, SyntaxError, struct.error) as error:
        raise AnnotationError(path, "the file is not an image that can be read", _SAVE_AGAIN) from error
    except _DECODE_ERRORS as error:
        raise AnnotationError(path, f"the image is damaged ({error})", _SAVE_AGAIN) from error
    except OSError as error:
        fault = f"the file cannot be read ({error.strerror or error})"
        raise AnnotationError(path, fault, "Check the path, or save the mask again as PNG or TIFF") from error
