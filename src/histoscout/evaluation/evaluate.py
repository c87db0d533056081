"""Evaluation of a model on held-out patients: detect, then score slide by slide.

One slide that cannot be scored does not end the evaluation of the others.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

from histoscout.annotations.found import read_found
from histoscout.cohort.annotated_slide import labeled_regions, open_labeled_slide
from histoscout.cohort.case import Case, FileStates, check_unchanged, file_states
from histoscout.cohort.cohort import Cohort, read_cohort
from histoscout.cohort.leakage import leak_message
from histoscout.detection.detect import DetectOptions, detect
from histoscout.detection.domain_shift import OUT_OF_DISTRIBUTION
from histoscout.detection.heatmap import read_heatmap
from histoscout.detection.operating_point import OPERATING_FILE, OperatingPoint
from histoscout.detection.overlay import draw_overlay
from histoscout.detection.results import ResultFolder, read_ledger
from histoscout.detection.settings import choose_point
from histoscout.errors import CohortError, HistoscoutError, ModelError, OutputError
from histoscout.evaluation.leakage import SanityMode, check_evaluation
from histoscout.evaluation.lesions.froc import measure_operating_points
from histoscout.evaluation.pixels.tile_table import TileSet, make_tile_set
from histoscout.evaluation.protocol import (
    EvaluationProtocol,
    refuse_other_scores,
    score_folder,
    select_test_cases,
)
from histoscout.evaluation.reference import Reference
from histoscout.evaluation.review import ReviewPlan, prepare_review
from histoscout.evaluation.review_results import (
    ReviewResults,
    compare_with_review,
    read_review_results,
    refuse_lost_review,
    review_notes,
)
from histoscout.evaluation.scores import Scores as Scores
from histoscout.evaluation.scores_io import write_scores
from histoscout.evaluation.slide_metrics import PREVIOUS, SlideScores, score_slide_heatmap
from histoscout.hardware import usable_cores
from histoscout.io.files import StrPath, write_text
from histoscout.io.inputs import seal
from histoscout.io.names import patients_in_both
from histoscout.io.notes import SlideNotes
from histoscout.network.model_folder import ModelFolder, read_model
from histoscout.progress import NoProgress, Progress

METHOD = "model"
"""The name of the evaluated model among methods."""

FOUND = ("found", "found by previous model")
"""Folders of detections in that of the scores: of the model and of the one to compare with."""

REVIEW_FOLDER = "review"
"""The folder of an expert review in that of the scores."""

MAX_THREADS = 4
"""Slides that are scored at once; each holds its heatmap and its annotations."""


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Options of `evaluate`: device, what to evaluate on, and what to compare with.

    Attributes:
        device: "auto", "cpu", "cuda", "mps", "openvino" or "torch".
        overwrite: Whether to detect on finished slides again and to replace other scores.
        progress: Where to report progress.
        against: The folder of a previous model to compare with on the same slides.
        split: Evaluate on the "test" patients or on the tuning set ("tune"), whose metrics are optimistic.
        review_count: How many of the surest false positives to export for an expert review, at most.
        review_results: A completed expert review: its folder, its table, or GeoJSON from QuPath.
        sanity_checks: "all" stops if a sanity check fails, "warn" continues.
        at: An operating target, such as "1 FP/cm2", as `detect` has it.
        operating_points: The folder of scores from which the operating target is chosen, as `detect` has it.
        report: Writes a report on the scores into a folder, from where it is put beside them.
        tiles: A table of labeled tiles to score as well, as papers on patches do.
        tile_um: Side of these tiles in um; without a table they are a grid over the tissue.

    Example:
        >>> from histoscout import EvaluateOptions
        >>> EvaluateOptions(split="tune", review_count=50).split
        'tune'
    """

    device: str = "auto"
    overwrite: bool = False
    progress: Progress = field(default_factory=NoProgress)
    against: Path | None = None
    split: Literal["test", "tune"] = "test"
    review_count: int = 0
    review_results: Path | None = None
    sanity_checks: SanityMode = "all"
    at: str | None = None
    operating_points: Path | None = None
    report: Callable[[Scores, Path], object] | None = None
    tiles: Path | None = None
    tile_um: float | None = None

    @property
    def detect_options(self) -> DetectOptions:
        """The options for detection with the model to evaluate."""
        return DetectOptions(
            device=self.device,
            overwrite=self.overwrite,
            progress=self.progress,
            at=self.at,
            operating_points=self.operating_points,
        )


