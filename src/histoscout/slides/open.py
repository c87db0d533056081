"""Opening a slide of any format: each reader is asked in turn whether it knows the file."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from histoscout.errors import MppMissingError, SlideError
from histoscout.slides.opened import Opened
from histoscout.slides.slide import About, MppSource, Slide

# In this order. OME-TIFF comes before OpenSlide, which would take it for a plain TIFF and not see its smaller
# levels; other TIFF after it, for what it refuses. A reader answers None for a file that is not its own and
# SlideError for one that is but is spoilt. To add a format: a function Path -> Opened | None, a line here.
FORMATS: dict[str, str] = {
    "OME-TIFF": "histoscout.slides.with_tifffile:open_ome_tiff",
    "OpenSlide": "histoscout.slides.with_openslide:open_with_openslide",
    "TIFF": "histoscout.slides.with_tifffile:open_tiff",
    "image": "histoscout.slides.with_image:open_with_pillow",
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
