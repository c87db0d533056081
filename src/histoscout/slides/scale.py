"""The scale of a slide: what a file states, what the user states, and every limit of scale and size.

A scale is judged by what it would mean, not by its digits: how large the slide would be, and whether it agrees with the
objective. All limits are here, so that no reader or command believes what another one refuses.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

from histoscout.errors import SlideError

MppSource = Literal["metadata", "cohort", "annotations", "given", "qupath"]
"""Where a slide's um/px comes from."""

PLAUSIBLE_MPP = (0.05, 20.0)
"""The um/px that a resolution tag of an ordinary image can mean.

Often the tag is a program's default: 72 dpi would be 353 um/px, 300 dpi 85, 1200 dpi 21, "1 pixel per centimeter"
10,000. No slide is scanned at more than 20 or less than 0.05 um/px.
"""

CONCEIVABLE_MPP = (0.01, 1000.0)
"""The um/px that a slide or a smaller copy of it can have: a file that states anything else is wrong."""

GIVEN_MPP = (0.01, 100.0)
"""The um/px that a user may state: with coarser pixels a whole slide would be a few hundred px wide."""

SAME_MPP = 0.01
"""Resolutions that differ by less are the same: the user has rounded, and the file's digits are kept."""

MPP_TOLERANCE = 0.05
"""Two resolutions of an image that differ by more than this share contradict each other."""

MAX_ASPECT = 1.05
"""Pixels are squares if one side is at most this many times the other; beyond it, shapes would be distorted."""

MAX_SIDE_MM = 250.0
"""The longest side of a glass slide, with room for whole mounts; a slide that would be longer has a wrong um/px."""

UM_PER_MAGNIFICATION = 10.0
"""um/px times magnification: 0.25 at 40x, 0.5 at 20x, on cameras of any maker within a factor of 2."""

MAX_OBJECTIVE_RATIO = 4.0
"""By how much um/px may differ from what the objective lets expect."""

MAGNIFICATIONS = frozenset({10.0, 20.0, 40.0, 60.0, 63.0, 80.0, 100.0})
"""Usual objectives. Nobody searches for lesions at 10 um/px or more: such a um/px is a magnification."""

WEAK_MAGNIFICATIONS = frozenset({1.25, 2.0, 2.5, 4.0, 5.0})
"""Objectives whose number can also be a um/px."""

MAX_WHOLE_PIXELS = 1 << 30
"""The most pixels of what must be decoded as a whole (a plain image, a strip): 3 GB of memory."""

MAX_OVERVIEW_PIXELS = 1 << 28
"""The most pixels of a slide that are held at once, to find its tissue: a whole mount of 150 x 100 mm at 8 um/px."""

MAX_ENLARGEMENT = 4.0
"""A slide is enlarged at most this many times: what a model sees beyond it is blur, at the cost of the square."""

MAX_WINDOWS = 4_000_000
"""The most windows of a slide: four times those of a whole mount of 75 x 50 mm at a stride of 64 um."""

GIVE_MPP = "Give um/px in the column mpp of the cohort table or with --mpp (about 0.25 for 40x, 0.5 for 20x)"

_GIVEN_BY_USER = ("cohort", "given")


@dataclass(frozen=True)
class StatedScale:
    """The scale that a file states.

    Attributes:
        mpp: um/px; None if it states none that can be true.
        notes: Notes for the user.
        fault: Why the slide is not read at this scale; empty if it can be.
    """

    mpp: float | None = None
    notes: tuple[str, ...] = ()
    fault: str = ""


@dataclass(frozen=True, kw_only=True)
class ScaledFile:
    """What decides about the scale of a slide.

    Attributes:
        where: The file, for messages.
        stated: What it states.
        size: Width and height in level-0 px.
        power: Magnification of the objective, if stated.
    """

    where: object
    stated: StatedScale
    size: tuple[float, float]
    power: float | None = None


@dataclass(frozen=True)
class ResolvedScale:
    """The scale that a slide is read at.

    Attributes:
        mpp: um/px; None if nobody states it.
        source: Where it comes from.
        notes: Notes for the user.
    """

    mpp: float | None
    source: MppSource
    notes: tuple[str, ...] = field(default=())


# ---------------------------------------------------------------- what a file states