@dataclass(frozen=True, kw_only=True)
class ModelUnderTest:
    """A model that is evaluated.

    Attributes:
        model: The model.
        output: Where its detections are written.
        detect_options: How it detects.
        review_results: An expert review of its detections.
        tile_set: Tiles of a fixed size to score as well.
    """

    model: ModelFolder
    output: ResultFolder
    detect_options: DetectOptions
    review_results: ReviewResults | None = None
    tile_set: TileSet | None = None

    @cached_property
    def operating_point(self) -> OperatingPoint | None:
        """The operating point for the operating target; None without one."""
        return choose_point(self.model, self.detect_options)

    def aside(self, folder: Path) -> "ModelUnderTest":
        """The same with detections in another folder, where those of a killed run are used again."""
        detect_options = replace(self.detect_options, overwrite=False)
        return replace(
            self, output=ResultFolder(folder / self.output.folder.name), detect_options=detect_options
        )

    @property
    def threshold(self) -> float:
        """The probability threshold."""
        from_recipe = self.model.recipe.detection.threshold
        return self.model.threshold if from_recipe is None else from_recipe


def evaluate(
    model: ModelFolder | StrPath,
    cohort: Cohort | StrPath,
    out: StrPath,
    options: EvaluateOptions | None = None,
) -> Scores:
    """Evaluate a model: detect on the test set of a cohort and compare with the annotations.

    The test set are the slides whose split is "test"; without splits, those of patients that the model does
    not know. Pixels count where there is tissue that is not ignored. Slides whose detections are finished are
    not detected again. If a slide fails, that is noted and the others are evaluated.

    Args:
        model: The model, or its folder.
        cohort: The cohort, or its table.
        out: The folder to write scores.json, slides.csv, patients.csv, operating points, overlays, detections
            and, with `review_count`, an expert review to.
        options: Device, split and comparison.

    Returns:
        The scores.

    Raises:
        CohortError: The model was trained or tuned on a patient of the set, a sanity check failed, or no
            slide can be evaluated.
        OutputError: `out` holds scores of another set or model, or an expert review that would be lost.
        ModelError: The model cannot be read, or the operating target is not reached.

    Example:
        >>> from pathlib import Path
        >>> from histoscout import EvaluateOptions, evaluate
        >>> options = EvaluateOptions(device="cpu")
        >>> scores = evaluate(Path("model"), Path("cohort.csv"), Path("scores"), options)  # doctest: +SKIP
        >>> scores.lesion["sensitivity"].value  # doctest: +SKIP
    """
    out = Path(out)
    # read the model to evaluate, and the one to compare with
    options = options or EvaluateOptions()
    cohort = cohort if isinstance(cohort, Cohort) else read_cohort(cohort)
    models = _models_under_test(model, out, options)
    purpose = {
        "models": [each.model.hash for each in models],
        "detection": [options.at, str(options.operating_points or "")],
    }
    with score_folder(out, purpose, replaced=FOUND if options.overwrite else ()) as folder:
        # detections that are to be replaced stay until all is done
        if options.overwrite:
            models = tuple(each.aside(folder) for each in models)
        scores = _evaluate(models, cohort, folder, options)
        if options.report is not None:
            options.report(scores, folder)
    return scores


def _evaluate(
    models: tuple[ModelUnderTest, ...], cohort: Cohort, folder: Path, options: EvaluateOptions
) -> Scores:
    """Evaluate the first model, and write all but the report into a folder beside the scores that are there."""
    out, tested = folder.parent, models[0]

    # choose the cases, and refuse what must not be evaluated or replaced before anything is detected
    selected = select_test_cases(cohort, [each.model for each in models], options.split)
    protocol = _protocol(models, options, selected.has_test_split)
    refuse_other_scores(out, protocol, options.overwrite)
    sanity_checks = check_evaluation(
        tested.model, selected.cases, options.split, sanity_checks=options.sanity_checks
    )

    # an expert review: none that exists is lost, and its results correct the reference
    if options.review_count:
        refuse_lost_review(out / REVIEW_FOLDER, options.overwrite)
    if options.review_results is not None:
        classes = tested.model.recipe.classes
        annotated = {
            label for case in selected.cases for label in labeled_regions(case, classes).regions.labels
        }
        review = read_review_results(options.review_results, classes, annotated)
        tested = replace(tested, review_results=review)

    # detect, then score each slide
    models = (tested, *models[1:])
    states = {case: file_states(case) for case in selected.cases}
    cases, detection_notes = _detect(models, selected.cases)
    if options.overwrite:
        _refuse_loss(out, selected.cases, cases)
    score_slide = partial(_score_case, models, folder / "overlays", states)
    slides, slide_notes = score_slides(cases, score_slide, options.progress)
    if not slides:
        reasons = "; ".join([*detection_notes, *slide_notes])
        fault = f"no slide could be evaluated: {reasons}"
        raise CohortError(cohort.where, fault, "Repair the slides, or leave them out")

    # collect what the user should know
    notes = [*cohort.notes, *selected.notes, *_operating_notes(tested.operating_point, slides)]
    notes += [*detection_notes, *slide_notes]
    if tested.review_results is not None and options.review_results is not None:
        lesions = {slide.name: slide.lesions for slide in slides}
        notes += review_notes(tested.review_results, lesions, options.review_results)

    # write the scores, then what later steps use: operating points and the export for an expert
    scores = Scores(
        protocol=replace(protocol, leak=leak_message(sanity_checks)),
        slides=slides,
        notes=tuple(notes),
        sanity_checks=sanity_checks,
    )
    write_scores(scores, folder)
    _write_operating_points(scores, tested, folder)
    if options.review_count:
        plan = ReviewPlan(folder=folder / REVIEW_FOLDER, max_items=options.review_count)
        _export_review(scores, cases, tested, plan=plan)
    return scores


