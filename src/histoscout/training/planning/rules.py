"""The rules of a plan: from a cohort's fingerprint to the recipe's choices, each with its reason and what it rests on.

Pure functions: the same fingerprint gives the same choices. Where nothing was measured, a rule says so.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from histoscout.recipe import ClassConfig
from histoscout.training.planning.classes import ClassPlan, exactly
from histoscout.training.planning.fingerprint import CohortFingerprint, Machine

LADDER = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)  # um/px
ACROSS_PX, SIDE_TIMES = 70.0, 1.75
LEAST_PX, MOST_PX = 128, {"cpu": 256, "cuda": 512, "mps": 256}
SMALL_MEMORY_GB = 4.0
MOST_WORKERS = 8
MEMBERS, FEW_PATIENTS, MEMBER_MINUTES = 3, 15, 6.0
MINUTES = 20.0
CUDA_TIMES = 4.0  # as fast, at least, is a step with an NVIDIA card as on two fast cores: 14 on an H200 that has nothing else to do
FLOAT32_TIMES = 3.0  # as long does a step take on a processor without bfloat16
PX_A_SECOND, PX_A_SECOND_FLOAT32 = 0.6e6, 0.36e6  # of a core in detection, with bfloat16 and without
SECONDS_A_SLIDE = 1800.0  # that it may take

MEASURED = "measured: docs/log.md"
GLAS = "as in recipes/glas.toml, which was measured as a whole"
CONVENTION = "convention, not measured"


@dataclass(frozen=True)
class Choice:
    """One choice of a recipe by its dotted name, why it was made, and what the reason rests on."""

    name: str
    value: object
    reason: str
    basis: str


@dataclass(frozen=True)
class Wish:
    """What the user has decided: the class to look for, how long to train, whose weights to begin with, and whether every
    lesion is outlined."""

    positive: str
    minutes: float | None = None
    seed: int = 0
    weights: str | None = None
    complete: bool = True

    @property
    def allowed(self) -> float:
        """Minutes of training: what was wished, or the default."""
        return MINUTES if self.minutes is None else self.minutes


@dataclass(frozen=True)
class _Known:
    """All that a rule may look at."""

    facts: CohortFingerprint
    classes: ClassPlan
    wish: Wish


def choices_for(facts: CohortFingerprint, classes: ClassPlan, wish: Wish) -> tuple[Choice, ...]:
    """Every choice of the plan, in the order of the recipe's sections."""
    known = _Known(facts, classes, wish)
    return tuple(choice for rule in RULES for choice in rule(known))


def _seed(known: _Known) -> list[Choice]:
    return [Choice("seed", known.wish.seed, "Same seed, same windows.", "given")]


def _classes(known: _Known) -> list[Choice]:
    plan = known.classes
    lesion = plan.positive
    message = f"{lesion.regions} outlines on {lesion.slides} slides of {lesion.patients} of {known.facts.patients} patients."
    rows = [Choice("classes.positive", lesion.name, message, "this cohort")]
    if plan.other:
        message = "Annotated classes that must not be taken for it: each has an output of its own."
        rows.append(Choice("classes.other", list(plan.other), message, GLAS))
    return rows + _ignored(plan) + _reviewed(plan) + _incomplete(known.wish) + _aliases(plan)


def _ignored(plan: ClassPlan) -> list[Choice]:
    """Unsure classes, and what looks like another spelling of a class until somebody decides."""
    patterns, reasons = list(ClassConfig().ignore), ["Unsure classes count neither for nor against."]
    if plan.unsure:
        reasons.append(f"Here: {', '.join(plan.unsure)}.")
    for name, resembled in plan.alike:
        patterns.append(exactly(name))
        reasons.append(
            f'Is "{name}" another spelling of "{resembled}"? If so take it out here and put it into '
            f"classes.aliases of that class; if not, into classes.other."
        )
    if plan.unclassified:
        patterns.append("")
        reasons.append(f"{plan.unclassified} outlines have no class: left out until they have one.")
    if plan.areas:
        reasons.append(
            f"Drawn round whole areas, therefore background and not look-alikes: {', '.join(plan.areas)}."
        )
    if plan.rare:
        reasons.append(f"Background, since there are too many classes: {', '.join(plan.rare)}.")
    return [Choice("classes.ignore", patterns, " ".join(reasons), CONVENTION)]


def _reviewed(plan: ClassPlan) -> list[Choice]:
    """Areas in which everything was marked."""
    if not plan.reviewed:
        return []
    message = f"Here: {', '.join(plan.reviewed)}. On slides with such areas, unmarked tissue outside them is not taken as healthy."
    return [Choice("classes.reviewed", list(ClassConfig().reviewed), message, CONVENTION)]


def _incomplete(wish: Wish) -> list[Choice]:
    message = "Not every lesion is outlined: others are looked for and not taught as background."
    return [] if wish.complete else [Choice("classes.complete", False, message, "given")]