def plausible_mpp(mpp_x: float | None, mpp_y: float | None) -> tuple[float | None, float | None]:
    """The um/px of resolution tags; None for both if one can only be a program's default.

    Args:
        mpp_x: um/px of the horizontal tag.
        mpp_y: um/px of the vertical tag.

    Returns:
        The same, or None and None.
    """
    low, high = PLAUSIBLE_MPP
    possible = all(mpp is not None and low <= mpp <= high for mpp in (mpp_x, mpp_y))
    return (mpp_x, mpp_y) if possible else (None, None)


def combine_mpp(mpp_x: float | None, mpp_y: float | None) -> StatedScale:
    """One um/px for both directions.

    Args:
        mpp_x: The um/px that the file states horizontally, or None.
        mpp_y: The same vertically.

    Returns:
        The mean, with a note if the two differ by more than 1 %; with a fault if they differ by more than 5 %; without
        a um/px if what is stated cannot be true.
    """
    stated = [mpp for mpp in (mpp_x, mpp_y) if mpp is not None and math.isfinite(mpp) and mpp > 0]
    if not stated:
        return StatedScale()
    low, high = CONCEIVABLE_MPP
    if min(stated) < low or max(stated) > high:
        values = " x ".join(f"{mpp:.4g}" for mpp in stated)
        return StatedScale(None, (f"the file states {values} um/px, which no slide has; it is ignored",))
    if len(stated) == 1:
        side = "width" if mpp_x == stated[0] else "height"
        return StatedScale(stated[0], (f"the file states only the {side} of a pixel; it is taken as square",))
    mpp = sum(stated) / 2
    if max(stated) <= (1 + SAME_MPP) * min(stated):
        return StatedScale(mpp)
    sides = f"{stated[0]:.4g} um wide and {stated[1]:.4g} um high"
    if max(stated) > MAX_ASPECT * min(stated):
        return StatedScale(None, (), f"its pixels are not square ({sides}), so shapes would be distorted")
    return StatedScale(
        mpp, (f"pixels are not square ({sides}); they are treated as squares of {mpp:.4g} um",)
    )


# ---------------------------------------------------------------- what the user states


def given_fault(mpp: float) -> str:
    """Why a um/px that the user states cannot be meant.

    Args:
        mpp: The um/px.

    Returns:
        The fault; empty if the value is possible.
    """
    low, high = GIVEN_MPP
    if not (math.isfinite(mpp) and low <= mpp <= high) and mpp not in MAGNIFICATIONS:
        return f"{mpp:g} um/px is not possible"
    if mpp in MAGNIFICATIONS:
        return f"{mpp:g} um/px looks like a magnification ({_as_magnification(mpp)})"
    return ""


def _as_magnification(power: float) -> str:
    return f"{power:g}x is about {UM_PER_MAGNIFICATION / power:.3g} um/px"


def resolve_scale(file: ScaledFile, mpp: float | None, source: MppSource = "cohort") -> ResolvedScale:
    """The um/px of a slide: what the user states wins over the file, if it can be true.

    Args:
        file: The slide's file.
        mpp: The um/px that the user states, or None.
        source: Where that comes from.

    Returns:
        The um/px (None if unknown), where it comes from, and notes.

    Raises:
        SlideError: The scale makes no sense: a slide larger than any glass, pixels that are not square, a contradiction
            to the objective, or a magnification instead of um/px.
    """
    stated = file.stated
    if mpp is None:
        if stated.fault:
            remedy = (
                "Export it with square pixels; if they are square, give um/px with --mpp or in the column mpp"
            )
            raise SlideError(file.where, stated.fault, remedy)
        if stated.mpp is not None:
            _check_scale(file, stated.mpp, f"the file states {stated.mpp:.4g} um/px")
        return ResolvedScale(stated.mpp, "metadata" if stated.mpp is not None else source, stated.notes)

    confirmed = stated.mpp is not None and abs(mpp / stated.mpp - 1) <= SAME_MPP
    if not confirmed and (fault := given_fault(mpp)):
        raise SlideError(file.where, fault, "Give the size of a pixel in um, for example 0.25")
    if not confirmed and mpp in WEAK_MAGNIFICATIONS and mpp == file.power:
        fault = f"{mpp:g} um/px was given, which is the magnification of its objective"
        raise SlideError(file.where, fault, f"Give um/px ({_as_magnification(mpp)})")
    notes = list(stated.notes)
    if confirmed and source not in _GIVEN_BY_USER:
        # QuPath passes on what the file states, so this is one statement, not two
        _check_scale(file, mpp, f"the file states {mpp:.4g} um/px")
    elif stated.mpp is not None and 1 / MAX_OBJECTIVE_RATIO <= mpp / stated.mpp <= MAX_OBJECTIVE_RATIO:
        # file and user agree roughly: then it is the objective that is wrong
        _check_extent(file, mpp, f"{mpp:.4g} um/px was given")
        if file.power and (fault := _objective_fault(mpp, file.power)):
            notes.append(f"{fault}; um/px is used as given")
    else:
        _check_scale(file, mpp, f"{mpp:.4g} um/px was given")
    if confirmed:
        return ResolvedScale(stated.mpp, "metadata", tuple(notes))
    if stated.fault:
        notes.append(f"{stated.fault}; the {mpp:.4g} um/px that was given is used")
    elif stated.mpp is not None:
        notes.append(f"the file states {stated.mpp:.4g} um/px, but {mpp:.4g} was given, which is used")
    return ResolvedScale(mpp, source, tuple(notes))


