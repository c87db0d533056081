"""Whether annotations fit the tissue, for a slide and for a cohort.

The annotations as given are compared with the same annotations after undoing each typical mistake. The pixels support
whichever fits best, as measured by `histoscout.checks.alignment.scoring`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import shapely

from histoscout.checks.alignment.corrections import Mistake, ReferenceFrame, displacement, known_mistakes
from histoscout.checks.alignment.scoring import (
    AlignmentFit,
    AlignmentTest,
    CellGrid,
    annotation_zones,
    measure_cells,
)
from histoscout.cohort.annotated_slide import REVIEWED, LabeledSlide, annotated_only
from histoscout.geometry.regions import Region, Regions, valid_outline
from histoscout.io.notes import list_some, pluralize
from histoscout.recipe_sections import ClassConfig
from histoscout.slides.slide import Slide
from histoscout.tissue.mask import Tissue
from histoscout.verdict import Verdict

ALIGNMENT = "annotations fit the tissue"
"""Name of the check."""

AS_GIVEN = "as given"
"""Name of the fit without any correction."""

MIN_FIT = 4.0
"""Standard deviations from which annotations fit."""

MISTAKE_FIT = 5.5
"""A mistake is reported if undoing it gives at least this fit, and `MARGIN` more than as given."""

DISPLACEMENT_FIT = 7.0
"""The same for a displacement by any amount, since thousands of them are tried."""

MARGIN = 3.0

NAMED_SHARE = 0.8
"""A named mistake is preferred if it fits at least this share as well as the displacement that was searched for."""

MIN_ON_TISSUE = 0.5
"""Corrected annotations must be on tissue with this share of their cells."""

KEPT_ON_TISSUE = 0.9
"""And with this share of what is on tissue as given."""

OFF_TISSUE = 0.4
"""Annotations with a smaller share on tissue are wrong, even if no mistake explains them."""

MAX_SLIDE_FIT = 6.0
"""What one slide may add to the fit of all slides."""

MAX_LISTED = 3
"""Slides that a message names."""

MAX_TRAINING_SLIDES = 40
"""Training slides that are checked at most."""

SIMPLIFY_CELLS = 0.2
"""Tolerance in cells by which outlines are simplified."""

MIN_CLEARANCE = 3.0
"""Displacements up to this many cells, or half an annotation, count as the place itself."""

LARGEST_LESION = 0.5
"""Share of the slide; a larger annotation that holds others is a reviewed area."""


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """How well the annotations of one slide fit, as given and after undoing each mistake.

    Attributes:
        slide: Name of the slide.
        verdict: The result.
        fits: The fit by name of the mistake that was undone, and as given.
        mistake: The mistake that the offered correction undoes, if there is one.
    """

    slide: str
    verdict: Verdict
    fits: Mapping[str, AlignmentFit] = field(default_factory=dict)
    mistake: Mistake | None = None


@dataclass(frozen=True, kw_only=True)
class AlignmentSubject:
    """A slide prepared for the check.

    Attributes:
        name: Name of the slide.
        regions: Annotations as in the file, in level-0 px, not clipped to the slide.
        frame: What mistakes refer to.
        test: Measures the fit on this slide.
        classes: Tell which annotations are reviewed areas: these move with the others, but are no lesions.
    """

    name: str
    regions: Regions
    frame: ReferenceFrame
    test: AlignmentTest
    classes: ClassConfig = field(default_factory=ClassConfig)

    @property
    def cells(self) -> CellGrid:
        """The slide's cells."""
        return self.test.cells

    def fit(self, regions: Regions) -> AlignmentFit:
        """Measure how well any annotations fit this slide.

        Args:
            regions: The annotations in level-0 px.

        Returns:
            The fit of their lesions.
        """
        lesions = self.lesions(regions)
        outlines = [region.outline for region in lesions]
        areas = np.array([outline.area for outline in outlines]) / self.cells.side**2
        if not len(areas):
            return AlignmentFit(z=math.nan, on_tissue=math.nan, cells=0)
        cells = self.cells
        zones = annotation_zones(outlines, cells.shape, cells.side, cells.side_um)
        return self.test(zones, float(areas.sum()), max(MIN_CLEARANCE, 0.5 * self.width(lesions)))

    def lesions(self, regions: Regions) -> Regions:
        """Leave out reviewed areas: by their class, or by their size and what they contain.

        Args:
            regions: The annotations in level-0 px.

        Returns:
            The annotations of lesions.
        """
        reviewed = [label for label in regions.labels if self.classes.canonical(label) == REVIEWED]
        regions = regions.where(lambda region: region.label not in reviewed)
        largest = LARGEST_LESION * self.frame.box.area
        points = [region.outline.representative_point() for region in regions]

        def is_lesion(region: Region) -> bool:
            return region.outline.area <= largest or int(shapely.contains(region.outline, points).sum()) < 2

        return regions.where(is_lesion)

    def width(self, regions: Regions) -> float:
        """The side of a square of the median area of annotations, in cells.

        Args:
            regions: The annotations, at least one.
        """
        return math.sqrt(float(np.median([region.outline.area for region in regions]))) / self.cells.side


