"""The rules of a plan where images are of one class each: a classifier that tells every class from every other.

Pure functions of the fingerprint, as those of `plan_rules`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from histoscout.cohort.bracs import CLASSES as BRACS
from histoscout.cohort.case import open_case
from histoscout.cohort.cohort import Cohort
from histoscout.errors import RecipeError
from histoscout.io.notes import enumerated
from histoscout.progress import Progress
from histoscout.recipe import SET_ASIDE, ClassConfig, plain
from histoscout.training.planning.classes import exactly
from histoscout.training.planning.fingerprint import Machine, Spread
from histoscout.training.planning.rules import (
    CONVENTION,
    LADDER,
    MOST_WORKERS,
    SMALL_MEMORY_GB,
    Choice,
    Wish,
    minutes_allowed,
)

SIDE_PX = 224
WHOLE_IMAGE = (
    "published for BRACS: whole images at 224 px with a linear head are named no worse than patches at full size "
    "(kaiko eva, README of kaiko-ai/Midnight)"
)
WEIGHTED_RATE, RATE = 3e-4, 1e-3


@dataclass(frozen=True)
class ImageFacts:
    """Images of one class each outside the split test: how many of each class, whose, how large, and the machine.

    `classes` are (name, images, patients), the class with most images first; `length_um` the longer side.
    """

    classes: tuple[tuple[str, int, int], ...]
    patients: int
    length_um: Spread
    coarsest_mpp: float
    machine: Machine
    tuned_by_table: bool
    test_images: int

    @property
    def images(self) -> int:
        return sum(count for _, count, _ in self.classes)


def image_facts(cohort: Cohort, machine: Machine, progress: Progress) -> ImageFacts:
    """Look at the heads of all image files but those kept for testing; no pixel is decoded."""
    cases = [case for case in cohort.cases if case.split != "test"]
    if not cases:
        raise RecipeError(cohort.where, "has no images outside the split test", "Add images to train on")
    lengths, mpps = [], []
    progress.start("looking at images", len(cases))
    for case in cases:
        with open_case(case) as image:
            lengths.append(max(image.box.width, image.box.height) * image.mpp)
            mpps.append(image.mpp)
        progress.advance()
    progress.done()
    labels = {case.label for case in cases}
    counted = [(label, [case for case in cases if case.label == label]) for label in sorted(labels)]
    classes = sorted(
        ((label, len(some), len({case.patient for case in some})) for label, some in counted),
        key=lambda each: -each[1],
    )
    return ImageFacts(
        tuple(classes),
        len({case.patient for case in cases}),
        Spread.of(lengths),
        max(mpps),
        machine,
        any(case.split == "tune" for case in cases),
        len(cohort.cases) - len(cases),
    )


def first_class(facts: ImageFacts, wanted: str | None, where: str) -> str:
    """The class that comes first: the one that is `wanted`, else UDH, else the one with fewest images.

    RecipeError if there are no two classes that a recipe may name, or none of this name.
    """
    names = known_classes(facts)
    if len(names) < 2:
        fault = f"has no two classes to tell apart ({', '.join(names) or 'none'})"
        raise RecipeError(where, fault, "Give a folder of images for each class")
    if wanted is None:
        return next((name for name in names if plain(name) == "udh"), names[-1])
    found = next((name for name in names if plain(name) == plain(wanted)), None)
    if found is None:
        fault = f"no image has the class {wanted!r} (classes: {', '.join(names)})"
        raise RecipeError(where, fault, "Name one of these with --positive, or none")
    return found


def known_classes(facts: ImageFacts) -> list[str]:
    """The classes to be told apart, those with most images first; unsure ones are none of them."""
    return [name for name, _, _ in facts.classes if ClassConfig().canonical(name) not in SET_ASIDE]


def image_choices(facts: ImageFacts, wish: Wish) -> tuple[Choice, ...]:
    """Every choice of the plan, in the order of the recipe's sections."""
    rules: tuple[Callable[[ImageFacts, Wish], list[Choice]], ...] = (
        _classes,
        _windows,
        _augment,
        _network,
        _training,
    )
    chosen = [choice for rule in rules for choice in rule(facts, wish)]
    return (Choice("seed", wish.seed, "Same seed, same windows.", "given"), *chosen)


