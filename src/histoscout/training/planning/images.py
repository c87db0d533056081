"""The rules of a plan for image classification data: a classifier that tells all classes apart.

Pure functions of the fingerprint, as in `planning.rules`.
"""

import math
from dataclasses import dataclass

from histoscout.cohort.bracs import CLASSES as BRACS
from histoscout.cohort.case import open_case
from histoscout.cohort.cohort import Cohort
from histoscout.errors import RecipeError
from histoscout.io.notes import count_and_list
from histoscout.progress import Progress
from histoscout.recipe import SET_ASIDE
from histoscout.recipe_sections import ClassConfig, plain
from histoscout.training.planning.choices import (
    CONVENTION,
    GIVEN,
    Choice,
    PlanRequest,
    augmentation_choice,
    minutes_choice,
    seed_choice,
)
from histoscout.training.planning.classes import exact_pattern
from histoscout.training.planning.fingerprint import Machine, Quantiles
from histoscout.training.planning.rules import MAX_WORKERS, MPP_LADDER, SMALL_MEMORY_GB

SIDE_PX = 224
"""Side of a patch."""

LEARNING_RATE = 1e-3
"""Learning rate of networks that start from random weights."""

FINE_TUNING_RATE = 3e-4
"""Learning rate of networks that start from other weights."""

BY_DEFINITION = "by definition"
THESE_IMAGES = "these images"
WHOLE_IMAGE = (
    "published for BRACS: whole images at 224 px with a linear head are classified no worse than patches at full "
    "resolution (kaiko eva, README of kaiko-ai/Midnight)"
)


@dataclass(frozen=True, kw_only=True)
class ImageCohortFacts:
    """The images of a cohort outside the split "test", and the machine.

    Attributes:
        classes: Name, number of images and number of patients of each class, the one with most images first.
        patients: Number of patients.
        length_um: Longer side of an image.
        coarsest_mpp: um/px of the coarsest image.
        machine: The machine.
        tuned_by_table: Whether the cohort names the tuning set.
        test_images: Number of images of the split "test".
    """

    classes: tuple[tuple[str, int, int], ...]
    patients: int
    length_um: Quantiles
    coarsest_mpp: float
    machine: Machine
    tuned_by_table: bool
    test_images: int

    @property
    def images(self) -> int:
        """Number of images."""
        return sum(count for _, count, _ in self.classes)


def inspect_images(cohort: Cohort, machine: Machine, progress: Progress) -> ImageCohortFacts:
    """Read the sizes of all images that are not kept for testing; no pixel is decoded.

    Args:
        cohort: A cohort of images with one class each.
        machine: The machine.
        progress: Who is informed.

    Returns:
        The facts.

    Raises:
        RecipeError: If there is no such image.
    """
    cases = [case for case in cohort.cases if case.split != "test"]
    if not cases:
        fault = "the cohort has no images outside the split test"
        raise RecipeError(cohort.where, fault, "Add images to train on")
    lengths, mpps = [], []
    progress.start("inspecting images", len(cases))
    for case in cases:
        with open_case(case) as image:
            lengths.append(max(image.box.width, image.box.height) * image.mpp)
            mpps.append(image.mpp)
        progress.advance()
    progress.done()
    # images and patients of each class
    classes = []
    for label in sorted({case.label for case in cases}):
        of_class = [case for case in cases if case.label == label]
        classes.append((label, len(of_class), len({case.patient for case in of_class})))
    return ImageCohortFacts(
        classes=tuple(sorted(classes, key=lambda row: -row[1])),
        patients=len({case.patient for case in cases}),
        length_um=Quantiles.from_values(lengths),
        coarsest_mpp=max(mpps),
        machine=machine,
        tuned_by_table=any(case.split == "tune" for case in cases),
        test_images=len(cohort.cases) - len(cases),
    )


def choose_first_class(facts: ImageCohortFacts, wanted: str | None, where: str) -> str:
    """Choose the class that comes first: the one that the user names, else UDH, else the one with fewest images.

    Args:
        facts: The images.
        wanted: What the user names.
        where: What an error names as its place.

    Returns:
        The class as the cohort spells it.

    Raises:
        RecipeError: If there are fewer than two classes, or none with this name.
    """
    names = class_names(facts)
    if len(names) < 2:
        fault = f"there are fewer than two classes to tell apart ({', '.join(names) or 'none'})"
        raise RecipeError(where, fault, "Give a folder of images for each class")
    if wanted is None:
        return next((name for name in names if plain(name) == "udh"), names[-1])
    match = next((name for name in names if plain(name) == plain(wanted)), None)
    if match is None:
        fault = f"no image has the class {wanted!r} (classes: {', '.join(names)})"
        raise RecipeError(where, fault, "Name one of these with --positive, or none")
    return match


def class_names(facts: ImageCohortFacts) -> list[str]:
    """The classes to tell apart, those with most images first, without unsure ones.

    Args:
        facts: Facts about the cohort.

    Returns:
        The names.
    """
    return [name for name, _, _ in facts.classes if ClassConfig().canonical(name) not in SET_ASIDE]