def _aliases(plan: ClassPlan) -> list[Choice]:
    """Names that hold signs of a pattern mean themselves."""
    labels = (plan.positive.name, *plan.other)
    spelt = {name: [exactly(name)] for name in labels if exactly(name) != name}
    if not spelt:
        return []
    return [
        Choice("classes.aliases", spelt, "These names hold signs that patterns are made of.", "this cohort")
    ]


def _windows(known: _Known) -> list[Choice]:
    facts, size = known.facts, known.classes.positive.extent_um
    coarsest = max(slide.mpp for slide in facts.slides)
    wanted = size.median / ACROSS_PX
    rung = min(LADDER, key=lambda step: abs(math.log(step / wanted)))
    mpp = rung if rung >= coarsest else float(f"{coarsest:.4g}")
    message = f"Lesions are {_um(size.median)} um long (tenths: {_um(size.low)} and {_um(size.high)}), so {size.median / mpp:.0f} px."
    if mpp != rung:
        message += f" {rung:g} um/px would be right, but the coarsest slide has {coarsest:.4g}."
    rows = [
        Choice(
            "patches.mpp",
            mpp,
            f"{message} About {ACROSS_PX:.0f} px did best on the built-in cohort, and well on GlaS.",
            MEASURED,
        )
    ]
    side = _side_px(known, mpp)
    message = f"{side} px: {side * mpp / size.median:.1f} times a lesion. The aim is {SIDE_TIMES:g} times at least, and whole lesions up to the longest tenth."
    if side * mpp < size.median * 1.2:
        message += " It is less here: larger windows would cost too much, or slides are no wider."
    rows.append(Choice("patches.size_um", side * mpp, message, MEASURED))
    return rows


