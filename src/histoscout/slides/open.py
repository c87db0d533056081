"""Opening a slide of any format, its resolution, and the facts that `histoscout info` prints.

Only a few facts of a file are kept: label, macro image, barcode and other properties are never read.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from histoscout.errors import MppMissingError, SlideError
from histoscout.geometry.box import Box
from histoscout.registry import load_factory
from histoscout.slides.slide import MppSource, Slide, SlideMetadata, SlideSource

FORMATS: Mapping[str, str] = MappingProxyType(
    {
        "OME-TIFF": "histoscout.slides.tiff_reader:open_ome_tiff",
        "OpenSlide": "histoscout.slides.openslide_reader:open_with_openslide",
        "TIFF": "histoscout.slides.tiff_reader:open_tiff",
        "image": "histoscout.slides.image_reader:open_with_pillow",
    }
)
"""The readers, in the order they are tried.

OME-TIFF comes before OpenSlide, which would read it as a plain TIFF and miss its smaller levels; other TIFF comes
after it, for what it refuses. A reader is a function from a path to an `OpenedFile`. It returns None for a file of
another format, and raises SlideError for a damaged file of its own. To add a format, write one and add a line here.
"""

PLAUSIBLE_MPP = (0.05, 20.0)
"""The um/px that a resolution tag of an ordinary image can mean.

