"""Evaluation protocol: what is evaluated, on which patients, and what may be claimed.

It also keeps scores of another set, another model or another kind of data from being replaced by accident.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from histoscout.cohort.case import Case, find_name_clash
from histoscout.cohort.cohort import Cohort
from histoscout.cohort.leakage import find_known_patients, known_patients
from histoscout.detection.operating_point import PatientSource
from histoscout.errors import CohortError, OutputError
from histoscout.evaluation.bootstrap import MIN_PATIENTS
from histoscout.io.files import read_text, remove_leftovers
from histoscout.io.inputs import parse_json
from histoscout.io.locks import claim_folder
from histoscout.io.names import patient_key
from histoscout.io.notes import pluralize
from histoscout.io.replacement import Replacement, finish_replacement
from histoscout.network.model_folder import ModelFolder
from histoscout.recipe_sections import ClassConfig

SetName = Literal["test", "tune", "given"]

SET_LABELS: Mapping[SetName, str] = MappingProxyType(
    {
        "test": "test set",
        "tune": "tuning set (optimistic)",
        "given": "given patients",
    }
)
"""What reports call each set."""


@dataclass(frozen=True, kw_only=True)
class EvaluationProtocol:
    """What is evaluated: a method, on a set of patients, at a threshold.

    Attributes:
        method: What is evaluated: "model" or "regions".
        set_name: The set: "test", "tune" for the tuning set, or "given" where no model is evaluated.
        positive: The positive class.
        threshold: The probability threshold.
        has_test_split: Whether the cohort itself names these patients as test set (a column `split`);
            otherwise the model merely does not know their names.
        tuned_on_blocks: Whether the threshold was chosen on blocks of training slides.
        has_probabilities: False if only regions are evaluated.
        operating_target: The operating target with the score threshold chosen for it, in words; "" without
            one.
        previous_model: Name of a model to compare with.
        previous_threshold: The probability threshold of that model.
        leak: The message of a failed sanity check that found training data in the set; "" if none did.
        model_hash: Hash of the model; "" for regions.
        classes: The classes, if regions are evaluated.
        tile_um: Side of the tiles of a fixed size that are scored as well, um; None without such.
        tile_source: Where these tiles come from.
    """

    method: str
    set_name: SetName
    positive: str
    threshold: float
    has_test_split: bool = True
    tuned_on_blocks: bool = False
    has_probabilities: bool = True
    operating_target: str = ""
    previous_model: str | None = None
    previous_threshold: float = 1.0
    leak: str = ""
    model_hash: str = ""
    classes: ClassConfig | None = None
    tile_um: float | None = None
    tile_source: str = ""

    @property
    def set_label(self) -> str:
        """The set, as tables call it."""
        return f"{SET_LABELS[self.set_name]}{', partly training data' if self.leak else ''}"

    @property
    def optimistic(self) -> bool:
        """Whether the model was trained or tuned on some of these patients."""
        return self.set_name == "tune" or bool(self.leak)

    @property
    def source(self) -> PatientSource:
        """The source of operating points that are measured in this evaluation."""
        if self.leak:
            return "test set with training patients"
        return "tuning set" if self.optimistic else "test set"


# ---------------------------------------------------------------- patients


@dataclass(frozen=True)
class EvaluationCases:
    """The annotated cases to evaluate on.

    Attributes:
        cases: The cases.
        has_test_split: Whether the cohort itself names them as test set.
        notes: What the user should know.
    """

    cases: tuple[Case, ...]
    has_test_split: bool
    notes: tuple[str, ...] = ()


def select_test_cases(cohort: Cohort, models: Sequence[ModelFolder], set_name: SetName) -> EvaluationCases:
    """Select the annotated cases of the test set.

    The test set is the test split; without splits, it is the patients that no model knows.

    Args:
        cohort: The cohort.
        models: The models to evaluate.
        set_name: "test", or "tune" for the tuning set of the first model, whose metrics are optimistic.

    Returns:
        The cases.

    Raises:
        CohortError: There are none, or a model was trained on one of their patients.
    """
    # the test split, the tuning set, or without splits whoever no model knows
    cases = cohort.in_split("test").cases
    has_test_split = bool(cases)
    if set_name == "tune":
        tuning = set(map(patient_key, _tuning_patients(models[0])))
        cases = tuple(case for case in cohort.cases if patient_key(case.patient) in tuning)
    elif not cases and all(case.split is None for case in cohort.cases):
        known = {patient_key(patient) for model in models for patient in known_patients(model, set_name)}
        cases = tuple(case for case in cohort.cases if patient_key(case.patient) not in known)

    # no model may know any of them
    for model in models:
        _refuse_known(cohort, cases, model, set_name=set_name)
    return _with_annotations(cohort, cases, has_test_split)


def select_annotated_cases(cohort: Cohort) -> EvaluationCases:
    """Select the annotated cases to evaluate regions on: the test split, or all without one.

    Args:
        cohort: The cohort.

    Returns:
        The cases.

    Raises:
        CohortError: There are none, or two slides have one name and would be evaluated by the same file.
    """
    selected = _with_annotations(cohort, cohort.in_split("test").cases or cohort.cases, False)
    if two := find_name_clash(selected.cases):
        fault = f"the slide has the same name as {two[0].slide}: one file of regions would be used for both"
        raise CohortError(two[1].slide, fault, "Rename one of them, or evaluate them in two cohorts")
    return selected


def _with_annotations(cohort: Cohort, cases: Sequence[Case], has_test_split: bool) -> EvaluationCases:
    annotated = tuple(case for case in cases if case.annotated)
    if not annotated:
        raise CohortError(
            cohort.where,
            "the cohort has no annotated slide of a patient that the model was not trained on",
            "Give slides whose split is test, or of new patients",
        )
    without = [case.name for case in cases if not case.annotated]
    notes = (f"without annotations, not evaluated: {', '.join(without)}",) if without else ()
    return EvaluationCases(annotated, has_test_split, notes)


def _refuse_known(cohort: Cohort, cases: Sequence[Case], model: ModelFolder, *, set_name: SetName) -> None:
    """CohortError if the model was trained on a patient of the set."""
    known = find_known_patients(model, {case.patient for case in cases}, set_name)
    if not known:
        return
    fault = f"the model {model.path.name} was trained on these patients: {', '.join(known)}"
    remedy = "Evaluate it on other patients: remove these from the test split"

    # a tuning set that was trained on, too: say why
    if set_name == "tune":
        if model.metrics.get("tune", {}).get("optimistic"):
            reason = "it was tuned on blocks of its training slides"
        elif model.recipe.network.ensemble_size > 1:
            reason = "the members of its ensemble were trained on the tuning sets of one another"
        else:
            reason = "the model that its training started from was trained on them"
        fault += f" ({reason})"
        name = model.path.name
        remedy = f"Evaluate on the test set; how {name} did on its tuning set is in its metrics.json (tune)"
    raise CohortError(cohort.where, fault, remedy)


def _tuning_patients(model: ModelFolder) -> set[str]:
    return set(model.metrics.get("data", {}).get("tune_patients", ()))


# ---------------------------------------------------------------- claims

MANY_PATIENTS = 20
"""From this many patients with lesions on, a confidence interval is more than a rough guide."""


@dataclass(frozen=True, kw_only=True)
class CohortSummary:
    """The patients and sites behind an evaluation.

    Attributes:
        patients: How many patients there are.
        with_lesions: How many of them have lesions.
        sites: The sites that are named.
        sites_known: Whether every slide names its site.
    """

    patients: int
    with_lesions: int
    sites: Sequence[str]
    sites_known: bool


def list_claims(protocol: EvaluationProtocol, summary: CohortSummary) -> tuple[str, ...]:
    """List what may and may not be claimed, in sentences that belong beside the metrics.

    Args:
        protocol: What was evaluated.
        summary: The patients and sites.

    Returns:
        The sentences.
    """
    # what holds for other patients
    sentences = [_claim_from_numbers(summary), _claim_from_set(protocol)]
    if protocol.tuned_on_blocks:
        sentences.append(
            "The threshold was chosen on parts of the training slides, since there were too few patients: "
            "metrics at the threshold (Dice, precision, recall, sensitivity) may be better with another "
            "one; AP does not depend on it."
        )

    # what holds for other sites
    if summary.sites_known and len(summary.sites) > 1:
        sentences.append(f"The slides come from {len(summary.sites)} sites ({', '.join(summary.sites)}).")
    else:
        is_one = summary.sites_known and summary.sites
        source = f"one site ({summary.sites[0]})" if is_one else "sites that the cohort does not name"
        sentences.append(
            f"The slides come from {source}: the metrics say nothing about other laboratories, scanners or "
            "stains."
        )
    sentences.append("For research only: these metrics do not make detections fit for clinical decisions.")
    return tuple(sentences)


def _claim_from_numbers(summary: CohortSummary) -> str:
    """What the number of patients allows."""
    patients = pluralize(summary.patients, "patient")
    with_lesions = f"{summary.with_lesions} with lesions"
    if summary.patients < MIN_PATIENTS:
        return (
            f"{patients}: the metrics describe these slides and say nothing about other patients; no "
            f"confidence interval can be estimated from fewer than {MIN_PATIENTS}."
        )
    if summary.with_lesions < MIN_PATIENTS:
        return (
            f"{patients}, {with_lesions}: enough to estimate the false positives, too few to estimate how "
            "many lesions are found in other patients."
        )
    if summary.with_lesions < MANY_PATIENTS:
        return (
            f"{patients}, {with_lesions}: enough to tell useful from useless, too few to tell good from "
            "slightly better; with so few patients, confidence intervals are rather too narrow."
        )
    return f"{patients}, {with_lesions}: the intervals show what to expect of more patients like these."


def _claim_from_set(protocol: EvaluationProtocol) -> str:
    """What the set of patients allows."""
    if protocol.leak:
        return (
            "A sanity check failed and these patients were evaluated all the same: the model was trained on "
            f"some of them, and the metrics are too good ({protocol.leak})."
        )
    if protocol.optimistic:
        return "The threshold and the weights were chosen on these patients: the metrics are optimistic."
    if protocol.set_name == "given":
        return "Regions were compared as given: whether their author knew these slides is not known."
    if protocol.has_test_split:
        return "These patients were held out: the model was neither trained nor tuned on them."
    return (
        "The cohort has no splits: these are the patients whose names the model does not know. The same "
        "patient under another name would go unnoticed."
    )


# ---------------------------------------------------------------- scores that exist already

SCORES_FILE = "scores.json"

_REMEDY = "Give another folder with -o, or --overwrite to replace them"


def refuse_other_scores(out: Path, protocol: EvaluationProtocol, overwrite: bool) -> None:
    """Refuse to replace scores of another set, of another model or of image classification data.

    Args:
        out: The folder for the scores.
        protocol: What is to be evaluated.
        overwrite: Whether any scores may be replaced.

    Raises:
        OutputError: The folder holds scores of something else.
    """
    existing = {} if overwrite else _read_existing(out)
    if not existing:
        return

    # scores of another set, or without one, such as those of images
    if existing.get("set") != protocol.set_name:
        kind = "image classification data" if "images" in existing else "another kind"
        label = next((label for name, label in SET_LABELS.items() if name == existing.get("set")), kind)
        raise OutputError(out, f"the folder holds the scores of: {label}", _REMEDY)

    # scores of older versions name no model
    if existing.get("model", protocol.model_hash) != protocol.model_hash:
        raise OutputError(out, "the folder holds the scores of another model", _REMEDY)


@contextmanager
def score_folder(out: Path, purpose: Mapping[str, Any], *, replaced: Sequence[str] = ()) -> Iterator[Path]:
    """Claim a folder for scores, make new ones aside, and put them there together.

    Args:
        out: The folder for the scores.
        purpose: What decides which detections of a killed run are used again; JSON values.
        replaced: Folders of which nothing old stays.

    Yields:
        The folder to write to. Its detections are kept if the run is killed.

    Raises:
        OutputError: Another run writes to the folder, or the scores cannot be put there.
    """
    with claim_folder(out):
        finish_replacement(out)
        remove_leftovers(out, *(out / name for name in ("overlays", "review", "review/pictures")), alone=True)
        replacement = Replacement(out, replaced)
        with replacement.prepare(purpose):
            for path in replacement.folder.iterdir():
                if path.is_dir() and not path.name.startswith("found"):
                    shutil.rmtree(path, ignore_errors=True)
            yield replacement.folder
            replacement.commit()


def refuse_scores(out: Path, overwrite: bool) -> None:
    """Refuse to replace any scores.

    Args:
        out: The folder for the scores.
        overwrite: Whether scores may be replaced.

    Raises:
        OutputError: The folder holds scores.
    """
    if not overwrite and (existing := _read_existing(out)):
        kind = "image classification data" if "images" in existing else "slides"
        raise OutputError(out, f"the folder holds the scores of {kind}", _REMEDY)


def _read_existing(out: Path) -> dict[str, Any]:
    """The content of the scores in a folder, of any format; empty if there are none."""
    path = out / SCORES_FILE
    if not path.exists():
        return {}
    try:
        values = parse_json(read_text(path))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise OutputError(path, f"the scores in the file cannot be read ({error})", _REMEDY) from error
    return values if isinstance(values, dict) and values else {"set": None}
