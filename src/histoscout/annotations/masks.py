"""Images whose pixel values are classes: 0 is background, 255 is ignored, the user names the rest.

The pixels of a label image, from any file that may hold one.
"""

import json
import math
import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from histoscout.annotations.qupath_properties import stable_id
from histoscout.annotations.read import Annotations
from histoscout.errors import AnnotationError
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions
from histoscout.geometry.vectorize import trace
from histoscout.io.tiff import BY_LIBTIFF, JPEG, LOSSLESS, can_hold, name_of

MOST_PIXELS = 2**29  # 23,000 px a side; with its outlines a mask takes some ten bytes a pixel
FACTS = "histoscout"  # under this name in a PNG's text or a TIFF's description
# what tifffile and Pillow raise on damaged files, depending on which byte is wrong
_STUMBLES = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError, MemoryError)
_CODECS = JPEG | BY_LIBTIFF | LOSSLESS
_WHITE_IS_ZERO = 0
_THRESHOLD = "Give the column mask_threshold (such as 128) in the cohort's table, or --threshold"


def read_pixels(path: Path, threshold: int | None) -> NDArray[np.integer[Any]]:
    """The class of each pixel: integers (H, W), or 0 and 1 from a threshold.

    AnnotationError for a file that is no image, or whose values cannot be classes: colours, fractions, or
    JPEG without a threshold.
    """
    width, height = size_of(path)
    if width * height > MOST_PIXELS:
        fault = f"is too large ({width} x {height} px)"
        raise AnnotationError(
            path, fault, "Save the mask at half the resolution or less; it is scaled to its slide"
        )
    pixels, lossy = _decoded(path)
    if lossy and threshold is None:
        raise AnnotationError(path, "is a JPEG, whose values waver, and no threshold is known", _THRESHOLD)
    values = _one_channel(pixels, path, lossy)
    if threshold is not None:
        return (values >= threshold).astype(np.uint8)
    if values.dtype.kind not in "bui":
        raise AnnotationError(path, f"holds fractions ({values.dtype}), not classes", _THRESHOLD)
    if values.dtype.kind == "i" and values.size and values.min() < 0:
        raise AnnotationError(
            path, "holds negative values, which name no class", "Save it with values from 0 on"
        )
    return values.astype(np.uint8) if values.dtype == bool else values


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of a label image in px, without reading its pixels."""
    with _understood(path):
        if _is_tiff(path):
            with tifffile.TiffFile(path) as tiff:
                page = tiff.pages[0].aspage()
                return int(page.imagewidth), int(page.imagelength)
        with Image.open(path) as image:
            return image.size


def _decoded(path: Path) -> tuple[NDArray[Any], bool]:
    """The pixels as they are stored, palette indices included, and whether the file is a JPEG."""
    with _understood(path):
        if _is_tiff(path):
            with tifffile.TiffFile(path) as tiff:
                page = tiff.pages[0].aspage()
                _check_codec(page, path)
                _check_alone(tiff, page, path)
                _check_plausible(max(page.nbytes, math.prod(page.chunks)), path)
                if int(page.compression) not in BY_LIBTIFF:
                    return page.asarray(maxworkers=1), page.compression in JPEG
        with Image.open(path) as image:
            _check_plausible(image.width * image.height * len(image.getbands()), path)
            return np.asarray(image), image.format in {"JPEG", "MPO"}


class LabelFacts(NamedTuple):
    """What an image that we wrote says of itself: the names of its values, and level-0 px per pixel."""

    labels: dict[int, str]
    scale: float | None


def label_facts(path: Path) -> LabelFacts:
    """What a label image says of itself, if we wrote it; nothing otherwise."""
    with _understood(path):
        if _is_tiff(path):
            with tifffile.TiffFile(path) as tiff:
                said = tiff.pages[0].aspage().description
        else:
            with Image.open(path) as image:
                said = str(image.info.get(FACTS, ""))
    try:
        content = json.loads(said)[FACTS]
        labels = {int(value): str(name) for value, name in content["labels"].items()}
        return LabelFacts(labels, float(content["scale"]))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return LabelFacts({}, None)


def _check_codec(page: tifffile.TiffPage, path: Path) -> None:
    """Refuse ways of packing that masks are not saved in; decoders such as that for fax crash on damaged data."""
    if int(page.compression) not in _CODECS or (
        int(page.compression) in BY_LIBTIFF and page.photometric == _WHITE_IS_ZERO
    ):
        fault = f"is packed in a way ({name_of(page.compression)}) that masks are not"
        raise AnnotationError(path, fault, "Save it with Deflate")


def _check_alone(tiff: tifffile.TiffFile, page: tifffile.TiffPage, path: Path) -> None:
    """Refuse a stack of images; smaller copies of the one image are passed over.

    Only the next page is looked at: a damaged file may list pages without end.
    """
    try:
        other = tiff.pages[1].aspage()
    except IndexError:
        return
    if other.shape == page.shape and not other.is_reduced:
        raise AnnotationError(
            path, "holds several images of one size, not one image", "Save it as one grey image"
        )


def _check_plausible(size: int, path: Path) -> None:
    """Refuse a small file that claims to be a huge image, before memory is asked for."""
    of_file = path.stat().st_size
    if not can_hold(of_file, size):
        fault = f"claims {size >> 20} MiB of pixels, which its {of_file} bytes cannot hold"
        raise AnnotationError(path, fault, "Save the mask again, as PNG or TIFF")


def _one_channel(pixels: NDArray[Any], path: Path, lossy: bool) -> NDArray[Any]:
    """The grey values of an image; opacity is left out, and equal colour channels count as one."""
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        pixels = pixels[..., :-1]
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim == 2:
        return pixels
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise AnnotationError(
            path, f"is of the shape {pixels.shape}, not one image", "Save it as one grey image"
        )
    first, *others = (pixels[..., channel] for channel in range(3))
    if lossy or all(np.array_equal(first, other) for other in others):
        return pixels[..., 1] if lossy else first  # JPEG's luminance is mostly green
    raise AnnotationError(
        path, "holds colours, not classes", "Save it as a grey or palette image of class numbers"
    )


def _is_tiff(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}


@contextmanager
def _understood(path: Path) -> Iterator[None]:
    """Whatever the image libraries stumble over becomes an AnnotationError."""
    remedy = "Save the mask again, as PNG or TIFF"
    try:
        with warnings.catch_warnings():
            for told in (
                Image.DecompressionBombWarning,
                UserWarning,
            ):  # whole slides are large; tags are damaged
                warnings.simplefilter("ignore", told)
            yield
    except Image.DecompressionBombError as error:
        raise AnnotationError(
            path, "is larger than can be read from this format", "Save the mask as TIFF with Deflate"
        ) from error
    except (UnidentifiedImageError, tifffile.TiffFileError, SyntaxError, struct.error) as error:
        raise AnnotationError(path, "is not an image that can be understood", remedy) from error
    except _STUMBLES as error:
        raise AnnotationError(path, f"is a damaged image ({error})", remedy) from error
    except OSError as error:
        fault = f"cannot be read ({error.strerror or error})"
        raise AnnotationError(path, fault, "Check the path, or save the mask again as PNG or TIFF") from error


BACKGROUND, IGNORED = 0, 255
MOST_VALUES = 64  # an image with more values than this is a photograph, or has one value for each object


def read_label_image(
    path: Path,
    labels: Mapping[int, str] | None = None,
    threshold: int | None = None,
    scale: float | None = None,
) -> Annotations:
    """Read an image of classes as regions: one for each connected piece of a value, traced along its pixels.

    `labels` names the values; 0 is background, 255 becomes "ignore" unless named, and other values that are
    not named become labels by their number, as a note says. An image that histoscout wrote names its values and
    its scale itself. With `threshold`, grey values from it on count as
    1 and all below as 0: needed for JPEG, whose values waver. `scale` is level-0 px per pixel of the image;
    outlines are in level-0 px. AnnotationError for a file that is no image, has colours rather than classes,
    or cannot be read.
    """
    values = read_pixels(path, threshold)
    facts = label_facts(path)
    given = labels or facts.labels
    names = {1: "1", **given} if threshold is not None else dict(given)
    scale = scale or facts.scale or 1.0
    found = [int(value) for value in np.unique(values) if value != BACKGROUND]
    if len(found) > MOST_VALUES:
        raise AnnotationError(
            path,
            f"has {len(found)} values, too many for classes",
            "Give a threshold (column mask_threshold, or --threshold)",
        )
    regions = [
        region for value in found for region in _regions(values == value, _name(value, names), scale, value)
    ]
    return Annotations(Regions.of(regions), tuple(_notes(found, given)))


def _regions(mask: NDArray[np.bool_], label: str, scale: float, value: int) -> list[Region]:
    height, width = mask.shape
    outlines = trace(mask, Box(0, 0, width * scale, height * scale), scale)
    return [
        Region(outline, label, id=stable_id(f"value {value}, piece {number}, {outline.bounds}"))
        for number, outline in enumerate(outlines, 1)
    ]


def _name(value: int, names: Mapping[int, str]) -> str:
    return names.get(value, "ignore" if value == IGNORED else str(value))


def _notes(found: list[int], labels: Mapping[int, str]) -> list[str]:
    notes = []
    if not found:
        notes.append("nothing but background in this image")
    if nameless := [str(value) for value in found if value not in labels and value != IGNORED]:
        notes.append(
            f"values without a name are labels by their number: {', '.join(nameless)} (column mask_labels, or --values)"
        )
    if absent := [f"{value} ({name})" for value, name in labels.items() if value not in found]:
        notes.append(f"values that do not occur: {', '.join(absent)}")
    return notes
