"""A recipe made for a cohort and a machine, with the reason for each choice; nothing is learnt yet."""

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
from histoscout.io.files import write_text
from histoscout.progress import Progress, Silent
from histoscout.recipe import Recipe, plain
from histoscout.training.planning.classes import choose_positive, divide_classes
from histoscout.training.planning.fingerprint import (
    ClassFacts,
    CohortFingerprint,
    class_facts,
    read_drawn,
    take_fingerprint,
)
from histoscout.training.planning.images import about_images, first_class, image_choices, image_facts
from histoscout.training.planning.rules import Choice, Wish, choices_for
from histoscout.training.run_folder import has_begun
from histoscout.training.setup import this_machine

WIDTH = 110


@dataclass(frozen=True)
class PlanOptions:
    """What the user decides: the class to look for (needed if there are several), minutes, seed, weights to begin with,
    whether every lesion is outlined; and who is told.

    `notes`: whether what is noted on slides is told; a training that follows tells it itself.
    """

    positive: str | None = None
    minutes: float | None = None
    seed: int | None = None
    progress: Progress = field(default_factory=Silent)
    notes: bool = True
    weights: str | None = None
    incomplete: bool = False


@dataclass(frozen=True)
class Plan:
    """A recipe, why it is as it is, and what it was made from (lines for people)."""

    recipe: Recipe
    choices: tuple[Choice, ...]
    about: tuple[str, ...]

    def to_toml(self) -> str:
        """The recipe as TOML, the reason for each choice above it; what it leaves out has the recipe's default."""
        document = tomlkit.document()
        for line in self.about:
            for part in _comment(line):
                document.add(tomlkit.comment(part))
        for section, choices in _by_section(self.choices):
            table = document if not section else tomlkit.table()
            for choice in choices:
                said = f"{choice.reason} [{choice.basis}]" if choice.reason else ""
                for part in _comment(said):
                    table.add(tomlkit.comment(part))
                table.add(choice.name.rpartition(".")[2], _item(choice.value))
            if section:
                document.add(tomlkit.nl())
                document.add(section, table)
        return tomlkit.dumps(document)

    def write(self, path: Path) -> None:
        """Write the plan as a recipe file. OutputError if that cannot be."""
        write_text(path, self.to_toml())

    def with_choices(self, changes: dict[str, Any], basis: str = "given") -> "Plan":
        """The plan with some choices made otherwise by somebody; None takes a choice out."""
        recipe = self.recipe.with_choices(changes)
        kept = [choice for choice in self.choices if choice.name not in changes]
        made = [Choice(name, value, "", basis) for name, value in changes.items() if value is not None]
        ordered = sorted([*kept, *made], key=lambda choice: _SECTIONS.index(_section(choice)))
        return replace(self, recipe=recipe, choices=tuple(ordered))


def plan(cohort: Cohort | Path, options: PlanOptions | None = None) -> Plan:
    """Look at a cohort's slides and outlines, and choose a recipe for them and for this machine.

    Of images by class (`image_cohort.read_image_cohort`) it is a recipe for a classifier of all classes.
    Slides whose split is "test" are not opened. Raises RecipeError, with the classes there are, if it is not said
    which one to look for; CohortError, SlideError or AnnotationError for what cannot be read.
    """
    options = options or PlanOptions()
    cohort = read_cohort(cohort) if isinstance(cohort, Path) else cohort
    if cohort.by_class:
        return _plan_for_images(cohort, options)
    drawn = read_drawn(cohort, options.progress)
    classes = class_facts(drawn)
    if options.notes or not any(plain(each.name) for each in classes):  # they may be the reason for an error
        for note in (note for one in drawn for note in one.notes):
            options.progress.note(note)
    positive = choose_positive(classes, options.positive, cohort.where)
    facts = take_fingerprint(cohort, drawn, this_machine(), options.progress)
    return make_plan(facts, _wish(positive, options))


def _plan_for_images(cohort: Cohort, options: PlanOptions) -> Plan:
    if options.incomplete:
        fault = "holds images of one class each, in which nothing is outlined"
        raise RecipeError(cohort.where, fault, "Leave out --incomplete")
    facts = image_facts(cohort, this_machine(), options.progress)
    choices = image_choices(facts, _wish(first_class(facts, options.positive, cohort.where), options))
    return Plan(Recipe.from_dict(_nested(choices), "plan"), choices, about_images(facts))


def _wish(positive: str, options: PlanOptions) -> Wish:
    complete = not options.incomplete
    return Wish(positive, options.minutes, options.seed or 0, options.weights, complete)


