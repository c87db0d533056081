"""Cross-validation: every patient judged once by a model that has not seen him; recipes compared on the same patients.

Nested: each fold is an ordinary training whose tuning patients (and plan, where there is no recipe) come from its own
training side, then an ordinary evaluation. Each lies in a folder of its own, so that a run which is killed goes on:

    OUT/folds.csv   OUT/RECIPE/fold-1/model/   OUT/RECIPE/fold-1/scores/   ...   OUT/crossval.json
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from histoscout.cohort.annotated_slide import labeled_regions
from histoscout.cohort.cohort import Cohort, read_cohort
from histoscout.cohort.splits import Folds, draw_folds, fold_cohort, read_folds, write_folds
from histoscout.errors import CohortError, OutputError, RecipeError
from histoscout.evaluation.evaluate import EvaluateOptions, evaluate
from histoscout.evaluation.out_of_fold import Arm, Crossval, FoldResult, write_crossval
from histoscout.progress import Progress, Silent
from histoscout.recipe import ClassConfig, Recipe
from histoscout.training.planning.classes import choose_positive
from histoscout.training.planning.fingerprint import class_facts, read_drawn
from histoscout.training.planning.plan import Plan, PlanOptions, plan_for
from histoscout.training.run_folder import refuse_other_choices, write_choices
from histoscout.training.train import TrainOptions, train

ENGINES_OF_CPU = ("torch", "openvino")  # for evaluation; training on the processor has no choice

PLANNED = "plan"
"""The name of the recipe that is planned anew in each fold."""


@dataclass(frozen=True)
class CrossvalOptions:
    """How many folds, drawn from which seed, or read from a file; what holds for every recipe; where to compute.

    `choices` are dotted names of the recipe, such as {"training.minutes": 6}. `positive` is for plans alone. `device` is
    that of `train`, or an engine for the processor as `evaluate` knows it. `sanity_checks`: "all" stops at a guard that
    failed, "tell" goes on. `fold`: only this one, counted from 1, so that each can be a job of its own on a cluster; without it
    all are done, or read where they are done.
    """

    folds: int = 4
    seed: int = 0
    folds_file: Path | None = None
    fold: int | None = None
    choices: Mapping[str, Any] = field(default_factory=dict)
    positive: str | None = None
    device: str = "auto"
    sanity_checks: Literal["all", "warn"] = "all"
    progress: Progress = field(default_factory=Silent)


def crossval(
    cohort: Cohort | Path,
    out: Path,
    recipes: Mapping[str, Recipe | None] | None = None,
    options: CrossvalOptions | None = None,
) -> Crossval:
    """Judge recipes, by name, on every patient of a cohort, none of whom the model that judges him has seen.

    None instead of a recipe, or no recipes at all: each fold plans its own from the patients it learns from. Slides
    whose split is "test" are left alone. Writes folds.csv, a folder for each recipe and fold, and crossval.json under
    `out`; what is finished there is not done again, and further recipes may be added later; folds of a plan go on with the
    choices they were begun with only. For one fold alone
    (`options.fold`) there is no crossval.json, and figures are of its patients. Raises CohortError, RecipeError or
    OutputError, and what `train` and `evaluate` raise.
    """
    options = options or CrossvalOptions()
    cohort = read_cohort(cohort) if isinstance(cohort, Path) else cohort
    used, notes = _used(cohort)
    arms = dict(recipes or {PLANNED: None})
    classes = _common_classes(used, arms, options)
    options = replace(options, positive=classes.positive)
    folds = _folds(used, classes, options)
    numbers = _asked(folds, options.fold)
    _keep(folds, out, used.patients)
    for name in [name for name, recipe in arms.items() if recipe is None]:
        refuse_other_choices(out / name, options.choices)
    for note in notes:
        options.progress.note(note)
    results: dict[str, list[FoldResult]] = {name: [] for name in arms}
    for number in numbers:  # fold by fold, so that recipes can be compared before all is done
        for name, recipe in arms.items():
            options.progress.note(f"{name}: fold {number} of {len(folds)}")
            part = fold_cohort(used, folds, number)
            results[name].append(_run_fold(part, out / name / f"fold-{number}", recipe, number, options))
    made = tuple(Arm(name, tuple(found)) for name, found in results.items())
    result = Crossval(classes.positive, folds, made, (*notes, *_noted(made)))
    if options.fold is None:
        write_crossval(result, out)
    return result


def _asked(folds: Folds, fold: int | None) -> Sequence[int]:
    """The folds to do now: all, or the one that is asked for."""
    if fold is None:
        return folds.numbers
    if fold not in folds.numbers:
        raise CohortError("--fold", f"there is no fold {fold}", f"Take one of 1 to {len(folds)}")
    return [fold]


def _used(cohort: Cohort) -> tuple[Cohort, list[str]]:
    """The annotated cases that are not kept for the exam, and what is to be said of the others."""
    rest = [case for case in cohort.cases if case.split != "test"]
    annotated = tuple(case for case in rest if case.annotations is not None)
    if not annotated:
        fault = "has no annotated slide outside the split test"
        raise CohortError(cohort.where, fault, "Put outlines beside the slides, or name them in the table")
    notes = []
    if apart := len(cohort.cases) - len(rest):
        notes.append(f"{apart} slides of the split test are left alone, for one exam at the end")
    if bare := len(rest) - len(annotated):
        notes.append(f"{bare} slides without annotations are left out")
    return replace(cohort, cases=annotated), notes


def _common_classes(
    cohort: Cohort, arms: Mapping[str, Recipe | None], options: CrossvalOptions
) -> ClassConfig:
    """The classes by which patients count as positive; RecipeError if recipes do not look for the same."""
    for name in arms:
        if not name or name != Path(name).name or name in {".", ".."}:
            raise RecipeError(name or "recipe", "is no name for a folder", "Give the recipe a plain name")
    given = {name: recipe for name, recipe in arms.items() if recipe is not None}
    looked_for = {recipe.classes.positive for recipe in given.values()}
    if None in arms.values():
        wanted = options.positive or next(iter(looked_for), None)
        classes = class_facts(read_drawn(cohort, options.progress))
        looked_for.add(choose_positive(classes, wanted, cohort.where))
    if len(looked_for) > 1:
        fault = f"recipes look for different classes: {', '.join(sorted(looked_for))}"
        raise RecipeError(", ".join(arms), fault, "Compare recipes that look for the same class")
    first = next(iter(given.values()), None)
    return first.classes if first is not None else ClassConfig(positive=looked_for.pop())


def _folds(cohort: Cohort, classes: ClassConfig, options: CrossvalOptions) -> Folds:
    """The folds that are asked for: read from a file, or drawn."""
    if options.folds_file is not None:
        return read_folds(options.folds_file, cohort.patients)
    return draw_folds(_positive(cohort, classes), options.folds, options.seed, cohort.where)


def _keep(folds: Folds, out: Path, patients: Sequence[str]) -> None:
    """Write the folds down, or see that those written down there are the same.

    Several jobs may begin at once. Each writes the folds before anything else, so what lies there is looked at first.
    """
    written = out / "folds.csv"
    there = (
        [one for one in out.iterdir() if one != written and ".part." not in one.name] if out.exists() else []
    )
    if written.exists():
        if read_folds(written, patients) != folds:
            remedy = f"Give a new folder with -o, or go on with --folds-file {written}"
            raise OutputError(out, "was begun with other folds", remedy)
    elif there:
        raise OutputError(out, "is not empty and not a cross-validation", "Give a new folder with -o")
    else:
        write_folds(folds, written)


def _positive(cohort: Cohort, classes: ClassConfig) -> dict[str, bool]:
    """Whether each patient has a region of the positive class."""
    having = {
        case.patient
        for case in cohort.cases
        if len(labeled_regions(case, classes).regions.labeled(classes.positive))
    }
    return {patient: patient in having for patient in cohort.patients}


def _run_fold(
    cohort: Cohort, folder: Path, recipe: Recipe | None, number: int, options: CrossvalOptions
) -> FoldResult:
    """Train and evaluate one fold; what is finished in its folder is read, not done again."""
    if recipe is None:
        write_choices(folder, options.choices)
    chosen = (recipe or plan_fold(cohort, folder / "model", options)).with_choices(dict(options.choices))
    told = options.progress
    device = "cpu" if options.device in ENGINES_OF_CPU else options.device
    training = TrainOptions(device, sanity_checks=options.sanity_checks, progress=told)
    model = train(cohort, folder / "model", chosen, training)
    judging = EvaluateOptions(device=options.device, progress=told, sanity_checks=options.sanity_checks)
    scores = evaluate(model, cohort, folder / "scores", judging)
    data = model.metrics["data"]
    return FoldResult(
        number,
        scores,
        model.recipe.patches.mpp,
        model.metrics["training"]["steps"],
        tuple(data["train_patients"]),
        tuple(data["tune_patients"]),
    )


def plan_fold(cohort: Cohort, model: Path, options: CrossvalOptions) -> Plan:
    """The plan of one fold, from the patients it learns from and for the minutes it has."""
    minutes = options.choices.get("training.minutes")
    return plan_for(
        cohort, model, PlanOptions(options.positive, minutes, progress=options.progress, notes=False)
    )


def _noted(arms: tuple[Arm, ...]) -> list[str]:
    """What evaluations said, each once, with where it was said."""
    said: dict[str, str] = {}
    for arm in arms:
        for fold in arm.folds:
            for note in fold.scores.notes:
                said.setdefault(note, f"{arm.name}, fold {fold.number}: {note}")
    return list(said.values())
