"""Conversion of annotations between formats, one file, a folder or a QuPath project at a time."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from histoscout.annotations.found import is_unconfirmed, leave_out_found, overlap_note, without_suffix
from histoscout.annotations.geojson import ANNOTATION, object_type
from histoscout.annotations.masks import read_mask, read_mask_metadata
from histoscout.annotations.qpdata.image import uri_file_name
from histoscout.annotations.read import (
    CENTER_FRAME_FORMATS,
    FORMATS,
    Annotations,
    ImageMetadata,
    format_of,
    is_annotation_file,
    read_annotations,
    to_file_frame,
)
from histoscout.annotations.write import MaskCanvas, write_annotations, writer_of
from histoscout.cohort.annotated_slide import is_mask, mask_scale
from histoscout.cohort.case import Case, open_case, to_shown_frame
from histoscout.cohort.discovery import MASK_SUFFIXES, find_by_name, find_slides, unreadable_notes
from histoscout.cohort.qupath_project import find_project, read_project
from histoscout.errors import AnnotationError, HistoscoutError, OutputError, SlideError
from histoscout.geometry.box import Box
from histoscout.io.files import StrPath, remove_leftovers
from histoscout.io.names import number_names, slide_name
from histoscout.io.notes import count_and_list, pluralize
from histoscout.progress import NoProgress, Progress
from histoscout.recipe_sections import plain
from histoscout.slides.slide import Slide

PROJECT_SUFFIX = ".qpproj"

DATA_FILE = "data.qpdata"
"""What QuPath calls the data file of every image of a project."""


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """Options of `convert`.

    Attributes:
        everything: Whether detections, cells and tiles are kept as well.
        slide: The annotated slide, or a folder of slides with the same names as the annotation files.
        size: Width and height of the slide in level-0 px, for masks without a `slide`.
        series: The number of the image in the slide's file, for a single annotation file.
        slide_mpp: Resolution of the slide in um per level-0 px; it wins over what the slide states.
        mpp: Resolution of a mask that is written, in um/px; None for the slide's.
        values: The classes of the values of a mask, as pairs such as (1, "UDH"). In a mask that is read, several
            values may be one class.
        threshold: Lowest gray value of an annotated pixel, for masks stored as JPEG.
        suffix: Format of the files written for a folder.
        program: Program that reads the files, such as "imagescope", where the suffix does not say it.
        class_property: Property that holds the classes, such as "type_str"; "" for the usual place.
        keep_found: Whether regions that histoscout found and nobody confirmed are kept.
        overwrite: Whether existing files are replaced.
        progress: Receives the progress of a folder.

    Example:
        >>> from histoscout import ConvertOptions
        >>> from pathlib import Path
        >>> ConvertOptions(slide=Path("slides"), values=((1, "UDH"),), suffix=".tif").suffix
        '.tif'
    """

    everything: bool = False
    slide: Path | None = None
    size: tuple[int, int] | None = None
    series: int | None = None
    slide_mpp: float | None = None
    mpp: float | None = None
    values: tuple[tuple[int, str], ...] = ()
    threshold: int | None = None
    suffix: str = ".geojson"
    program: str = ""
    class_property: str = ""
    keep_found: bool = False
    overwrite: bool = False
    progress: Progress = field(default_factory=NoProgress)


@dataclass(frozen=True, kw_only=True)
class ConversionResult:
    """What became of one annotation file.

    Attributes:
        source: The file that was read.
        target: The file to write.
        regions: How many regions were written; None if the target existed or the conversion failed.
        notes: What could not be kept, for the user.
        fault: Why the conversion failed; empty if it did not.

    Example:
        >>> from histoscout import ConversionResult
        >>> from pathlib import Path
        >>> result = ConversionResult(source=Path("a.xml"), target=Path("a.geojson"), regions=3)
        >>> result.regions, result.fault
        (3, '')
    """

    source: Path
    target: Path
    regions: int | None = None
    notes: tuple[str, ...] = ()
    fault: str = ""


@dataclass(frozen=True)
class _Task:
    """One file to convert, and the slide that it belongs to."""

    source: Path
    target: Path
    slide: Path | None
    series: int | None = None

    @property
    def place(self) -> str:
        """What a fault is about: the data files of a project are all called alike, so the image is named."""
        return f"{self.target.stem}: " if self.source.name == DATA_FILE else ""


@dataclass(frozen=True)
class _SlideGeometry:
    """What is known of the annotated slide; `slide` is closed, only its metadata are used."""

    box: Box | None = None
    mpp: float | None = None
    slide: Slide | None = None


def convert(
    source: StrPath, target: StrPath, options: ConvertOptions | None = None
) -> tuple[ConversionResult, ...]:
    """Convert annotations to the format that the target's name asks for.

    A folder or a QuPath project becomes a folder: each annotation file in it is converted. A file that cannot be
    converted does not stop the others (see `ConversionResult.fault`), and existing files are kept.

    Args:
        source: An annotation file, a folder of them, or a QuPath project (.qpproj).
        target: The file or folder to write.
        options: Options; by default annotations only, at the resolution of the slide.

    Returns:
        The result for each file, with notes on what could not be kept.

    Raises:
        AnnotationError: The source cannot be read, or has no annotation files.
        SlideError: The slide does not exist or cannot be opened.
        OutputError: The target cannot be written, or exists and `overwrite` is not set.

    Example:
        >>> from histoscout import convert
        >>> from pathlib import Path
        >>> import shapely
        >>> from histoscout import Region, Regions, read_annotations, write_annotations
        >>> square = Region(shapely.box(10, 10, 50, 50), "UDH")
        >>> _ = write_annotations(Regions.of([square]), Path("slide.geojson"))
        >>> (result,) = convert(Path("slide.geojson"), Path("slide.xml"))
        >>> result.regions, read_annotations(Path("slide.xml")).regions.labels
        (1, ['UDH'])
    """
    source, target = Path(source), Path(target)
    options = options or ConvertOptions()
    if not source.exists():
        fault = "there is no such file or folder"
        raise AnnotationError(source, fault, "Give an annotation file, a folder of them, or a QuPath project")
    if source.is_dir() or source.suffix.casefold() == PROJECT_SUFFIX:
        return tuple(_convert_folder(source, target, options))
    if target.is_dir():
        target = target / f"{_output_name(source)}{options.suffix}"
    # an unknown format or an existing target is an error before anything is read
    writer_of(target, options.program)
    if target.exists() and not options.overwrite:
        raise OutputError(target, "the file exists already", "Give another name, or --overwrite")
    remove_leftovers(target.parent)
    slide = options.slide
    if slide is None or slide.is_dir():
        slide = _match_slide(_stem(source), _find_slides(options))
    return (_convert_file(_Task(source, target, slide, options.series), options),)


# ---------------------------------------------------------------- folders and projects


def _convert_folder(source: Path, target: Path, options: ConvertOptions) -> Iterator[ConversionResult]:
    project = source if source.is_file() else find_project(source)
    tasks = [] if source.is_file() else _tasks_of_folder(source, target, options)
    # the folder of a project holds its data files further below
    if project is not None and not tasks:
        tasks = _tasks_of_project(project, target, options)
    elif project is not None:
        options.progress.note(f"the QuPath project in the folder is left out; to convert it, give {project}")
    if not tasks:
        suffixes = ", ".join(suffix for suffix in FORMATS if suffix not in MASK_SUFFIXES)
        fault = f"there are no annotation files here ({suffixes})"
        raise AnnotationError(source, fault, "Give the folder that contains them")
    writer_of(tasks[0].target, options.program)
    remove_leftovers(target)

    options.progress.start("converting", len(tasks))
    source_of_target: dict[str, Path] = {}
    for task in tasks:
        other = source_of_target.setdefault(task.target.name.casefold(), task.source)
        if other != task.source:
            fault = f"{task.source}: the file has the same name as {other.name}"
            yield ConversionResult(source=task.source, target=task.target, fault=fault)
        elif task.target.exists() and not options.overwrite:
            yield ConversionResult(source=task.source, target=task.target)
        else:
            try:
                yield _convert_file(task, options)
            except HistoscoutError as error:
                yield ConversionResult(source=task.source, target=task.target, fault=f"{task.place}{error}")
        options.progress.advance()
    options.progress.done()


def _tasks_of_folder(source: Path, target: Path, options: ConvertOptions) -> list[_Task]:
    """The annotation files in a folder, without pictures, which may be slides."""
    slides = _find_slides(options)
    named = [path for path in sorted(source.iterdir()) if format_of(path) not in {None, *MASK_SUFFIXES}]
    for note in unreadable_notes((path for path in named if format_of(path) != ".csv"), "annotations"):
        options.progress.note(note)
    paths = [
        path
        for path in named
        if path.is_file() and is_annotation_file(path) and not path.name.startswith(".")
    ]
    return [
        _Task(path, target / f"{_output_name(path)}{options.suffix}", _match_slide(_stem(path), slides))
        for path in paths
    ]


def _tasks_of_project(source: Path, target: Path, options: ConvertOptions) -> list[_Task]:
    """The data files of a project; the outputs are named after the images, and numbered if these are called alike."""
    slides = _find_slides(options)
    project = read_project(source)
    for note in project.notes:
        options.progress.note(note)
    without = [entry.name for entry in project.entries if entry.annotations is None]
    if without:
        options.progress.note(
            f"images of the project without a data file, left out: {count_and_list(without)}"
        )
    found = [
        (
            entry.annotations,
            entry.series,
            _file_name(slide_name(entry.name)) or entry.annotations.parent.name,
            _match_slide(entry.name, slides)
            or _match_slide(uri_file_name(entry.uri) or entry.name, slides)
            or project.find_slide(entry),
        )
        for entry in project.entries
        if entry.annotations is not None
    ]
    tasks = []
    for (file, series, wanted, slide), name in zip(
        found, number_names([name for *_, name, _ in found]), strict=True
    ):
        if name != wanted:
            options.progress.note(
                f"there are several {wanted}: {file.parent.name}/{file.name} becomes {name}"
            )
        tasks.append(_Task(file, target / f"{name}{options.suffix}", slide, series))
    return tasks


def _find_slides(options: ConvertOptions) -> list[Path]:
    """The slides that annotations may belong to."""
    place = options.slide
    if place is None:
        return []
    if not place.exists():
        raise SlideError(place, "there is no such file or folder", "Give the slide, or the folder of slides")
    return find_slides(place) if place.is_dir() else [place]


def _match_slide(name: str, slides: Sequence[Path]) -> Path | None:
    """The slide that a name means: A1 for A1 and for A1.svs."""
    return next(iter(find_by_name(slides, name)), None)


def _output_name(path: Path) -> str:
    """The name of what becomes of an annotation file, without a suffix."""
    return unicodedata.normalize("NFC", _stem(path))


def _file_name(name: str) -> str:
    """The name of an image as one that a file can have on every system."""
    return re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", name).strip(" .")


def _stem(path: Path) -> str:
    return path.name[: -len(format_of(path) or path.suffix)] or path.name


# ---------------------------------------------------------------- one file


def _convert_file(task: _Task, options: ConvertOptions) -> ConversionResult:
    # read the annotations into the slide's coordinates
    geometry = _find_geometry(task, options)
    annotations = _read_source(task.source, geometry, options)
    if (place := geometry.slide or geometry.box) is not None or format_of(
        task.source
    ) in CENTER_FRAME_FORMATS:
        annotations = to_shown_frame(annotations, task.source, place or Box(0, 0, 1, 1))
    notes = list(annotations.notes)

    # leave out what is not an annotation
    regions = annotations.regions
    if not options.everything:
        regions = regions.where(lambda region: object_type(region) == ANNOTATION or is_unconfirmed(region))
        if left_out := len(annotations.regions) - len(regions):
            objects = pluralize(left_out, "detection, cell or tile", "detections, cells or tiles")
            notes.append(f"{objects} left out; --all keeps them")
    if options.keep_found:
        regions = without_suffix(regions)
    else:
        regions, found_notes = leave_out_found(regions)
        notes += found_notes
    notes += overlap_note(regions)

    # write them in the coordinates of the target's format
    canvas = None
    if writer_of(task.target, options.program).needs_canvas:
        canvas = _make_canvas(task, geometry, annotations.image, options=options)
    corner = geometry.slide.scan_corner if geometry.slide else (0.0, 0.0)
    in_file, frame_notes = to_file_frame(regions, task.target, corner)
    notes += [*frame_notes, *write_annotations(in_file, task.target, canvas, options.program)]
    return ConversionResult(source=task.source, target=task.target, regions=len(regions), notes=tuple(notes))


def _find_geometry(task: _Task, options: ConvertOptions) -> _SlideGeometry:
    if task.slide is not None:
        with open_case(Case(task.slide, task.source, mpp=options.slide_mpp, series=task.series)) as slide:
            return _SlideGeometry(slide.box, slide.mpp, slide)
    if options.slide is not None:
        fault = f"there is no slide with this name ({options.slide})"
        raise AnnotationError(task.source, fault, "Give the folder of its slide, or leave out --slide")
    box = None if options.size is None else Box(0, 0, *map(float, options.size))
    return _SlideGeometry(box, options.slide_mpp)


def _read_source(path: Path, geometry: _SlideGeometry, options: ConvertOptions) -> Annotations:
    if not is_mask(path):
        return read_annotations(path, options.everything, options.class_property)
    scale = None if geometry.box is None else mask_scale(path, geometry.box)
    annotations = read_mask(path, dict(options.values), options.threshold, scale=scale)
    if scale is None and read_mask_metadata(path).scale is None:
        note = "no slide is given: the mask is assumed to have the slide's resolution"
        return replace(annotations, notes=(*annotations.notes, note))
    return annotations


def _make_canvas(
    task: _Task, geometry: _SlideGeometry, image: ImageMetadata | None, *, options: ConvertOptions
) -> MaskCanvas | None:
    """The canvas of a mask: as large as the slide, or as the annotation file states."""
    mpp, box = geometry.mpp, geometry.box
    if box is None and image is not None and image.width and image.height:
        box, mpp = Box(0, 0, image.width, image.height), mpp or image.mpp
    if box is None:
        return None
    if options.mpp is not None and mpp is None:
        fault = "a mask of a given um/px needs the resolution of the slide, which is unknown"
        raise OutputError(task.target, fault, "Give the slide's um/px with --slide-mpp, or leave out --mpp")
    mask_mpp = options.mpp or mpp
    return MaskCanvas(
        width=box.width,
        height=box.height,
        scale=mask_mpp / mpp if mask_mpp is not None and mpp is not None else 1.0,
        mpp=mask_mpp,
        values=_values_by_label(task, options),
    )


def _values_by_label(task: _Task, options: ConvertOptions) -> dict[str, int]:
    """The value that each class is written with."""
    counts = Counter(plain(label) for _, label in options.values)
    if repeated := [f"{value}={label}" for value, label in options.values if counts[plain(label)] > 1]:
        fault = f"a mask cannot store a class as several values ({', '.join(repeated)})"
        raise OutputError(task.target, fault, "Give each class one value (--values)")
    return {label: value for value, label in options.values}
