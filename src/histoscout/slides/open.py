"""Opening a slide of any format, its resolution, and the facts that `histoscout info` prints.

Only a few facts of a file are kept: label, macro image, barcode and other properties are never read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from histoscout.errors import MppMissingError, SlideError
from histoscout.geometry.box import Box
from histoscout.io.files import StrPath
from histoscout.io.inputs import open_regular
from histoscout.io.names import slide_name
from histoscout.registry import load_factory
from histoscout.slides.files import image_name, main_file
from histoscout.slides.foreign import unread_format
from histoscout.slides.scale import (
    GIVE_MPP,
    MppSource,
    ResolvedScale,
    ScaledFile,
    StatedScale,
    resolve_scale,
)
from histoscout.slides.slide import Slide, SlideMetadata, SlideSource

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
after it. A reader is a function from a path and the number of an image (None for the slide) to an `OpenedFile`. It
returns None for a file of another format. It raises SlideError for a file of its own format that it refuses, which is
final: another reader would show a label, or tiles that nobody has put together. To add a format, write one and add a
line here.
"""

COPY_AGAIN = "The file is probably incomplete: copy or download it again, and check that it opens in QuPath"


@dataclass(frozen=True, kw_only=True)
class OpenedFile:
    """A slide file that a reader has opened.

    Attributes:
        source: Its pixels.
        format: The reader's or the scanner maker's name of the format.
        scale: The scale that the file states.
        power: Magnification of the objective, if stated.
        bounds: The part of level 0 that was scanned, if stated.
        series: The number of the image in the file; None if the format has only one.
        center_offset_um: Place of the scan's center from the center of the glass slide, if stated.
        notes: Notes for the user.
    """

    source: SlideSource
    format: str
    scale: StatedScale = field(default_factory=StatedScale)
    power: float | None = None
    bounds: Box | None = None
    series: int | None = None
    center_offset_um: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()


# ---------------------------------------------------------------- opening


def open_slide(
    path: StrPath, mpp: float | None = None, mpp_source: MppSource = "cohort", *, series: int | None = None
) -> Slide:
    """Open a slide file, whatever scanner or program wrote it.

    Args:
        path: The file.
        mpp: Resolution in um per level-0 px. It wins over what the file states; then `Slide.notes` says so.
        mpp_source: Where `mpp` comes from.
        series: The number of the image in the file, from 0 as QuPath counts; None for the largest.

    Returns:
        The slide; close it, or use it in a `with` statement.

    Raises:
        SlideError: The file cannot be opened, or its scale cannot be true.
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
    path = Path(path)
    file = open_file(path, series)
    try:
        return Slide(file.source, _describe(path, file, mpp, mpp_source=mpp_source, series=series))
    except SlideError:
        file.source.close()
        raise


def _describe(
    path: Path, file: OpenedFile, mpp: float | None, *, mpp_source: MppSource, series: int | None
) -> SlideMetadata:
    scale = find_scale(path, file, mpp, mpp_source)
    if scale.mpp is None:
        raise MppMissingError(path, "the file does not state its resolution", GIVE_MPP)
    return SlideMetadata(
        name=image_name(slide_name(path), series),
        mpp=scale.mpp,
        mpp_source=scale.source,
        path=path,
        series=file.series,
        vendor=file.format,
        bounds=file.bounds,
        center_offset_um=file.center_offset_um,
        notes=(*scale.notes, *file.notes),
    )


def find_scale(
    path: Path, file: OpenedFile, mpp: float | None, mpp_source: MppSource = "cohort"
) -> ResolvedScale:
    """The um/px of an opened file, from it or from the user.

    Args:
        path: The file, for messages.
        file: The opened file.
        mpp: The um/px that the user states, or None.
        mpp_source: Where `mpp` comes from.

    Returns:
        The um/px (None if unknown), where it comes from, and notes.

    Raises:
        SlideError: The scale cannot be true.
    """
    width, height = file.source.level_sizes[0]
    scaled = ScaledFile(where=path, stated=file.scale, size=(width, height), power=file.power)
    return resolve_scale(scaled, mpp, mpp_source)


def open_file(path: Path, series: int | None = None) -> OpenedFile:
    """Open a slide file by the first reader that recognizes it, with or without a resolution.

    Args:
        path: The file.
        series: The number of the image in the file; None for the slide.

    Returns:
        The opened file.

    Raises:
        SlideError: The file cannot be opened.
    """
    _check_file(path)
    for factory in FORMATS.values():
        file: OpenedFile | None = load_factory(factory)(path, series)
        if file is not None:
            return file
    raise unread_format(path)


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
        with open_regular(path) as file:
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
        series: The number of the image in the file; None if the format has only one.
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
    series: int | None
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
            ("format", self.format + (f", series {self.series}" if self.series else "")),
            ("size", f"{width} x {height} px"),
            ("extent", extent),
            ("um/px", resolution),
            ("levels", ", ".join(f"{w} x {h}" for w, h in self.levels)),
            ("objective", f"{self.power:g}x" if self.power else "not stated"),
            ("file", f"{self.file_bytes / 1e6:.1f} MB"),
        ]
        return rows + [("note", note) for note in self.notes]


def info(path: StrPath, mpp: float | None = None, series: int | None = None) -> SlideInfo:
    """The facts about a slide file: size, resolution and its source, levels, scanner maker.

    Args:
        path: The file.
        mpp: Resolution in um per level-0 px; it wins over what the file states.
        series: The number of the image in the file; None for the largest.

    Returns:
        The facts.

    Raises:
        SlideError: The file cannot be opened, or its scale cannot be true.

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
    path = Path(path)
    # an image of a slide that consists of several files stands for the slide
    path = main_file(path)
    file = open_file(path, series)
    try:
        scale = find_scale(path, file, mpp, "given")
        levels = tuple((int(w), int(h)) for w, h in file.source.level_sizes)
        size = levels[0] if file.bounds is None else (round(file.bounds.width), round(file.bounds.height))
        return SlideInfo(
            path=path,
            format=file.format,
            size=size,
            levels=levels,
            mpp=scale.mpp,
            mpp_source="metadata" if scale.source == "metadata" else "given",
            series=file.series,
            power=file.power,
            file_bytes=path.stat().st_size,
            notes=(*scale.notes, *file.notes),
        )
    finally:
        file.source.close()
