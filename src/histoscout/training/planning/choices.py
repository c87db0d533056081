"""The choices of a plan: a value for each recipe key, with its reason and what the reason rests on."""

from dataclasses import dataclass

DEFAULT_MINUTES = 20.0
"""Minutes of training if the user gives none."""

MEASURED = "measured: docs/log.md"
GLAS = "as in recipes/glas.toml, which was evaluated as a whole"
CONVENTION = "convention, not measured"
GIVEN = "given"
THIS_COHORT = "this cohort"
THIS_MACHINE = "this machine"


@dataclass(frozen=True)
class Choice:
    """One choice of a recipe.

    Attributes:
        name: The dotted key.
        value: The value.
        reason: Why; empty for a key that shares the reason of the key before it.
        basis: What the reason rests on.
    """

    name: str
    value: object
    reason: str = ""
    basis: str = ""


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """What the user has decided.

    Attributes:
        positive: The class to look for.
        minutes: Minutes of training; None for the default.
        seed: Random seed.
        weights: The value of `network.weights`; None for the rule's choice.
        complete: Whether every lesion is annotated.
        class_property: Property of the annotations that holds their classes; "" for the usual place.
    """

    positive: str
    minutes: float | None = None
    seed: int = 0
    weights: str | None = None
    complete: bool = True
    class_property: str = ""


def seed_choice(seed: int) -> Choice:
    """The random seed.

    Args:
        seed: The seed.

    Returns:
        The choice.
    """
    return Choice("seed", seed, "The same seed gives the same patches and weights.", GIVEN)


def minutes_choice(minutes: float | None) -> Choice:
    """The minutes of training, given or by default.

    Args:
        minutes: The user's minutes; None for the default.

    Returns:
        The choice.
    """
    if minutes is None:
        reason = "The default; give more if the curves still rise at the end."
        return Choice("training.minutes", DEFAULT_MINUTES, reason, CONVENTION)
    return Choice("training.minutes", minutes, "As requested.", GIVEN)


def augmentation_choice(patients: int, description: str = "") -> Choice:
    """The amount of stain augmentation.

    Args:
        patients: Number of patients.
        description: What was measured of the stain.

    Returns:
        The choice.
    """
    few = patients < 20
    reason = "Few patients: color must not identify them." if few else "Many patients: the usual amount."
    if not description:
        return Choice("augment.stain", 0.07 if few else 0.05, reason, CONVENTION)
    basis = GLAS if few else "published: Tellez 2019, for stain augmentation; the amount is the default"
    return Choice("augment.stain", 0.07 if few else 0.05, f"{description} {reason}", basis)