def plan_for(cohort: Cohort, out: Path, options: PlanOptions, *, overwrite: bool = False) -> Plan:
    """The plan of the training that was begun in the folder `out`, so that it can go on; else a new one.

    What `options` decide holds for both. A training that never took a step is planned anew: slides and outlines may have
    been mended since.
    """
    if overwrite or not has_begun(out) or not kept_in(out).exists():
        return plan(cohort, options)
    earlier = read_plan(kept_in(out))
    changes: dict[str, Any] = {}
    if options.positive is not None and plain(options.positive) != plain(earlier.recipe.classes.positive):
        changes["classes.positive"] = options.positive
    if options.minutes is not None:
        changes |= {"training.minutes": options.minutes, "training.epochs": None}
    if options.seed is not None:
        changes["seed"] = options.seed
    if options.weights is not None:
        changes["network.weights"] = options.weights
    if options.incomplete:
        changes["classes.complete"] = False
    return earlier.with_choices(changes)


def kept_in(out: Path) -> Path:
    """Where a training in the folder `out` keeps the plan it was made by."""
    return out / "training" / "plan.toml"


def make_plan(facts: CohortFingerprint, wish: Wish) -> Plan:
    """The plan for a fingerprint; the same for the same. `wish.positive` is one of its classes, as spelt there."""
    choices = choices_for(facts, divide_classes(facts.classes, wish.positive), wish)
    recipe = Recipe.from_dict(_nested(choices), "plan")
    return Plan(recipe, choices, _about(facts))


def read_plan(path: Path) -> Plan:
    """A plan that was written: its recipe, and its choices without their reasons, which stay in the file."""
    recipe = Recipe.read(path)
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    choices = [Choice(name, value, "", "") for name, value in values.items() if not isinstance(value, dict)]
    for section, chosen in values.items():
        if isinstance(chosen, dict):
            choices += [Choice(f"{section}.{name}", value, "", "") for name, value in chosen.items()]
    return Plan(recipe, tuple(choices), ())


def _about(facts: CohortFingerprint) -> tuple[str, ...]:
    """The cohort and the machine in a few lines."""
    mpps = sorted({f"{slide.mpp:.3g} ({slide.source})" for slide in facts.slides})
    shown = ", ".join(mpps[:6]) + (f" and {len(mpps) - 6} more" if len(mpps) > 6 else "")
    lines = [
        f"Planned by histoscout for {len(facts.slides)} annotated slides of {facts.patients} patients.",
        f"um/px of the slides, and who says so: {shown}.",
        f"Tissue: {facts.tissue_mm2:.3g} mm2 a slide, {facts.annotated_share:.0%} of it outlined "
        f"(looked at on {facts.looked_at} slides).",
        *(_class_line(each) for each in facts.classes[:20]),
    ]
    if facts.test_slides:
        lines.append(f"{facts.test_slides} slides of the split test were not opened.")
    if facts.without_annotations:
        lines.append(f"{facts.without_annotations} slides have no annotations; they are not learnt from.")
    return (
        *lines,
        "After each reason, in brackets, stands what it rests on. What is not here has its default.",
    )


def _class_line(each: ClassFacts) -> str:
    return (
        f"{each.name or 'unclassified'}: {each.regions} outlines of {each.patients} patients, {each.area_mm2:.3g} mm2; "
        f"length um {each.extent_um}; diameter um {each.diameter_um}."
    )


# ---------------------------------------------------------------- TOML

_SECTIONS = ("", *(name for name, part in Recipe.model_fields.items() if name != "seed"))


def _section(choice: Choice) -> str:
    return choice.name.rpartition(".")[0]


def _by_section(choices: Sequence[Choice]) -> list[tuple[str, list[Choice]]]:
    found = [(section, [one for one in choices if _section(one) == section]) for section in _SECTIONS]
    return [(section, some) for section, some in found if some]


def _nested(choices: Sequence[Choice]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for choice in choices:
        section, _, name = choice.name.rpartition(".")
        (values.setdefault(section, {}) if section else values)[name] = choice.value
    return values


def _item(value: object) -> Any:
    if not isinstance(value, dict):
        return tomlkit.item(value)
    table = tomlkit.inline_table()
    table.update(value)
    return table


def _comment(text: str) -> list[str]:
    """A text as lines of a comment: whatever a class is called, it cannot end the comment."""
    shown = re.sub(r"[^\S ]|[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", text)
    return textwrap.wrap(shown, WIDTH - 2, break_long_words=False) if shown.strip() else []
