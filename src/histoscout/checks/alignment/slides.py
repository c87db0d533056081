"""Whether annotations fit the tissue of a slide.

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
from histoscout.cohort.annotated_slide import REVIEWED
from histoscout.geometry.regions import Region, Regions, valid_outline
from histoscout.io.notes import pluralize
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

SIMPLIFY_CELLS = 0.2
"""Tolerance in cells by which outlines are simplified."""

MIN_SLIDES = 2
"""Slides that must show a mistake which no slide proves alone."""

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
        suspected: A mistake that fits, but that other slides must show, too.
    """

    slide: str
    verdict: Verdict
    fits: Mapping[str, AlignmentFit] = field(default_factory=dict)
    mistake: Mistake | None = None
    suspected: Mistake | None = None


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
        frame=ReferenceFrame(slide.box, tile_um / slide.mpp, slide.scan_corner, slide.mpp),
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
    if mistake is not None and mistake.by_tile:
        verdict = _suspicion(fits, mistake)
        return Alignment(slide=subject.name, verdict=verdict, fits=fits, suspected=mistake)
    verdict = _verdict(subject, fits, mistake)
    return Alignment(slide=subject.name, verdict=verdict, fits=fits, mistake=mistake)


def best_supported(fits: Mapping[str, AlignmentFit], searched: str = "") -> str:
    """Find the mistake after whose correction annotations fit clearly better than as given.

    Corrected annotations must also be on tissue, and no less than as given: a few that fit by chance prove nothing.
    Annotations as given that are on tissue and still cannot be judged, such as those that cover nearly all of it, are
    not accused of any mistake: whatever fits better would have nothing to be better than.

    Args:
        fits: Fit by name of the mistake, and as given.
        searched: Name of the displacement that was searched for.

    Returns:
        Name of the mistake; "" if there is none.
    """
    given = fits[AS_GIVEN]
    if math.isnan(given.z) and not given.on_tissue < OFF_TISSUE:
        return ""
    # off the tissue, a fit that cannot be computed counts as none
    min_fit = (0.0 if math.isnan(given.z) else given.z) + MARGIN
    supported = {
        name: fit.z
        for name, fit in fits.items()
        if name != AS_GIVEN
        and stays_on_tissue(fit, given)
        and fit.z >= max(min_fit, DISPLACEMENT_FIT if name == searched else MISTAKE_FIT)
    }
    # a named mistake explains more than a distance that was searched for
    if any(
        z >= NAMED_SHARE * supported.get(searched, 0.0) for name, z in supported.items() if name != searched
    ):
        supported.pop(searched, None)
    return max(supported, key=lambda name: supported[name], default="")


def stays_on_tissue(corrected: AlignmentFit, given: AlignmentFit) -> bool:
    """Whether corrected annotations are on tissue, and with about as much as those given.

    Args:
        corrected: The fit after a correction.
        given: The fit as given.
    """
    return corrected.on_tissue >= max(MIN_ON_TISSUE, KEPT_ON_TISSUE * given.on_tissue)


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


def _compare(fits: Mapping[str, AlignmentFit], mistake: Mistake) -> str:
    given = fits[AS_GIVEN].z
    as_given = "not computable" if math.isnan(given) else f"{given:.1f}"
    return f"fit {fits[mistake.name].z:.1f} when corrected, {as_given} as given"


def _suspicion(fits: Mapping[str, AlignmentFit], mistake: Mistake) -> Verdict:
    return Verdict(
        name=ALIGNMENT,
        state="cannot tell",
        message=f"perhaps {mistake.name} ({_compare(fits, mistake)}); {MIN_SLIDES} slides must show it",
        remedy="Look at the picture",
    )


def failed_verdict(fits: Mapping[str, AlignmentFit], mistake: Mistake) -> Verdict:
    """The verdict that names a mistake.

    Args:
        fits: Fit by name of the mistake, and as given.
        mistake: The mistake.
    """
    return Verdict(
        name=ALIGNMENT,
        state="failed",
        message=f"{mistake.name} ({mistake.message}): {_compare(fits, mistake)}",
        remedy="Look at the picture; `histoscout check --apply DIR` writes corrected annotations",
    )


def _verdict(subject: AlignmentSubject, fits: Mapping[str, AlignmentFit], mistake: Mistake | None) -> Verdict:
    given, count = fits[AS_GIVEN], len(subject.lesions(subject.regions))
    # in this order: a mistake counts even if annotations also fit as given
    if mistake is not None:
        return failed_verdict(fits, mistake)
    if given.z >= MIN_FIT:
        return Verdict(
            name=ALIGNMENT,
            state="good",
            message=f"fit {given.z:.1f}: standard deviations better than the same annotations elsewhere",
        )
    if given.on_tissue < OFF_TISSUE and count:
        on_tissue = f"only {given.on_tissue:.0%} of the annotated area is tissue of this slide"
        return Verdict(
            name=ALIGNMENT,
            state="failed",
            message=f"{on_tissue}, and no typical mistake explains it",
            remedy="Check that these are the annotations of this slide, in its level-0 px",
        )
    if math.isnan(given.z) and count:
        message = "the annotations cover most of this tissue, so there is little to compare with"
    else:
        too_few = pluralize(count, "annotation is", "annotations are")
        message = f"{too_few} too few to decide (fit {given.z:.1f}; {MIN_FIT:g} is needed)"
    return Verdict(name=ALIGNMENT, state="cannot tell", message=message, remedy="Look at the picture")
