"""Evaluation of detected regions of any origin against annotations, without a model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from histoscout.annotations.read import is_annotation_file
from histoscout.cohort.annotated_slide import (
    is_mask,
    labeled_regions,
    open_labeled_slide,
    replace_unreviewed,
    resolve_overlaps,
)
from histoscout.cohort.case import Case, check_unchanged, file_states
from histoscout.cohort.cohort import Cohort, read_cohort
from histoscout.cohort.discovery import match_names, unreadable_notes
from histoscout.detection.overlay import draw_overlay
from histoscout.errors import CohortError
from histoscout.evaluation.evaluate import score_slides
from histoscout.evaluation.pixels.tile_table import TileSet, make_tile_set
from histoscout.evaluation.protocol import (
    EvaluationProtocol,
    refuse_other_scores,
    score_folder,
    select_annotated_cases,
)
from histoscout.evaluation.reference import Reference
from histoscout.evaluation.scores import Scores
from histoscout.evaluation.scores_io import write_scores
from histoscout.evaluation.slide_metrics import SlideScores, score_slide_regions
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Regions
from histoscout.io.files import StrPath
from histoscout.io.names import patient_spellings, spellings_note
from histoscout.io.notes import SlideNotes, count_and_list
from histoscout.progress import NoProgress, Progress
from histoscout.recipe import Recipe
from histoscout.recipe_sections import ClassConfig
from histoscout.tissue.mask import Tissue, full_tissue

METHOD = "regions"
"""The name of the evaluated regions among methods."""


# ---------------------------------------------------------------- in memory


@dataclass(frozen=True, kw_only=True)
class SlideComparison:
    """One slide with its annotations and the regions detected on it, for `score_regions`.

    Attributes:
        name: Name of the slide.
        truth: The annotations, level-0 px.
        detected: The detected regions, level-0 px.
        box: The slide in level-0 px.
        mpp: um per level-0 px.
        patient: The patient; a slide without one is a patient of its own.
        site: Where the slide comes from.
        tissue: The tissue; without it all of the box counts.

    Example:
        >>> from histoscout import Box, Regions, SlideComparison
        >>> slide = SlideComparison(
        ...     name="slide", truth=Regions(), detected=Regions(), box=Box(0, 0, 1000, 1000), mpp=0.5
        ... )
        >>> slide.patient
        ''
    """

    name: str
    truth: Regions
    detected: Regions
    box: Box
    mpp: float
    patient: str = ""
    site: str | None = None
    tissue: Tissue | None = None


def score_regions(
    slides: Sequence[SlideComparison], positive: str | None = None, recipe: Recipe | None = None
) -> Scores:
    """Score detected regions against annotations: lesion metrics and pixel metrics.

    Needs no slide files, no model and no torch.

    Args:
        slides: The slides with annotations and detected regions.
        positive: The positive class; that of the recipe if None.
        recipe: Its `classes` say how classes are called; detected regions of other classes are left out. Its
            `patches.mpp` is the size of a pixel, um.

    Returns:
        The scores.

    Example:
        >>> import shapely
        >>> from histoscout import Box, Region, Regions, SlideComparison, score_regions
        >>> lesion = Region(shapely.Point(300, 300).buffer(80), "UDH")
        >>> detected = Region(shapely.Point(310, 300).buffer(80), "UDH", score=0.9)
        >>> slide = SlideComparison(
        ...     name="slide",
        ...     truth=Regions.of([lesion]),
        ...     detected=Regions.of([detected]),
        ...     box=Box(0, 0, 1000, 1000),
        ...     mpp=0.5,
        ... )
        >>> score_regions([slide], positive="UDH").lesion["sensitivity"].value
        1.0
    """
    recipe = _with_positive(recipe, positive)
    # a patient under several spellings is one
    spellings = patient_spellings(slide.patient for slide in slides if slide.patient)
    one = {spelling: group[0] for group in spellings for spelling in group}
    notes = SlideNotes()
    scored = tuple(
        _score_comparison(replace(slide, patient=one.get(slide.patient, slide.patient)), recipe, notes=notes)
        for slide in slides
    )
    all_notes = (*([spellings_note(spellings)] if spellings else []), *notes.notes)
    return Scores(protocol=_protocol(recipe), slides=scored, notes=all_notes)


def _with_positive(recipe: Recipe | None, positive: str | None) -> Recipe:
    recipe = recipe or Recipe()
    return recipe if positive is None else recipe.with_choices({"classes.positive": positive})


def _protocol(recipe: Recipe, tile_set: TileSet | None = None) -> EvaluationProtocol:
    return EvaluationProtocol(
        method=METHOD,
        set_name="given",
        positive=recipe.classes.positive,
        threshold=1.0,
        has_test_split=False,
        has_probabilities=False,
        classes=recipe.classes,
        tile_um=None if tile_set is None else tile_set.tile_um,
        tile_source="" if tile_set is None else tile_set.source,
    )


def _score_comparison(slide: SlideComparison, recipe: Recipe, *, notes: SlideNotes) -> SlideScores:
    # lesions inside ignored areas count; what is outside a reviewed area is ignored
    truth, overlaps = resolve_overlaps(_canonical_labels(slide.truth, recipe.classes), recipe.classes)
    notes.add(slide.name, *overlaps)
    truth, _ = replace_unreviewed(truth, slide.box)
    reference = Reference(
        name=slide.name,
        patient=slide.patient or slide.name,
        regions=truth,
        tissue=slide.tissue or full_tissue(slide.box, slide.mpp, recipe.tissue.mpp),
        mpp=slide.mpp,
        recipe=recipe,
    )
    detected = _canonical_labels(slide.detected, recipe.classes).with_labels(recipe.classes.positive)
    return replace(score_slide_regions(reference, detected), site=slide.site)


def _canonical_labels(regions: Regions, classes: ClassConfig) -> Regions:
    return regions.relabel(lambda label: classes.canonical(label) or label)


# ---------------------------------------------------------------- files


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Options of `evaluate_regions`.

    Attributes:
        positive: The positive class; that of the recipe if None.
        recipe: A recipe that says how classes are called.
        progress: Where to report progress.
        overwrite: Whether to replace scores of something else.
        tiles: A table of labeled tiles to score as well, as papers on patches do.
        tile_um: Side of these tiles in um; without a table they are a grid over the tissue.
        report: Writes a report on the scores into a folder, from where it is put beside them.

    Example:
        >>> from histoscout import CompareOptions
        >>> CompareOptions(positive="UDH").overwrite
        False
    """

    positive: str | None = None
    recipe: Recipe | None = None
    progress: Progress = field(default_factory=NoProgress)
    overwrite: bool = False
    tiles: Path | None = None
    tile_um: float | None = None
    report: Callable[[Scores, Path], object] | None = None


