"""One slide of a cohort."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SplitName = Literal["train", "tune", "test"]

BUILT_IN = "built-in"
"""The site of slides that histoscout draws itself."""


@dataclass(frozen=True)
class Case:
    """A slide, the outlines on it, and whose it is.

    A slide without a patient is a patient of its own. `mpp` in um per level-0 px, where the slide does not
    say. If the annotations are an image of classes, `mask_labels` names its values; with a `mask_threshold`,
    grey values from it on count as 1 and all below as 0. An image of one class as a whole, on which nothing need be
    outlined, has that class as its `label`.
    """

    slide: Path
    annotations: Path | None = None
    patient: str = ""
    split: SplitName | None = None
    mpp: float | None = None
    site: str | None = None
    mask_labels: tuple[tuple[int, str], ...] = ()
    mask_threshold: int | None = None
    label: str = ""

    def __post_init__(self) -> None:
        if not self.patient:
            object.__setattr__(self, "patient", self.name)

    @property
    def name(self) -> str:
        """The slide file's name without its suffix."""
        return self.slide.stem


def of_one_name(cases: Iterable[Case]) -> tuple[Case, Case] | None:
    """The first two slides whose names differ in capitals at most, so that files named after them would be the same."""
    first: dict[str, Case] = {}
    for case in cases:
        before = first.setdefault(case.name.casefold(), case)
        if before is not case:
            return before, case
    return None
