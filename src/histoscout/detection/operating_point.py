"""What a user may wish of a detection, in the words in which it is asked for.

Which score a region must reach for a wish to be met, read off patients on whom every score was tried.

A cut-off below which a new patient's lesions seldom lie: a promise that holds for any model, however poor.

Split conformal prediction (Vovk 2005; Angelopoulos and Bates 2023, arXiv 2107.07511) with patients as the units,
since lesions of one patient are alike. A patient's number is the score of the lesion that is hardest to find. If
a new patient and the n patients at hand might as well have come in any other order (they are exchangeable), then
the new number is the k-th smallest or lower with a chance of at most k / (n + 1).
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from histoscout.errors import ModelError

Kind = Literal["false alarms", "sensitivity", "precision", "miss"]

_NUMBER = r"(?P<amount>\d+(?:\.\d*)?|\.\d+)\s*(?P<percent>%?)"
_FORMS: Mapping[Kind, str] = MappingProxyType(
    {
        "false alarms": rf"{_NUMBER}\s*(?:fp|false alarms?)\s*(?:/|per)\s*cm(?:2|\u00b2)",
        "sensitivity": rf"sensitivity\s*=?\s*{_NUMBER}",
        "precision": rf"precision\s*=?\s*{_NUMBER}",
        "miss": rf"miss\s*=?\s*{_NUMBER}",
    }
)
EXAMPLES = '"1 FP/cm2", "sensitivity 0.9", "precision 0.8" or "miss 0.1"'


@dataclass(frozen=True)
class Wish:
    """At most so many false alarms a cm2, at least this sensitivity or precision, or at most this share of patients missed.

    A patient is missed if any of his lesions is.
    """

    kind: Kind
    amount: float

    @classmethod
    def parse(cls, text: str) -> "Wish":
        """Read a wish as it is typed; ModelError with examples if it is none."""
        for kind, form in _FORMS.items():
            if said := re.fullmatch(form, text.strip(), re.IGNORECASE):
                amount = float(said["amount"]) / (100 if said["percent"] else 1)
                if _possible(kind, amount, bool(said["percent"])):
                    return cls(kind, amount)
        raise ModelError(f'--at "{text}"', "is no wish that is understood", f"Write {EXAMPLES}")

    def __str__(self) -> str:
        if self.kind == "false alarms":
            return f"{self.amount:g} FP/cm2"
        return f"{self.kind} {self.amount:g}"


def _possible(kind: Kind, amount: float, percent: bool) -> bool:
    if kind == "false alarms":
        return amount > 0 and not percent
    return 0 < amount < 1 if kind == "miss" else 0 < amount <= 1


IN_PRACTICE = 20
"""Patients asked for: with fewer, the bound holds but moves much from one set of patients to the next."""


def patients_needed(share: float) -> int:
    """The fewest patients with whom a share of missed patients can be promised at all, and never below 20."""
    return max(IN_PRACTICE, least_patients(share))


def least_patients(share: float) -> int:
    """The fewest patients for whom arithmetic allows the promise: 1 / share, less one, rounded up."""
    return math.ceil(1 / share - 1 - 1e-9)


def bounded_cut_off(weakest: Sequence[float], share: float) -> float | None:
    """The cut-off at which at most a `share` of new patients have a lesion that is missed.

    `weakest` holds for each patient with lesions the highest cut-off at which all of them are found, 0 where no
    cut-off finds them all. None if these patients are too few by arithmetic. A cut-off of 0 or below promises
    nothing: lesions are missed that nothing finds.
    """
    allowed = math.floor(share * (len(weakest) + 1) + 1e-9)
    if not 0 < share < 1 or allowed < 1:
        return None
    return sorted(weakest)[min(allowed, len(weakest)) - 1]


FILE = "operating.json"
FORMAT = 1

Source = Literal[
    "tuning patients", "blocks of the training slides", "patients kept apart", "patients in part learnt from"
]


class Point(BaseModel):
    """What is left if only regions of at least a score are kept: lesions found, and false alarms."""

    model_config = ConfigDict(frozen=True)

    score: float = Field(ge=0, le=1)
    found: int = Field(gt=0)
    false: int = Field(ge=0)


class Operating(BaseModel):
    """Every score that is worth to be a cut-off, on some patients, from the strictest to the laxest.

    `source` says who they are and whether they chose anything; `threshold` is that of the outlines, and `model` the
    hash of the model ("" in its own folder). `weakest` holds for each patient with lesions the highest
    cut-off at which all of them are found (0: none does), without their names. Areas in cm2 of tissue.
    """

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    source: Source
    model: str = ""
    threshold: float
    rule: str
    patients: tuple[str, ...]
    slides: int
    lesions: int
    cm2: float
    points: tuple[Point, ...]
    weakest: tuple[float, ...]

    def figures(self, point: Point) -> dict[str, float]:
        """What a cut-off gave, by name."""
        return {
            "sensitivity": point.found / self.lesions,
            "false_per_cm2": point.false / self.cm2 if self.cm2 else float("inf"),
            "precision": point.found / (point.found + point.false),
        }

    def to_dict(self) -> dict[str, Any]:
        """As it is written: every point with its figures, for whoever opens the file."""
        points = [{**point.model_dump(), **self.figures(point)} for point in self.points]
        return {**self.model_dump(mode="json"), "points": points}

    @classmethod
    def from_dict(cls, values: object, where: Path) -> Self:
        """Check what a file holds; ModelError if it is no operating table."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ModelError(where, f"is no operating table ({error})", "Evaluate the model anew") from error

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read operating.json, or that of a folder of scores; ModelError if it cannot be."""
        file = path / FILE if path.is_dir() else path
        try:
            return cls.from_dict(json.loads(file.read_text(encoding="utf-8")), file)
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            fault = f"cannot be read as an operating table ({error})"
            raise ModelError(file, fault, "Give the folder that histoscout evaluate wrote") from error

    @property
    def basis(self) -> str:
        """On whom it stands, in words."""
        optimistic = "" if self.source == "patients kept apart" else ", optimistic"
        counted = f"{len(self.patients)} {self.source if self.source != _BLOCKS else 'patients'}"
        where = ", blocks of the training slides" if self.source == _BLOCKS else ""
        return f"{counted}{where} with {self.lesions} lesions on {self.cm2:.3g} cm2{optimistic}"


_BLOCKS = "blocks of the training slides"


@dataclass(frozen=True)
class OperatingPoint:
    """The score from which regions are kept, the wish it is for, what to expect of it, and by whom it was chosen."""

    wish: str
    cut_off: float
    expected: str
    chosen_by: tuple[str, ...]

    @property
    def words(self) -> str:
        """One line for the ledger."""
        return f"{self.wish}: score >= {self.cut_off:.4g}"


def choose(table: Operating, wish: Wish, where: object) -> OperatingPoint:
    """The cut-off for a wish; ModelError with what is reachable if it cannot be met on these patients.

    Of the cut-offs that meet it the one that finds most, and of those the one with the fewest false alarms; for
    a sensitivity the one with the fewest false alarms.
    """
    if wish.kind == "miss":
        return _bounded(table, wish, where)
    if not table.points:
        fault = f"no lesion was found at any score on {table.basis}: there is no cut-off to choose"
        raise ModelError(where, fault, "Train longer or with more patients, or leave out --at")
    meets = _MEETS[wish.kind]
    met = [point for point in table.points if meets(table.figures(point), wish.amount)]
    if not met:
        raise _unmet(table, wish, where)
    strictest = wish.kind == "sensitivity"
    best = met[0] if strictest else max(met, key=lambda point: (point.found, -point.false))
    return OperatingPoint(str(wish), best.score, _expected(table, best), table.patients)


_MEETS: dict[str, Callable[[dict[str, float], float], bool]] = {
    "false alarms": lambda figures, amount: figures["false_per_cm2"] <= amount * (1 + 1e-9),
    "sensitivity": lambda figures, amount: figures["sensitivity"] >= amount - 1e-9,
    "precision": lambda figures, amount: figures["precision"] >= amount - 1e-9,
}


def _expected(table: Operating, point: Point) -> str:
    figures = table.figures(point)
    return (
        f"regions of a score of at least {point.score:.4g}; on {table.basis}: sensitivity "
        f"{_at_least(figures['sensitivity'])}, {_at_most(figures['false_per_cm2'])} false alarms per cm2, precision "
        f"{_at_least(figures['precision'])}"
    )


def _at_least(value: float) -> str:
    """Three digits that a value reaches: what is told can be wished for."""
    return _three_digits(value, ROUND_FLOOR)


def _at_most(value: float) -> str:
    """Three digits that a value does not go beyond."""
    return _three_digits(value, ROUND_CEILING)


def _three_digits(value: float, rounding: str) -> str:
    exact = Decimal(f"{value:.12g}")  # the last digits of a float are chance
    return f"{Context(prec=3, rounding=rounding).create_decimal(exact).normalize():f}"


def _unmet(table: Operating, wish: Wish, where: object) -> ModelError:
    """What is reachable instead."""
    by = {
        "false alarms": lambda point: (-point.false, point.found),
        "sensitivity": lambda point: (point.found, -point.false),
        "precision": lambda point: (table.figures(point)["precision"], point.found),
    }[wish.kind]
    nearest = max(table.points, key=by)
    fault = f'"{wish}" is not reached at any score. Nearest: {_expected(table, nearest)}'
    return ModelError(where, fault, "Wish for what is reachable, or leave out --at")


def _bounded(table: Operating, wish: Wish, where: object) -> OperatingPoint:
    patients, share = len(table.weakest), wish.amount
    if table.source != "patients kept apart":
        fault = (
            f'"{wish}" is a promise that only patients who chose nothing can give; this is of {table.source}'
        )
        remedy = (
            "Run histoscout evaluate on patients kept apart, then give its folder with --operating SCORES"
        )
        raise ModelError(where, fault, remedy)
    needed = patients_needed(share)
    if patients < needed:
        fault = f'"{wish}" needs {needed} patients with lesions who chose nothing; there are {patients}'
        raise ModelError(where, fault, "Annotate more patients, or wish for a sensitivity instead")
    cut_off = bounded_cut_off(table.weakest, share)
    if not cut_off:
        never = sum(score <= 0 for score in table.weakest)
        fault = (
            f'"{wish}" cannot be promised: {never} of {patients} patients have a lesion that no score finds; '
            f"at best miss {_at_most((never + 1) / (patients + 1))}"
        )
        raise ModelError(where, fault, "Wish for what is reachable, or train a better model")
    expected = (
        f"regions of a score of at least {cut_off:.4g}: with a chance of at least {1 - share:.3g}, a new patient who is "
        f"like the {patients} with lesions by whom it was chosen has no lesion that is missed. Not for other scanners, "
        "stains or kinds of patients"
    )
    return OperatingPoint(str(wish), cut_off, expected, table.patients)