def _refuse_loss(out: Path, given: Sequence[Case], detected: Sequence[Case]) -> None:
    """OutputError if a slide failed whose earlier results would be lost."""
    before = read_ledger(ResultFolder(out / FOUND[0]).ledger)
    failed = {case.name for case in given} - {case.name for case in detected}
    lost = sorted(name for name in failed if name in before and before[name].state == "done")
    if lost:
        fault = f"slides failed whose scores would be lost ({', '.join(lost)}); the old scores are kept"
        raise OutputError(out, fault, "Repair these slides, then run the same command again")


def _models_under_test(
    model: ModelFolder | StrPath, out: Path, options: EvaluateOptions
) -> tuple[ModelUnderTest, ...]:
    """The model to evaluate, and the previous one if there is one to compare with."""
    model = model if isinstance(model, ModelFolder) else read_model(model)
    tested = ModelUnderTest(
        model=model,
        output=ResultFolder(out / FOUND[0]),
        detect_options=options.detect_options,
        tile_set=make_tile_set(options.tiles, options.tile_um, model.recipe.classes.positive),
    )
    # an operating target that cannot be reached is an error before any slide is opened
    _ = tested.operating_point
    if options.against is None:
        return (tested,)

    # operating points of another model's scores hold for that model alone
    detect_options = options.detect_options
    if options.operating_points is not None:
        detect_options = replace(detect_options, at=None, operating_points=None)
    previous = ModelUnderTest(
        model=read_model(options.against),
        output=ResultFolder(out / FOUND[1]),
        detect_options=detect_options,
    )
    positive = tested.model.recipe.classes.positive
    previous_positive = previous.model.recipe.classes.positive
    if positive != previous_positive:
        fault = f"the model detects {previous_positive!r}, the model to evaluate {positive!r}"
        raise ModelError(options.against, fault, "Compare models of the same positive class")
    return tested, previous


def _protocol(
    models: Sequence[ModelUnderTest], options: EvaluateOptions, has_test_split: bool
) -> EvaluationProtocol:
    tested, *previous = models
    tune = tested.model.metrics.get("tune", {})
    return EvaluationProtocol(
        method=METHOD,
        set_name=options.split,
        positive=tested.model.recipe.classes.positive,
        threshold=tested.threshold,
        has_test_split=has_test_split,
        tuned_on_blocks=bool(tune.get("optimistic")),
        model_hash=tested.model.hash,
        operating_target="" if tested.operating_point is None else tested.operating_point.summary,
        previous_model=str(options.against) if options.against else None,
        previous_threshold=previous[0].threshold if previous else 1.0,
        tile_um=None if tested.tile_set is None else tested.tile_set.tile_um,
        tile_source="" if tested.tile_set is None else tested.tile_set.source,
    )


def _detect(models: Sequence[ModelUnderTest], cases: Sequence[Case]) -> tuple[list[Case], list[str]]:
    """Run every model; returns the cases on which all succeeded, and notes on the others."""
    # reasons by slide: of failures, and of slides that are out of distribution
    failed: dict[str, str] = {}
    shifted: dict[str, str] = {}
    for tested in models:
        rows = detect(tested.model, cases, tested.output.folder, options=tested.detect_options)
        failed |= {row.slide: row.reason for row in rows if row.state == "failed"}
        shifted |= {row.slide: row.reason for row in rows if OUT_OF_DISTRIBUTION in row.reason}
    notes = [f"{slide}: not evaluated, {reason}" for slide, reason in failed.items()]
    notes += [f"{slide}: {reason}" for slide, reason in shifted.items() if slide not in failed]
    return [case for case in cases if case.name not in failed], notes


# ---------------------------------------------------------------- slides


