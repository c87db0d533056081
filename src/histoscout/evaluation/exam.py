"""What was examined: who answered, on whom, and what the figures are therefore called."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from histoscout.detection.operating import Source
from histoscout.recipe import Classes

SetName = Literal["test", "tune", "given"]

SETS: Mapping[SetName, str] = MappingProxyType(
    {
        "test": "test patients",
        "tune": "tuning patients (optimistic)",
        "given": "patients given",
    }
)
"""What figures are called by the set they come from."""


@dataclass(frozen=True)
class Exam:
    """Who answered (`finder`), on which set, and at which threshold.

    `apart` says whether the cohort itself keeps these patients apart (a column `split`), or the model merely does
    not know their names. `tuned_on_blocks`: the threshold was chosen on blocks of slides that were learnt from.
    `probabilities` is False where only outlines are judged. `at` is a wish, and the score from which regions are kept
    for it. `model` is the hash of the model that was judged, "" for outlines, whose `classes` say how classes are
    called. `previous` is a model to compare with, by its name. `leak` is what a guard said that found among them what
    was learnt from.
    """

    finder: str
    set_name: SetName
    positive: str
    threshold: float
    apart: bool = True
    tuned_on_blocks: bool = False
    probabilities: bool = True
    at: str = ""
    previous: str | None = None
    previous_threshold: float = 1.0
    leak: str = ""
    model: str = ""
    classes: Classes | None = None

    @property
    def on(self) -> str:
        """The set, as tables say it."""
        return f"{SETS[self.set_name]}{', in part learnt from' if self.leak else ''}"

    @property
    def optimistic(self) -> bool:
        """Whether the model has learnt from some of these patients, or was chosen by them."""
        return self.set_name == "tune" or bool(self.leak)

    @property
    def source(self) -> Source:
        """On whom a table of cut-offs stands that is made here."""
        if self.leak:
            return "patients in part learnt from"
        return "tuning patients" if self.optimistic else "patients kept apart"