def _check_scale(file: ScaledFile, mpp: float, statement: str) -> None:
    _check_extent(file, mpp, statement)
    if file.power and (fault := _objective_fault(mpp, file.power)):
        raise SlideError(file.where, fault, GIVE_MPP)


def _check_extent(file: ScaledFile, mpp: float, statement: str) -> None:
    width, height = (side * mpp / 1000 for side in file.size)
    if max(width, height) > MAX_SIDE_MM:
        fault = (
            f"{statement}, but then the slide would be {width:.4g} x {height:.4g} mm, and no glass is longer than "
            f"{MAX_SIDE_MM:g} mm"
        )
        hint = f"; {_as_magnification(mpp)}" if mpp in WEAK_MAGNIFICATIONS else ""
        raise SlideError(file.where, fault, GIVE_MPP + hint)


def _objective_fault(mpp: float, power: float) -> str:
    """How um/px and objective contradict each other; empty if they do not."""
    expected = UM_PER_MAGNIFICATION / power
    if not math.isfinite(power) or 1 / MAX_OBJECTIVE_RATIO <= mpp / expected <= MAX_OBJECTIVE_RATIO:
        return ""
    return f"{mpp:.4g} um/px contradicts the objective of {power:g}x, which has about {expected:.3g} um/px"


# ---------------------------------------------------------------- what would be computed


def check_enlargement(where: object, slide_mpp: float, mpp: float, what: str) -> None:
    """Refuse to enlarge a slide so much that only blur would be seen, before any work starts.

    Args:
        where: The slide, for the message.
        slide_mpp: The slide's um/px.
        mpp: The um/px it would be read at.
        what: What it is read for ("the model").

    Raises:
        SlideError: It would be enlarged more than `MAX_ENLARGEMENT` times.
    """
    if slide_mpp > MAX_ENLARGEMENT * mpp:
        fault = (
            f"the slide has {slide_mpp:.4g} um/px, and {what} looks at {mpp:.4g}: it would be enlarged "
            f"{slide_mpp / mpp:.3g} times"
        )
        raise SlideError(where, fault, f"Give a finer scan, or correct its um/px. {GIVE_MPP}")


def check_overview(where: object, size: tuple[int, int], key: str) -> None:
    """Refuse an overview of a slide that would not fit into memory, before it is read.

    Args:
        where: The slide, for the message.
        size: Rows and columns of the overview.
        key: The recipe's key that decides about its resolution.

    Raises:
        SlideError: It has more than `MAX_OVERVIEW_PIXELS` px.
    """
    if size[0] * size[1] > MAX_OVERVIEW_PIXELS:
        fault = f"the overview of the slide would have {size[1]:,} x {size[0]:,} px, too many for memory"
        raise SlideError(where, fault, f"Check its um/px, or raise {key} in the recipe")


def check_window_count(where: object, count: int) -> None:
    """Refuse a slide that would have too many windows, before they are listed.

    Args:
        where: The slide, for the message.
        count: Windows on the whole slide.

    Raises:
        SlideError: There are more than `MAX_WINDOWS`.
    """
    if count > MAX_WINDOWS:
        fault = f"the slide would have {count:,} windows, and no slide needs more than {MAX_WINDOWS:,}"
        raise SlideError(where, fault, f"Check its um/px, or use a model with larger patches. {GIVE_MPP}")
