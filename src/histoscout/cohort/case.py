"""A case: one slide of a cohort with its annotations, and how it is opened."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import Literal

from histoscout.annotations.read import (
    CENTER_FRAME_FORMATS,
    Annotations,
    ImageMetadata,
    format_of,
    from_slide_center,
    read_image_metadata,
    to_slide_frame,
)
from histoscout.errors import AnnotationError, MppMissingError, SlideError
from histoscout.geometry.box import Box
from histoscout.io.names import name_rank, slide_key, slide_name
from histoscout.slides.files import image_name
from histoscout.slides.open import open_slide
from histoscout.slides.scale import MPP_TOLERANCE, SAME_MPP, MppSource
from histoscout.slides.slide import Slide

SplitName = Literal["train", "tune", "test"]

BUILT_IN = "built-in"
"""The site of synthetic slides."""

SlideKey = tuple[Path, str]
"""What identifies a slide: its file, and its name, which tells the images of a file apart."""

SIZE_TOLERANCE_PX = 2.0
"""By how much two sizes of one image may differ; programs round them differently."""


@dataclass(frozen=True)
class Case:
    """A slide with its annotations, patient and site.

    Attributes:
        slide: The slide file.
        annotations: The annotation file; None if there is none.
        patient: The patient; a slide without one is a patient of its own.
        split: "train", "tune" or "test"; None if training decides.
        mpp: um per level-0 px, which wins over what the slide states; None if nobody gave it.
        mpp_source: Where `mpp` comes from.
        series: The number of the image in the slide file, from 0 as QuPath counts; None for the largest.
        site: Where the slide comes from.
        mask_labels: Value and class, if the annotations are a mask.
        mask_threshold: Gray values of a mask from here on count as 1, those below as 0.
        label: Class of an image that belongs to one class as a whole.
        negative: Whether the slide was looked through and holds no lesion, so that it needs no annotation file.
        class_property: Property of the annotations that holds their classes, such as "type_str"; "" for the usual
            place.
        keep_found: Whether regions that histoscout found and nobody confirmed count as annotations.
        row: Number of the row in the cohort's table, for messages.

    Example:
        >>> from pathlib import Path
        >>> from histoscout import Case
        >>> Case(Path("slides/A1.svs"), patient="patient 1", split="train").name
        'A1'
    """

    slide: Path
    annotations: Path | None = None
    patient: str = ""
    _: KW_ONLY
    split: SplitName | None = None
    mpp: float | None = None
    mpp_source: MppSource = field(default="cohort", compare=False)
    series: int | None = None
    site: str | None = None
    mask_labels: tuple[tuple[int, str], ...] = ()
    mask_threshold: int | None = None
    label: str = ""
    negative: bool = False
    class_property: str = ""
    keep_found: bool = False
    row: int | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not self.patient:
            object.__setattr__(self, "patient", slide_name(self.slide))

    @property
    def name(self) -> str:
        """The slide file's name without the suffix of its format, with the series if it is not the first."""
        return image_name(slide_name(self.slide), self.series)

    @property
    def key(self) -> SlideKey:
        """What identifies the slide: its file, and its name, which tells the images of a file apart."""
        return self.slide, self.name

    @property
    def named_file(self) -> Path:
        """The path that files of this slide are named after: the slide's, with the series if it is not the first."""
        return self.slide.with_name(f"{self.name}{self.slide.suffix}") if self.series else self.slide

    @property
    def annotated(self) -> bool:
        """Whether somebody looked through the slide: it has an annotation file, or is known to be negative."""
        return self.annotations is not None or self.negative


def find_name_clash(cases: Iterable[Case]) -> tuple[Case, Case] | None:
    """Find two slides of one name (`slide_key`), whose results would have the same file name.

    Args:
        cases: The cases.

    Returns:
        The first such pair; None if all names are different.
    """
    first: dict[str, Case] = {}
    for case in cases:
        earlier = first.setdefault(image_name(slide_key(case.slide), case.series), case)
        if earlier is not case:
            return earlier, case
    return None


def open_case(case: Case) -> Slide:
    """Open a case's slide with its um/px.

    It is that of the cohort, else what QuPath has for an image of the slide's size in a data file (where the user may
    have corrected it), else that of the slide, else that of the annotation file.

    Args:
        case: The case.

    Returns:
        The open slide.

    Raises:
        SlideError: If the slide cannot be opened.
        MppMissingError: If none of them states um/px.
        AnnotationError: If only the annotation file could state it and cannot be read.
    """
    try:
        slide = open_slide(case.slide, case.mpp, case.mpp_source, series=case.series)
        if (corrected := _corrected_mpp(case, slide)) is None:
            return slide
        slide.close()
        return open_slide(case.slide, corrected, "qupath", series=case.series)
    except MppMissingError:
        image = None if case.annotations is None else read_image_metadata(case.annotations)
        if image is None or image.mpp is None:
            raise
    return open_slide(case.slide, image.mpp, "annotations", series=case.series)


def _corrected_mpp(case: Case, slide: Slide) -> float | None:
    """The um/px of the slide in QuPath, if it differs from the file's; None also where the cohort gives it."""
    if case.mpp is not None or case.annotations is None or case.annotations.suffix.casefold() != ".qpdata":
        return None
    image = None
    # reading the annotations themselves says what is wrong with the file
    with suppress(AnnotationError):
        image = read_image_metadata(case.annotations)
    if image is None or image.mpp is None or abs(image.mpp / slide.mpp - 1) <= SAME_MPP:
        return None
    # an image of another size is another image, or a smaller copy
    sizes = ((slide.box.width, slide.box.height), slide.scan_size)
    return image.mpp if any(_has_size(image, *size) for size in sizes) else None


