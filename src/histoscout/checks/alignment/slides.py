"""Do the annotations fit the tissue? For a slide, and for a cohort.

The outlines as given are compared with the same outlines after undoing every known mistake: whichever fits the pixels
best, measured by `histoscout.check.fit`, is what the pixels support.
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
from histoscout.io.notes import list_some
from histoscout.recipe_sections import ClassConfig
from histoscout.slides.slide import Slide
from histoscout.tissue.mask import Tissue
from histoscout.verdict import Verdict

ALIGNMENT = "annotations fit the tissue"
AS_GIVEN = "as given"

FITS = 4.0
"""Standard deviations from which outlines fit."""

MISTAKEN, MARGIN = 5.5, 3.0
"""A mistake is found if undoing it fits by so much, and so much better than the outlines as they are."""

UNNAMED = 7.0
"""The same for a displacement by any amount, of which thousands are tried."""

CLIP = 6.0  # what one slide may add to the fit of all
NEARLY = 0.8
OFF_TISSUE = 0.4
MOST_TOLD = 3
MOST_ASKED = 40  # of the slides that training has opened
LEAST_ON_TISSUE, AS_MUCH = 0.5, 0.9
FINER = 0.2  # of a cell: by how much outlines may be simplified
LEAST_CLEAR = 3.0  # cells; nearer than this or half an outline is where the outlines are
LARGEST_SHARE = 0.5  # of the slide; an outline of more that holds others is a reviewed area


@dataclass(frozen=True)
class Alignment:
    """What the pixels of one slide say: the fit as given and after undoing each mistake, by name, and the verdict.

    `mistake` is what is undone by the correction that is offered, if there is one.
    """

    slide: str
    verdict: Verdict
    fits: Mapping[str, AlignmentFit] = field(default_factory=dict)
    mistake: Mistake | None = None


@dataclass(frozen=True)
class AlignmentSubject:
    """A slide ready to be asked: its cells, its outlines as they are in the file, and what mistakes refer to.

    `classes` says which of the outlines are areas that were merely reviewed: they move with the others, but are no lesions.
    """

    name: str
    regions: Regions
    frame: ReferenceFrame
    test: AlignmentTest
    classes: ClassConfig = field(default_factory=ClassConfig)

    @property
    def cells(self) -> CellGrid:
        return self.test.cells

    def fit(self, regions: Regions) -> AlignmentFit:
        """How well any outlines fit this slide."""
        lesions = self.lesions(regions)
        outlines = [region.outline for region in lesions]
        areas = np.array([outline.area for outline in outlines]) / self.cells.side**2
        if not len(areas):
            return AlignmentFit(math.nan, math.nan, 0)
        zones = annotation_zones(outlines, self.cells.shape, self.cells.side, self.cells.side_um)
        return self.test(zones, float(areas.sum()), max(LEAST_CLEAR, 0.5 * self.width(lesions)))

    def lesions(self, regions: Regions) -> Regions:
        """The outlines without areas that were merely reviewed: by their class, or as they hold others and most of the slide."""
        reviewed = [label for label in regions.labels if self.classes.canonical(label) == REVIEWED]
        regions = regions.where(lambda region: region.label not in reviewed)
        most = LARGEST_SHARE * self.frame.box.area
        points = [region.outline.representative_point() for region in regions]

        def is_lesion(region: Region) -> bool:
            return region.outline.area <= most or int(shapely.contains(region.outline, points).sum()) < 2

        return regions.where(is_lesion)

    def width(self, regions: Regions) -> float:
        """How wide a usual outline is, in cells."""
        return math.sqrt(float(np.median([region.outline.area for region in regions]))) / self.cells.side


def prepare_subject(slide: Slide, regions: Regions, tissue: Tissue, tile_um: float) -> AlignmentSubject:
    """Measure a slide; `regions` are its outlines in level-0 px, not clipped to the slide.

    Args:
        slide: The slide.
        regions: The annotations.
        tissue: Its tissue.
        tile_um: Side of a tile in um.
    """
    frame = ReferenceFrame(slide.box, tile_um / slide.mpp, slide.scan_corner)
    cells = measure_cells(slide, tissue)
    return AlignmentSubject(
        slide.name, simplify_regions(regions, cells.side * FINER), frame, AlignmentTest(cells)
    )


def simplify_regions(regions: Regions, tolerance: float) -> Regions:
    """The same outlines with as few corners as cells can show.

    Args:
        regions: The annotations.
        tolerance: Tolerance in level-0 px.
    """
    simple = shapely.simplify(np.array([region.outline for region in regions], dtype=object), tolerance)
    sound = [valid_outline(outline) for outline in simple.tolist()]
    return Regions.of(
        replace(region, outline=outline or region.outline)
        for region, outline in zip(regions, sound, strict=True)
    )


def check_slide_alignment(
    subject: AlignmentSubject, others: Callable[[], Sequence[tuple[str, Regions]]] = tuple
) -> Alignment:
    """Whether the outlines of a slide fit its tissue, which mistake explains it if they do not, or that none can tell.

    `others` gives the outlines of the cohort's other slides; they are tried only where this slide's own do not fit.

    Args:
        subject: The slide and its annotations.
        others: Gives annotations of other slides by name.
    """
    given = subject.fit(subject.regions)
    fits = {AS_GIVEN: given}
    mistakes = {mistake.name: mistake for mistake in known_mistakes(subject.frame)}
    if (displaced := _displaced(subject, given)) is not None:
        mistakes[displaced.name] = displaced
    if not given.z >= FITS:
        mistakes |= {mistake.name: mistake for mistake in map(_swapped, others())}
    fits |= {name: subject.fit(one.correct(subject.regions)) for name, one in mistakes.items()}
    mistake = mistakes.get(best_supported(fits, displaced.name if displaced else ""))
    return Alignment(subject.name, _verdict(subject, fits, mistake), fits, mistake)


def best_supported(fits: Mapping[str, AlignmentFit], unnamed: str = "") -> str:
    """The mistake whose undoing fits clearly better than the outlines as given; "" if there is none.

    Undone, outlines must also lie on tissue, and no less than as given: a few that hit some by chance prove nothing.
    `unnamed` is the displacement that was searched for.

    Args:
        fits: Fit by name of the mistake.
        unnamed: Name of mistakes that are not listed.
    """
    given = fits[AS_GIVEN]
    least, on_tissue = _z(given) + MARGIN, max(LEAST_ON_TISSUE, AS_MUCH * given.on_tissue)
    found = {
        name: fit.z
        for name, fit in fits.items()
        if name != AS_GIVEN
        and fit.on_tissue >= on_tissue
        and fit.z >= max(least, UNNAMED if name == unnamed else MISTAKEN)
    }
    if any(z >= NEARLY * found.get(unnamed, 0.0) for name, z in found.items() if name != unnamed):
        found.pop(unnamed, None)  # a name says more than a distance that was searched for
    return max(found, key=lambda name: found[name], default="")


def _z(fit: AlignmentFit) -> float:
    """A fit that cannot be judged counts as none."""
    return 0.0 if math.isnan(fit.z) else fit.z


def _displaced(subject: AlignmentSubject, given: AlignmentFit) -> Mistake | None:
    """The displacement at which the outlines would fit best, unless that is where they are."""
    dx, dy = given.best
    if not given.best_z >= FITS or math.hypot(dx, dy) <= max(
        LEAST_CLEAR, subject.width(subject.lesions(subject.regions))
    ):
        return None
    side, side_um = subject.cells.side, subject.cells.side_um
    told = f"all annotations are displaced: x by {-dx * side_um:.0f} um, y by {-dy * side_um:.0f} um"
    return displacement(-dx * side, -dy * side, "displaced", told)


def _swapped(other: tuple[str, Regions]) -> Mistake:
    name, regions = other
    return Mistake(
        f"outlines of {name}",
        f"these annotations belong to another slide; those of {name} fit here",
        lambda _: regions,
    )


def _verdict(subject: AlignmentSubject, fits: Mapping[str, AlignmentFit], mistake: Mistake | None) -> Verdict:
    given, count = fits[AS_GIVEN], len(subject.lesions(subject.regions))
    shown = f"fit {given.z:.1f}" if not math.isnan(given.z) else "fit not to be judged"
    if mistake is not None:
        undone = fits[mistake.name].z
        message = (
            f"{mistake.name} ({mistake.message}): corrected, they fit by {undone:.1f} (as given: {shown})"
        )
        return Verdict(
            name=ALIGNMENT,
            state="failed",
            message=message,
            remedy="Look at the picture; `histoscout check --apply DIR` writes corrected annotations",
        )
    if given.z >= FITS:
        return Verdict(
            name=ALIGNMENT,
            state="good",
            message=f"{shown}: standard deviations better than the same annotations elsewhere",
        )
    if given.on_tissue < OFF_TISSUE and count:
        message = f"only {given.on_tissue:.0%} of the annotated area is tissue of this slide, and no typical mistake explains it"
        return Verdict(
            name=ALIGNMENT,
            state="failed",
            message=message,
            remedy="Are these the annotations of this slide, in its level-0 px?",
        )
    message = f"{count} annotations are too few to decide ({shown}; {FITS:g} are needed)"
    return Verdict(name=ALIGNMENT, state="cannot tell", message=message, remedy="Look at the picture")


def check_cohort_alignment(alignments: Sequence[Alignment]) -> Verdict:
    """What the slides say together: a mistake made on all of them shows even where each tells too little.

    Fits are added up over the slides (Stouffer 1949), each counted up to `CLIP` so that no slide decides alone.

    Args:
        alignments: Alignment of each slide.
    """
    asked = [one for one in alignments if AS_GIVEN in one.fits]
    if failed := [one for one in asked if one.verdict.state == "failed"]:
        told = list_some([f"{one.slide}: {one.verdict.message}" for one in failed], MOST_TOLD, "; ")
        return Verdict(
            name=ALIGNMENT,
            state="failed",
            message=f"{len(failed)} of {len(asked)} slides: {told}",
            remedy=failed[0].verdict.remedy,
        )
    together = {name: _together(asked, name) for name in _names(asked)}
    given = together.pop(AS_GIVEN, 0.0)
    worst = max(together, key=lambda name: together[name], default="")
    if worst and together[worst] >= max(MISTAKEN, given + MARGIN):
        message = f"no slide shows it alone, but together they do: {worst}; corrected, fit {together[worst]:.1f} (as given: {given:.1f})"
        return Verdict(
            name=ALIGNMENT, state="failed", message=message, remedy="Look at the pictures before training"
        )
    good = sum(one.verdict.state == "good" for one in asked)
    message = f"on {good} of {len(asked)} slides each by itself; fit of all together {given:.1f}"
    if given >= FITS:
        return Verdict(name=ALIGNMENT, state="good", message=message)
    return Verdict(name=ALIGNMENT, state="cannot tell", message=message, remedy="Look at the pictures")


def _names(alignments: Sequence[Alignment]) -> list[str]:
    """What was tried on every slide."""
    return sorted(set.intersection(*(set(one.fits) for one in alignments))) if alignments else []


def _together(alignments: Sequence[Alignment], name: str) -> float:
    fits = [one.fits[name].z for one in alignments]
    judged = [min(max(z, -CLIP), CLIP) for z in fits if not math.isnan(z)]
    return sum(judged) / math.sqrt(len(judged)) if judged else 0.0


def check_training_alignment(slides: Sequence[LabeledSlide]) -> Verdict:
    """Whether the outlines of slides that training has opened fit their tissue; they are clipped to the slides.

    Of many slides `MOST_ASKED` are asked, from the first to the last: a mistake is seldom made on one slide alone, and
    `histoscout check` asks them all.

    Args:
        slides: The slides.
    """
    drawn = [(one, outlines) for one in slides if len(outlines := annotated_only(one.regions))]
    asked = (
        [drawn[place] for place in np.unique(np.linspace(0, len(drawn) - 1, MOST_ASKED).astype(int))]
        if drawn
        else []
    )
    return check_cohort_alignment(
        [
            check_slide_alignment(
                prepare_subject(one.slide, outlines, one.tissue, one.recipe.patches.size_um)
            )
            for one, outlines in asked
        ]
    )