def evaluate_regions(
    detected: StrPath, cohort: Cohort | StrPath, out: StrPath, options: CompareOptions | None = None
) -> Scores:
    """Evaluate detected regions in files against the annotations of a cohort.

    Only tissue counts, and only test slides if the cohort has a test split. A slide without a file is noted,
    not taken as one without detections.

    Args:
        detected: A folder with a file for each slide, of the slide's name, in any format of annotations (or
            the output of `detect`, with its folder `regions`). Masks must be converted first.
        cohort: The cohort, or its table.
        out: The folder to write scores.json, slides.csv, patients.csv and overlays to.
        options: The positive class or a recipe.

    Returns:
        The scores.

    Raises:
        CohortError: The folder holds no file of these slides, or the cohort has no annotated slide.
        OutputError: `out` holds scores of something else.

    Example:
        >>> from pathlib import Path
        >>> from histoscout import CompareOptions, evaluate_regions
        >>> options = CompareOptions(positive="UDH")
        >>> scores = evaluate_regions(
        ...     Path("detections"), Path("cohort.csv"), Path("scores"), options
        ... )  # doctest: +SKIP
    """
    detected, out = Path(detected), Path(out)
    options = options or CompareOptions()
    cohort = cohort if isinstance(cohort, Cohort) else read_cohort(cohort)
    # refuse what must not be replaced before anything is read
    recipe = _with_positive(options.recipe, options.positive)
    tile_set = make_tile_set(options.tiles, options.tile_um, recipe.classes.positive)
    protocol = _protocol(recipe, tile_set)
    with score_folder(out, {"detected": str(detected)}) as folder:
        refuse_other_scores(out, protocol, options.overwrite)

        # score each slide that has a file
        selected = select_annotated_cases(cohort)
        files, lost = _detection_files(detected, selected.cases, cohort)
        score_slide = partial(_score_file, files, recipe, folder / "overlays", tile_set)
        slides, notes = score_slides(selected.cases, score_slide, options.progress)
        all_notes = (*cohort.notes, *selected.notes, *lost, *notes)
        scores = Scores(protocol=protocol, slides=slides, notes=all_notes)
        write_scores(scores, folder)
        if options.report is not None:
            options.report(scores, folder)
    return scores


