"""Which slides of a cohort are annotated, which are known to hold no lesion, and which nobody looked through."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from histoscout.cohort.annotated_slide import is_mask, read_annotated_regions
from histoscout.cohort.case import Case
from histoscout.cohort.cohort import TABLES, Cohort
from histoscout.cohort.table import NO_LESION
from histoscout.errors import HistoscoutError
from histoscout.io.notes import list_some, pluralize

MOST_EMPTY_BYTES = 1 << 16
"""An annotation file above this size holds annotations; smaller ones are opened to see whether they are empty."""

MAX_NAMED = 5
"""Slides that the line names."""


@dataclass(frozen=True, kw_only=True)
class AnnotationStatus:
    """The slides of a cohort by what is known of their lesions.

    Attributes:
        where: The table, folder or project of the cohort.
        annotated: Slides with annotations.
        negative: Slides that were looked through and hold no lesion.
        unknown: Slides that are not annotated: nothing is learned from them.
    """

    where: str
    annotated: tuple[Case, ...]
    negative: tuple[Case, ...]
    unknown: tuple[Case, ...]

    @property
    def line(self) -> str:
        """One line for the user: how many slides of each kind, and which ones."""
        parts = [f"{pluralize(len(self.annotated), 'slide')} with annotations"]
        if self.negative:
            parts.append(f"{len(self.negative)} looked through without lesions ({_names(self.negative)})")
        if not self.unknown:
            return ", ".join(parts)
        parts.append(f"{len(self.unknown)} not annotated ({_names(self.unknown)})")
        is_table = Path(self.where).suffix.casefold() in TABLES
        place = "in the column annotations" if is_table else "as its annotations in a cohort.csv"
        which = "a slide" if len(self.unknown) > 1 else "it"
        return f'{", ".join(parts)}: write "{NO_LESION}" {place} if {which} has no lesion'


def annotation_status(cohort: Cohort) -> AnnotationStatus:
    """Sort the slides of a cohort by what is known of their lesions.

    Small annotation files are opened, since an empty one means that the slide holds no lesion.

    Args:
        cohort: The cohort.

    Returns:
        The slides of each kind.
    """
    unknown = tuple(case for case in cohort.cases if not case.annotated)
    negative = tuple(case for case in cohort.cases if case.annotated and _is_empty(case))
    known = {*unknown, *negative}
    annotated = tuple(case for case in cohort.cases if case not in known)
    return AnnotationStatus(where=cohort.where, annotated=annotated, negative=negative, unknown=unknown)


def _is_empty(case: Case) -> bool:
    """Whether a case has no annotations; False for a file that cannot be read, which is reported elsewhere."""
    path = case.annotations
    if path is None:
        return case.negative
    try:
        if path.stat().st_size > MOST_EMPTY_BYTES or is_mask(path):
            return False
        # a file with found regions alone says nothing of who looked through the slide
        return not len(read_annotated_regions(replace(case, keep_found=True), path).regions)
    except (OSError, HistoscoutError):
        return False


def _names(cases: Sequence[Case]) -> str:
    """Names of slides, with their rows if they come from a table."""
    return list_some(
        [case.name if case.row is None else f"{case.name}, row {case.row}" for case in cases],
        MAX_NAMED,
        "; ",
    )
