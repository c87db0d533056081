"""JSON files as people leave them: compressed, with a byte-order mark, cut short, or not JSON at all."""

import json
from pathlib import Path
from typing import Any

from histoscout.annotations.contents import read_content
from histoscout.errors import AnnotationError


def read_json(path: Path) -> Any:
    """What a JSON file holds, unpacked if gzipped or zipped whatever its name; AnnotationError if it is not JSON."""
    content = read_content(path)
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
