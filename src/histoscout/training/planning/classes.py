"""Which annotated class is looked for, which are look-alikes, and which are better left out until somebody decides."""

import difflib
import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass

from histoscout.errors import RecipeError
from histoscout.recipe import SET_ASIDE, ClassConfig, plain
from histoscout.training.planning.fingerprint import ClassFacts

MOST_OTHER = 12  # outputs for other classes; further ones are background
ALIKE = 0.85  # of difflib's ratio, from which two names may be one
AREA_HOLDS, AREA_TIMES = 0.5, 5.0  # an outline of an area holds so many of the others and is so much wider

_SURE = re.compile(r"(sure|certain|definite|likely|probable|possible|new|old|copy|\?+|\d+)")
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True)
class ClassPlan:
    """What becomes of each annotated class. `alike` are near-miss spellings: (name, the class it resembles)."""

    positive: ClassFacts
    other: tuple[str, ...]
    unsure: tuple[str, ...]
    alike: tuple[tuple[str, str], ...]
    areas: tuple[str, ...]
    reviewed: tuple[str, ...]
    rare: tuple[str, ...]
    unclassified: int


def choose_positive(classes: Sequence[ClassFacts], wanted: str | None, where: str) -> str:
    """The class to look for, as the cohort spells it: the one that is `wanted`, or the only one there is.

    RecipeError, with the classes there are, if that does not decide it.
    """
    named = [each for each in classes if _may_be_positive(each.name)]
    if wanted is None and len(named) == 1:
        return named[0].name
    listed = ", ".join(f"{each.name} ({each.regions} on {each.slides} slides)" for each in named) or "none"
    if wanted is None:
        fault = f"has several classes, and none is named as the one to look for: {listed}"
        if not named:
            fault = "has no outline of the class to look for, nor of any other that has a name"
        raise RecipeError(where, fault, "Name the class with --positive")
    found = [each.name for each in named if plain(each.name) == plain(wanted)]
    if found:
        return found[0]
    near = difflib.get_close_matches(plain(wanted), [plain(each.name) for each in named], n=1)
    meant = next((each.name for each in named if near and plain(each.name) == near[0]), None)
    if any(plain(each.name) == plain(wanted) for each in classes):
        fault = f"{wanted!r} is a class that recipes leave out as unsure (classes that could be looked for: {listed})"
    else:
        fault = f"no outline has the class {wanted!r} (classes that could be looked for: {listed})"
    raise RecipeError(
        where, fault, f"Take --positive {meant!r}" if meant else "Name one of these with --positive"
    )


def _may_be_positive(name: str) -> bool:
    return bool(plain(name)) and ClassConfig().canonical(name) not in SET_ASIDE


def divide_classes(classes: Sequence[ClassFacts], positive: str) -> ClassPlan:
    """What becomes of each class, given the one that is looked for."""
    chosen = next(each for each in classes if each.name == positive)
    kept, rare = [positive], list[str]()
    unsure, areas, reviewed = list[str](), list[str](), list[str]()
    alike: list[tuple[str, str]] = []
    for each in classes:
        if each is chosen or not plain(each.name):
            continue
        resembled = next((name for name in kept if may_be_same(each.name, name)), None)
        if (word := ClassConfig().canonical(each.name)) in SET_ASIDE:
            (unsure if word == "ignore" else reviewed).append(each.name)
        elif _is_area(each, chosen):
            areas.append(each.name)
        elif resembled is not None:
            alike.append((each.name, resembled))
        elif len(kept) <= MOST_OTHER:
            kept.append(each.name)
        else:
            rare.append(each.name)
    unclassified = sum(each.regions for each in classes if not plain(each.name))
    return ClassPlan(
        chosen,
        tuple(kept[1:]),
        tuple(unsure),
        tuple(alike),
        tuple(areas),
        tuple(reviewed),
        tuple(rare),
        unclassified,
    )


def _is_area(one: ClassFacts, positive: ClassFacts) -> bool:
    """Whether outlines of a class are drawn round whole areas (tissue, what was looked through), not lesions."""
    wide = one.extent_um.median >= AREA_TIMES * positive.extent_um.median
    return one.holds >= AREA_HOLDS and wide


def may_be_same(one: str, other: str) -> bool:
    """Whether two names may be spellings of one class: a typing error, a plural, "sure" or a number behind it."""
    first, second = sorted((plain(one), plain(other)), key=len)
    if second.startswith(first) and _SURE.fullmatch(second[len(first) :].strip()):
        return not _DIGITS.search(first)
    if _DIGITS.search(first + second) and _DIGITS.sub("", first) == _DIGITS.sub("", second):
        return False  # grade 1 and grade 2
    return difflib.SequenceMatcher(None, first, second, autojunk=False).ratio() >= ALIKE


def exactly(name: str) -> str:
    """A pattern of the recipe that means this name and no other."""
    return glob.escape(name)
