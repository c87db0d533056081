"""JSON files as people leave them: compressed, with a byte-order mark, cut short, or not JSON at all."""

import json
from pathlib import Path
from typing import Any

from histoscout.annotations.contents import read_content
from histoscout.errors import AnnotationError


class _RepeatedKeyError(ValueError):
    """A key that stands twice in one object; which of the two is meant cannot be known."""


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        for key, value in pairs:
            if table[key] != value:
                raise _RepeatedKeyError(key)
    return table


def read_json(path: Path) -> Any:
    """What a JSON file holds, unpacked if gzipped or zipped whatever its name; AnnotationError if it is not JSON."""
    content = read_content(path)
    if not content.strip(b"\xef\xbb\xbf \t\r\n\x00"):
        raise AnnotationError(path, "is empty", "Export the annotations again")
    try:
        return json.loads(content, object_pairs_hook=_table)
    except _RepeatedKeyError as error:
        fault = f"has the key {str(error)[:60]!r} twice in one object, with different values"
        raise AnnotationError(path, fault, "Take one of them out, or export the annotations again") from error
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
