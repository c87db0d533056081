"""Cross-validation by patient: each patient is evaluated once, by a model that was not trained on them.

Nested: each fold is an ordinary training, with tuning patients (and a plan, where there is no recipe) from
its own training side, followed by an ordinary evaluation. Each has its own folder, so that a killed run
resumes:

    OUT/folds.csv   OUT/RECIPE/fold-1/model/   OUT/RECIPE/fold-1/scores/   ...   OUT/crossval.json
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from histoscout.cohort.annotated_slide import labeled_regions
from histoscout.cohort.cohort import Cohort, read_cohort
from histoscout.cohort.folds import Folds, cohort_of_fold, draw_folds, read_folds, write_folds
from histoscout.errors import CohortError, OutputError, RecipeError
from histoscout.evaluation.evaluate import EvaluateOptions, evaluate
from histoscout.evaluation.out_of_fold import Crossval, FoldResult, RecipeResult, write_crossval
from histoscout.io.files import StrPath, holds_nothing, remove_leftovers
from histoscout.io.locks import hold
from histoscout.io.notes import pluralize
from histoscout.progress import NoProgress, Progress
from histoscout.recipe import Recipe
from histoscout.recipe_sections import ClassConfig
from histoscout.training.planning.classes import choose_positive
from histoscout.training.planning.fingerprint import class_statistics, read_slide_annotations
from histoscout.training.planning.plan import Plan, PlanOptions, load_or_make_plan
from histoscout.training.run_folder import check_choices, write_choices
from histoscout.training.train import TrainOptions, train

CPU_ENGINES = ("torch", "openvino")
"""Devices that only evaluation tells apart; training on the processor is always "cpu"."""

PLANNED = "plan"
"""The name of the recipe that is planned for each fold."""


@dataclass(frozen=True, kw_only=True)
class CrossvalOptions:
    """Options of a cross-validation.

    Attributes:
        folds: Number of folds to draw.
        seed: Random seed of the folds.
        folds_file: A table of fold and patient to read instead.
        fold: Only this fold, from 1, so that each can be a job on a cluster; None for all.
        choices: Values for every recipe by dotted key, such as {"training.minutes": 6}.
        positive: The class to look for in planned recipes.
        device: The device of training, or an engine of the processor ("torch", "openvino") for evaluation.
        sanity_checks: "all" stops at a failed check, "warn" reports it and continues.
        progress: Who is informed.

    Example:
        >>> from histoscout import CrossvalOptions
        >>> CrossvalOptions(folds=5, choices={"training.minutes": 6}).folds
        5
    """

    folds: int = 4
    seed: int = 0
    folds_file: Path | None = None
    fold: int | None = None
    choices: Mapping[str, Any] = field(default_factory=dict)
    positive: str | None = None
    device: str = "auto"
    sanity_checks: Literal["all", "warn"] = "all"
    progress: Progress = field(default_factory=NoProgress)


def crossval(
    cohort: Cohort | StrPath,
    out: StrPath,
    recipes: Mapping[str, Recipe | None] | None = None,
    options: CrossvalOptions | None = None,
) -> Crossval:
    """Cross-validate one or more recipes by patient.

    Slides of the split "test" are not used. What is finished in `out` is not done again, and recipes may be
    added later; planned folds resume with the choices they were started with only.

    Args:
        cohort: The cohort, or the path of its table.
        out: Where to write folds.csv, a folder for each recipe and fold, and crossval.json (not for a single
            fold).
        recipes: Recipes by name; None instead of a recipe plans one for each fold from the patients it is
            trained on. By default one planned recipe.
        options: Folds, choices, device and so on.

    Returns:
        The results, pooled over the folds; of a single fold, those of its patients.

    Raises:
        CohortError: If there are too few patients, or no annotated slides.
        RecipeError: If recipes look for different classes, or planning needs a class.
        OutputError: If `out` was started with other folds or choices, or holds something else.
        HistoscoutError: What `train` and `evaluate` raise.

    Example:
        >>> from pathlib import Path
        >>> import histoscout as hs
        >>> options = hs.CrossvalOptions(folds=4, positive="UDH")
        >>> result = hs.crossval(Path("cohort.csv"), Path("folds"), options=options)  # doctest: +SKIP
    """
    out = Path(out)
    options = options or CrossvalOptions()
    cohort = cohort if isinstance(cohort, Cohort) else read_cohort(cohort)
    annotated, notes = _select_annotated(cohort)
    # the same classes and the same folds for all recipes
    recipes = dict(recipes or {PLANNED: None})
    classes = _common_classes(annotated, recipes, options)
    options = replace(options, positive=classes.positive)
    if options.folds_file is not None:
        folds = read_folds(options.folds_file, annotated.patients)
    else:
        folds = draw_folds(
            _find_positive_patients(annotated, classes), options.folds, options.seed, annotated.where
        )
    if options.fold is not None and options.fold not in folds.numbers:
        raise CohortError("--fold", f"there is no fold {options.fold}", f"Use one of 1 to {len(folds)}")
    # before anything is trained, check what is in the output folder
    _write_or_check_folds(folds, out, annotated.patients)
    for name in (name for name, recipe in recipes.items() if recipe is None):
        check_choices(out / name, options.choices)
    for note in notes:
        options.progress.note(note)
    # fold by fold, so that recipes can be compared before all is done
    results: dict[str, list[FoldResult]] = {name: [] for name in recipes}
    for number in folds.numbers if options.fold is None else [options.fold]:
        for name, recipe in recipes.items():
            options.progress.note(f"{name}: fold {number} of {len(folds)}")
            fold_cases = cohort_of_fold(annotated, folds, number)
            folder = out / name / f"fold-{number}"
            results[name].append(run_fold(fold_cases, folder, recipe, number=number, options=options))
    # pool the folds
    recipe_results = tuple(RecipeResult(name, tuple(fold_results)) for name, fold_results in results.items())
    result = Crossval(
        positive=classes.positive,
        folds=folds,
        recipes=recipe_results,
        fold_notes=(*notes, *_evaluation_notes(recipe_results)),
    )
    if options.fold is None:
        write_crossval(result, out)
    return result


def run_fold(
    cohort: Cohort, folder: Path, recipe: Recipe | None, *, number: int, options: CrossvalOptions
) -> FoldResult:
    """Train and evaluate one fold; what is finished in its folder is read instead.

    Args:
        cohort: The cohort, with the patients of the fold as its test set.
        folder: The folder of the fold.
        recipe: The recipe; None plans one.
        number: The number of the fold, from 1.
        options: Choices, device and so on.

    Returns:
        The scores of the fold's patients, and which patients its model knows.
    """
    if recipe is None:
        write_choices(folder, options.choices)
    chosen = (recipe or plan_fold(cohort, folder / "model", options)).with_choices(dict(options.choices))
    train_options = TrainOptions(
        device="cpu" if options.device in CPU_ENGINES else options.device,
        sanity_checks=options.sanity_checks,
        progress=options.progress,
    )
    model = train(cohort, folder / "model", chosen, options=train_options)
    evaluate_options = EvaluateOptions(
        device=options.device, progress=options.progress, sanity_checks=options.sanity_checks
    )
    scores = evaluate(model, cohort, folder / "scores", options=evaluate_options)
    metrics = model.metrics
    return FoldResult(
        number=number,
        scores=scores,
        mpp=model.recipe.patches.mpp,
        steps=metrics["training"]["steps"],
        train_patients=tuple(metrics["data"]["train_patients"]),
        tune_patients=tuple(metrics["data"]["tune_patients"]),
    )


def plan_fold(cohort: Cohort, model: Path, options: CrossvalOptions) -> Plan:
    """Plan a fold from the patients it is trained on, for its minutes.

    Args:
        cohort: The cohort, with the patients of the fold as its test set.
        model: The model folder of the fold, which may hold an earlier plan.
        options: The class to look for, and choices.

    Returns:
        The plan.
    """
    plan_options = PlanOptions(
        positive=options.positive,
        minutes=options.choices.get("training.minutes"),
        progress=options.progress,
        notes=False,
    )
    return load_or_make_plan(cohort, model, plan_options)


def _select_annotated(cohort: Cohort) -> tuple[Cohort, list[str]]:
    """The annotated cases that are not in the split test, and notes on the others."""
    cases = [case for case in cohort.cases if case.split != "test"]
    annotated = tuple(case for case in cases if case.annotated)
    if not annotated:
        fault = "the cohort has no annotated slide outside the split test"
        raise CohortError(cohort.where, fault, "Put annotations beside the slides, or name them in the table")
    notes = []
    if count := len(cohort.cases) - len(cases):
        notes.append(
            f"{pluralize(count, 'slide')} of the split test {'is' if count == 1 else 'are'} not used, but kept for one final evaluation"
        )
    if count := len(cases) - len(annotated):
        notes.append(
            f"{pluralize(count, 'slide')} without annotations {'is' if count == 1 else 'are'} not used"
        )
    return replace(cohort, cases=annotated), notes


def _common_classes(
    cohort: Cohort, recipes: Mapping[str, Recipe | None], options: CrossvalOptions
) -> ClassConfig:
    """The classes by which patients count as positive; RecipeError if recipes look for different ones."""
    for name in recipes:
        if not name or name != Path(name).name or name in {".", ".."}:
            fault = "the name of the recipe cannot be the name of a folder"
            raise RecipeError(name or "recipe", fault, "Give the recipe a plain name")
    given = [recipe for recipe in recipes.values() if recipe is not None]
    positive = {recipe.classes.positive for recipe in given}
    # a planned recipe looks for the class that is given, else for that of the other recipes
    if None in recipes.values():
        wanted = options.positive or next((recipe.classes.positive for recipe in given), None)
        statistics = class_statistics(read_slide_annotations(cohort, options.progress))
        positive.add(choose_positive(statistics, wanted, cohort.where))
    if len(positive) > 1:
        fault = f"the recipes look for different classes: {', '.join(sorted(positive))}"
        raise RecipeError(", ".join(recipes), fault, "Compare recipes that look for the same class")
    return given[0].classes if given else ClassConfig(positive=positive.pop())


def _find_positive_patients(cohort: Cohort, classes: ClassConfig) -> dict[str, bool]:
    """Whether each patient has a region of the positive class."""
    positive = {
        case.patient
        for case in cohort.cases
        if len(labeled_regions(case, classes).regions.with_labels(classes.positive))
    }
    return {patient: patient in positive for patient in cohort.patients}


def _write_or_check_folds(folds: Folds, out: Path, patients: Sequence[str]) -> None:
    """Write the folds, or check that those in the folder are the same; several jobs may start at once."""
    file = out / "folds.csv"
    with hold(out, "folds"):
        remove_leftovers(out, alone=True)
        if file.exists():
            if read_folds(file, patients) != folds:
                remedy = f"Give a new folder with -o, or resume with --folds-file {file}"
                raise OutputError(out, "the cross-validation was started with other folds", remedy)
        elif holds_nothing(out):
            write_folds(folds, file)
        else:
            fault = "the folder is not empty and not a cross-validation"
            raise OutputError(out, fault, "Give a new folder with -o")


def _evaluation_notes(recipe_results: Sequence[RecipeResult]) -> list[str]:
    """The notes of all evaluations, each once, with the first fold that has it."""
    notes: dict[str, str] = {}
    for result in recipe_results:
        for fold in result.folds:
            for note in fold.scores.notes:
                notes.setdefault(note, f"{result.name}, fold {fold.number}: {note}")
    return list(notes.values())