def about_images(facts: ImageFacts) -> tuple[str, ...]:
    """The images and the machine in a few lines."""
    counts = "; ".join(f"{name}: {images} of {patients} patients" for name, images, patients in facts.classes)
    lines = [
        f"Planned by histoscout for {facts.images} images of one class each, of {facts.patients} patients.",
        f"Images by class: {counts}.",
        f"Longer side of an image, um: {facts.length_um}.",
    ]
    if facts.test_images:
        lines.append(f"{facts.test_images} images of the split test were not opened.")
    return (
        *lines,
        "After each reason, in brackets, stands what it rests on. What is not here has its default.",
    )


def _classes(facts: ImageFacts, wish: Wish) -> list[Choice]:
    names = known_classes(facts)
    ordered = [name for name in BRACS if name in names] if set(names) <= set(BRACS) else sorted(names)
    message = "Comes first; all classes are told apart alike. It is the one looked for if the model is used on slides."
    left = sorted({name for name, _, _ in facts.classes} - set(names))
    unsure = f"Unsure classes are left out: {enumerated(left)}." if left else "Unsure classes are left out."
    special = {name: [exactly(name)] for name in names if exactly(name) != name}
    rows = [
        Choice("classes.positive", wish.positive, message, "these images"),
        Choice("classes.other", [name for name in ordered if name != wish.positive], "", ""),
        Choice("classes.ignore", list(ClassConfig().ignore), unsure, CONVENTION),
    ]
    if special:
        message = "These names hold signs that patterns are made of."
        rows.append(Choice("classes.aliases", special, message, "these images"))
    return rows


def _windows(facts: ImageFacts, wish: Wish) -> list[Choice]:
    wanted = facts.length_um.median / SIDE_PX
    rung = min(LADDER, key=lambda step: abs(math.log(step / wanted)))
    mpp = rung if rung >= facts.coarsest_mpp else float(f"{facts.coarsest_mpp:.4g}")
    message = f"Half of the images are longer than {facts.length_um.median:.0f} um, so about half are seen whole in {SIDE_PX} px."
    if mpp != rung:
        message += f" {rung:g} um/px would be right, but the coarsest image has {facts.coarsest_mpp:.4g}."
    return [
        Choice("patches.mpp", mpp, message, WHOLE_IMAGE),
        Choice("patches.size_um", SIDE_PX * mpp, "", ""),
        Choice(
            "patches.tile_coverage",
            0.0,
            "However little a window shows of an image, it is of its class.",
            "by definition",
        ),
    ]


def _augment(facts: ImageFacts, wish: Wish) -> list[Choice]:
    few = facts.patients < 20
    message = "Few patients: colour must not become a clue." if few else "Many patients: the ordinary amount."
    return [Choice("augment.stain", 0.07 if few else 0.05, message, CONVENTION)]


def _network(facts: ImageFacts, wish: Wish) -> list[Choice]:
    encoder = "resnet50" if facts.machine.device == "cuda" else "resnet18"
    message = (
        "As you wish."
        if wish.weights is not None
        else "No download, and nobody else's licence; weights from a file usually do better (--weights)."
    )
    return [
        Choice("network.architecture", "timm", "One answer for a window.", "by definition"),
        Choice(
            "network.encoder", encoder, f"For {facts.machine.device}; others were not compared.", CONVENTION
        ),
        Choice("network.weights", wish.weights or "none", message, "given" if wish.weights else CONVENTION),
        Choice(
            "loss.name", "cross_entropy", "The sampler shows every class as often as any other.", CONVENTION
        ),
    ]


def _training(facts: ImageFacts, wish: Wish) -> list[Choice]:
    machine = facts.machine
    small = machine.memory_gb is not None and machine.memory_gb < SMALL_MEMORY_GB
    batch = 8 if small else 32 if machine.device == "cuda" else 16
    rate = RATE if wish.weights in {None, "none"} else WEIGHTED_RATE
    tuned = (
        "Of the patients of each class."
        if not facts.tuned_by_table
        else "The images say who is tuned on; not used."
    )
    return [
        minutes_allowed(wish),
        Choice(
            "training.batch_size",
            batch,
            f"This machine: {machine.cores} cores, {machine.device}.",
            CONVENTION,
        ),
        Choice("training.workers", 1 if small else min(MOST_WORKERS, machine.cores), "", ""),
        Choice("training.learning_rate", rate, "AdamW in one cycle.", CONVENTION),
        Choice("training.validation_patches", 512, "So that rare classes are among them.", CONVENTION),
        Choice("training.tuning_share", 0.2 if facts.patients >= 15 else 0.3, tuned, CONVENTION),
    ]