def score_slides(
    cases: Sequence[Case], score_slide: Callable[[Case, SlideNotes], SlideScores], progress: Progress
) -> tuple[tuple[SlideScores, ...], list[str]]:
    """Score every slide, several at once in threads.

    Threads are enough, since most of the work releases Python's global lock.

    Args:
        cases: The cases.
        score_slide: Scores one case and adds notes on it.
        progress: Where to report progress.

    Returns:
        The scores of the slides in the order of the cases, without those that failed, and the notes on
        slides.
    """

    # a failure is a note on the slide, so that the others are scored
    def attempt(case: Case) -> tuple[SlideScores | None, SlideNotes]:
        notes = SlideNotes()
        try:
            return score_slide(case, notes), notes
        except HistoscoutError as error:
            notes.add(case.name, f"not evaluated, {error}")
            return None, notes

    # results come in the order of the cases, whatever the order in which threads finish
    progress.start("comparing with annotations", len(cases))
    slides: list[SlideScores] = []
    all_notes = SlideNotes()
    pool = ThreadPoolExecutor(min(MAX_THREADS, usable_cores()), thread_name_prefix="histoscout-score")
    try:
        for scores, notes in pool.map(attempt, cases):
            all_notes.add_all(notes)
            slides += [] if scores is None else [scores]
            progress.advance()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    progress.done()
    return tuple(slides), all_notes.notes


def _score_case(
    models: Sequence[ModelUnderTest],
    overlays: Path,
    states: Mapping[Case, FileStates],
    case: Case,
    notes: SlideNotes,
) -> SlideScores:
    """Score what each model detected on one slide; previous models are kept as baselines."""
    tested, *previous = models
    scores = replace(_score_detections(case, tested, overlays, notes=notes), site=case.site)
    for other in previous:
        counts = _score_detections(case, other, None, notes=notes).counts
        scores = replace(scores, baselines={**scores.baselines, PREVIOUS: counts})
    # detections and scores must be of the same slide and annotations
    check_unchanged({case: states[case]})
    return scores


def _score_detections(
    case: Case, tested: ModelUnderTest, overlays: Path | None, *, notes: SlideNotes
) -> SlideScores:
    """Score the detections of one model on one slide, and draw an overlay of both."""
    labeled, case_notes = open_labeled_slide(case, tested.model.recipe)
    notes.add(case.name, *case_notes)
    with labeled.slide:
        # read what detection wrote
        reference = Reference.from_slide(labeled)
        heatmap = read_heatmap(tested.output.heatmap(case.name))
        regions = read_found(tested.output.regions(case.name))
        if overlays is not None:
            draw_overlay(labeled.slide, regions, reference.positive, overlays / f"{case.name}.png")

        point = tested.operating_point  # lesions are scored at its score threshold
        scores = score_slide_heatmap(
            reference,
            heatmap,
            regions,
            threshold=tested.threshold,
            score_threshold=None if point is None else point.score_threshold,
            model_hash=tested.model.hash,
            tile_set=tested.tile_set,
        )

    # an expert review adds a second comparison, with the corrected reference
    if tested.review_results is None:
        return scores
    return replace(scores, reviewed=compare_with_review(reference, scores.lesions, tested.review_results))


# ---------------------------------------------------------------- results


def _operating_notes(point: OperatingPoint | None, slides: Sequence[SlideScores]) -> list[str]:
    """What the user should know about the operating target."""
    if point is None:
        return []
    # patients that chose the score threshold make its metrics optimistic
    chose = patients_in_both((slide.patient for slide in slides), point.chosen_by)
    optimistic = (
        f"; metrics at this score are optimistic: {len(chose)} of the evaluated patients were used to choose "
        "it"
        if chose
        else ""
    )
    return [f"{point.target}: {point.expected}{optimistic}"]


def _write_operating_points(scores: Scores, tested: ModelUnderTest, out: Path) -> None:
    """Write the operating points, from which later detections can choose their score."""
    points = measure_operating_points(
        scores.lesions,
        [slide.patient for slide in scores.slides],
        source=scores.protocol.source,
        threshold=tested.threshold,
        model=tested.model.hash,
    )
    write_text(out / OPERATING_FILE, json.dumps(seal(points.to_dict()), indent=1, allow_nan=False) + "\n")


def _export_review(
    scores: Scores, cases: Sequence[Case], tested: ModelUnderTest, *, plan: ReviewPlan
) -> None:
    """Export the surest false positives, without those that were reviewed before."""
    review = tested.review_results
    plan = replace(plan, skip_ids=frozenset() if review is None else review.labels)
    lesions = {slide.name: slide.reviewed or slide.lesions for slide in scores.slides}
    cases_by_name = {case.name: case for case in cases}
    prepare_review(lesions, cases_by_name, tested.model.recipe.classes, plan=plan)
