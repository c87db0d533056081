"""Expert review, export: the surest false positives as table, GeoJSON and pictures.

Where not everything was annotated, some false positives are lesions. `review_results` reads the results back.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from histoscout.annotations.found import found_properties
from histoscout.annotations.geojson import write_geojson
from histoscout.cohort.annotated_slide import labeled_regions
from histoscout.cohort.case import Case, open_case
from histoscout.detection.overlay import OutlinesToDraw, render_crop
from histoscout.evaluation.lesions.compare import LOCATION_KINDS, Detection, LocationKind, SlideLesions
from histoscout.geometry.regions import Regions
from histoscout.io.files import atomic_write
from histoscout.io.tables import REVIEW_TABLE, write_csv
from histoscout.recipe_sections import ClassConfig
from histoscout.slides.slide import Slide

REVIEW_CLASS = "review: ?"
"""The class of a detection that is to be reviewed, as QuPath shows it."""

REVIEW_COLUMNS = (
    "number",
    "slide",
    "id",
    "score",
    "location",
    "area_mm2",
    "x_um",
    "y_um",
    "picture",
    "verdict",
    "comment",
)
"""The columns of the review table; the expert fills in "verdict"."""


@dataclass(frozen=True)
class ReviewItem:
    """A detection to be reviewed.

    Attributes:
        number: Its number in the review, from 1 for the surest.
        slide: Name of the slide.
        detection: The detection.
    """

    number: int
    slide: str
    detection: Detection

    @property
    def picture(self) -> str:
        """The file name of its picture."""
        return f"{self.number:04d} {self.slide}.png"


@dataclass(frozen=True, kw_only=True)
class ReviewPlan:
    """What to export for an expert review.

    Attributes:
        folder: The folder to write to.
        max_items: At most this many detections.
        skip_ids: Ids of detections to leave out, such as those reviewed before.
        locations: Only detections at these locations.
    """

    folder: Path
    max_items: int
    skip_ids: Container[str] = frozenset()
    locations: Container[LocationKind] = tuple(LOCATION_KINDS)


def prepare_review(
    lesions: Mapping[str, SlideLesions], cases: Mapping[str, Case], classes: ClassConfig, plan: ReviewPlan
) -> list[ReviewItem]:
    """Export the surest false positives for an expert: table, GeoJSON for QuPath, pictures.

    Existing files are replaced: call `refuse_lost_review` first.

    Args:
        lesions: Lesions and detections by slide name.
        cases: The cases by slide name.
        classes: The classes of the recipe.
        plan: What to export, and where.

    Returns:
        The exported detections.

    Raises:
        SlideError: A slide cannot be read.
        AnnotationError: Annotations cannot be read.
        OutputError: A file cannot be written.
    """
    # pictures need the slides, one after the other
    items = select_review_items(lesions, plan)
    mpp: dict[str, float] = {}
    for name, case in cases.items():
        if on_slide := [item for item in items if item.slide == name]:
            with open_case(case) as slide:
                mpp[name] = slide.mpp
                annotations = labeled_regions(case, classes, slide).regions
                write_review_pictures(on_slide, slide, annotations, folder=plan.folder)
    write_review_files(items, plan.folder, mpp)
    return items


def select_review_items(lesions: Mapping[str, SlideLesions], plan: ReviewPlan) -> list[ReviewItem]:
    """Select the false positives with the highest scores of all slides.

    Args:
        lesions: Lesions and detections by slide name.
        plan: How many to select, and which to leave out; its folder is not used.

    Returns:
        The detections, the surest first.
    """
    # false positives of all slides that are to be reviewed
    rows = []
    for slide, compared in lesions.items():
        for number in compared.false_positives():
            detection = compared.detections[number]
            if detection.region.id not in plan.skip_ids and detection.location.kind in plan.locations:
                rows.append((slide, detection))

    # the surest first; equal scores by slide and id, so that the order is always the same
    rows.sort(key=lambda row: (-row[1].score, row[0], row[1].region.id))
    selected = enumerate(rows[: plan.max_items], start=1)
    return [ReviewItem(number, slide, detection) for number, (slide, detection) in selected]


def write_review_files(items: Sequence[ReviewItem], folder: Path, mpp: Mapping[str, float]) -> None:
    """Write the review table, and a GeoJSON file for QuPath for each slide.

    Existing files are replaced.
    The table has an empty column "verdict". In SLIDE.geojson each detection has the class "review: ?" and the
    name "review NUMBER": the expert gives it another class and exports the objects again.

    Args:
        items: The detections.
        folder: The folder to write to.
        mpp: um per level-0 px by slide name.
    """
    # one GeoJSON file for each slide
    for slide in dict.fromkeys(item.slide for item in items):
        regions = Regions.of(
            replace(
                item.detection.region,
                label=REVIEW_CLASS,
                properties=found_properties(item.detection.region, REVIEW_CLASS, f"review {item.number}"),
            )
            for item in items
            if item.slide == slide
        )
        write_geojson(regions, folder / f"{slide}.geojson")
    rows = [_table_row(item, mpp[item.slide]) for item in items]
    write_csv(folder / REVIEW_TABLE, REVIEW_COLUMNS, rows)


def _table_row(item: ReviewItem, mpp: float) -> tuple[object, ...]:
    region = item.detection.region
    center = region.outline.centroid
    return (
        item.number,
        item.slide,
        region.id,
        f"{item.detection.score:.4f}",
        str(item.detection.location),
        f"{region.area_mm2(mpp):.6g}",
        f"{center.x * mpp:.6g}",
        f"{center.y * mpp:.6g}",
        f"pictures/{item.picture}",
        "",
        "",
    )


def write_review_pictures(
    items: Sequence[ReviewItem], slide: Slide, annotations: Regions, *, folder: Path
) -> None:
    """Write a picture of each detection, with the annotations in black.

    Args:
        items: Detections on this slide.
        slide: The opened slide.
        annotations: Its annotations, level-0 px.
        folder: The folder of the review.
    """
    for item in items:
        with atomic_write(folder / "pictures" / item.picture) as temporary:
            region = item.detection.region
            outlined = OutlinesToDraw(annotations, Regions.of([region]))
            render_crop(slide, region.outline, outlined).save(temporary, format="PNG")
