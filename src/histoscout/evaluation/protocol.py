"""What was examined: who answered, on whom, and what the figures are therefore called.

Whom a model may be judged by.

What may be claimed from an evaluation, and what may not: sentences made from what was evaluated.

Scores that lie in a folder already: those of another set, of another model or of images are not replaced unasked.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from histoscout.cohort.case import Case, of_one_name
from histoscout.cohort.cohort import Cohort
from histoscout.detection.operating_point import Source
from histoscout.errors import CohortError, OutputError
from histoscout.evaluation.bootstrap import FEWEST_PATIENTS
from histoscout.network.model_folder import ModelFolder
from histoscout.recipe import ClassConfig

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
    classes: ClassConfig | None = None

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


@dataclass(frozen=True)
class Examinees:
    """The annotated cases to judge by, whether the cohort itself keeps them apart, and what to tell the user."""

    cases: tuple[Case, ...]
    apart: bool
    notes: tuple[str, ...] = ()


def examinees(cohort: Cohort, models: Sequence[ModelFolder], set_name: SetName) -> Examinees:
    """The annotated cases of the test split; without splits, those of patients that no model knows.

    With `set_name` "tune" the cases of the tuning patients of the first model instead, whose figures are
    optimistic. CohortError if there are none, or one of a patient that a model has learnt from.
    """
    cases = cohort.in_split("test").cases
    apart = bool(cases)
    if set_name == "tune":
        tuned_on = _patients(models[0], "tune_patients")
        cases = tuple(case for case in cohort.cases if case.patient in tuned_on)
    elif not cases and all(case.split is None for case in cohort.cases):
        known = {patient for model in models for patient in _known(model, set_name)}
        cases = tuple(case for case in cohort.cases if case.patient not in known)
    for model in models:
        _refuse_known(cohort, cases, model, set_name)
    return _annotated(cohort, cases, apart)


def given(cohort: Cohort) -> Examinees:
    """The annotated cases to judge outlines by: the test split, or all of a cohort that names none.

    CohortError for two slides of one name: they would be judged by the same file of outlines.
    """
    chosen = _annotated(cohort, cohort.in_split("test").cases or cohort.cases, False)
    if two := of_one_name(chosen.cases):
        fault = f"has the same name as {two[0].slide}: both would be judged by the same outlines"
        raise CohortError(two[1].slide, fault, "Rename one of them, or judge them in two cohorts")
    return chosen


def _annotated(cohort: Cohort, cases: Sequence[Case], apart: bool) -> Examinees:
    annotated = tuple(case for case in cases if case.annotations is not None)
    if not annotated:
        raise CohortError(
            cohort.where,
            "no annotated slide of a patient that the model has not seen",
            "Give slides whose split is test, or of new patients",
        )
    left = [case.name for case in cases if case.annotations is None]
    return Examinees(
        annotated, apart, (f"without annotations, not evaluated: {', '.join(left)}",) if left else ()
    )


def _refuse_known(cohort: Cohort, cases: Sequence[Case], model: ModelFolder, set_name: SetName) -> None:
    both = sorted({case.patient for case in cases} & _known(model, set_name))
    if not both:
        return
    fault = f"the model {model.path.name} was trained on these patients: {', '.join(both)}"
    remedy = "Judge it by other patients: take them out of the test split"
    if set_name == "tune":
        own = _patients(model, "tune_patients").issuperset(both)
        fault += f" ({_why_tuned_on(model)})" if own else ""
        remedy = f"Judge by the test patients; how {model.path.name} did on its tuning patients is in its metrics.json (tune)"
    raise CohortError(cohort.where, fault, remedy)


def _why_tuned_on(model: ModelFolder) -> str:
    """Why somebody who was learnt from was tuned on, too."""
    if model.metrics.get("tune", {}).get("optimistic"):
        return "it was tuned on blocks of the slides that it learnt from"
    if model.recipe.network.ensemble_size > 1:
        return "its networks were tuned in turn: each learnt from patients on whom another was tuned"
    return "the model that it began with had learnt from them"


def _known(model: ModelFolder, set_name: SetName) -> set[str]:
    learnt = _patients(model, "train_patients")
    return learnt if set_name == "tune" else learnt | _patients(model, "tune_patients")


def _patients(model: ModelFolder, which: str) -> set[str]:
    return set(model.metrics.get("data", {}).get(which, ()))


MANY = 20
"""From this many patients with lesions on, an interval is more than a rough guide."""


@dataclass(frozen=True)
class Basis:
    """On how much an evaluation stands: patients, those with lesions, slides, and the sites that are named."""

    patients: int
    with_lesions: int
    slides: int
    sites: Sequence[str]
    sites_known: bool


def claims(exam: Exam, basis: Basis) -> tuple[str, ...]:
    """The sentences that belong beside the figures."""
    said = (_number(basis), _apart(exam), _threshold(exam), _sites(basis), _USE)
    return tuple(sentence for sentence in said if sentence)


_USE = "For research only: nothing here says that a finding may be relied on for a patient."


def _number(basis: Basis) -> str:
    patients, lesions = _counted(basis.patients, "patient"), _counted(basis.with_lesions, "patient")
    if basis.patients < FEWEST_PATIENTS:
        return (
            f"{patients}: the figures describe these slides and say nothing about other patients; no interval can be "
            f"estimated from fewer than {FEWEST_PATIENTS}."
        )
    if basis.with_lesions < FEWEST_PATIENTS:
        return (
            f"{patients}, of whom {lesions} with lesions: false alarms may be judged, but how many lesions are found "
            "in other patients may not."
        )
    if basis.with_lesions < MANY:
        return (
            f"{patients}, {basis.with_lesions} with lesions: enough to tell useful from useless, too few to tell good "
            "from slightly better; with so few, intervals are rather too narrow."
        )
    return f"{patients}, {basis.with_lesions} with lesions: the intervals say what to expect of more patients like these."


def _apart(exam: Exam) -> str:
    if exam.leak:
        return (
            "A guard failed and these patients were judged all the same: in part they were learnt from, and the figures "
            f"are too good ({exam.leak})."
        )
    if exam.optimistic:
        return "The threshold and the weights were chosen by these patients: the figures are optimistic."
    if exam.set_name == "given":
        return "Outlines were compared as given: whether whoever made them had seen these slides is not known here."
    if exam.apart:
        return "These patients were kept apart: nothing was learnt from them and nothing chosen by them."
    return (
        "The cohort names no split: these are the patients whose names the model does not know. The same patient under "
        "another name would go unnoticed."
    )


def _threshold(exam: Exam) -> str:
    if not exam.tuned_on_blocks:
        return ""
    return (
        "The threshold was chosen on parts of the slides that were learnt from, for want of patients: figures at the "
        "threshold (Dice, precision, recall, sensitivity) may be better with another one; AP does not depend on it."
    )


def _sites(basis: Basis) -> str:
    if basis.sites_known and len(basis.sites) > 1:
        return f"The slides come from {len(basis.sites)} sites ({', '.join(basis.sites)})."
    source = (
        f"one site ({basis.sites[0]})"
        if basis.sites_known and basis.sites
        else "sites that the cohort does not name"
    )
    return f"The slides come from {source}: nothing is said about other laboratories, scanners or stains."


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


FILE = "scores.json"


def refuse_other_scores(out: Path, exam: Exam, overwrite: bool) -> None:
    """OutputError if `out` holds scores of another set, of another model or of images by class, unless `overwrite`."""
    held = {} if overwrite else _held(out)
    if not held:
        return
    if held.get("set") != exam.set_name:
        kind = "images by class" if "images" in held else "another kind"
        raise _refusal(out, next((words for name, words in SETS.items() if name == held.get("set")), kind))
    if held.get("model", exam.model) != exam.model:
        raise _refusal(out, "another model")


def refuse_scores(out: Path, overwrite: bool) -> None:
    """OutputError if `out` holds any scores, unless `overwrite`."""
    if not overwrite and (held := _held(out)):
        raise _refusal(out, "images by class" if "images" in held else "slides")


def _refusal(out: Path, whose: str) -> OutputError:
    return OutputError(
        out, f"holds the scores of {whose}", "Give another folder with -o, or --overwrite to replace them"
    )


def _held(out: Path) -> dict[str, Any]:
    """What the scores in a folder say of themselves; empty if there are none."""
    path = out / FILE
    if not path.exists():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        remedy = "Give another folder with -o, or --overwrite to replace them"
        raise OutputError(path, f"holds scores that cannot be read ({error})", remedy) from error
    return values if isinstance(values, dict) and values else {"set": None}
