"""The table of an audit, read back however a spreadsheet has saved it."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from histoscout.cohort.table import delimiter_of
from histoscout.errors import AnnotationError
from histoscout.files import decoded

TABLE = "audit.csv"


def read_audit_table(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """The rows by their headings, with commas, semicolons or tabs between cells, in UTF-8, UTF-16 or Windows' western page.

    AnnotationError if it cannot be read, or lacks one of the columns `needed`.
    """
    remedy = f"Give the {TABLE} that evaluate wrote, its folder, or GeoJSON from QuPath"
    try:
        text = decoded(path.read_bytes())
    except OSError as error:
        raise AnnotationError(path, f"cannot be read ({error.strerror})", remedy) from error
    if text is None:
        raise AnnotationError(path, "is not a text table", "Save it as CSV (UTF-8)")
    lines = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter_of(text))
    try:
        if missing := [name for name in needed if name not in (lines.fieldnames or ())]:
            raise AnnotationError(path, f"has no column {missing[0]!r}", remedy)
        return [{name: cell or "" for name, cell in row.items() if name is not None} for row in lines]
    except csv.Error as error:
        raise AnnotationError(path, f"is not a table ({error})", "Save it as CSV (UTF-8)") from error