def prepare_subject(slide: Slide, regions: Regions, tissue: Tissue, *, tile_um: float) -> AlignmentSubject:
    """Measure a slide for the check.

    Args:
        slide: The slide.
        regions: Its annotations in level-0 px, not clipped to the slide.
        tissue: Its tissue.
        tile_um: Side of a tile in um.

    Returns:
        The prepared slide.
    """
    cells = measure_cells(slide, tissue)
    return AlignmentSubject(
        name=slide.name,
        regions=simplify_regions(regions, cells.side * SIMPLIFY_CELLS),
        frame=ReferenceFrame(slide.box, tile_um / slide.mpp, slide.scan_corner),
        test=AlignmentTest(cells),
    )


def simplify_regions(regions: Regions, tolerance: float) -> Regions:
    """Simplify annotations to as few corners as cells can show.

    Args:
        regions: The annotations.
        tolerance: Tolerance in level-0 px.

    Returns:
        The same annotations; one that would become invalid is not simplified.
    """
    simple = shapely.simplify(np.array([region.outline for region in regions], dtype=object), tolerance)
    valid = [valid_outline(outline) for outline in simple.tolist()]
    return Regions.of(
        replace(region, outline=outline or region.outline)
        for region, outline in zip(regions, valid, strict=True)
    )


# ---------------------------------------------------------------- one slide


def check_slide_alignment(
    subject: AlignmentSubject, others: Callable[[], Sequence[tuple[str, Regions]]] = tuple
) -> Alignment:
    """Check whether the annotations of a slide fit its tissue, or which mistake was made.

    Args:
        subject: The slide and its annotations.
        others: Gives name and annotations of the cohort's other slides; called only if this slide's do not fit.

    Returns:
        Fits and verdict; "cannot tell" with too few annotations.
    """
    given = subject.fit(subject.regions)
    fits = {AS_GIVEN: given}
    # typical mistakes, the displacement that fits best, and annotations of other slides
    mistakes = {mistake.name: mistake for mistake in known_mistakes(subject.frame)}
    if (displaced := _best_displacement(subject, given)) is not None:
        mistakes[displaced.name] = displaced
    if not given.z >= MIN_FIT:
        mistakes |= {mistake.name: mistake for mistake in map(_exchanged, others())}
    fits |= {name: subject.fit(mistake.correct(subject.regions)) for name, mistake in mistakes.items()}
    mistake = mistakes.get(best_supported(fits, displaced.name if displaced else ""))
    verdict = _verdict(subject, fits, mistake)
    return Alignment(slide=subject.name, verdict=verdict, fits=fits, mistake=mistake)


def best_supported(fits: Mapping[str, AlignmentFit], searched: str = "") -> str:
    """Find the mistake after whose correction annotations fit clearly better than as given.

    Corrected annotations must also be on tissue, and no less than as given: a few that fit by chance prove nothing.

    Args:
        fits: Fit by name of the mistake, and as given.
        searched: Name of the displacement that was searched for.

    Returns:
        Name of the mistake; "" if there is none.
    """
    given = fits[AS_GIVEN]
    # a fit that cannot be computed counts as none
    min_fit = (0.0 if math.isnan(given.z) else given.z) + MARGIN
    min_on_tissue = max(MIN_ON_TISSUE, KEPT_ON_TISSUE * given.on_tissue)
    supported = {
        name: fit.z
        for name, fit in fits.items()
        if name != AS_GIVEN
        and fit.on_tissue >= min_on_tissue
        and fit.z >= max(min_fit, DISPLACEMENT_FIT if name == searched else MISTAKE_FIT)
    }
    # a named mistake explains more than a distance that was searched for
    if any(
        z >= NAMED_SHARE * supported.get(searched, 0.0) for name, z in supported.items() if name != searched
    ):
        supported.pop(searched, None)
    return max(supported, key=lambda name: supported[name], default="")


def _best_displacement(subject: AlignmentSubject, given: AlignmentFit) -> Mistake | None:
    """The displacement at which the annotations fit best, unless that is where they are."""
    dx, dy = given.best
    if not given.best_z >= MIN_FIT or math.hypot(dx, dy) <= max(
        MIN_CLEARANCE, subject.width(subject.lesions(subject.regions))
    ):
        return None
    side, side_um = subject.cells.side, subject.cells.side_um
    message = f"all annotations are displaced: x by {-dx * side_um:.0f} um, y by {-dy * side_um:.0f} um"
    return displacement(-dx * side, -dy * side, name="displaced", message=message)


def _exchanged(other: tuple[str, Regions]) -> Mistake:
    """The mistake that a slide has the annotations of another one."""
    name, regions = other
    return Mistake(
        f"annotations of {name}",
        f"these annotations belong to another slide; those of {name} fit here",
        lambda _: regions,
    )


