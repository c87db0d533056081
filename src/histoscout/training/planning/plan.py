"""The plan: a recipe for a cohort and a machine, with the reason for each choice. Nothing is trained."""

import re
import textwrap
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tomlkit

from histoscout.cohort.cohort import Cohort, read_cohort
from histoscout.errors import RecipeError
from histoscout.io.files import StrPath, read_text, write_text
from histoscout.progress import NoProgress, Progress
from histoscout.recipe import RENAMED, Recipe, description_of
from histoscout.recipe_sections import plain
from histoscout.training.planning.choices import Choice, PlanRequest
from histoscout.training.planning.classes import assign_classes, choose_positive
from histoscout.training.planning.fingerprint import (
    CohortFingerprint,
    class_statistics,
    compute_fingerprint,
    read_slide_annotations,
)
from histoscout.training.planning.images import (
    choose_first_class,
    describe_images,
    image_choices,
    inspect_images,
)
from histoscout.training.planning.rules import make_choices
from histoscout.training.run_folder import has_started
from histoscout.training.setup import inspect_machine

WIDTH = 110
"""Length of a line of comment."""

SHOWN_CLASSES = 20
"""Classes that the head of a plan describes."""

SHOWN_SCALES = 6
"""Different um/px that the head of a plan lists."""

SECTIONS = ("", *(name for name in Recipe.model_fields if name != "seed"))
"""Sections of a recipe in order; "" for keys outside of sections."""


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What the user decides.

    Attributes:
        positive: The class to look for; needed if there are several.
        minutes: Minutes of training.
        seed: Random seed.
        progress: Who is informed.
        notes: Whether notes on slides are reported; a training that follows reports them itself.
        weights: The value of `network.weights`.
        incomplete: Whether some lesions are not annotated.

    Example:
        >>> from histoscout import PlanOptions
        >>> PlanOptions(positive="UDH", minutes=20).minutes
        20
    """

    positive: str | None = None
    minutes: float | None = None
    seed: int | None = None
    progress: Progress = field(default_factory=NoProgress)
    notes: bool = True
    weights: str | None = None
    incomplete: bool = False


@dataclass(frozen=True)
class Plan:
    """A recipe, and why it is as it is.

    Attributes:
        recipe: The recipe.
        choices: Its choices with reason and basis; keys that are not listed have their defaults.
        about: Lines about the cohort and the machine.

    Example:
        >>> from histoscout import Plan, Recipe
        >>> plan = Plan(Recipe(), (), ("For the example.",)).with_choices({"training.minutes": 5})
        >>> print(plan.to_toml())
        # For the example.
        <BLANKLINE>
        [training]
        # Minutes of training; a number of steps is fixed after the first ones are timed.
        minutes = 5
        <BLANKLINE>
    """

    recipe: Recipe
    choices: tuple[Choice, ...]
    about: tuple[str, ...]

    def to_toml(self) -> str:
        """Write the recipe as TOML; above each key its description, and reason and basis of the choice.

        Returns:
            The text of a recipe file.
        """
        document = tomlkit.document()
        for line in self.about:
            _add_comment(document, line)
        for section in SECTIONS:
            choices = [choice for choice in self.choices if _section(choice) == section]
            if not choices:
                continue
            table = tomlkit.table() if section else document
            for choice in choices:
                # what the key means, then why it has this value; a key without a reason shares that of the key before it
                _add_comment(table, description_of(choice.name))
                if choice.reason:
                    _add_comment(table, f"Chosen: {choice.reason} [{choice.basis}]")
                table.add(choice.name.rpartition(".")[2], _toml_item(choice.value))
            if section:
                document.add(tomlkit.nl())
                document.add(section, table)
        return tomlkit.dumps(document)

    def write(self, path: Path) -> None:
        """Write the plan as a recipe file.

        Args:
            path: The file, which is replaced.

        Raises:
            OutputError: If it cannot be written.
        """
        write_text(path, self.to_toml())

    def with_choices(self, changes: dict[str, Any], basis: str = "given") -> "Plan":
        """The plan with some choices replaced.

        Args:
            changes: Values by dotted key; None removes a choice.
            basis: What these choices rest on.

        Returns:
            A new plan.

        Raises:
            RecipeError: If a key does not exist or a value is not possible.
        """
        recipe = self.recipe.with_choices(changes)
        kept = [choice for choice in self.choices if choice.name not in changes]
        added = [Choice(name, value, "", basis) for name, value in changes.items() if value is not None]
        choices = sorted([*kept, *added], key=lambda choice: SECTIONS.index(_section(choice)))
        return replace(self, recipe=recipe, choices=tuple(choices))


def plan(cohort: Cohort | StrPath, options: PlanOptions | None = None) -> Plan:
    """Plan a recipe for a cohort and this machine.

    Slides of the split "test" are not opened.

    Args:
        cohort: The cohort, or the path of its table.
        options: The class to look for, minutes and so on.

    Returns:
        The plan.

    Raises:
        RecipeError: If there are several classes and none is named, or no class with this name.
        CohortError: If there are no annotated slides.
        SlideError: If a slide cannot be read.
        AnnotationError: If an annotation file cannot be read.

    Example:
        >>> from pathlib import Path
        >>> import histoscout as hs
        >>> options = hs.PlanOptions(positive="UDH", minutes=20)
        >>> hs.plan(Path("cohort.csv"), options).write(Path("recipe.toml"))  # doctest: +SKIP
    """
    options = options or PlanOptions()
    cohort = cohort if isinstance(cohort, Cohort) else read_cohort(cohort)
    # image classification data
    if cohort.by_class:
        if options.incomplete:
            fault = "the images have one class each, and no annotations that could be incomplete"
            raise RecipeError(cohort.where, fault, "Leave out --incomplete")
        images = inspect_images(cohort, inspect_machine(), options.progress)
        positive = choose_first_class(images, options.positive, cohort.where)
        choices = image_choices(images, _make_request(positive, options))
        return Plan(Recipe.from_dict(_nest(choices), "plan"), choices, (*describe_images(images), *_FOOTNOTE))
    # slides with annotations
    slides = read_slide_annotations(cohort, options.progress)
    classes = class_statistics(slides)
    # without any class, the notes may be the reason
    if options.notes or not any(plain(annotated.name) for annotated in classes):
        for note in (note for slide in slides for note in slide.notes):
            options.progress.note(note)
    positive = choose_positive(classes, options.positive, cohort.where)
    facts = compute_fingerprint(cohort, slides, inspect_machine(), options.progress)
    properties = {case.class_property for case in cohort.cases}
    request = replace(
        _make_request(positive, options), class_property=properties.pop() if len(properties) == 1 else ""
    )
    return make_plan(facts, request)


def make_plan(facts: CohortFingerprint, request: PlanRequest) -> Plan:
    """Make the plan for a fingerprint; the same fingerprint gives the same plan.

    Args:
        facts: The fingerprint.
        request: What the user has decided; `request.positive` is a class as the fingerprint spells it.

    Returns:
        The plan.
    """
    choices = make_choices(facts, assign_classes(facts.classes, request.positive), request)
    return Plan(Recipe.from_dict(_nest(choices), "plan"), choices, (*_describe(facts), *_FOOTNOTE))


def load_or_make_plan(cohort: Cohort, out: Path, options: PlanOptions, *, overwrite: bool = False) -> Plan:
    """Load the plan of the training that was started in `out`, so that it can be resumed, else make one.

    A training that never took a step is planned again, since slides and annotations may have been corrected.

    Args:
        cohort: The cohort.
        out: The model folder.
        options: What the user decides; it replaces choices of a loaded plan.
        overwrite: Whether the training in `out` will be replaced.

    Returns:
        The plan.

    Raises:
        RecipeError: As `plan`, or if the plan in `out` cannot be read.
    """
    if overwrite or not has_started(out) or not plan_file(out).exists():
        return plan(cohort, options)
    loaded = read_plan(plan_file(out))
    changes: dict[str, Any] = {}
    if options.positive is not None and plain(options.positive) != plain(loaded.recipe.classes.positive):
        changes["classes.positive"] = options.positive
    if options.minutes is not None:
        changes |= {"training.minutes": options.minutes, "training.epochs": None}
    if options.seed is not None:
        changes["seed"] = options.seed
    if options.weights is not None:
        changes["network.weights"] = options.weights
    if options.incomplete:
        changes["classes.complete"] = False
    return loaded.with_choices(changes)


def plan_file(out: Path) -> Path:
    """Where a training in the model folder `out` keeps its plan.

    Args:
        out: The model folder.

    Returns:
        A TOML file.
    """
    return out / "training" / "plan.toml"


def read_plan(path: Path) -> Plan:
    """Read a plan from its file.

    Args:
        path: The file.

    Returns:
        The recipe, and its choices without their reasons, which stay in the file.

    Raises:
        RecipeError: If the file is no valid recipe.
    """
    recipe = Recipe.read(path)
    choices = []
    for key, value in tomllib.loads(read_text(path)).items():
        if isinstance(value, dict):
            # plans of histoscout 0.1.0 have other keys
            keys = {f"{key}.{name}": part for name, part in value.items()}
            choices += [Choice(RENAMED.get(old, old), part) for old, part in keys.items()]
        else:
            choices.append(Choice(key, value))
    return Plan(recipe, tuple(choices), ())


def _make_request(positive: str, options: PlanOptions) -> PlanRequest:
    return PlanRequest(
        positive=positive,
        minutes=options.minutes,
        seed=options.seed or 0,
        weights=options.weights,
        complete=not options.incomplete,
    )


# ---------------------------------------------------------------- text

_FOOTNOTE = ("The basis of each reason is in brackets. Keys that are not listed have their defaults.",)


def _describe(facts: CohortFingerprint) -> list[str]:
    """The cohort in a few lines."""
    mpps = sorted({f"{slide.mpp:.3g} ({slide.source})" for slide in facts.slides})
    more = f" and {len(mpps) - SHOWN_SCALES} more" if len(mpps) > SHOWN_SCALES else ""
    lines = [
        f"Planned by histoscout for {len(facts.slides)} annotated slides of {facts.patients} patients.",
        f"um/px of the slides, and where it is from: {', '.join(mpps[:SHOWN_SCALES])}{more}.",
        f"Tissue: {facts.tissue_mm2:.3g} mm2 per slide, {facts.annotated_share:.0%} of it annotated "
        f"(measured on {facts.sampled_slides} slides).",
    ]
    lines += [
        f"{annotated.name or 'unclassified'}: {annotated.regions} regions of {annotated.patients} patients, "
        f"{annotated.area_mm2:.3g} mm2; length in um: {annotated.extent_um}; diameter in um: {annotated.diameter_um}."
        for annotated in facts.classes[:SHOWN_CLASSES]
    ]
    if facts.test_slides:
        lines.append(f"{facts.test_slides} slides of the split test were not opened.")
    if facts.without_annotations:
        lines.append(f"{facts.without_annotations} slides have no annotations and are not used for training.")
    return lines


def _section(choice: Choice) -> str:
    return choice.name.rpartition(".")[0]


def _nest(choices: Sequence[Choice]) -> dict[str, Any]:
    """The values of choices as the nested dictionary of a recipe."""
    values: dict[str, Any] = {}
    for choice in choices:
        section, _, name = choice.name.rpartition(".")
        (values.setdefault(section, {}) if section else values)[name] = choice.value
    return values


def _toml_item(value: object) -> Any:
    if not isinstance(value, dict):
        return tomlkit.item(value)
    table = tomlkit.inline_table()
    table.update(value)
    return table


def _add_comment(container: Any, text: str) -> None:
    """Add a text as lines of comment: whatever a class is called, it cannot end the comment."""
    printable = re.sub(r"[^\S ]|[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", text)
    if printable.strip():
        for line in textwrap.wrap(printable, WIDTH - 2, break_long_words=False):
            container.add(tomlkit.comment(line))
