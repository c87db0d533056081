"""Whom a model may be judged by."""

from collections.abc import Sequence
from dataclasses import dataclass

from histoscout.cohort.case import of_one_name
from histoscout.cohort.cohort import Case, Cohort
from histoscout.errors import CohortError
from histoscout.evaluation.exam import SetName
from histoscout.network.model_folder import ModelFolder


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
    if model.recipe.network.members > 1:
        return "its networks were tuned in turn: each learnt from patients on whom another was tuned"
    return "the model that it began with had learnt from them"


def _known(model: ModelFolder, set_name: SetName) -> set[str]:
    learnt = _patients(model, "train_patients")
    return learnt if set_name == "tune" else learnt | _patients(model, "tune_patients")


def _patients(model: ModelFolder, which: str) -> set[str]:
    return set(model.metrics.get("data", {}).get(which, ()))
