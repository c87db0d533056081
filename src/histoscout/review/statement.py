"""What a region in a file of QuPath says: its verdict by its class, its id, and whether its outline was changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import shapely

from histoscout.annotations.qupath_properties import is_uuid, stable_id
from histoscout.cohort.annotated_slide import REVIEWED
from histoscout.geometry.regions import Outline
from histoscout.recipe_sections import ClassConfig
from histoscout.review.review import OUTCOME_CLASSES
from histoscout.review.state import Decision

SAME_PX = 0.05
"""How far apart, in level-0 px, two outlines of one region may be: QuPath keeps polygons in single precision."""

_DECISIONS: Mapping[str, Decision] = MappingProxyType(
    {OUTCOME_CLASSES["reject"]: "reject", OUTCOME_CLASSES["unclear"]: "unclear"}
)
_UNDECIDED = frozenset({OUTCOME_CLASSES["open"], OUTCOME_CLASSES["differ"], "?"})


@dataclass(frozen=True)
class Statement:
    """What the class of a region in QuPath says.

    Attributes:
        decision: The verdict; None if the class says nothing.
        label: The class without what was derived from it.
    """

    decision: Decision | None
    label: str


def read_statement(label: str) -> Statement:
    """Read what the class of a region in QuPath says.

    Args:
        label: The class, such as "UDH", "UDH: rejected" or "UDH: found".

    Returns:
        A class that is derived by the review is its verdict, a class to ignore is unclear, no class says nothing.

    Example:
        >>> read_statement("UDH: rejected")
        Statement(decision='reject', label='UDH')
        >>> read_statement("UDH: found").decision is None
        True
    """
    base, _, last = label.rpartition(": ")
    if last in _UNDECIDED or not label.strip():
        return Statement(None, base)
    if last in _DECISIONS:
        return Statement(_DECISIONS[last], base)
    if ClassConfig().canonical(label) == "ignore":
        return Statement("unclear", "")
    return Statement("accept", label)


def region_key(identity: str) -> str:
    """The id under which QuPath keeps a region: a UUID.

    Args:
        identity: Id of a region.
    """
    return identity.casefold() if is_uuid(identity) else stable_id(identity)


def same_outline(first: Outline, second: Outline) -> bool:
    """Whether two outlines are the same but for rounding.

    Args:
        first: An outline in level-0 px.
        second: Another.
    """
    apart = max(abs(a - b) for a, b in zip(first.bounds, second.bounds, strict=True))
    if apart > SAME_PX:
        return False
    return float(shapely.hausdorff_distance(first.boundary, second.boundary)) <= SAME_PX


def is_area(label: str) -> bool:
    """Whether a class marks areas that were looked through.

    Args:
        label: The class.
    """
    return ClassConfig().canonical(label) == REVIEWED
