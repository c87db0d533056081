"""The role of each annotated class: the one to look for, look-alikes, and what is left out until a user decides."""

import difflib
import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass

from histoscout.errors import RecipeError
from histoscout.recipe import SET_ASIDE
from histoscout.recipe_sections import ClassConfig, plain
from histoscout.training.planning.fingerprint import ClassStatistics

MAX_OTHER = 12
"""Outputs for other classes; further classes are background."""

MIN_SIMILARITY = 0.85
"""Ratio of difflib from which two names may be spellings of one class."""

AREA_CONTAINED = 0.5
"""Share of the regions of other classes that regions of an area class contain, at least."""

AREA_EXTENT = 5.0
"""How many times longer than the positive class regions of an area class are, at least."""

_SUFFIX = re.compile(r"(sure|certain|definite|likely|probable|possible|new|old|copy|\?+|\d+)")
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, kw_only=True)
class ClassRoles:
    """The role of each annotated class.

    Attributes:
        positive: The class to look for.
        other: Look-alikes, each with an output of its own.
        unsure: Classes that recipes ignore.
        similar: Classes that may be a spelling of another one: pairs of name and the class it resembles.
        areas: Classes drawn around whole areas; they are background.
        reviewed: Classes of areas that were annotated completely.
        rare: Further classes, which are background.
        unclassified: Number of regions without a class.
    """

    positive: ClassStatistics
    other: tuple[str, ...]
    unsure: tuple[str, ...]
    similar: tuple[tuple[str, str], ...]
    areas: tuple[str, ...]
    reviewed: tuple[str, ...]
    rare: tuple[str, ...]
    unclassified: int


def choose_positive(classes: Sequence[ClassStatistics], wanted: str | None, where: str) -> str:
    """Choose the class to look for: the one that the user names, or the only one there is.

    Args:
        classes: The annotated classes.
        wanted: What the user names.
        where: What an error names as its place.

    Returns:
        The class as the cohort spells it.

    Raises:
        RecipeError: With the classes there are, if that does not decide it.
    """
    config = ClassConfig()
    candidates = [
        annotated
        for annotated in classes
        if plain(annotated.name) and config.canonical(annotated.name) not in SET_ASIDE
    ]
    listed = ", ".join(f"{c.name} ({c.regions} on {c.slides} slides)" for c in candidates) or "none"
    # not named: only if there is a single class
    if wanted is None:
        if len(candidates) == 1:
            return candidates[0].name
        fault = f"the cohort has several classes, and none is named as the one to look for: {listed}"
        if not candidates:
            fault = "no annotation has the class to look for, or any other class with a name"
        raise RecipeError(where, fault, "Name the class with --positive")
    # named: in whatever spelling
    for candidate in candidates:
        if plain(candidate.name) == plain(wanted):
            return candidate.name
    near = difflib.get_close_matches(plain(wanted), [plain(c.name) for c in candidates], n=1)
    suggestion = next((c.name for c in candidates if near and plain(c.name) == near[0]), None)
    fault = f"no annotation has the class {wanted!r} (possible classes: {listed})"
    if any(plain(annotated.name) == plain(wanted) for annotated in classes):
        fault = f"recipes ignore the class {wanted!r} as unsure (possible classes: {listed})"
    remedy = f"Use --positive {suggestion!r}" if suggestion else "Name one of these with --positive"
    raise RecipeError(where, fault, remedy)


def assign_classes(classes: Sequence[ClassStatistics], positive: str) -> ClassRoles:
    """Assign a role to each class, given the one to look for.

    Args:
        classes: The annotated classes, the one with most regions first.
        positive: The name of the class to look for, as it is in `classes`.

    Returns:
        The roles.
    """
    config = ClassConfig()
    target = next(annotated for annotated in classes if annotated.name == positive)
    kept = [positive]
    unsure: list[str] = []
    similar: list[tuple[str, str]] = []
    areas: list[str] = []
    reviewed: list[str] = []
    rare: list[str] = []
    for annotated in classes:
        name = annotated.name
        if annotated is target or not plain(name):
            continue
        # regions around whole areas (tissue, a region of interest) are no lesions
        is_area = (
            annotated.contained_share >= AREA_CONTAINED
            and annotated.extent_um.median >= AREA_EXTENT * target.extent_um.median
        )
        resembled = next((known for known in kept if have_similar_names(name, known)), None)
        if (label := config.canonical(name)) in SET_ASIDE:
            (unsure if label == "ignore" else reviewed).append(name)
        elif is_area:
            areas.append(name)
        elif resembled is not None:
            similar.append((name, resembled))
        elif len(kept) <= MAX_OTHER:
            kept.append(name)
        else:
            rare.append(name)
    return ClassRoles(
        positive=target,
        other=tuple(kept[1:]),
        unsure=tuple(unsure),
        similar=tuple(similar),
        areas=tuple(areas),
        reviewed=tuple(reviewed),
        rare=tuple(rare),
        unclassified=sum(annotated.regions for annotated in classes if not plain(annotated.name)),
    )


def have_similar_names(name: str, other: str) -> bool:
    """Whether two names may be spellings of one class: a typing error, a plural, "sure" or a number at the end.

    Args:
        name: A name.
        other: Another name.

    Returns:
        True if a user should decide; False for names that differ in their numbers, such as grade 1 and grade
        2.
    """
    first, second = sorted((plain(name), plain(other)), key=len)
    if second.startswith(first) and _SUFFIX.fullmatch(second[len(first) :].strip()):
        return not _DIGITS.search(first)
    if _DIGITS.search(first + second) and _DIGITS.sub("", first) == _DIGITS.sub("", second):
        return False
    return difflib.SequenceMatcher(None, first, second, autojunk=False).ratio() >= MIN_SIMILARITY


def exact_pattern(name: str) -> str:
    """The pattern of a recipe that matches this name and no other.

    Args:
        name: A class name.

    Returns:
        A pattern in which special characters are escaped.
    """
    return glob.escape(name)
