"""Outlines from any format that we read to any that we write, a file or a folder at a time."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from histoscout.annotations.geojson import ANNOTATION, kind_of
from histoscout.annotations.masks import label_facts, read_label_image
from histoscout.annotations.read import FORMATS, Annotations, format_of, in_file, read_annotations
from histoscout.annotations.write import Canvas, write_annotations, writer_of
from histoscout.cohort.annotated_slide import is_mask, mask_scale
from histoscout.cohort.case import Case, in_place, open_case
from histoscout.cohort.discovery import PICTURES, slides_in
from histoscout.cohort.qupath_project import read_project
from histoscout.errors import AnnotationError, HistoscoutError, OutputError, SlideError
from histoscout.geometry.box import Box
from histoscout.progress import Progress, Silent
from histoscout.recipe import plain
from histoscout.slides.slide import Slide

PROJECT = ".qpproj"


@dataclass(frozen=True)
class ConvertOptions:
    """How outlines are converted.

    With `everything`, detections and cells are kept as well. `slide` is the slide that the outlines belong to, or a
    folder of slides of the same names; instead of it, `size` (width and height in level-0 px) and `slide_mpp` do for
    label images. `mpp` is how fine a label image is drawn (None: as the slide), `values` what its values mean, as
    pairs such as (1, "UDH"), which is also asked of a label image that is read, where several values may be one class;
    `threshold` is for one that is a JPEG. `to` is the suffix for files
    of a folder.
    """

    everything: bool = False
    slide: Path | None = None
    size: tuple[int, int] | None = None
    slide_mpp: float | None = None
    mpp: float | None = None
    values: tuple[tuple[int, str], ...] = ()
    threshold: int | None = None
    to: str = ".geojson"
    overwrite: bool = False
    progress: Progress = field(default_factory=Silent)


@dataclass(frozen=True)
class Converted:
    """What became of one file: where it went, how many regions, what was noted; `fault` if it could not be done.

    `regions` is None where the file was there already and was left as it is.
    """

    source: Path
    target: Path
    regions: int | None = None
    notes: tuple[str, ...] = ()
    fault: str = ""


@dataclass(frozen=True)
class _Job:
    source: Path
    target: Path
    slide: Path | None


@dataclass(frozen=True)
class _Scan:
    """What is known of the slide that outlines belong to; `slide` is closed, only what is known of it is asked."""

    box: Box | None = None
    mpp: float | None = None
    slide: Slide | None = None


def convert(source: Path, target: Path, options: ConvertOptions | None = None) -> tuple[Converted, ...]:
    """Write the outlines of a file in the format that the target's name asks for; notes say what got lost.

    A folder, or a QuPath project, becomes a folder: each file of outlines in it is converted, one that cannot be is
    told in `fault` and does not stop the others, and files that are there already are left as they are. For a single
    file, what is wrong is raised: AnnotationError, SlideError, or OutputError, also where the target exists and
    `overwrite` is not given.
    """
    chosen = options or ConvertOptions()
    if source.is_dir() or source.suffix.casefold() == PROJECT:
        return tuple(_each(source, target, chosen))
    if target.is_dir():
        target = target / f"{_stem(source)}{chosen.to}"
    writer_of(target)
    if target.exists() and not chosen.overwrite:
        raise OutputError(target, "exists already", "Give another name, or --overwrite")
    slide = chosen.slide
    if slide is None or slide.is_dir():
        slide = _slide_for(source, _slides_of(chosen))
    return (_converted(_Job(source, target, slide), chosen),)


def _each(source: Path, target: Path, options: ConvertOptions) -> Iterator[Converted]:
    jobs = list(
        _jobs_of_project(source, target, options) if source.is_file() else _jobs(source, target, options)
    )
    if not jobs:
        kinds = ", ".join(suffix for suffix in FORMATS if suffix not in PICTURES)
        raise AnnotationError(source, f"holds no files of outlines ({kinds})", "Give the folder they lie in")
    writer_of(jobs[0].target)
    options.progress.start("converting", len(jobs))
    seen: dict[Path, Path] = {}
    for job in jobs:
        if (other := seen.setdefault(job.target, job.source)) != job.source:
            yield Converted(job.source, job.target, fault=f"{job.source}: has the same name as {other.name}")
        elif job.target.exists() and not options.overwrite:
            yield Converted(job.source, job.target)
        else:
            yield _attempted(job, options)
        options.progress.advance()
    options.progress.done()


def _attempted(job: _Job, options: ConvertOptions) -> Converted:
    try:
        return _converted(job, options)
    except HistoscoutError as error:
        return Converted(job.source, job.target, fault=str(error))


def _jobs(source: Path, target: Path, options: ConvertOptions) -> Iterator[_Job]:
    """The files of outlines in a folder; pictures may be slides, so they are converted by name only."""
    slides = _slides_of(options)
    for path in sorted(source.iterdir()):
        suffix = format_of(path)
        if path.is_file() and suffix is not None and suffix not in PICTURES and not path.name.startswith("."):
            yield _Job(path, target / f"{_stem(path)}{options.to}", _slide_for(path, slides))


def _jobs_of_project(source: Path, target: Path, options: ConvertOptions) -> Iterator[_Job]:
    slides = _slides_of(options)
    project = read_project(source)
    for entry in project.entries:
        if entry.annotations is not None:
            stem = PurePath(entry.name).stem or entry.annotations.parent.name
            slide = slides.get(stem) or project.slide_of(entry)
            yield _Job(entry.annotations, target / f"{stem}{options.to}", slide)


def _slides_of(options: ConvertOptions) -> dict[str, Path]:
    """The slides that outlines may belong to, by their names; SlideError if there is no such place."""
    place = options.slide
    if place is None:
        return {}
    if not place.exists():
        raise SlideError(place, "does not exist", "Give the slide, or the folder that the slides lie in")
    return {slide.stem: slide for slide in (slides_in(place) if place.is_dir() else [place])}


def _slide_for(source: Path, slides: Mapping[str, Path]) -> Path | None:
    """The slide of a file's name: that of A1.geojson and of A1.svs.geojson is A1."""
    stem = _stem(source)
    return slides.get(stem) or slides.get(Path(stem).stem)


