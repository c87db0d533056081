"""The rules of a plan: from the fingerprint of a cohort to the choices of a recipe, each with reason and basis.

Pure functions: the same fingerprint gives the same choices. Where nothing was measured, the basis says so.
"""

import math

from histoscout.recipe_sections import ClassConfig
from histoscout.training.planning.choices import (
    CONVENTION,
    DEFAULT_MINUTES,
    GIVEN,
    GLAS,
    MEASURED,
    THIS_COHORT,
    THIS_MACHINE,
    Choice,
    PlanRequest,
    augmentation_choice,
    minutes_choice,
    seed_choice,
)
from histoscout.training.planning.classes import ClassRoles, exact_pattern
from histoscout.training.planning.fingerprint import (
    ClassStatistics,
    CohortFingerprint,
    Machine,
    StainStatistics,
)

MPP_LADDER = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
"""Resolutions to choose from, um/px."""

LESION_PX = 70.0
"""Length of a typical lesion in px at the best resolution."""

SIDE_LESIONS = 1.75
"""Side of a patch in lengths of a typical lesion, at least."""

MIN_SIDE_PX = 128
"""Side of a patch at least."""

MAX_SIDE_PX = {"cpu": 256, "cuda": 512, "mps": 256}
"""Side of a patch at most: a larger one would take too much time."""

SMALL_MEMORY_GB = 4.0
"""Memory below which batches are small and one worker reads them."""

MAX_WORKERS = 8
"""Worker processes at most."""

MAX_MEMBERS = 3
"""Ensemble members at most."""

FEW_PATIENTS = 15
"""From so many patients with lesions on, a single network is enough: few are missing in its training set."""

MEMBER_MINUTES = 6.0
"""Minutes that an ensemble member needs on two cores with bfloat16."""

CUDA_SPEEDUP = 4.0
"""How much faster a step is with an NVIDIA GPU than on two fast cores, at least: 14 times on an idle H200."""

FLOAT32_SLOWDOWN = 3.0
"""How much slower a step is on a processor without bfloat16."""

PX_PER_SECOND = 0.6e6
"""Pixels that a core with bfloat16 predicts per second."""

PX_PER_SECOND_FLOAT32 = 0.36e6
"""Pixels that a core without bfloat16 predicts per second."""

MAX_SECONDS_PER_SLIDE = 1800.0
"""Time of detection on a slide, if fewer views (TTA) make it fit."""


def make_choices(facts: CohortFingerprint, roles: ClassRoles, request: PlanRequest) -> tuple[Choice, ...]:
    """Make all choices of a plan.

    Args:
        facts: The fingerprint.
        roles: The roles of its classes.
        request: What the user has decided.

    Returns:
        The choices in the order of the recipe's sections.
    """
    lesion = roles.positive
    mpp = choose_mpp(facts, lesion)
    members, members_reason, members_basis = choose_ensemble_size(facts, lesion, request)
    return (
        seed_choice(request.seed),
        *_class_choices(facts, roles, request),
        *_patch_choices(facts, lesion, mpp),
        *_sampler_choices(roles),
        augmentation_choice(facts.patients, _describe_stain(facts.stain)),
        Choice(
            "network.architecture",
            "smp.Unet",
            "Trains in minutes, and is the network of the evaluated recipes. Larger ones were not compared.",
            GLAS,
        ),
        Choice("network.encoder", "resnet18"),
        _weights_choice(facts, request),
        Choice("network.ensemble_size", members, members_reason, members_basis),
        minutes_choice(request.minutes),
        *_training_choices(facts, lesion, members),
        *_detection_choices(facts, lesion, choose_views(facts, mpp, members=members)),
    )


# ---------------------------------------------------------------- classes


