"""What was examined: who answered, on whom, and what the figures are therefore called."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

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
    for it. `previous` is a model to compare with, by its name.
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

    @property
    def on(self) -> str:
        """The set, as tables say it."""
        return SETS[self.set_name]

    @property
    def optimistic(self) -> bool:
        """Whether the model was chosen by these very patients."""
        return self.set_name == "tune"
