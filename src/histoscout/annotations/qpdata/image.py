"""Which image QuPath showed, and where its pixels lie in the image file.

QuPath can show an image cropped or turned; outlines are then in px of what it showed. After `createServerBuilder`
of QuPath's image servers and their JSON (versions 0.2 to 0.7).
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

from histoscout.annotations.read import ImageFacts
from histoscout.errors import AnnotationError

Matrix = NDArray[np.float64]  # 3 x 3, from px in QuPath to px of the file
Size = tuple[int, int] | None

MOST_WRAPPED = 20  # servers round a server
LARGEST_MPP = 100.0  # um/px
_SAME_PLACE = frozenset({"channels", "color", "pyramidize", "swapRedBlue", "color_deconvolved", "normalized"})
_MICRONS = frozenset({"µm", "μm", "um"})
_REMEDY = "Open the image itself in QuPath, transfer the outlines to it, and save"


@dataclass(frozen=True)
class Shown:
    """The image in its file, and how px of what QuPath showed become px of it; `said` where they differ."""

    image: ImageFacts
    matrix: Matrix
    said: str = ""


def read_server(server: Mapping[str, Any], where: object) -> Shown:
    """What a server's JSON says; AnnotationError for one whose pixels cannot be brought back to the file."""
    matrix, said = np.eye(3), []
    mpp, size = mpp_of(_table(server, "metadata")), _size(_table(server, "metadata"))
    for _ in range(MOST_WRAPPED):
        kind = str(server.get("builderType", "uri"))
        if kind == "uri":
            break
        if kind in _STEPS:
            step, size, words = _STEPS[kind](server, size, where)
            matrix = step @ matrix
            said.append(words)
        elif kind not in _SAME_PLACE:
            fault = (
                f"was drawn on an image that QuPath showed changed ({kind[:40]}), not as it is in its file"
            )
            raise AnnotationError(where, fault, _REMEDY)
        server = _table(server, "builder")
        mpp, size = mpp or mpp_of(_table(server, "metadata")), _size(_table(server, "metadata")) or size
    rotation = _rotation_argument(server)
    if rotation:
        step, size, words = _rotated({"rotation": rotation}, size, where)
        matrix = step @ matrix
        said.append(words)
    width, height = size or (None, None)
    name = name_of(server.get("uri")) or _text(_table(server, "metadata").get("name"))
    image = ImageFacts(name, width, height, mpp)
    return Shown(image, matrix, " and ".join(word for word in said if word))


def uri_of(server: Mapping[str, Any]) -> str:
    """The URI of the image inside whatever servers are round it; "" if none is stated."""
    for _ in range(MOST_WRAPPED):
        if "builder" not in server:
            break
        server = _table(server, "builder")
    return _text(server.get("uri")) or ""


def name_of(uri: object) -> str | None:
    """The file name at the end of a URI or path, of whichever system."""
    if not isinstance(uri, str):
        return None
    try:
        path = urlsplit(uri).path if "://" in uri or uri.startswith("file:") else uri
    except ValueError:
        return None
    return PurePosixPath(unquote(path).replace("\\", "/")).name or None


def mpp_of(metadata: Mapping[str, Any]) -> float | None:
    """um/px of an image, both directions together; None where QuPath does not know it."""
    calibration = _table(metadata, "pixelCalibration")
    sides = [_table(calibration, side) for side in ("pixelWidth", "pixelHeight")]
    values = [side.get("value") for side in sides if str(side.get("unit")) in _MICRONS]
    known = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(known) < 2 or not all(0 < v <= LARGEST_MPP for v in known):
        return None
    return sum(known) / len(known)


# ---------------------------------------------------------------- cropped and turned images

Step = tuple[Matrix, Size, str]  # from px shown to px before; the size before; what was done


def _cropped(server: Mapping[str, Any], size: Size, where: object) -> Step:
    region = _table(server, "region")
    x, y = region.get("x"), region.get("y")
    if not isinstance(x, int) or not isinstance(y, int) or max(abs(x), abs(y)) > 1e9:
        raise AnnotationError(where, "was drawn on a part of an image, but does not say which", _REMEDY)
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64), None, f"cropped at {x}, {y}"


def _rotated(server: Mapping[str, Any], size: Size, where: object) -> Step:
    """Turned clockwise; `size` is that of the turned image."""
    rotation = str(server.get("rotation"))
    if rotation == "ROTATE_NONE":
        return np.eye(3), size, ""
    if size is None or rotation not in _TURNS:
        raise AnnotationError(
            where, "was drawn on a turned image whose size or turn it does not say", _REMEDY
        )
    width, height = size
    before = size if rotation == "ROTATE_180" else (height, width)
    return np.array(_TURNS[rotation](width, height), np.float64), before, f"turned by {rotation[7:]} degrees"


_TURNS: Mapping[str, Callable[[int, int], list[list[int]]]] = MappingProxyType(
    {
        "ROTATE_90": lambda width, height: [[0, 1, 0], [-1, 0, width], [0, 0, 1]],
        "ROTATE_180": lambda width, height: [[-1, 0, width], [0, -1, height], [0, 0, 1]],
        "ROTATE_270": lambda width, height: [[0, -1, height], [1, 0, 0], [0, 0, 1]],
    }
)
_STEPS: Mapping[str, Callable[[Mapping[str, Any], Size, object], Step]] = MappingProxyType(
    {"cropped": _cropped, "rotated": _rotated}
)


def _rotation_argument(server: Mapping[str, Any]) -> str:
    """The turn among the arguments of an image's reader."""
    arguments = server.get("args")
    listed = [str(argument) for argument in arguments] if isinstance(arguments, list) else []
    turns = [after for before, after in pairwise(listed) if before == "--rotate"]
    turns += [one.removeprefix("--rotate=") for one in listed if one.startswith("--rotate=")]
    return "" if not turns or turns[0] == "ROTATE_NONE" else turns[0]


# ---------------------------------------------------------------- JSON that may be anything


def _table(holder: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = holder.get(key)
    return value if isinstance(value, dict) else {}


def _size(metadata: Mapping[str, Any]) -> Size:
    sides = [metadata.get(side) for side in ("width", "height")]
    known = [side for side in sides if isinstance(side, int) and 0 < side < 2**31]
    return (known[0], known[1]) if len(known) == 2 else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
