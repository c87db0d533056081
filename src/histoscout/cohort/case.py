"""A case: one slide of a cohort with its annotations, and how it is opened."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Literal

from histoscout.annotations.read import Annotations, ImageMetadata, read_image_metadata, to_slide_frame
from histoscout.errors import AnnotationError, MppMissingError
from histoscout.geometry.box import Box
from histoscout.slides.open import MPP_TOLERANCE, open_slide
from histoscout.slides.slide import Slide

SplitName = Literal["train", "tune", "test"]

BUILT_IN = "built-in"
"""The site of synthetic slides."""


@dataclass(frozen=True)
class Case:
    """A slide with its annotations, patient and site.

    Attributes:
        slide: The slide file.
        annotations: The annotation file; None if the slide is not annotated.
        patient: The patient; a slide without one is a patient of its own.
        split: "train", "tune" or "test"; None if training decides.
        mpp: um per level-0 px, used where the slide does not state it.
        site: Where the slide comes from.
        mask_labels: Value and class, if the annotations are a mask.
        mask_threshold: Gray values of a mask from here on count as 1, those below as 0.
        label: Class of an image that belongs to one class as a whole.

    Example:
        >>> from pathlib import Path
        >>> from histoscout import Case
        >>> Case(Path("slides/A1.svs"), patient="patient 1", split="train").name
        'A1'
    """

    slide: Path
    annotations: Path | None = None
    patient: str = ""
    split: SplitName | None = None
    mpp: float | None = None
    site: str | None = None
    mask_labels: tuple[tuple[int, str], ...] = ()
    mask_threshold: int | None = None
    label: str = ""

    def __post_init__(self) -> None:
        if not self.patient:
            object.__setattr__(self, "patient", self.name)

    @property
    def name(self) -> str:
        """The slide file's name without its suffix."""
        return self.slide.stem


def find_name_clash(cases: Iterable[Case]) -> tuple[Case, Case] | None:
    """The first two slides of one name, case aside, whose results would have the same file name.

    Args:
        cases: The cases.
    """
    first: dict[str, Case] = {}
    for case in cases:
        before = first.setdefault(case.name.casefold(), case)
        if before is not case:
            return before, case
    return None


def open_case(case: Case) -> Slide:
    """Open a case's slide with its um/px: that of the slide, the cohort or the annotation file.

    Raises SlideError, MppMissingError where nobody says, or AnnotationError where only the annotations could.

    Args:
        case: The case.
    """
    try:
        return open_slide(case.slide, case.mpp)
    except MppMissingError:
        image = None if case.annotations is None else read_image_metadata(case.annotations)
        if image is None or image.mpp is None:
            raise
    return open_slide(case.slide, image.mpp, "annotations")


SIZE_PX = 2.0  # programs round the size of an image differently


def to_shown_frame(drawn: Annotations, path: Path, slide: Slide | Box) -> Annotations:
    """What was read from a file, in level-0 px of the slide as we show it; notes where image and slide differ.

    AnnotationError if the image that was drawn on is of another size than the slide and its whole scan. A slide of
    which nothing but the box is known is compared by its size alone.

    Args:
        drawn: Annotations as they were read.
        path: The file or folder.
        slide: The slide or its box.
    """
    image = drawn.image
    if isinstance(slide, Slide):
        drawn = to_slide_frame(drawn, path, slide.scan_corner)
    if image is None:
        return drawn
    box = slide.box if isinstance(slide, Slide) else slide
    notes = list(drawn.notes)
    if isinstance(slide, Slide):
        notes += _differences(image, slide)
    if image.width is None or image.height is None or _are(image, box.width, box.height):
        return replace(drawn, notes=tuple(notes))
    if isinstance(slide, Slide) and _are(image, *slide.scan_size):
        x, y = slide.scan_corner
        notes.append(
            f"drawn on the whole scan, of which the slide is the part from {x:g}, {y:g}: taken into account"
        )
        return replace(drawn, regions=drawn.regions.translate(-x, -y), notes=tuple(notes))
    raise _other_size(image, path, box)


def _are(image: ImageMetadata, width: float, height: float) -> bool:
    across, down = (image.width or 0) - width, (image.height or 0) - height
    return abs(across) <= SIZE_PX and abs(down) <= SIZE_PX


def _differences(image: ImageMetadata, slide: Slide) -> list[str]:
    notes = []
    if image.name is not None and slide.path is not None and not _same_name(image.name, slide.path.name):
        notes.append(f"drawn on an image called {image.name}, not {slide.path.name}; is it the right slide?")
    if image.mpp is not None and abs(image.mpp / slide.mpp - 1) > MPP_TOLERANCE:
        notes.append(f"drawn at {image.mpp:.4g} um/px, but the slide has {slide.mpp:.4g}, which is used")
    return notes


def _same_name(one: str, other: str) -> bool:
    """Whether two files have one name, with or without their suffixes."""
    names = [{name.casefold(), PurePath(name).stem.casefold()} for name in (one, other)]
    return bool(names[0] & names[1])


def _other_size(image: ImageMetadata, path: Path, box: Box) -> AnnotationError:
    across, down = (image.width or 0) / box.width, (image.height or 0) / box.height
    fault = (
        f"the annotations were drawn on an image of {image.width} x {image.height} px, but its slide has "
        f"{box.width:g} x {box.height:g} px"
    )
    remedy = "Give the slide that was annotated"
    if abs(across / down - 1) < 0.01:
        remedy += f"; this one may be a copy of it {max(across, 1 / across):.3g} times as "
        remedy += "small" if across > 1 else "large"
    return AnnotationError(path, fault, remedy)