FileStates = tuple[tuple[str, int, int, int], ...]
"""Name, size, time of change and number of the files of a case."""


def file_states(case: Case) -> FileStates:
    """Read by what the system recognizes the files of a case, to see later whether they were changed meanwhile.

    Args:
        case: The case.

    Returns:
        Name, size, time of change and number of slide and annotations, without those that are missing.
    """
    paths = [path for path in (case.slide, case.annotations) if path is not None]
    # the pixels of a MIRAX slide are in a folder of its name
    if case.slide.suffix.casefold() == ".mrxs":
        paths += sorted(case.slide.with_suffix("").glob("*"))
    states = []
    for path in paths:
        # opening a missing file says what is wrong
        with suppress(OSError):
            stat = path.stat()
            states.append((str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino))
    return tuple(states)


def check_unchanged(states: Mapping[Case, FileStates]) -> None:
    """Check that the files of cases are still those that were read.

    Args:
        states: The states of their files before they were opened.

    Raises:
        SlideError: If one was replaced or written to.
    """
    for case, before in states.items():
        if changed := set(before) ^ set(file_states(case)):
            fault = "the file was changed while it was read"
            remedy = "Wait until it is complete, then run the same command again"
            raise SlideError(min(changed)[0], fault, remedy)


def to_shown_frame(annotations: Annotations, path: Path, slide: Slide | Box) -> Annotations:
    """Convert annotations to level-0 px of the slide, and compare their image with the slide.

    Args:
        annotations: Annotations as they were read.
        path: The annotation file.
        slide: The slide, or its box in level-0 px, of which only the size can be compared.

    Returns:
        The annotations, with notes where name, resolution or origin of their image differ from the slide's.

    Raises:
        AnnotationError: If their image has another size than the slide and the whole scan, or is another series.
    """
    image = annotations.image
    if format_of(path) in CENTER_FRAME_FORMATS:
        if not isinstance(slide, Slide):
            fault = "these annotations are counted in nm from the center of the glass slide"
            raise AnnotationError(path, fault, "Give the slide they were drawn on (--slide)")
        offset = slide.center_offset_um
        in_scan = from_slide_center(annotations, slide.scan_size, slide.file_mpp, offset)
        corner_x, corner_y = slide.scan_corner
        return replace(in_scan, regions=in_scan.regions.translate(-corner_x, -corner_y))
    if isinstance(slide, Slide):
        annotations = to_slide_frame(annotations, path, slide.scan_corner)
    if image is None:
        return annotations
    box = slide.box if isinstance(slide, Slide) else slide
    notes = list(annotations.notes)
    if isinstance(slide, Slide):
        _check_series(image, path, slide)
        notes += _difference_notes(image, slide)
    if image.width is None or image.height is None or _has_size(image, box.width, box.height):
        return replace(annotations, notes=tuple(notes))
    # The file may count from the corner of the whole scan instead of the part that is the slide.
    if isinstance(slide, Slide) and _has_size(image, *slide.scan_size):
        x, y = slide.scan_corner
        notes.append(
            f"drawn on the whole scan, of which the slide is the part from {x:g}, {y:g}: taken into account"
        )
        return replace(annotations, regions=annotations.regions.translate(-x, -y), notes=tuple(notes))
    raise _size_error(image, path, box)


def _check_series(image: ImageMetadata, path: Path, slide: Slide) -> None:
    """AnnotationError if the annotations were drawn on another image of the slide's file."""
    if image.series is not None and image.series != (slide.series or 0):
        fault = f"the annotations were drawn on series {image.series} of the file, but series {slide.series or 0} is read"
        remedy = f"Give the series ({image.series}) in the column series of the cohort table or with --series"
        raise AnnotationError(path, fault, remedy)


def _has_size(image: ImageMetadata, width: float, height: float) -> bool:
    wider, higher = (image.width or 0) - width, (image.height or 0) - height
    return abs(wider) <= SIZE_TOLERANCE_PX and abs(higher) <= SIZE_TOLERANCE_PX


def _difference_notes(image: ImageMetadata, slide: Slide) -> list[str]:
    """Notes on what the annotated image has in another way than the slide: its name, its um/px."""
    notes = []
    same_name = image.name is None or slide.path is None or name_rank(slide.path, image.name) is not None
    if not same_name and slide.path is not None:
        notes.append(f"drawn on an image called {image.name}, not {slide.path.name}; is it the right slide?")
    if image.mpp is not None and abs(image.mpp / slide.mpp - 1) > MPP_TOLERANCE:
        notes.append(f"drawn at {image.mpp:.4g} um/px, but the slide has {slide.mpp:.4g}, which is used")
    return notes


def _size_error(image: ImageMetadata, path: Path, box: Box) -> AnnotationError:
    x_ratio = (image.width or 0) / box.width
    y_ratio = (image.height or 0) / box.height
    fault = (
        f"the annotations were drawn on an image of {image.width} x {image.height} px, but its slide has "
        f"{box.width:g} x {box.height:g} px"
    )
    remedy = "Give the slide that was annotated"
    # The same ratio in x and y points to a copy of the slide at another resolution.
    if abs(x_ratio / y_ratio - 1) < 0.01:
        remedy += f"; this one may be a copy of it {max(x_ratio, 1 / x_ratio):.3g} times as "
        remedy += "small" if x_ratio > 1 else "large"
    return AnnotationError(path, fault, remedy)
