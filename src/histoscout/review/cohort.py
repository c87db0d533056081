"""A cohort of corrections: what readers accepted, drew and rejected as annotations that a training takes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import shapely

from histoscout.annotations.geojson import write_geojson
from histoscout.cohort.annotated_slide import CORRECTED, REVIEWED, is_mask, read_annotated_regions
from histoscout.cohort.case import Case, open_case
from histoscout.cohort.cohort import Cohort, write_cohort
from histoscout.errors import OutputError, ReviewError
from histoscout.geometry.regions import Outline, Region, Regions, valid_outline
from histoscout.io.names import patient_key, slide_key
from histoscout.io.notes import count_and_list, list_some, pluralize
from histoscout.review.review import OUTCOME_CLASSES, Review

TABLE = "cohort.csv"
"""Name of the table in the folder of a corrected cohort."""

IGNORED = "ignore"
"""Class of findings that nobody judged, or that readers are unsure of or differ on."""


@dataclass(frozen=True, kw_only=True)
class Corrections:
    """The corrections of a slide, as annotations.

    Attributes:
        annotations: Outlines of lesions, by class.
        rejected: What is no lesion although it was found or drawn: hard negatives, of a class such as "UDH: rejected".
        ignored: What nobody judged, or readers are unsure of or differ on.
        areas: Areas that were looked through.
        negative: Whether a reader said that the slide has no lesion, and nobody found one.
    """

    annotations: Regions
    rejected: Regions
    ignored: Regions
    areas: Regions
    negative: bool

    @property
    def regions(self) -> Regions:
        """All of them, as they are written."""
        return Regions.of([*self.annotations, *self.rejected, *self.ignored, *self.areas])

    @property
    def teach(self) -> bool:
        """Whether anything was decided on this slide."""
        return bool(len(self.annotations) or len(self.rejected) or len(self.areas) or self.negative)


def collect_corrections(review: Review, slide: str, annotated: Regions | None = None) -> Corrections:
    """Collect what the readers of a slide decided.

    Accepted, edited and drawn regions are annotations; rejected and deleted findings are hard negatives. Findings that
    nobody judged, and those that readers are unsure of or differ on, are to be ignored. Where outlines overlap, an
    annotation wins over a hard negative, and both win over what is ignored.

    Args:
        review: The review.
        slide: Name of the slide.
        annotated: Annotations that the slide has already; they stay annotations.

    Returns:
        The corrections.

    Example:
        >>> from pathlib import Path
        >>> from histoscout.review.operation import Operation
        >>> found = Regions.of([Region(shapely.box(0, 0, 9, 9), "UDH", 0.9, id="r1")])
        >>> review = Review(Path("review"), lambda slide: found)
        >>> _ = review.record(Operation(kind="reject", reader="AB", slide="A1", sources=("r1",)))
        >>> collect_corrections(review, "A1").rejected.labels
        ['UDH: rejected']
    """
    state = review.slide(slide)
    judged = state.regions
    untouched = [region for region in review.findings(slide) if region.id not in judged]
    accepted = [
        Region(reviewed.region.outline, reviewed.label, id=identity, properties={CORRECTED: True})
        for identity, reviewed in judged.items()
        if reviewed.exists and state.outcome(identity) == "accept"
    ]
    # what its own drawer deleted again says nothing
    candidates = [
        (identity, reviewed.region.outline, reviewed.label)
        for identity, reviewed in judged.items()
        if not reviewed.replaced_by and (reviewed.exists or reviewed.origin == "detection")
    ]
    candidates += [(region.id, region.outline, region.label) for region in untouched]
    rejected = [
        Region(outline, f"{label}: {OUTCOME_CLASSES['reject']}", id=identity, properties={CORRECTED: True})
        for identity, outline, label in candidates
        if state.outcome(identity) == "reject"
    ]
    ignored = [
        Region(outline, IGNORED, id=identity, properties={CORRECTED: True})
        for identity, outline, _ in candidates
        if state.outcome(identity) in ("unclear", "differ", "open")
    ]
    lesions = [*(annotated or ()), *accepted]
    kept = _cut(rejected, [region.outline for region in lesions])
    negative = bool(state.no_lesion) and not lesions and not ignored
    return Corrections(
        annotations=Regions.of(lesions),
        rejected=Regions.of(kept),
        ignored=Regions.of(_cut(ignored, [region.outline for region in (*lesions, *kept)])),
        # a slide without any lesion was looked through as a whole
        areas=Regions.of(
            []
            if negative
            else [Region(area.outline, REVIEWED, id=identity) for identity, area in state.areas.items()]
        ),
        negative=negative,
    )


def _cut(regions: Iterable[Region], outlines: Sequence[Outline]) -> list[Region]:
    """The regions without what these outlines cover."""
    tree = shapely.STRtree(outlines)
    rest = []
    for region in regions:
        over = [outlines[index] for index in tree.query(region.outline, predicate="intersects")]
        left = valid_outline(region.outline.difference(shapely.union_all(over))) if over else region.outline
        if left is not None:
            rest.append(replace(region, outline=left))
    return rest


# ---------------------------------------------------------------- the cohort


@dataclass(frozen=True, kw_only=True)
class CorrectedCohort:
    """A cohort of corrections.

    Attributes:
        cohort: The corrected slides, and those of the cohort they were added to.
        corrections: What is written for each corrected slide, by its name.
        notes: Notes for the user.
    """

    cohort: Cohort
    corrections: Mapping[str, Corrections]
    notes: tuple[str, ...] = ()


def make_corrected_cohort(
    review: Review,
    cases: Sequence[Case],
    folder: Path,
    *,
    base: Cohort | None = None,
    skip_test: bool = False,
) -> CorrectedCohort:
    """Make a cohort of the slides on which readers decided anything. Nothing is written.

    Args:
        review: The review.
        cases: The slides of the results.
        folder: The folder that the cohort will be written to.
        base: A cohort to which the corrected slides are added, such as the one that the model was trained on. It says
            who their patients are and in which split; its other slides stay as they are.
        skip_test: Leave slides of patients of the test split out, instead of refusing.

    Returns:
        The cohort.

    Raises:
        ReviewError: Nobody decided anything, a corrected slide does not exist, or a patient is in the test split.
        AnnotationError: Annotations that a slide has already cannot be read.
    """
    listed = {} if base is None else {slide_key(case.name): case for case in base.cases}
    notes: list[str] = []
    corrected: dict[str, Case] = {}
    corrections: dict[str, Corrections] = {}
    undecided: list[str] = []
    for found in cases:
        if not review.slide(found.name).started:
            continue
        case = listed.get(slide_key(found.name), found)
        made = collect_corrections(review, found.name, _annotations(case))
        if not made.teach:
            undecided.append(found.name)
            continue
        corrected[found.name], corrections[found.name] = case, made
    if undecided:
        notes.append(f"slides on which nothing was decided, left out: {count_and_list(undecided)}")
    every_case = [*cases, *(() if base is None else base.cases)]
    test = {patient_key(case.patient) for case in every_case if case.split == "test"}
    kept_back = [name for name, case in corrected.items() if patient_key(case.patient) in test]
    if kept_back:
        patients = list_some(sorted({corrected[name].patient for name in kept_back}))
        reason = f"{pluralize(len(kept_back), 'corrected slide')} of patients of the test split ({patients})"
        if not skip_test:
            fault = f"{reason} would become training data, and the test would no longer be one"
            raise ReviewError(folder, fault, "Leave them out with --skip-test, or give them another split")
        notes.append(f"{reason}: left out")
        for name in kept_back:
            del corrected[name], corrections[name]
    if not corrected:
        fault = "there is no decision of a reader that could become training data"
        remedy = "Judge findings with `histoscout view`, or take them over with `histoscout review import`"
        raise ReviewError(review.folder, fault, remedy)
    if missing := [name for name, case in corrected.items() if not case.slide.exists()]:
        fault = f"slides are not where the results say: {count_and_list(missing)}"
        raise ReviewError(review.folder, fault, "Give their present folder with --slides")
    notes += _notes(corrected, corrections, has_base=base is not None)
    new = {
        name: _corrected_case(case, corrections[name], folder / "annotations" / f"{name}.geojson")
        for name, case in corrected.items()
    }
    by_key = {slide_key(name): case for name, case in new.items()}
    kept = [] if base is None else [by_key.pop(slide_key(case.name), case) for case in base.cases]
    cohort = Cohort((*kept, *by_key.values()), str(folder / TABLE))
    return CorrectedCohort(cohort=cohort, corrections=corrections, notes=tuple(notes))


def _annotations(case: Case) -> Regions:
    """The annotations that a slide has already; none where its file is gone."""
    if case.annotations is None or not case.annotations.is_file():
        return Regions()
    if is_mask(case.annotations):
        with open_case(case) as slide:
            return read_annotated_regions(case, case.annotations, slide).regions
    return read_annotated_regions(case, case.annotations).regions


def _corrected_case(case: Case, made: Corrections, path: Path) -> Case:
    """The case with its corrections in place of its annotations."""
    negative = made.negative and not len(made.rejected)
    return replace(
        case,
        annotations=None if negative else path,
        negative=negative,
        mask_labels=(),
        mask_threshold=None,
        class_property="",
        keep_found=False,
    )


def _notes(cases: Mapping[str, Case], corrections: Mapping[str, Corrections], *, has_base: bool) -> list[str]:
    notes = []
    unbounded = [name for name, made in corrections.items() if not len(made.areas) and not made.negative]
    if unbounded:
        notes.append(
            f"what nobody outlined counts as no lesion on slides without a reviewed area ({len(unbounded)}): if "
            "lesions may have been overlooked there, train with --incomplete"
        )
    own = [name for name, case in cases.items() if case.patient in (name, case.slide.stem)]
    if own and not has_base:
        notes.append(f"slides that name no patient, each a patient of its own: {count_and_list(own)}")
    return notes


def write_corrected_cohort(made: CorrectedCohort, folder: Path, *, overwrite: bool = False) -> Path:
    """Write a cohort of corrections: a table, and a GeoJSON of each corrected slide.

    Args:
        made: The cohort, made for this folder.
        folder: The folder.
        overwrite: Whether a cohort that is there may be replaced.

    Returns:
        The table, which `train` takes.

    Raises:
        OutputError: There is a cohort, or a file cannot be written.
    """
    table = folder / TABLE
    if table.exists() and not overwrite:
        raise OutputError(table, "there is a cohort already", "Give another folder, or --overwrite")
    for name, corrections in made.corrections.items():
        if len(corrections.regions):
            write_geojson(corrections.regions, folder / "annotations" / f"{name}.geojson")
    write_cohort(made.cohort, table)
    return table
