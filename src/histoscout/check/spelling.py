"""Class names that somebody may have meant to be the same."""

from collections.abc import Mapping
from itertools import combinations

from histoscout.recipe import plain

SHORTEST = 3  # letters of a name in which a slip can be told from another name
LONG = 6  # from here on a single wrong letter is a slip


def same_class(labels: Mapping[str, int]) -> list[tuple[str, ...]]:
    """Spellings that histoscout takes for one class: they differ in case, blanks, hyphens or underscores only."""
    groups: dict[str, list[str]] = {}
    for label in sorted(labels):
        groups.setdefault(plain(label), []).append(label)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def near_misses(labels: Mapping[str, int]) -> list[tuple[str, str]]:
    """Pairs of a rarer and a more common class name that differ by one slip of the hand; counts by name.

    A slip is two neighbouring letters exchanged, or one letter too many or too few, or in long names one wrong letter.
    "UDH" and "ADH" are two names.
    """
    counts: dict[str, int] = {}
    typed: dict[str, str] = {}
    for label, count in labels.items():
        counts[plain(label)] = counts.get(plain(label), 0) + count
        typed.setdefault(plain(label), label)
    found = [
        sorted((one, two), key=lambda name: counts[name])
        for one, two in combinations(sorted(counts), 2)
        if is_slip(one, two)
    ]
    return [(typed[rare], typed[common]) for rare, common in found]


def is_slip(one: str, two: str) -> bool:
    """Whether two names are one slip of the hand apart."""
    if min(len(one), len(two)) < SHORTEST or one == two:
        return False
    if len(one) == len(two):
        wrong = [place for place in range(len(one)) if one[place] != two[place]]
        if len(wrong) == 2 and wrong[1] == wrong[0] + 1:
            first, second = wrong
            return one[first] == two[second] and one[second] == two[first]
        return len(wrong) == 1 and len(one) >= LONG and not (one[wrong[0]] + two[wrong[0]]).isdigit()
    short, long = sorted((one, two), key=len)
    dropped = (long[:place] + long[place + 1 :] for place in range(len(long)))
    return len(long) == len(short) + 1 and not long[-1].isdigit() and short in dropped
