"""Operating points: the score threshold that meets an operating target, and conformal guarantees.

A threshold is read off patients on whom every score was tried. A conformal guarantee holds for any model, however poor:
split conformal prediction (Vovk 2005; Angelopoulos and Bates 2023, arXiv 2107.07511) with patients as the units, since
lesions of one patient are alike. A patient's number is the score of the lesion that is hardest to find. If a new patient
and the n patients at hand are exchangeable, the new number is the k-th smallest or lower with a probability of at most
k / (n + 1).
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator

from histoscout.errors import ModelError
from histoscout.io.files import read_text
from histoscout.io.inputs import is_sealed, parse_json
from histoscout.io.notes import pluralize

TargetKind = Literal["false positives", "sensitivity", "precision", "miss"]

_NUMBER = r"(?P<amount>\d+(?:\.\d*)?|\.\d+)\s*(?P<percent>%?)"
_FORMS: Mapping[TargetKind, str] = MappingProxyType(
    {
        "false positives": rf"{_NUMBER}\s*(?:fp|false positives?|false alarms?)\s*(?:/|per)\s*cm(?:2|\u00b2)",
        "sensitivity": rf"sensitivity\s*=?\s*{_NUMBER}",
        "precision": rf"precision\s*=?\s*{_NUMBER}",
        "miss": rf"miss\s*=?\s*{_NUMBER}",
    }
)
"""How targets are typed; "false alarms" is the spelling of histoscout 0.1.0."""

EXAMPLES = '"1 FP/cm2", "sensitivity 0.9", "precision 0.8" or "miss 0.1"'


@dataclass(frozen=True)
class OperatingTarget:
    """What a user asks of a detection.

    Attributes:
        kind: Whether `amount` limits false positives for each cm2, sensitivity, precision, or the share of patients of
            whom a lesion is missed.
        amount: At most so many false positives or missed patients, at least this sensitivity or precision.
    """

    kind: TargetKind
    amount: float

    @classmethod
    def parse(cls, text: str) -> "OperatingTarget":
        """Read an operating target as it is typed.

        Args:
            text: Such as "1 FP/cm2" or "sensitivity 0.9".

        Returns:
            The target.

        Raises:
            ModelError: With examples, if it is not a valid target.
        """
        for kind, form in _FORMS.items():
            if match := re.fullmatch(form, text.strip(), re.IGNORECASE):
                amount = float(match["amount"]) / (100 if match["percent"] else 1)
                if _possible(kind, amount, bool(match["percent"])):
                    return cls(kind, amount)
        raise ModelError(f'--at "{text}"', "this is not a valid operating target", f"Write {EXAMPLES}")

    def __str__(self) -> str:
        if self.kind == "false positives":
            return f"{self.amount:g} FP/cm2"
        return f"{self.kind} {self.amount:g}"


def _possible(kind: TargetKind, amount: float, percent: bool) -> bool:
    """Whether an amount makes sense for a kind of target."""
    if kind == "false positives":
        return amount > 0 and not percent
    return 0 < amount < 1 if kind == "miss" else 0 < amount <= 1


MIN_PATIENTS = 20
"""Patients that a guarantee needs: with fewer, the bound holds but varies much between sets of patients."""


def required_patients(share: float) -> int:
    """The fewest patients for a guarantee on a share of missed patients, never below 20.

    Args:
        share: Share of patients in whom a lesion may be missed.

    Returns:
        The number of patients with lesions.
    """
    return max(MIN_PATIENTS, min_patients(share))


def min_patients(share: float) -> int:
    """The fewest patients for whom arithmetic allows a guarantee: 1 / share - 1, rounded up.

    Args:
        share: Share of patients in whom a lesion may be missed.

    Returns:
        The number of patients with lesions.
    """
    return math.ceil(1 / share - 1 - 1e-9)


def conformal_score_threshold(weakest: Sequence[float], share: float) -> float | None:
    """The score threshold at which at most a share of new patients have a lesion that is missed.

    Args:
        weakest: For each patient with lesions, the highest score threshold at which all of them are found; 0 where
            none finds them all.
        share: Share of patients in whom a lesion may be missed.

    Returns:
        The score threshold; None if the patients are too few by arithmetic. A threshold of 0 or below guarantees
        nothing, since some lesions are found at no score.
    """
    allowed = math.floor(share * (len(weakest) + 1) + 1e-9)
    if not 0 < share < 1 or allowed < 1:
        return None
    return sorted(weakest)[min(allowed, len(weakest)) - 1]


OPERATING_FILE = "operating_points.json"
OLD_FILE = "operating.json"
"""File names in a folder of scores, now and in histoscout 0.1.0."""

FORMAT = 2

PatientSource = Literal[
    "tuning set", "blocks of the training slides", "test set", "test set with training patients"
]

RENAMED_SOURCES: Mapping[str, PatientSource] = MappingProxyType(
    {
        "tuning patients": "tuning set",
        "patients kept apart": "test set",
        "patients in part learnt from": "test set with training patients",
    }
)
"""Sources that histoscout 0.1.0 wrote, and what they are called now."""


class OperatingRow(BaseModel):
    """What is left if only regions of at least a score are kept.

    Attributes:
        score: The score threshold.
        found: Lesions found.
        false_positives: Regions that are no lesion; "false" in files of histoscout 0.1.0.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    score: float = Field(ge=0, le=1)
    found: int = Field(gt=0)
    false_positives: int = Field(ge=0, validation_alias=AliasChoices("false_positives", "false"))


