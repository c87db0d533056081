"""Tables of a validated review: every region with its area, and counts and areas of each slide."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from histoscout.io.tables import write_csv
from histoscout.review.review import Review
from histoscout.review.state import ReviewedRegion

REGION_COLUMNS = (
    "slide",
    "id",
    "label",
    "verdict",
    "origin",
    "edited",
    "score",
    "area_mm2",
    "x_um",
    "y_um",
    "reader",
    "date",
    "comment",
)
SLIDE_COLUMNS = ("slide", "label", "regions", "area_mm2", "rejected", "unclear", "open", "reader", "date")


@dataclass(frozen=True)
class ValidationTables:
    """The files of `write_validation`.

    Attributes:
        regions: A row for each region that was judged.
        slides: A row for each slide and class: what is there after validation.
    """

    regions: Path
    slides: Path


def write_validation(review: Review, mpp: Mapping[str, float], folder: Path) -> ValidationTables:
    """Write areas and counts after validation, with readers and dates.

    Only regions that the readers accept count; what they reject, are unsure of, differ on or left open is counted apart.

    Args:
        review: The review.
        mpp: um per level-0 px by slide name; slides that are not in it have areas of none.
        folder: The folder to write to; existing tables are replaced.

    Returns:
        The files: validated_regions.csv and validated_slides.csv.

    Raises:
        OutputError: A file cannot be written.
    """
    tables = ValidationTables(folder / "validated_regions.csv", folder / "validated_slides.csv")
    regions: list[tuple[object, ...]] = []
    slides: list[tuple[object, ...]] = []
    for slide in sorted({*review.slides, *mpp}):
        state = review.slide(slide)
        scale = mpp.get(slide)
        judged = [reviewed for reviewed in state.regions.values() if not reviewed.replaced_by]
        regions += [_region_row(slide, reviewed, scale) for reviewed in judged]

        untouched = [region.id for region in review.findings(slide) if region.id not in state.regions]
        outcomes = [reviewed.outcome for reviewed in judged]
        outcomes += [state.outcome(identity) for identity in untouched]
        apart = (
            outcomes.count("reject"),
            outcomes.count("unclear") + outcomes.count("differ"),
            outcomes.count("open"),
        )
        readers = ", ".join(sorted({operation.reader for operation in review.operations(slide)}))
        date = max((operation.time for operation in review.operations(slide)), default="")[:10]
        accepted = [reviewed for reviewed in judged if reviewed.exists and reviewed.outcome == "accept"]
        # a slide without any lesion has a row, too
        for label in sorted({reviewed.label for reviewed in accepted}) or [""]:
            own = [reviewed.region for reviewed in accepted if reviewed.label == label]
            area = "" if scale is None else f"{sum(region.area_mm2(scale) for region in own):.6g}"
            slides.append((slide, label, len(own), area, *apart, readers, date))
    write_csv(tables.regions, REGION_COLUMNS, regions)
    write_csv(tables.slides, SLIDE_COLUMNS, slides)
    return tables


def _region_row(slide: str, reviewed: ReviewedRegion, mpp: float | None) -> tuple[object, ...]:
    region = reviewed.region
    center = region.outline.centroid
    numbers = () if mpp is None else (region.area_mm2(mpp), center.x * mpp, center.y * mpp)
    places = [f"{number:.6g}" for number in numbers] or ["", "", ""]
    verdicts = sorted(reviewed.verdicts.items())
    return (
        slide,
        region.id,
        reviewed.label,
        reviewed.outcome,
        reviewed.origin,
        "yes" if reviewed.edited else "no",
        "" if region.score is None else f"{region.score:.4f}",
        *places,
        ", ".join(reader for reader, _ in verdicts),
        max((verdict.time for _, verdict in verdicts), default="")[:10],
        "; ".join(f"{reader}: {verdict.comment}" for reader, verdict in verdicts if verdict.comment),
    )