Often the tag is a program's default: 72 dpi would be 353 um/px, 300 dpi 85, 1200 dpi 21, "1 pixel per centimeter"
10,000. No slide is scanned at more than 20 or less than 0.05 um/px.
"""

CONCEIVABLE_MPP = (0.01, 1000.0)
"""The um/px that a slide or a smaller copy of it can have: a file that states anything else is wrong."""

MPP_TOLERANCE = 0.05
"""Two resolutions that differ by more than this share contradict each other."""

MAX_WHOLE_PIXELS = 1 << 30
"""The most pixels of what must be decoded as a whole (a plain image, a strip): 3 GB of memory."""

COPY_AGAIN = "The file is probably incomplete: copy or download it again, and check that it opens in QuPath"


@dataclass(frozen=True, kw_only=True)
class OpenedFile:
    """A slide file that a reader has opened.

    Attributes:
        source: Its pixels.
        format: The reader's or the scanner maker's name of the format.
        power: Magnification of the objective, if stated.
        bounds: The part of level 0 that was scanned, if stated.
        notes: Notes for the user.
    """

    source: SlideSource
    format: str
    power: float | None = None
    bounds: Box | None = None
    notes: tuple[str, ...] = ()


# ---------------------------------------------------------------- opening


def open_slide(path: Path, mpp: float | None = None, mpp_source: MppSource = "cohort") -> Slide:
    """Open a slide file, whatever scanner or program wrote it.

    Args:
        path: The file.
        mpp: Resolution in um per level-0 px, used if the file states none. If the file states another one, the file
            is trusted, and a difference of more than 5 % is noted in `Slide.notes`.
        mpp_source: Where `mpp` comes from.

    Returns:
        The slide; close it, or use it in a `with` statement.

    Raises:
        SlideError: The file cannot be opened.
        MppMissingError: Neither the file nor `mpp` gives the resolution.

    Example:
        >>> from histoscout import open_slide
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from histoscout.slides.pyramid import write_pyramid
        >>> write_pyramid(Path("slide.tif"), np.full((300, 400, 3), 240, np.uint8), mpp=0.5)
        >>> with open_slide(Path("slide.tif")) as slide:
        ...     slide.mpp, slide.box.width, slide.read(slide.box, mpp=2.0).shape
        (0.5, 400, (75, 100, 3))
    """
    file = open_file(path)
    try:
        return Slide(file.source, _describe(path, file, mpp, mpp_source=mpp_source))
    except SlideError:
        file.source.close()
        raise


def _describe(path: Path, file: OpenedFile, mpp: float | None, *, mpp_source: MppSource) -> SlideMetadata:
    if mpp is not None and not mpp > 0:
        remedy = "Give the size of a pixel in um, for example 0.25"
        raise SlideError(path, f"{mpp} um/px is not a resolution", remedy)
    resolved, source, notes = resolve_mpp(file, mpp)
    if resolved is None:
        fault = "the file does not state its resolution"
        remedy = (
            "Give um/px in the column mpp of the cohort table or with --mpp (about 0.25 for 40x, 0.5 for 20x)"
        )
        raise MppMissingError(path, fault, remedy)
    return SlideMetadata(
        name=path.stem,
        mpp=resolved,
        mpp_source=mpp_source if source == "cohort" else source,
        path=path,
        vendor=file.format,
        bounds=file.bounds,
        notes=notes,
    )


def open_file(path: Path) -> OpenedFile:
    """Open a slide file by the first reader that recognizes it, with or without a resolution.

    Args:
        path: The file.

    Returns:
        The opened file.

    Raises:
        SlideError: The file cannot be opened.
    """
    _check_file(path)
    refusal: SlideError | None = None
    for factory in FORMATS.values():
        try:
            file: OpenedFile | None = load_factory(factory)(path)
        except SlideError as error:
            refusal = refusal or error
        else:
            if file is not None:
                return file
    if refusal is not None:
        raise refusal
    fault = "the file is not a slide or image of a supported format"
    raise SlideError(path, fault, "Check that it opens in QuPath, and export it from there as OME-TIFF")


def _check_file(path: Path) -> None:
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except OSError as error:
        # a folder above it may not be entered
        raise _access_error(path, error) from error
    if is_folder:
        remedy = "Give one file: any .dcm file of a DICOM slide, the .mrxs file beside a MIRAX folder"
        raise SlideError(path, "this is a folder, not a slide file", remedy)
    if not exists:
        remedy = "Check the path; paths in a cohort table are relative to the table"
        raise SlideError(path, "there is no such file", remedy)
    try:
        with path.open("rb") as file:
            is_empty = not file.read(1)
    except OSError as error:
        raise _access_error(path, error) from error
    if is_empty:
        raise SlideError(path, "the file is empty (0 bytes)", "Copy or download it again")


def _access_error(path: Path, error: OSError) -> SlideError:
    return SlideError(path, f"the file cannot be opened ({error.strerror})", "Check its permissions")


def damaged_file(path: Path, reason: object) -> SlideError:
    """The error for a file of a known format that is damaged or incomplete.

    Args:
        path: The file.
        reason: What is wrong.

    Returns:
        The error to raise.
    """
    return SlideError(path, f"the file is damaged ({reason})", COPY_AGAIN)


# ---------------------------------------------------------------- resolution


def plausible_mpp(mpp: float | None) -> float | None:
    """The um/px of a resolution tag; None where it can only be a program's default.

    Args:
        mpp: um/px of the tag.

    Returns:
        The same, or None.
    """
    low, high = PLAUSIBLE_MPP
    return mpp if mpp is not None and low <= mpp <= high else None


def combine_mpp(mpp_x: float | None, mpp_y: float | None) -> tuple[float | None, tuple[str, ...]]:
    """One um/px for both directions.

    Args:
        mpp_x: The um/px that the file states horizontally, or None.
        mpp_y: The same vertically.

    Returns:
        The mean, and a note if the two differ by more than 1 % or cannot be true (then there is no mean).
    """
    stated = [mpp for mpp in (mpp_x, mpp_y) if mpp is not None and math.isfinite(mpp) and mpp > 0]
    if not stated:
        return None, ()
    low, high = CONCEIVABLE_MPP
    if min(stated) < low or max(stated) > high:
        values = " x ".join(f"{mpp:.4g}" for mpp in stated)
        return None, (f"the file states {values} um/px, which no slide has; the value is ignored",)
    mpp = sum(stated) / len(stated)
    if max(stated) <= 1.01 * min(stated):
        return mpp, ()
    sides = f"{stated[0]:.4g} um wide and {stated[1]:.4g} um high"
    return mpp, (f"pixels are not square ({sides}); they are treated as squares of {mpp:.4g} um",)


def resolve_mpp(file: OpenedFile, mpp: float | None) -> tuple[float | None, MppSource, tuple[str, ...]]:
    """The um/px of a slide, from its file or else from the cohort.

    Args:
        file: The opened file.
        mpp: The um/px that the cohort gives, or None.

    Returns:
        The um/px (None if unknown), where it comes from, and all notes on the slide.
    """
    stated = file.source.mpp
    if stated is None:
        return mpp, "cohort", file.notes
    if mpp is None or abs(mpp / stated - 1) <= MPP_TOLERANCE:
        return stated, "metadata", file.notes
    note = f"the file states {stated:.4g} um/px but {mpp:.4g} was given; the value of the file is used"
    return stated, "metadata", (*file.notes, note)


# ---------------------------------------------------------------- facts


@dataclass(frozen=True, kw_only=True)
class SlideInfo:
    """Facts about a slide that cannot identify a patient.

    Attributes:
        path: Its file.
        format: Scanner maker or format.
        size: Width and height in level-0 px.
        levels: Width and height of each level.
        mpp: Resolution in um per level-0 px; None if unknown.
        mpp_source: "metadata" or "given".
        power: Magnification of the objective, if stated.
        file_bytes: Size of the file.
        notes: Notes for the user.
    """

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
        resolution = "unknown: give it with --mpp or in the cohort table"
        extent = "unknown"
        if self.mpp is not None:
            resolution = f"{self.mpp:.4f} ({self.mpp_source})"
            extent = f"{width * self.mpp / 1000:.2f} x {height * self.mpp / 1000:.2f} mm"
        rows = [
            ("slide", str(self.path)),
            ("format", self.format),
            ("size", f"{width} x {height} px"),
            ("extent", extent),
            ("um/px", resolution),
            ("levels", ", ".join(f"{w} x {h}" for w, h in self.levels)),
            ("objective", f"{self.power:g}x" if self.power else "not stated"),
            ("file", f"{self.file_bytes / 1e6:.1f} MB"),
        ]
        return rows + [("note", note) for note in self.notes]


def info(path: Path, mpp: float | None = None) -> SlideInfo:
    """The facts about a slide file: size, resolution and its source, levels, scanner maker.

    Args:
        path: The file.
        mpp: Resolution in um per level-0 px, used if the file states none.

    Returns:
        The facts.

    Raises:
        SlideError: The file cannot be opened.

    Example:
        >>> from histoscout import info
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from histoscout.slides.pyramid import write_pyramid
        >>> write_pyramid(Path("slide.tif"), np.full((300, 400, 3), 240, np.uint8), mpp=0.5)
        >>> facts = info(Path("slide.tif"))
        >>> facts.size, facts.mpp, facts.levels
        ((400, 300), 0.5, ((400, 300), (200, 150)))
    """
    file = open_file(path)
    try:
        resolved, source, notes = resolve_mpp(file, mpp)
        levels = tuple((int(w), int(h)) for w, h in file.source.level_sizes)
        size = levels[0] if file.bounds is None else (round(file.bounds.width), round(file.bounds.height))
        return SlideInfo(
            path=path,
            format=file.format,
            size=size,
            levels=levels,
            mpp=resolved,
            mpp_source=source if source == "metadata" else "given",
            power=file.power,
            file_bytes=path.stat().st_size,
            notes=notes,
        )
    finally:
        file.source.close()
