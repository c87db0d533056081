"""Agreement of two readers: Cohen's kappa, and the regions on which they differ."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from histoscout.review.state import SlideReview


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far two readers agree on the regions that both judged.

    Attributes:
        readers: Initials of the two.
        regions: How many regions both judged.
        agreed: On how many of them they gave the same answer (a class, no lesion or unclear).
        kappa: Cohen's kappa; None without regions, and if both always gave one and the same answer.
        differing: Slide and id of the regions on which they differ.
    """

    readers: tuple[str, str]
    regions: int
    agreed: int
    kappa: float | None
    differing: tuple[tuple[str, str], ...]


def measure_agreement(slides: Iterable[SlideReview], first: str, second: str) -> Agreement:
    """Compare the verdicts of two readers.

    Args:
        slides: The slides.
        first: Initials of one reader.
        second: Initials of the other.

    Returns:
        Their agreement (Cohen 1960, Educational and Psychological Measurement 20:37).

    Example:
        >>> measure_agreement([SlideReview(slide="A1")], "AB", "CD").kappa is None
        True
    """
    pairs: list[tuple[str, str]] = []
    differing: list[tuple[str, str]] = []
    for slide in slides:
        for identity, reviewed in slide.regions.items():
            if first in reviewed.verdicts and second in reviewed.verdicts:
                pair = reviewed.verdicts[first].answer, reviewed.verdicts[second].answer
                pairs.append(pair)
                if pair[0] != pair[1]:
                    differing.append((slide.slide, identity))
    total, agreed = len(pairs), len(pairs) - len(differing)
    by_first, by_second = Counter(pair[0] for pair in pairs), Counter(pair[1] for pair in pairs)
    by_chance = sum(by_first[answer] * by_second[answer] for answer in by_first)
    # (observed - expected) / (1 - expected), with whole numbers so that "always the same" is found exactly
    rest = total * total - by_chance
    return Agreement(
        readers=(first, second),
        regions=total,
        agreed=agreed,
        kappa=(agreed * total - by_chance) / rest if rest else None,
        differing=tuple(differing),
    )
