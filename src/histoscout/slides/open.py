"""Opening a slide of any format: each reader is asked in turn whether it knows the file.

What a format's reader hands over when it knows a file, and how it judges the scale that a file states.

What a slide is, told without showing anything that could name a patient.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from histoscout.errors import MppMissingError, SlideError
from histoscout.geometry.box import Box
from histoscout.slides.slide import About, MppSource, Slide, SlideSource

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
        message = " x ".join(f"{mpp:.4g}" for mpp in stated)
        return None, (f"the file says {message} um/px, which no slide has; it is not believed",)
    mpp = sum(stated) / len(stated)
    if max(stated) <= 1.01 * min(stated):
        return mpp, ()
    sides = f"{stated[0]:.4g} um wide and {stated[1]:.4g} um high"
    return mpp, (f"pixels are not square ({sides}); they are taken as squares of {mpp:.4g} um",)


def spoilt(path: Path, reason: object) -> SlideError:
    """The error for a file of a known format that cannot be read to its end."""
    return SlideError(path, f"cannot be read ({reason})", COPY_AGAIN)


# In this order. OME-TIFF comes before OpenSlide, which would take it for a plain TIFF and not see its smaller
# levels; other TIFF after it, for what it refuses. A reader answers None for a file that is not its own and
# SlideError for one that is but is spoilt. To add a format: a function Path -> Opened | None, a line here.
FORMATS: dict[str, str] = {
    "OME-TIFF": "histoscout.slides.tiff_reader:open_ome_tiff",
    "OpenSlide": "histoscout.slides.openslide_reader:open_with_openslide",
    "TIFF": "histoscout.slides.tiff_reader:open_tiff",
    "image": "histoscout.slides.image_reader:open_with_pillow",
}

# Two statements of the scale that differ by more than this deserve a word.
AGREE_WITHIN = 0.05


def open_slide(path: Path, mpp: float | None = None, said_by: MppSource = "cohort") -> Slide:
    """Open a slide file, whatever scanner or program wrote it.

    `mpp` (um per level-0 px, and who said so) is used where the file states none; where it states one, the file is
    believed and a disagreement of more than 5 % is told in `slide.notes`. Raises SlideError, or MppMissingError
    where neither says.
    """
    found = open_source(path)
    try:
        return Slide(found.source, _about(path, found, mpp, said_by))
    except SlideError:
        found.source.close()
        raise


def open_source(path: Path) -> Opened:
    """The levels and facts of a slide file, with or without a known scale. Raises SlideError."""
    _check_file(path)
    refusal: SlideError | None = None
    for reader in FORMATS.values():
        try:
            found = _reader(reader)(path)
        except SlideError as error:
            refusal = refusal or error
        else:
            if found is not None:
                return found
    if refusal is not None:
        raise refusal
    fault = "is not a slide or image of any format that can be read here"
    raise SlideError(path, fault, "Check that it opens in QuPath, and export it from there as OME-TIFF")


def scale_of(found: Opened, mpp: float | None) -> tuple[float | None, MppSource, tuple[str, ...]]:
    """The um/px of a slide, who said so, and what the user should know; `mpp` is what the cohort says."""
    stated = found.source.mpp
    if stated is None:
        return mpp, "cohort", found.notes
    if mpp is None or abs(mpp / stated - 1) <= AGREE_WITHIN:
        return stated, "metadata", found.notes
    note = f"the file says {stated:.4g} um/px but {mpp:.4g} was given; the file is believed"
    return stated, "metadata", (*found.notes, note)


def _about(path: Path, found: Opened, mpp: float | None, said_by: MppSource) -> About:
    if mpp is not None and not mpp > 0:
        raise SlideError(path, f"{mpp} um/px was given", "Give the size of a pixel in um, for example 0.25")
    scale, source, notes = scale_of(found, mpp)
    if scale is None:
        fault = "the file does not say how large its pixels are"
        remedy = (
            "Give um/px in the column mpp of the cohort table or with --mpp (about 0.25 for 40x, 0.5 for 20x)"
        )
        raise MppMissingError(path, fault, remedy)
    source = said_by if source == "cohort" else source
    return About(path.stem, scale, source, path, found.format, found.bounds, notes)


def _check_file(path: Path) -> None:
    try:
        folder, there = path.is_dir(), path.exists()
    except OSError as error:  # a folder above it that one may not enter
        raise SlideError(path, f"cannot be opened ({error.strerror})", "Check its permissions") from error
    if folder:
        remedy = "Give one file: any .dcm file of a DICOM slide, the .mrxs file beside a MIRAX folder"
        raise SlideError(path, "is a folder, not a slide file", remedy)
    if not there:
        raise SlideError(
            path, "there is no such file", "Check the path; paths in a cohort table start at the table"
        )
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise SlideError(path, f"cannot be opened ({error.strerror})", "Check its permissions") from error
    if empty:
        raise SlideError(path, "is empty (0 bytes)", "Copy or download it again")


def _reader(name: str) -> Callable[[Path], Opened | None]:
    module, _, function = name.partition(":")
    reader: Callable[[Path], Opened | None] = getattr(import_module(module), function)
    return reader


@dataclass(frozen=True)
class SlideInfo:
    """A choice of facts about a slide; `mpp` is None where nobody says it. Label and macro are never read."""

    path: Path
    format: str
    size: tuple[int, int]
    levels: tuple[tuple[int, int], ...]
    mpp: float | None
    mpp_source: str
    power: float | None
    file_bytes: int
    notes: tuple[str, ...]

    def rows(self) -> list[tuple[str, str]]:
        """Names and values to print."""
        width, height = self.size
        scale = "unknown: give it with --mpp or in the cohort table"
        extent = "unknown"
        if self.mpp is not None:
            scale = f"{self.mpp:.4f} ({self.mpp_source})"
            extent = f"{width * self.mpp / 1000:.2f} x {height * self.mpp / 1000:.2f} mm"
        rows = [
            ("slide", str(self.path)),
            ("format", self.format),
            ("size", f"{width} x {height} px"),
            ("extent", extent),
            ("um/px", scale),
            ("levels", ", ".join(f"{w} x {h}" for w, h in self.levels)),
            ("objective", f"{self.power:g}x" if self.power else "not stated"),
            ("file", f"{self.file_bytes / 1e6:.1f} MB"),
        ]
        return rows + [("note", note) for note in self.notes]


def info(path: Path, mpp: float | None = None) -> SlideInfo:
    """Say what a slide is: size, um/px and where it came from, levels, vendor. Raises SlideError."""
    found = open_source(path)
    try:
        scale, source, notes = scale_of(found, mpp)
        levels = tuple((int(w), int(h)) for w, h in found.source.level_sizes)
        size = levels[0] if found.bounds is None else (round(found.bounds.width), round(found.bounds.height))
        named = source if source == "metadata" else "given"
        return SlideInfo(
            path, found.format, size, levels, scale, named, found.power, path.stat().st_size, notes
        )
    finally:
        found.source.close()
