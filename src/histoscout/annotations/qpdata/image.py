"""The image that QuPath showed, and where its pixels are in the image file.

QuPath can show an image cropped or rotated; coordinates are then in px of what it showed. After
`createServerBuilder` of QuPath's image servers and their JSON (versions 0.2 to 0.7).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from histoscout.annotations.read import ImageMetadata
from histoscout.errors import AnnotationError
from histoscout.io.units import parse_um
from histoscout.slides.scale import GIVEN_MPP, combine_mpp

Matrix = NDArray[np.float64]
"""(3, 3), from px in QuPath to px of the file."""
Size = tuple[int, int] | None
"""Width and height in px; None if unknown."""

MAX_WRAPPERS = 20
"""Image servers around an image server."""
_SAME_PIXELS = frozenset(
    {"channels", "color", "pyramidize", "swapRedBlue", "color_deconvolved", "normalized"}
)
"""Image servers that leave pixels in their place."""
# arguments that choose an image by its name, or its dimensions, or a part of it
_CHOOSING_ARGUMENTS = frozenset({"--name", "-n", "--dims", "--crop", "--region"})
_MAX_DIGITS = 6
_REMEDY = "Open the image itself in QuPath, transfer the annotations to it, and save"


@dataclass(frozen=True)
class DisplayedImage:
    """The image file, and how QuPath showed it.

    Attributes:
        image: The image in its file.
        matrix: (3, 3), from px of what QuPath showed to px of the file.
        changes: How QuPath changed the image, in words; "" if it did not.
    """

    image: ImageMetadata
    matrix: Matrix
    changes: str = ""


def read_server(server: Mapping[str, Any], where: object) -> DisplayedImage:
    """Read the JSON of an image server.

    Args:
        server: The JSON object; any value in it may be invalid.
        where: The place in the file, for errors.

    Returns:
        The image file, and how pixels in QuPath map to it.

    Raises:
        AnnotationError: QuPath showed the image in a way that cannot be reversed.
    """
    matrix = np.eye(3)
    changes: list[str] = []
    metadata = _object_at(server, "metadata")
    mpp = calibrated_mpp(metadata)
    size = _read_size(metadata)
    # from what QuPath showed, through each server, to the file
    for _ in range(MAX_WRAPPERS):
        kind = str(server.get("builderType", "uri"))
        if kind == "uri":
            break
        if kind in _TRANSFORMS:
            transform, size, change = _TRANSFORMS[kind](server, size, where)
            matrix = transform @ matrix
            changes.append(change)
        elif kind not in _SAME_PIXELS:
            fault = f"the annotations were drawn on an image that QuPath showed changed ({kind[:40]})"
            raise AnnotationError(where, fault, _REMEDY)
        server = _object_at(server, "builder")
        metadata = _object_at(server, "metadata")
        mpp = mpp or calibrated_mpp(metadata)
        size = _read_size(metadata) or size
    # the reader of a file may rotate it too
    if rotation := _rotation_argument(server):
        transform, size, change = _rotate({"rotation": rotation}, size, where)
        matrix = transform @ matrix
        changes.append(change)
    width, height = size or (None, None)
    name = uri_file_name(server.get("uri")) or _nonempty_text(_object_at(server, "metadata").get("name"))
    _check_arguments(server, where)
    image = ImageMetadata(name=name, width=width, height=height, mpp=mpp, series=image_series(server))
    return DisplayedImage(image, matrix, " and ".join(change for change in changes if change))


def image_uri(server: Mapping[str, Any]) -> str:
    """Find the URI of the image file inside all servers around it.

    Args:
        server: The JSON object of an image server.

    Returns:
        The URI; "" if none is stated.
    """
    for _ in range(MAX_WRAPPERS):
        if "builder" not in server:
            break
        server = _object_at(server, "builder")
    return _nonempty_text(server.get("uri")) or ""


def uri_file_name(uri: object) -> str | None:
    """Take the file name at the end of a URI or path.

    Args:
        uri: A URI, or a path of Windows, macOS or Linux; any other value gives None.

    Returns:
        The file name; None if there is none.
    """
    if not isinstance(uri, str):
        return None
    try:
        path = urlsplit(uri).path if "://" in uri or uri.startswith("file:") else uri
    except ValueError:
        return None
    return PurePosixPath(unquote(path).replace("\\", "/")).name or None


def calibrated_mpp(metadata: Mapping[str, Any]) -> float | None:
    """Read the pixel size of an image.

    Args:
        metadata: The JSON object with a "pixelCalibration".

    Returns:
        um/px, the mean of both directions; None if QuPath does not know it, or pixels are not square.
    """
    calibration = _object_at(metadata, "pixelCalibration")
    sides = [_object_at(calibration, side) for side in ("pixelWidth", "pixelHeight")]
    width, height = (parse_um(side.get("value"), side.get("unit")) for side in sides)
    low, high = GIVEN_MPP
    if width is None or height is None or not (low <= width <= high and low <= height <= high):
        return None
    # the reader of the slide decides about pixels that are not square
    return combine_mpp(width, height).mpp


# ---------------------------------------------------------------- cropped and rotated images

Transform = tuple[Matrix, Size, str]
"""Matrix from px shown to px before the change, the size before it, and the change in words."""


def _crop(server: Mapping[str, Any], size: Size, where: object) -> Transform:
    region = _object_at(server, "region")
    x = region.get("x")
    y = region.get("y")
    if not isinstance(x, int) or not isinstance(y, int) or max(abs(x), abs(y)) > 1e9:
        fault = "the annotations were drawn on a part of an image, but the file does not state which"
        raise AnnotationError(where, fault, _REMEDY)
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64), None, f"cropped at {x}, {y}"


def _rotate(server: Mapping[str, Any], size: Size, where: object) -> Transform:
    """A rotation clockwise; `size` is that of the rotated image."""
    rotation = str(server.get("rotation"))
    if rotation == "ROTATE_NONE":
        return np.eye(3), size, ""
    if size is None or rotation not in _ROTATIONS:
        fault = (
            "the annotations were drawn on a rotated image, but the file does not state its size or rotation"
        )
        raise AnnotationError(where, fault, _REMEDY)
    width, height = size
    size_before = size if rotation == "ROTATE_180" else (height, width)
    matrix = np.array(_ROTATIONS[rotation](width, height), np.float64)
    return matrix, size_before, f"rotated by {rotation[7:]} degrees"


_ROTATIONS: Mapping[str, Callable[[int, int], list[list[int]]]] = MappingProxyType(
    {
        "ROTATE_90": lambda width, height: [[0, 1, 0], [-1, 0, width], [0, 0, 1]],
        "ROTATE_180": lambda width, height: [[-1, 0, width], [0, -1, height], [0, 0, 1]],
        "ROTATE_270": lambda width, height: [[0, -1, height], [1, 0, 0], [0, 0, 1]],
    }
)
"""QuPath's rotation -> matrix from a rotated image of this width and height to the image before."""
_TRANSFORMS: Mapping[str, Callable[[Mapping[str, Any], Size, object], Transform]] = MappingProxyType(
    {"cropped": _crop, "rotated": _rotate}
)
"""Type of an image server -> its transform."""