def image_choices(facts: ImageCohortFacts, request: PlanRequest) -> tuple[Choice, ...]:
    """Make all choices of a plan.

    Args:
        facts: The images.
        request: What the user has decided.

    Returns:
        The choices in the order of the recipe's sections.
    """
    return (
        seed_choice(request.seed),
        *_class_choices(facts, request.positive),
        *_patch_choices(facts),
        augmentation_choice(facts.patients),
        *_network_choices(facts.machine, request.weights),
        minutes_choice(request.minutes),
        *_training_choices(facts, request.weights),
    )


def describe_images(facts: ImageCohortFacts) -> tuple[str, ...]:
    """Describe the images in a few lines.

    Args:
        facts: The images.

    Returns:
        Lines for the head of a plan.
    """
    counts = "; ".join(f"{name}: {images} of {patients} patients" for name, images, patients in facts.classes)
    lines = [
        f"Planned by histoscout for {facts.images} images of {facts.patients} patients, each with one class.",
        f"Images by class: {counts}.",
        f"Longer side of an image in um: {facts.length_um}.",
    ]
    if facts.test_images:
        lines.append(f"{facts.test_images} images of the split test were not opened.")
    return tuple(lines)


def _class_choices(facts: ImageCohortFacts, positive: str) -> list[Choice]:
    names = class_names(facts)
    ordered = [name for name in BRACS if name in names] if set(names) <= set(BRACS) else sorted(names)
    reason = (
        "The first class; all classes are distinguished alike. It is detected if the model is used on slides."
    )
    left_out = sorted({name for name, _, _ in facts.classes} - set(names))
    unsure = "Unsure classes are left out."
    if left_out:
        unsure = f"Unsure classes are left out: {count_and_list(left_out)}."
    choices = [
        Choice("classes.positive", positive, reason, THESE_IMAGES),
        Choice("classes.other", [name for name in ordered if name != positive]),
        Choice("classes.ignore", list(ClassConfig().ignore), unsure, CONVENTION),
    ]
    # names with the signs of a pattern match themselves only
    if patterns := {name: [exact_pattern(name)] for name in names if exact_pattern(name) != name}:
        reason = "These names contain signs that have a meaning in patterns."
        choices.append(Choice("classes.aliases", patterns, reason, THESE_IMAGES))
    return choices


def _patch_choices(facts: ImageCohortFacts) -> list[Choice]:
    wanted = facts.length_um.median / SIDE_PX
    rung = min(MPP_LADDER, key=lambda step: abs(math.log(step / wanted)))
    mpp = rung if rung >= facts.coarsest_mpp else float(f"{facts.coarsest_mpp:.4g}")
    reason = (
        f"Half of the images are longer than {facts.length_um.median:.0f} um, so that about half fit into a patch of "
        f"{SIDE_PX} px."
    )
    if mpp != rung:
        reason += f" {rung:g} um/px would be right, but the coarsest image has {facts.coarsest_mpp:.4g}."
    coverage_reason = "However little of an image a patch shows, it has the image's class."
    return [
        Choice("patches.mpp", mpp, reason, WHOLE_IMAGE),
        Choice("patches.size_um", SIDE_PX * mpp),
        Choice("patches.tile_coverage", 0.0, coverage_reason, BY_DEFINITION),
    ]


def _network_choices(machine: Machine, weights: str | None) -> list[Choice]:
    encoder = "resnet50" if machine.device == "cuda" else "resnet18"
    reason = "No download, and no license of others; weights from a file are usually better (--weights)."
    if weights is not None:
        reason = "As requested."
    return [
        Choice("network.architecture", "timm", "One prediction per patch.", BY_DEFINITION),
        Choice("network.encoder", encoder, f"For {machine.device}; others were not compared.", CONVENTION),
        Choice("network.weights", weights or "none", reason, GIVEN if weights else CONVENTION),
        Choice("loss.name", "cross_entropy", "The sampler draws all classes equally often.", CONVENTION),
    ]


def _training_choices(facts: ImageCohortFacts, weights: str | None) -> list[Choice]:
    machine = facts.machine
    small = machine.memory_gb is not None and machine.memory_gb < SMALL_MEMORY_GB
    batch = 8 if small else 32 if machine.device == "cuda" else 16
    rate = LEARNING_RATE if weights in {None, "none"} else FINE_TUNING_RATE
    description = f"This machine: {machine.cores} cores, {machine.device}."
    reason = "Of the patients of each class."
    if facts.tuned_by_table:
        reason = "Not used, since the cohort names the tuning set."
    return [
        Choice("training.batch_size", batch, description, CONVENTION),
        Choice("training.workers", 1 if small else min(MAX_WORKERS, machine.cores)),
        Choice("training.learning_rate", rate, "AdamW with a one-cycle schedule.", CONVENTION),
        Choice("training.validation_patches", 512, "Enough to show rare classes.", CONVENTION),
        Choice("training.tuning_share", 0.2 if facts.patients >= 15 else 0.3, reason, CONVENTION),
    ]