def _verdict(subject: AlignmentSubject, fits: Mapping[str, AlignmentFit], mistake: Mistake | None) -> Verdict:
    given, count = fits[AS_GIVEN], len(subject.lesions(subject.regions))
    given_fit = "not computable" if math.isnan(given.z) else f"{given.z:.1f}"
    # in this order: a mistake counts even if annotations also fit as given
    if mistake is not None:
        corrected = f"fit {fits[mistake.name].z:.1f} when corrected, {given_fit} as given"
        return Verdict(
            name=ALIGNMENT,
            state="failed",
            message=f"{mistake.name} ({mistake.message}): {corrected}",
            remedy="Look at the picture; `histoscout check --apply DIR` writes corrected annotations",
        )
    if given.z >= MIN_FIT:
        return Verdict(
            name=ALIGNMENT,
            state="good",
            message=f"fit {given_fit}: standard deviations better than the same annotations elsewhere",
        )
    if given.on_tissue < OFF_TISSUE and count:
        on_tissue = f"only {given.on_tissue:.0%} of the annotated area is tissue of this slide"
        return Verdict(
            name=ALIGNMENT,
            state="failed",
            message=f"{on_tissue}, and no typical mistake explains it",
            remedy="Check that these are the annotations of this slide, in its level-0 px",
        )
    too_few = pluralize(count, "annotation is", "annotations are")
    return Verdict(
        name=ALIGNMENT,
        state="cannot tell",
        message=f"{too_few} too few to decide (fit {given_fit}; {MIN_FIT:g} is needed)",
        remedy="Look at the picture",
    )


# ---------------------------------------------------------------- cohorts


def check_cohort_alignment(alignments: Sequence[Alignment]) -> Verdict:
    """Check whether annotations fit on all slides together.

    A mistake made on all slides shows even where each slide alone has too few annotations. Fits are combined over the
    slides (Stouffer 1949), each counted up to `MAX_SLIDE_FIT`, so that no slide decides alone.

    Args:
        alignments: Alignment of each slide; slides without a fit are left out.

    Returns:
        Failed if a slide fails, or if all together support a mistake.
    """
    measured = [alignment for alignment in alignments if AS_GIVEN in alignment.fits]
    if failed := [alignment for alignment in measured if alignment.verdict.state == "failed"]:
        faults = [f"{alignment.slide}: {alignment.verdict.message}" for alignment in failed]
        return Verdict(
            name=ALIGNMENT,
            state="failed",
            message=f"{len(failed)} of {len(measured)} slides: {list_some(faults, MAX_LISTED, '; ')}",
            remedy=failed[0].verdict.remedy,
        )
    # mistakes that were tried on every slide
    names = sorted(set.intersection(*(set(alignment.fits) for alignment in measured))) if measured else []
    combined = {name: _combined_fit(measured, name) for name in names}
    given = combined.pop(AS_GIVEN, 0.0)
    mistake = max(combined, key=lambda name: combined[name], default="")
    if mistake and combined[mistake] >= max(MISTAKE_FIT, given + MARGIN):
        corrected = f"fit {combined[mistake]:.1f} when corrected, {given:.1f} as given"
        return Verdict(
            name=ALIGNMENT,
            state="failed",
            message=f"no slide shows it alone, but all together do: {mistake}; {corrected}",
            remedy="Look at the pictures before training",
        )
    good = sum(alignment.verdict.state == "good" for alignment in measured)
    message = f"good on {good} of {len(measured)} slides alone; fit of all together {given:.1f}"
    if given >= MIN_FIT:
        return Verdict(name=ALIGNMENT, state="good", message=message)
    return Verdict(name=ALIGNMENT, state="cannot tell", message=message, remedy="Look at the pictures")


def _combined_fit(alignments: Sequence[Alignment], name: str) -> float:
    fits = [alignment.fits[name].z for alignment in alignments]
    clipped = [min(max(z, -MAX_SLIDE_FIT), MAX_SLIDE_FIT) for z in fits if not math.isnan(z)]
    return sum(clipped) / math.sqrt(len(clipped)) if clipped else 0.0


def check_training_alignment(slides: Sequence[LabeledSlide]) -> Verdict:
    """Check whether the annotations of training slides fit their tissue.

    Of many slides `MAX_TRAINING_SLIDES` are checked, evenly spread: a mistake is seldom made on one slide alone, and
    `histoscout check` checks all.

    Args:
        slides: The slides; their annotations are clipped to them.

    Returns:
        The verdict on all of them.
    """
    annotated = [(slide, regions) for slide in slides if len(regions := annotated_only(slide.regions))]
    if annotated:
        chosen = np.unique(np.linspace(0, len(annotated) - 1, MAX_TRAINING_SLIDES).astype(int))
        annotated = [annotated[index] for index in chosen]
    alignments = []
    for slide, regions in annotated:
        tile_um = slide.recipe.patches.size_um
        subject = prepare_subject(slide.slide, regions, slide.tissue, tile_um=tile_um)
        alignments.append(check_slide_alignment(subject))
    return check_cohort_alignment(alignments)