# ---------------------------------------------------------------- arguments of the reader of a file


def image_series(server: Mapping[str, Any]) -> int | None:
    """Read which image of its file QuPath opened.

    Args:
        server: The JSON object of an image server.

    Returns:
        The number of the image ("--series 1"); None if it is not stated.
    """
    for _ in range(MAX_WRAPPERS):
        if "builder" not in server:
            break
        server = _object_at(server, "builder")
    value = _argument(server, ("--series", "-s"))
    return int(value) if value.isdecimal() and len(value) <= _MAX_DIGITS else None


def _rotation_argument(server: Mapping[str, Any]) -> str:
    """The rotation among the arguments of an image's reader; "" if there is none."""
    rotation = _argument(server, ("--rotate",))
    name = f"ROTATE_{rotation}" if rotation.isdecimal() else rotation
    return "" if name in ("", "ROTATE_0", "ROTATE_NONE") else name


def _check_arguments(server: Mapping[str, Any], where: object) -> None:
    """Reject arguments that choose what is shown in a way that is not understood."""
    raw = server.get("args")
    for argument in raw if isinstance(raw, list) else []:
        option = str(argument).partition("=")[0]
        if option in _CHOOSING_ARGUMENTS and image_series(server) is None:
            fault = f"QuPath opened the image with {option}, which is not understood"
            raise AnnotationError(where, fault, _REMEDY)


def _argument(server: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """The value of an argument, in the next word or behind an equals sign; "" if there is none."""
    raw = server.get("args")
    arguments = [str(argument).strip() for argument in raw] if isinstance(raw, list) else []
    values = [value for option, value in pairwise(arguments) if option in names]
    for option, equals, value in (argument.partition("=") for argument in arguments):
        if equals and option in names:
            values.append(value.strip())
    return values[0] if values else ""


# ---------------------------------------------------------------- JSON that may be anything


def _object_at(holder: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The JSON object under a key; an empty one if there is none."""
    value = holder.get(key)
    return value if isinstance(value, dict) else {}


def _read_size(metadata: Mapping[str, Any]) -> Size:
    sides = [metadata.get(side) for side in ("width", "height")]
    valid = [side for side in sides if isinstance(side, int) and 0 < side < 2**31]
    return (valid[0], valid[1]) if len(valid) == 2 else None


def _nonempty_text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