def _detection_files(
    folder: Path, cases: Sequence[Case], cohort: Cohort
) -> tuple[dict[str, Path], list[str]]:
    """The file of detected regions of each slide, by name, and notes on others; CohortError if there is none."""
    # the output of `detect` has its regions in a folder of their own
    inside = folder / "regions"
    paths = sorted((inside if inside.is_dir() else folder).iterdir()) if folder.is_dir() else []
    named = [path for path in paths if is_annotation_file(path) and not is_mask(path)]
    usable = [path for path in named if path.is_file()]
    # a file goes with the slide whose name it fits best, of the whole cohort
    by_slide = match_names([case.named_file for case in cohort.cases], usable)
    files = {case.name: by_slide[case.named_file][0] for case in cases if by_slide[case.named_file]}
    claimed = {path for matched in by_slide.values() for path in matched}
    lost = [path.name for path in usable if path not in claimed]
    notes = [f"files of detected regions that are named after no slide, left out: {count_and_list(lost)}"]
    notes = [*(notes if lost else []), *unreadable_notes(named, "detected regions")]
    notes += [
        f"{case.name} has several files of detected regions, of which {by_slide[case.named_file][0].name} is read"
        for case in cases
        if len(by_slide[case.named_file]) > 1
    ]
    if not files:
        raise CohortError(
            folder,
            "the folder is neither a model nor does it hold detected regions of these slides",
            f"Give a model, or a folder with a file for each slide, such as {cases[0].name}.geojson",
        )
    return files, notes


def _score_file(
    files: Mapping[str, Path],
    recipe: Recipe,
    overlays: Path,
    tile_set: TileSet | None,
    case: Case,
    notes: SlideNotes,
) -> SlideScores:
    """Score the regions of one file, and draw an overlay of both."""
    if (file := files.get(case.name)) is None:
        fault = "no file of detected regions has its name"
        raise CohortError(case.slide, fault, "Add one, empty if nothing was detected")
    read = (case, replace(case, annotations=file))
    states = {each: file_states(each) for each in read}
    labeled, case_notes = open_labeled_slide(case, recipe)
    with labeled.slide:
        reference = Reference.from_slide(labeled)
        # the file is read as annotations of the same slide would be
        annotations = labeled_regions(
            replace(case, annotations=file, keep_found=True), recipe.classes, labeled.slide
        )
        detected = annotations.regions.with_labels(recipe.classes.positive)
        notes.add(case.name, *case_notes, *annotations.notes)
        draw_overlay(labeled.slide, detected, reference.positive, overlays / f"{case.name}.png")
        check_unchanged(states)
        return replace(score_slide_regions(reference, detected, tile_set), site=case.site)