class OperatingPoints(BaseModel):
    """What every useful score threshold gives on some patients, from the strictest to the laxest.

    Attributes:
        format: Version of the format.
        source: Who the patients are, and whether they chose anything.
        model: Hash of the model; empty in its own folder.
        threshold: Probability threshold of the regions.
        rule: The matching rule.
        patients: The patients.
        slides: Number of slides.
        lesions: Number of lesions.
        cm2: Area of tissue.
        points: The score thresholds.
        weakest: For each patient with lesions, without names, the highest score threshold at which all of them are
            found; 0 where none does.
    """

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    source: PatientSource
    model: str = ""
    threshold: float
    rule: str
    patients: tuple[str, ...]
    slides: int
    lesions: int
    cm2: float
    points: tuple[OperatingRow, ...]
    weakest: tuple[float, ...]

    @field_validator("source", mode="before")
    @classmethod
    def _read_old_source(cls, value: object) -> object:
        return RENAMED_SOURCES.get(value, value) if isinstance(value, str) else value

    def metrics(self, point: OperatingRow) -> dict[str, float]:
        """Sensitivity, false positives for each cm2 and precision of a point."""
        return {
            "sensitivity": point.found / self.lesions,
            "fp_per_cm2": point.false_positives / self.cm2 if self.cm2 else float("inf"),
            "precision": point.found / (point.found + point.false_positives),
        }

    def to_dict(self) -> dict[str, Any]:
        """Values for JSON, every point with its metrics for those who open the file."""
        points = [{**point.model_dump(), **self.metrics(point)} for point in self.points]
        return {**self.model_dump(mode="json"), "points": points}

    @classmethod
    def from_dict(cls, values: object, where: Path) -> Self:
        """Check the content of a file; ModelError if it does not hold operating points."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ModelError(
                where, f"the file does not hold operating points ({error})", "Evaluate the model again"
            ) from error

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file of operating points, or that of a folder of scores; ModelError if that is not possible."""
        file = path
        if path.is_dir():
            file = path / OPERATING_FILE
            # a folder of histoscout 0.1.0
            if not file.exists() and (path / OLD_FILE).exists():
                file = path / OLD_FILE
        try:
            values = parse_json(read_text(file))
        except (OSError, ValueError) as error:
            fault = f"the operating points cannot be read ({error})"
            raise ModelError(file, fault, "Give the folder that histoscout evaluate wrote") from error
        if isinstance(values, dict) and not is_sealed(values):
            fault = "the file has changed since it was written (its checksum differs)"
            raise ModelError(file, fault, "Evaluate the model again")
        return cls.from_dict(values, file)

    @property
    def basis(self) -> str:
        """The patients, in words."""
        optimistic = "" if self.source == "test set" else ", optimistic"
        counted = f"{pluralize(len(self.patients), 'patient')} ({self.source})"
        return f"{counted} with {pluralize(self.lesions, 'lesion')} on {self.cm2:.3g} cm2{optimistic}"


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A score threshold that meets an operating target.

    Attributes:
        target: The operating target.
        score_threshold: The score from which regions are kept.
        expected: What to expect of it, for users.
        chosen_by: The patients it was read from.
    """

    target: str
    score_threshold: float
    expected: str
    chosen_by: tuple[str, ...]

    @property
    def summary(self) -> str:
        """One line for the ledger."""
        return f"{self.target}: score >= {self.score_threshold:.4g}"


def choose_operating_point(table: OperatingPoints, target: OperatingTarget, where: object) -> OperatingPoint:
    """Choose the score threshold for an operating target.

    Of the thresholds that meet the target, the one that finds most lesions is chosen, and of those the one with the
    fewest false positives; for a sensitivity the one with the fewest false positives.

    Args:
        table: Operating points of some patients.
        target: The target.
        where: The file or folder of the operating points, for errors.

    Returns:
        The operating point.

    Raises:
        ModelError: With what can be reached, if the target cannot be met on these patients.
    """
    if target.kind == "miss":
        return _guaranteed(table, target, where)
    if not table.points:
        fault = f"no lesion was found at any score on {table.basis}: there is no score threshold to choose"
        raise ModelError(where, fault, "Train longer or with more patients, or leave out --at")
    meets = _MEETS[target.kind]
    met = [point for point in table.points if meets(table.metrics(point), target.amount)]
    if not met:
        raise _unmet(table, target, where)
    # points go from the strictest to the laxest
    strictest = target.kind == "sensitivity"
    best = met[0] if strictest else max(met, key=lambda point: (point.found, -point.false_positives))
    return OperatingPoint(
        target=str(target),
        score_threshold=best.score,
        expected=_expected(table, best),
        chosen_by=table.patients,
    )


_MEETS: dict[str, Callable[[dict[str, float], float], bool]] = {
    "false positives": lambda metrics, amount: metrics["fp_per_cm2"] <= amount * (1 + 1e-9),
    "sensitivity": lambda metrics, amount: metrics["sensitivity"] >= amount - 1e-9,
    "precision": lambda metrics, amount: metrics["precision"] >= amount - 1e-9,
}


def _expected(table: OperatingPoints, point: OperatingRow) -> str:
    """What to expect of a point, in words."""
    metrics = table.metrics(point)
    return (
        f"regions with a score of at least {point.score:.4g}; on {table.basis}: sensitivity "
        f"{_at_least(metrics['sensitivity'])}, {_at_most(metrics['fp_per_cm2'])} false positives per cm2, precision "
        f"{_at_least(metrics['precision'])}"
    )


def _at_least(value: float) -> str:
    """Three digits that a value reaches, so that what is stated can be asked for."""
    return _three_digits(value, ROUND_FLOOR)


def _at_most(value: float) -> str:
    """Three digits that a value does not exceed."""
    return _three_digits(value, ROUND_CEILING)


def _three_digits(value: float, rounding: str) -> str:
    # the last digits of a float are chance
    exact = Decimal(f"{value:.12g}")
    return f"{Context(prec=3, rounding=rounding).create_decimal(exact).normalize():f}"


def _unmet(table: OperatingPoints, target: OperatingTarget, where: object) -> ModelError:
    """The error for a target that is not met, with the nearest point."""
    by = {
        "false positives": lambda point: (-point.false_positives, point.found),
        "sensitivity": lambda point: (point.found, -point.false_positives),
        "precision": lambda point: (table.metrics(point)["precision"], point.found),
    }[target.kind]
    nearest = max(table.points, key=by)
    fault = f'"{target}" is not reached at any score. Nearest: {_expected(table, nearest)}'
    return ModelError(where, fault, "Ask for what can be reached, or leave out --at")


def _guaranteed(table: OperatingPoints, target: OperatingTarget, where: object) -> OperatingPoint:
    """The point of a conformal guarantee; ModelError if the patients do not allow it."""
    patients, share = len(table.weakest), target.amount
    if table.source != "test set":
        fault = f'"{target}" is a guarantee that only patients who chose nothing can give; these are the {table.source}'
        remedy = "Run histoscout evaluate on a test set, then give its folder with --operating-points SCORES"
        raise ModelError(where, fault, remedy)
    needed = required_patients(share)
    if patients < needed:
        fault = f'"{target}" needs {needed} patients with lesions who chose nothing; there are {patients}'
        raise ModelError(where, fault, "Annotate more patients, or ask for a sensitivity instead")
    lowest = conformal_score_threshold(table.weakest, share)
    if not lowest:
        never = sum(score <= 0 for score in table.weakest)
        fault = (
            f'"{target}" cannot be guaranteed: {never} of {patients} patients have a lesion that no score finds; '
            f"at best miss {_at_most((never + 1) / (patients + 1))}"
        )
        raise ModelError(where, fault, "Ask for what can be reached, or train a better model")
    expected = (
        f"regions with a score of at least {lowest:.4g}: with a probability of at least {1 - share:.3g}, no lesion of a "
        f"new patient is missed who is like the {patients} patients with lesions it was chosen on. This does not hold for "
        "other scanners, stains or kinds of patients"
    )
    return OperatingPoint(
        target=str(target), score_threshold=lowest, expected=expected, chosen_by=table.patients
    )