def _class_choices(facts: CohortFingerprint, roles: ClassRoles, request: PlanRequest) -> list[Choice]:
    lesion = roles.positive
    reason = f"{lesion.regions} regions on {lesion.slides} slides of {lesion.patients} of {facts.patients} patients."
    choices = [Choice("classes.positive", lesion.name, reason, THIS_COHORT)]
    if roles.other:
        reason = "Annotated classes that must not be mistaken for it: each has an output of its own."
        choices.append(Choice("classes.other", list(roles.other), reason, GLAS))
    choices.append(_ignore_choice(roles))
    if roles.reviewed:
        reason = (
            f"Here: {', '.join(roles.reviewed)}. On slides with such areas, unannotated tissue outside them does not "
            "count as background."
        )
        choices.append(Choice("classes.reviewed", list(ClassConfig().reviewed), reason, CONVENTION))
    if request.class_property:
        reason = "Where the annotations hold their classes."
        choices.append(Choice("classes.class_property", request.class_property, reason, GIVEN))
    if not request.complete:
        reason = "Not every lesion is annotated: what looks like another one does not count as background."
        choices.append(Choice("classes.complete", False, reason, GIVEN))
    # names with the signs of a pattern match themselves only
    labels = (lesion.name, *roles.other)
    if patterns := {name: [exact_pattern(name)] for name in labels if exact_pattern(name) != name}:
        reason = "These names contain signs that have a meaning in patterns."
        choices.append(Choice("classes.aliases", patterns, reason, THIS_COHORT))
    return choices


def _ignore_choice(roles: ClassRoles) -> Choice:
    """Unsure classes, and what looks like another spelling of a class until the user decides."""
    patterns = list(ClassConfig().ignore)
    reasons = ["Unsure classes are ignored."]
    if roles.unsure:
        reasons.append(f"Here: {', '.join(roles.unsure)}.")
    for name, resembled in roles.similar:
        patterns.append(exact_pattern(name))
        reasons.append(
            f'Is "{name}" another spelling of "{resembled}"? If so, delete it here and add it to classes.aliases of '
            "that class; if not, add it to classes.other."
        )
    if roles.unclassified:
        patterns.append("")
        reasons.append(f"{roles.unclassified} regions have no class; they are ignored until they have one.")
    if roles.areas:
        reasons.append(
            f"Drawn around whole areas, and therefore background and no look-alikes: {', '.join(roles.areas)}."
        )
    if roles.rare:
        reasons.append(f"Background, since there are too many classes: {', '.join(roles.rare)}.")
    return Choice("classes.ignore", patterns, " ".join(reasons), CONVENTION)


# ---------------------------------------------------------------- patches


def choose_mpp(facts: CohortFingerprint, lesion: ClassStatistics) -> float:
    """Choose the resolution at which a typical lesion is about 70 px long, no finer than the coarsest slide.

    Args:
        facts: The fingerprint.
        lesion: The class to look for.

    Returns:
        um/px.
    """
    coarsest = max(slide.mpp for slide in facts.slides)
    rung = _nearest_rung(lesion.extent_um.median / LESION_PX)
    return rung if rung >= coarsest else float(f"{coarsest:.4g}")


def _nearest_rung(mpp: float) -> float:
    return min(MPP_LADDER, key=lambda rung: abs(math.log(rung / mpp)))


def _patch_choices(facts: CohortFingerprint, lesion: ClassStatistics, mpp: float) -> list[Choice]:
    extent = lesion.extent_um
    reason = (
        f"Lesions are {_um(extent.median)} um long (80 % from {_um(extent.low)} to {_um(extent.high)} um), which is "
        f"{extent.median / mpp:.0f} px."
    )
    rung = _nearest_rung(extent.median / LESION_PX)
    if mpp != rung:
        coarsest = max(slide.mpp for slide in facts.slides)
        reason += f" {rung:g} um/px would be right, but the coarsest slide has {coarsest:.4g}."
    reason += f" About {LESION_PX:.0f} px were best on synthetic slides, and good on GlaS."
    side_px = _choose_side_px(facts, lesion, mpp)
    size_reason = (
        f"{side_px} px, {side_px * mpp / extent.median:.1f} times a lesion. The aim is at least {SIDE_LESIONS:g} "
        "times, and that nine of ten lesions fit."
    )
    if side_px * mpp < extent.median * 1.2:
        size_reason += " It is less here: larger patches would take too long, or the slides are no wider."
    return [
        Choice("patches.mpp", mpp, reason, MEASURED),
        Choice("patches.size_um", side_px * mpp, size_reason, MEASURED),
    ]