def _side_px(known: _Known, mpp: float) -> int:
    size = known.classes.positive.extent_um
    wanted = max(32 * round(SIDE_TIMES * size.median / mpp / 32), 32 * math.ceil(size.high / mpp / 32))
    shorter = sorted(slide.shorter_um for slide in known.facts.slides)
    fits = 32 * int(shorter[len(shorter) // 2] / mpp / 32)  # half of the slides are no smaller
    most = min(MOST_PX[known.facts.machine.device], max(64, fits))
    return min(most, max(LEAST_PX, wanted))


def _um(length: float) -> str:
    return f"{length:.0f}" if length >= 10 else f"{length:.2g}"


def _sampler(known: _Known) -> list[Choice]:
    other = 0.3 if known.classes.other else 0.0
    message = "Lesions, look-alikes and any tissue by turns."
    if not other:
        message = "No other class is outlined: lesions, and any tissue."
    basis = GLAS if other else CONVENTION
    return [
        Choice("sampler.positive", 0.4, message, basis),
        Choice("sampler.other", other, "", ""),
        Choice("sampler.tissue", 0.6 - other, "", ""),
        Choice("sampler.jitter", 0.6, "So that lesions lie anywhere in a window.", GLAS),
    ]


def _augment(known: _Known) -> list[Choice]:
    stain = known.facts.stain
    seen = "Stain could not be looked at." if stain is None else _stain_in_words(known)
    few = known.facts.patients < 20
    why = "Few patients: colour must not become a clue." if few else "Many patients: the ordinary amount."
    basis = GLAS if few else "published: Tellez 2019, that stain is varied; by how much is the default"
    return [Choice("augment.stain", 0.07 if few else 0.05, f"{seen} {why}", basis)]


def _stain_in_words(known: _Known) -> str:
    stain = known.facts.stain
    assert stain is not None
    blue, pink = stain.hematoxylin, stain.eosin
    return (
        f"Mean density in the tissue of {stain.patients} patients, tenths: haematoxylin {blue.low:.2f} to {blue.high:.2f}, "
        f"eosin {pink.low:.2f} to {pink.high:.2f}."
    )


def _network(known: _Known) -> list[Choice]:
    message = "Learns in minutes; the network of the measured recipes. Larger ones were not compared."
    return [
        Choice("network.architecture", "smp.Unet", message, GLAS),
        Choice("network.encoder", "resnet18", "", ""),
        Choice("network.weights", *_whose_weights(known)),
        Choice("network.ensemble_size", *_members(known)),
    ]


def _members(known: _Known) -> tuple[int, str, str]:
    """How many networks share the minutes, why, and what that rests on."""
    patients, minutes = known.classes.positive.patients, known.wish.allowed
    if known.facts.tuned_by_table:
        return (
            1,
            "The cohort's table names who is tuned on, so that networks could not take turns.",
            CONVENTION,
        )
    if not 2 <= patients < FEW_PATIENTS:
        message = "One patient with lesions: nobody else could be tuned on in turn." if patients < 2 else ""
        return 1, message or f"{patients} patients with lesions: few are missed while they tune.", CONVENTION
    each = MEMBER_MINUTES / _pace(known.facts.machine)
    count = max(1, min(MEMBERS, patients, int(minutes / each)))
    if count == 1:
        return 1, f"Too few minutes for two networks: on this machine each needs {each:.2g}.", MEASURED
    message = (
        f"{patients} patients with lesions: those who tune are missed among those learnt from. So networks take turns, "
        "and each patient is learnt from by most of them. Detection takes as many times longer."
    )
    return count, message, MEASURED


def _pace(machine: Machine) -> float:
    """How fast a machine learns: two cores that compute in bfloat16 are 1, and no number of cores is more."""
    if machine.device == "cuda":
        return CUDA_TIMES
    if machine.device == "mps":
        return 1.0  # not measured
    return min(1.0, machine.cores / 2 / (1.0 if machine.bf16 else FLOAT32_TIMES))


def _whose_weights(known: _Known) -> tuple[str, str, str]:
    if known.wish.weights is not None:
        return known.wish.weights, "As you wish; the licence of any weights applies.", "given"
    if known.facts.built_in:
        return (
            "none",
            "Weights that have learnt from other built-in slides would flatter on these.",
            CONVENTION,
        )
    message = (
        "Learnt from slides that histoscout draws: no download, no patient's data, nobody else's licence."
    )
    return "built-in", message, MEASURED


def minutes_allowed(wish: Wish) -> Choice:
    """How long to train, and who says so."""
    if wish.minutes is None:
        return Choice(
            "training.minutes", MINUTES, "The default; give more if the curves still rise.", CONVENTION
        )
    return Choice("training.minutes", wish.minutes, "How long you allow.", "given")


def _training(known: _Known) -> list[Choice]:
    machine, lesion = known.facts.machine, known.classes.positive
    share, tuned = (
        0.2 if _members(known)[0] > 1 else _tune_share(lesion.patients),
        "The cohort's table names who is tuned on; then this is not used.",
    )
    if not known.facts.tuned_by_table:
        turns = " at a time" if _members(known)[0] > 1 else ""
        tuned = f"{lesion.patients} patients have lesions, of whom {_tuned(lesion.patients, share)}{turns} choose the threshold."
    small = machine.memory_gb is not None and machine.memory_gb < SMALL_MEMORY_GB
    batch = 4 if small else 16 if machine.device == "cuda" else 8
    basis = GLAS if batch == 8 else CONVENTION
    workers = 1 if small else min(MOST_WORKERS, machine.cores)
    told = f"{machine.cores} cores, {_memory(machine.memory_gb)} memory, {machine.device}"
    told += f" with {_memory(machine.gpu_memory_gb)}" if machine.device == "cuda" else ""
    precision = "bf16" if machine.bf16 else "float32"
    return [
        minutes_allowed(known.wish),
        Choice("training.batch_size", batch, f"This machine: {told}.", basis),
        Choice("training.workers", workers, "One for each core, eight at most.", "this machine"),
        Choice("training.precision", "auto", f"Here that is {precision}.", "this machine"),
        Choice("training.learning_rate", 1e-3, "AdamW in one cycle.", GLAS),
        Choice("training.tuning_share", share, tuned, CONVENTION),
    ]


def _memory(gigabytes: float | None) -> str:
    return "unknown" if gigabytes is None else f"{gigabytes:.0f} GiB"


def _tune_share(patients: int) -> float:
    """With few patients a larger share, so that more than one chooses the threshold where that can be afforded."""
    return 0.2 if patients >= 15 else 0.3 if patients >= 5 else 0.25


def _tuned(patients: int, share: float) -> int:
    return min(patients - 1, max(1, round(share * patients)))


def _detection(known: _Known) -> list[Choice]:
    size = known.classes.positive.diameter_um
    smallest = float(f"{math.pi / 4 * size.low**2 / 3:.2g}")
    views, message = _views(known)
    return [
        Choice("detection.overlap", 0.5, "Every place is seen near the middle of some window.", GLAS),
        Choice("detection.tta_views", views, message, GLAS if views == 8 else CONVENTION),
        Choice(
            "detection.min_area_um2",
            smallest,
            "A third of the area below which only the smallest tenth of the lesions lies.",
            CONVENTION,
        ),
    ]


def _views(known: _Known) -> tuple[int, str]:
    """Eight views of each place, or as many as a slide can be given in half an hour."""
    machine = known.facts.machine
    mpp = float(str(_windows(known)[0].value))
    looks = 4 * _members(known)[0]  # of each member; an overlap of half looks four times at every place
    px = known.facts.tissue_mm2 * 1e6 / mpp**2 * looks
    if machine.device != "cpu":
        return 8, "Mirrored and turned views are averaged."
    rate = machine.cores * (PX_A_SECOND if machine.bf16 else PX_A_SECOND_FLOAT32)
    views = next((views for views in (8, 4, 2) if views * px / rate <= SECONDS_A_SLIDE), 1)
    message = f"A slide has {known.facts.tissue_mm2:.0f} mm2 of tissue: views, mirrored and turned, that fit into half an hour a slide."
    return views, message


RULES: tuple[Callable[[_Known], list[Choice]], ...] = (
    _seed,
    _classes,
    _windows,
    _sampler,
    _augment,
    _network,
    _training,
    _detection,
)
