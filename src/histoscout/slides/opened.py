"""What a format's reader hands over when it knows a file, and how it judges the scale that a file states."""

import math
from dataclasses import dataclass
from pathlib import Path

from histoscout.errors import SlideError
from histoscout.geometry.box import Box
from histoscout.slides.slide import SlideSource

# Resolution tags of ordinary images are often a program's default: 72 dpi would be 353 um/px, 300 dpi 85,
# 1200 dpi 21, "1 pixel per centimetre" 10,000. No slide is scanned coarser than 20 um/px or finer than 0.05.
PLAUSIBLE_MPP = (0.05, 20.0)

# No slide is scanned so fine or so coarse, nor kept so small: a file that says so is mistaken.
CONCEIVABLE_MPP = (0.01, 1000.0)

# What must be decoded as a whole (a plain image, a strip) takes 3 GB of memory at this size.
MOST_PIXELS = 1 << 30

COPY_AGAIN = "The file is probably incomplete: copy or download it again, and check that it opens in QuPath"


@dataclass(frozen=True)
class Opened:
    """A file that a reader knows: its pixels, and the few facts about it that we keep.

    `format` is the reader's or the scanner maker's name for it; `power` the objective's magnification, if
    stated.
    """

    source: SlideSource
    format: str
    power: float | None = None
    bounds: Box | None = None
    notes: tuple[str, ...] = ()


def plausible(mpp: float | None) -> float | None:
    """The um/px of a resolution tag, or None where it can only be a default."""
    low, high = PLAUSIBLE_MPP
    return mpp if mpp is not None and low <= mpp <= high else None


def one_mpp(mpp_x: float | None, mpp_y: float | None) -> tuple[float | None, tuple[str, ...]]:
    """One um/px for both directions, and a note where they differ by more than 1 % or cannot be meant."""
    stated = [mpp for mpp in (mpp_x, mpp_y) if mpp is not None and math.isfinite(mpp) and mpp > 0]
    if not stated:
        return None, ()
    low, high = CONCEIVABLE_MPP
    if min(stated) < low or max(stated) > high:
        says = " x ".join(f"{mpp:.4g}" for mpp in stated)
        return None, (f"the file says {says} um/px, which no slide has; it is not believed",)
    mpp = sum(stated) / len(stated)
    if max(stated) <= 1.01 * min(stated):
        return mpp, ()
    sides = f"{stated[0]:.4g} um wide and {stated[1]:.4g} um high"
    return mpp, (f"pixels are not square ({sides}); they are taken as squares of {mpp:.4g} um",)


def spoilt(path: Path, reason: object) -> SlideError:
    """The error for a file of a known format that cannot be read to its end."""
    return SlideError(path, f"cannot be read ({reason})", COPY_AGAIN)