def _choose_side_px(facts: CohortFingerprint, lesion: ClassStatistics, mpp: float) -> int:
    extent = lesion.extent_um
    wanted = max(32 * round(SIDE_LESIONS * extent.median / mpp / 32), 32 * math.ceil(extent.high / mpp / 32))
    # half of the slides are at least as wide
    shorter = sorted(slide.shorter_um for slide in facts.slides)
    fits = 32 * int(shorter[len(shorter) // 2] / mpp / 32)
    largest = min(MAX_SIDE_PX[facts.machine.device], max(64, fits))
    return min(largest, max(MIN_SIDE_PX, wanted))


def _um(length: float) -> str:
    return f"{length:.0f}" if length >= 10 else f"{length:.2g}"


def _sampler_choices(roles: ClassRoles) -> list[Choice]:
    other = 0.3 if roles.other else 0.0
    reason = "Shares of patches on lesions, look-alikes and any tissue."
    if not other:
        reason = "No other class is annotated: shares of patches on lesions and any tissue."
    return [
        Choice("sampler.positive", 0.4, reason, GLAS if other else CONVENTION),
        Choice("sampler.other", other),
        Choice("sampler.tissue", 0.6 - other),
        Choice("sampler.jitter", 0.6, "Lesions should be anywhere in a patch.", GLAS),
    ]


def _describe_stain(stain: StainStatistics | None) -> str:
    if stain is None:
        return "The stain could not be measured."
    blue, pink = stain.hematoxylin, stain.eosin
    return (
        f"Mean optical density in the tissue of {stain.patients} patients (80 %): hematoxylin {blue.low:.2f} to "
        f"{blue.high:.2f}, eosin {pink.low:.2f} to {pink.high:.2f}."
    )


# ---------------------------------------------------------------- network and training


def choose_ensemble_size(
    facts: CohortFingerprint, lesion: ClassStatistics, request: PlanRequest
) -> tuple[int, str, str]:
    """Choose the number of networks that share the minutes.

    With few patients, each tuning patient is missing in the training set; several networks take turns.

    Args:
        facts: The fingerprint.
        lesion: The class to look for.
        request: The minutes.

    Returns:
        The number, its reason, and its basis.
    """
    patients = lesion.patients
    if facts.tuned_by_table:
        reason = "The cohort's table names the tuning set, so that networks could not take turns."
        return 1, reason, CONVENTION
    if patients < 2:
        reason = "One patient with lesions: networks could not take turns with the tuning set."
        return 1, reason, CONVENTION
    if patients >= FEW_PATIENTS:
        reason = f"{patients} patients with lesions: the few in the tuning set are not needed for training."
        return 1, reason, CONVENTION
    needed = MEMBER_MINUTES / _training_speed(facts.machine)
    minutes = DEFAULT_MINUTES if request.minutes is None else request.minutes
    count = max(1, min(MAX_MEMBERS, patients, int(minutes / needed)))
    if count == 1:
        reason = f"Too few minutes for two networks: on this machine each needs {needed:.2g}."
        return 1, reason, MEASURED
    reason = (
        f"{patients} patients with lesions: those in the tuning set are missing in the training set. So networks take "
        f"turns, and most of them are trained on each patient. Detection takes {count} times as long."
    )
    return count, reason, MEASURED


def _training_speed(machine: Machine) -> float:
    """Speed of training: 1 for two cores with bfloat16, and not more for more cores."""
    if machine.device == "cuda":
        return CUDA_SPEEDUP
    # not measured
    if machine.device == "mps":
        return 1.0
    return min(1.0, machine.cores / 2 / (1.0 if machine.bf16 else FLOAT32_SLOWDOWN))


def _weights_choice(facts: CohortFingerprint, request: PlanRequest) -> Choice:
    name = "network.weights"
    if request.weights is not None:
        return Choice(name, request.weights, "As requested; check the license of the weights.", GIVEN)
    if facts.built_in:
        reason = "Weights that were trained on synthetic slides would make results on these slides too good."
        return Choice(name, "none", reason, CONVENTION)
    reason = "Trained on synthetic slides: no download, no patient data, no license of others."
    return Choice(name, "built-in", reason, MEASURED)


def _training_choices(facts: CohortFingerprint, lesion: ClassStatistics, members: int) -> list[Choice]:
    machine, patients = facts.machine, lesion.patients
    # with few patients a larger share, so that the tuning set has more than one where that is possible
    share = 0.2 if members > 1 or patients >= 15 else 0.3 if patients >= 5 else 0.25
    reason = "Not used, since the cohort's table names the tuning set."
    if not facts.tuned_by_table:
        tuning = min(patients - 1, max(1, round(share * patients)))
        turns = " at a time" if members > 1 else ""
        reason = f"Of {patients} patients with lesions, {tuning}{turns} in the tuning set, which chooses the threshold."
    small = machine.memory_gb is not None and machine.memory_gb < SMALL_MEMORY_GB
    batch = 4 if small else 16 if machine.device == "cuda" else 8
    description = f"{machine.cores} cores, {_memory(machine.memory_gb)} memory, {machine.device}"
    if machine.device == "cuda":
        description += f" with {_memory(machine.gpu_memory_gb)}"
    workers = 1 if small else min(MAX_WORKERS, machine.cores)
    precision = "bf16" if machine.bf16 else "float32"
    return [
        Choice(
            "training.batch_size", batch, f"This machine: {description}.", GLAS if batch == 8 else CONVENTION
        ),
        Choice("training.workers", workers, "One per core, at most eight.", THIS_MACHINE),
        Choice("training.precision", "auto", f"On this machine {precision}.", THIS_MACHINE),
        Choice("training.learning_rate", 1e-3, "AdamW with a one-cycle schedule.", GLAS),
        Choice("training.tuning_share", share, reason, CONVENTION),
    ]


def _memory(gigabytes: float | None) -> str:
    return "unknown" if gigabytes is None else f"{gigabytes:.0f} GiB"


# ---------------------------------------------------------------- detection


def choose_views(facts: CohortFingerprint, mpp: float, *, members: int) -> int:
    """Choose the number of views (TTA): eight, or on a processor as many as fit into half an hour per slide.

    Args:
        facts: The fingerprint.
        mpp: Resolution of patches, um/px.
        members: Number of ensemble members.

    Returns:
        1, 2, 4 or 8.
    """
    machine = facts.machine
    if machine.device != "cpu":
        return 8
    # windows that overlap by half cover every place four times
    px = facts.tissue_mm2 * 1e6 / mpp**2 * 4 * members
    rate = machine.cores * (PX_PER_SECOND if machine.bf16 else PX_PER_SECOND_FLOAT32)
    return next((views for views in (8, 4, 2) if views * px / rate <= MAX_SECONDS_PER_SLIDE), 1)


def _detection_choices(facts: CohortFingerprint, lesion: ClassStatistics, views: int) -> list[Choice]:
    min_area = float(f"{math.pi / 4 * lesion.diameter_um.low**2 / 3:.2g}")
    views_reason = "Flipped and rotated views are averaged (test-time augmentation)."
    if facts.machine.device == "cpu":
        views_reason = (
            f"A slide has {facts.tissue_mm2:.0f} mm2 of tissue: as many flipped and rotated views (test-time "
            "augmentation) as fit into half an hour per slide."
        )
    area_reason = "A third of the area that nine of ten lesions exceed."
    return [
        Choice("detection.overlap", 0.5, "Every place is near the middle of some window.", GLAS),
        Choice("detection.tta_views", views, views_reason, GLAS if views == 8 else CONVENTION),
        Choice("detection.min_area_um2", min_area, area_reason, CONVENTION),
    ]
