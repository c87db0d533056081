"""JSON files as people leave them: compressed, with a byte-order mark, cut short, or not JSON at all."""

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

from histoscout.errors import AnnotationError

LARGEST_BYTES = 2**31  # unpacked; more is a file made to fill the memory


def read_json(path: Path) -> Any:
    """What a JSON file holds, unpacked if gzipped whatever its name; AnnotationError if it is not JSON."""
    content = _content(path)
    if not content.strip(b"\xef\xbb\xbf \t\r\n\x00"):
        raise AnnotationError(path, "is empty", "Export the annotations again")
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise AnnotationError(path, f"is not valid JSON ({place})", "Export the annotations again") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(
            path, "is not text, so not JSON either", "Export it as GeoJSON from QuPath"
        ) from error
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits; thousands of brackets
        fault = "holds numbers too long, or lists nested too deeply, to be annotations"
        raise AnnotationError(path, fault, "Export the annotations again") from error


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not packed:
                return file.read()
            with gzip.open(file) as unpacked:
                content = unpacked.read(LARGEST_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise AnnotationError(path, "is cut short or damaged", "Copy or export the file again") from error
    except OSError as error:
        raise AnnotationError(
            path, f"cannot be read ({error.strerror})", "Check the path and its permissions"
        ) from error
    if len(content) > LARGEST_BYTES:
        raise AnnotationError(path, "unpacks to more than 2 GiB", "Check where the file comes from")
    return content