def _stem(path: Path) -> str:
    return path.name[: -len(format_of(path) or path.suffix)] or path.name


# ---------------------------------------------------------------- one file


def _converted(job: _Job, options: ConvertOptions) -> Converted:
    scan = _scan(job, options)
    found = _read(job.source, scan, options)
    if (place := scan.slide or scan.box) is not None:
        found = in_place(found, job.source, place)
    notes = list(found.notes)
    regions = found.regions
    if not options.everything:
        regions = regions.where(lambda region: kind_of(region) == ANNOTATION)
        if left := len(found.regions) - len(regions):
            notes.append(f"{left} detections, cells or tiles left out; --all keeps them")
    canvas = None
    if writer_of(job.target).on_canvas:
        canvas = _canvas(job, scan, found, options)
    moved, said = in_file(regions, job.target, scan.slide.scan_corner if scan.slide else (0.0, 0.0))
    notes += [*said, *write_annotations(moved, job.target, canvas)]
    return Converted(job.source, job.target, len(regions), tuple(notes))


def _scan(job: _Job, options: ConvertOptions) -> _Scan:
    if job.slide is not None:
        with open_case(Case(job.slide, job.source, mpp=options.slide_mpp)) as opened:
            return _Scan(opened.box, opened.mpp, opened)
    if options.slide is not None:
        fault = f"no slide of its name is given ({options.slide})"
        raise AnnotationError(job.source, fault, "Give the folder of its slide, or leave out --slide")
    box = None if options.size is None else Box(0, 0, *map(float, options.size))
    return _Scan(box, options.slide_mpp)


def _read(path: Path, scan: _Scan, options: ConvertOptions) -> Annotations:
    if not is_mask(path):
        return read_annotations(path, options.everything)
    scale = None if scan.box is None else mask_scale(path, scan.box)
    found = read_label_image(path, dict(options.values), options.threshold, scale)
    if scale is None and label_facts(path).scale is None:
        note = "without a slide, an image of classes is taken to be as fine as the slide"
        return replace(found, notes=(*found.notes, note))
    return found


def _canvas(job: _Job, scan: _Scan, found: Annotations, options: ConvertOptions) -> Canvas | None:
    """What a label image is drawn on: the slide's own size, or that which the file of outlines states."""
    mpp, image = scan.mpp, found.image
    box = scan.box
    if box is None and image is not None and image.width and image.height:
        box, mpp = Box(0, 0, image.width, image.height), mpp or image.mpp
    if box is None:
        return None
    if options.mpp is not None and mpp is None:
        fault = "cannot be drawn at a given um/px, as that of the slide is not known"
        raise OutputError(job.target, fault, "Give the slide's um/px with --slide-mpp, or leave out --mpp")
    drawn = options.mpp or mpp
    scale = drawn / mpp if drawn is not None and mpp is not None else 1.0
    return Canvas(box.width, box.height, scale, drawn, _values_by_label(job, options))


def _values_by_label(job: _Job, options: ConvertOptions) -> dict[str, int]:
    """The value that each class is drawn with; OutputError if one is given several."""
    counts = Counter(plain(label) for _, label in options.values)
    if repeated := [f"{value}={label}" for value, label in options.values if counts[plain(label)] > 1]:
        fault = f"cannot hold a class as several values ({', '.join(repeated)})"
        raise OutputError(job.target, fault, "Give each class one value (--values)")
    return {label: value for value, label in options.values}
