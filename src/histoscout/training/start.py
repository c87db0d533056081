"""Fine-tuning: what a training takes over from the model that it starts from, besides its weights."""

from dataclasses import replace
from typing import Any

from histoscout.cohort.cohort import Cohort
from histoscout.cohort.leakage import splits_of_start_model
from histoscout.network.model_folder import ModelFolder
from histoscout.recipe import Recipe

LOOK_ALIKE_SHARE = 0.2
"""Share of patches on other annotated classes where the recipe has none: a model is corrected with look-alikes."""


def keep_splits(cohort: Cohort, start: ModelFolder) -> Cohort:
    """Give patients that the start model knows the split they had, where the cohort leaves it open.

    Otherwise a patient that the model was trained on could be drawn for tuning, which leaks.

    Args:
        cohort: The cohort.
        start: The model whose weights are the start.

    Returns:
        The cohort; patients that the model does not know are left as they are.
    """
    known = splits_of_start_model(start, {case.patient for case in cohort.cases})
    cases = tuple(
        case if case.split is not None else replace(case, split=known.get(case.patient))
        for case in cohort.cases
    )
    return replace(cohort, cases=cases)


def start_recipe(start: ModelFolder, cohort: Cohort, changes: dict[str, Any] | None = None) -> Recipe | None:
    """The recipe for training a model further on a cohort.

    Args:
        start: The model whose weights are the start.
        cohort: The cohort.
        changes: Choices to replace, by dotted key.

    Returns:
        The recipe of the model, which samples look-alikes if there are any; None where its weights are only a part of the
        new network (tile classifiers), or images have one class each: then a recipe has to be planned.

    Raises:
        RecipeError: If a choice is not possible.
    """
    if start.recipe.network.predicts_tiles or cohort.by_class:
        return None
    sampler = start.recipe.sampler
    shares: dict[str, Any] = {}
    # without regions of other classes, tissue gets this share back
    if sampler.other == 0 and sampler.tissue > LOOK_ALIKE_SHARE:
        tissue = round(sampler.tissue - LOOK_ALIKE_SHARE, 9)
        shares = {"sampler.other": LOOK_ALIKE_SHARE, "sampler.tissue": tissue}
    return start.recipe.with_choices({**shares, **(changes or {})})
