"""How good a model is on patients it has never seen.

Every slide judged, some at once, and one that cannot be judged ends no other.
"""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

from histoscout.annotations.geojson import read_geojson
from histoscout.cohort.annotated_slide import labeled_regions, open_labeled
from histoscout.cohort.case import Case
from histoscout.cohort.cohort import Cohort, read_cohort
from histoscout.detection.detect import DetectOptions, detect
from histoscout.detection.domain_shift import UNLIKE
from histoscout.detection.heatmap import read_heatmap
from histoscout.detection.operating_point import FILE, OperatingPoint
from histoscout.detection.overlay import draw_overlay
from histoscout.detection.results import Output
from histoscout.detection.settings import point_of
from histoscout.errors import CohortError, HistoscoutError, ModelError
from histoscout.evaluation.leakage import SanityMode, guard_evaluation, leak_in
from histoscout.evaluation.lesions.froc import Owner, measure_operating
from histoscout.evaluation.protocol import Exam, examinees, refuse_other_scores
from histoscout.evaluation.reference import Ground
from histoscout.evaluation.review import (
    AuditPlan,
    Verdicts,
    audited_lesions,
    lay_out_audit,
    read_verdicts,
    refuse_lost_verdicts,
    verdict_notes,
)
from histoscout.evaluation.scores import Scores as Scores
from histoscout.evaluation.scores_io import write_scores
from histoscout.evaluation.slide_metrics import PREVIOUS, SlideScores, judge_heatmap
from histoscout.hardware import usable_cores
from histoscout.io.files import write_text
from histoscout.io.notes import Told
from histoscout.network.model_folder import ModelFolder, read_model
from histoscout.progress import Progress, Silent

MOST_AT_ONCE = 4
"""Each slide at work holds its heatmap and its outlines."""


def judge_each(
    cases: Sequence[Case], judge: Callable[[Case, Told], SlideScores], progress: Progress
) -> tuple[tuple[SlideScores, ...], list[str]]:
    """The scores of each slide in the order of the cases, and what is to be said of slides.

    Slides are judged in threads: most of the work is done where Python lets others go on.
    """

    def attempt(case: Case) -> tuple[SlideScores | None, Told]:
        told = Told()
        try:
            return judge(case, told), told
        except HistoscoutError as error:
            told.add(case.name, f"not evaluated, {error}")
            return None, told

    progress.start("comparing with the outlines", len(cases))
    slides, told = [], Told()
    pool = ThreadPoolExecutor(min(MOST_AT_ONCE, usable_cores()), thread_name_prefix="histoscout-judge")
    try:
        for judged, said in pool.map(attempt, cases):
            told.add_all(said)
            slides += [] if judged is None else [judged]
            progress.advance()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    progress.done()
    return tuple(slides), told.notes


FINDER = "model"


@dataclass(frozen=True)
class EvaluateOptions:
    """Where to compute, who is told, and what to compare with.

    `against`: the folder of a previous model, judged on the same slides. `on`: the "test" patients, or those the
    model was tuned on ("tune"), whose figures are optimistic and are called so. `audit`: how many of the surest
    false alarms to lay before a reader, at most; `verdicts`: what a reader has said of some. `sanity_checks`: "all" stops at
    a guard that failed, "tell" goes on. `at` and `operating`: a wish, and the scores that it is read off, as `detect`
    has them.
    """

    device: str = "auto"
    overwrite: bool = False
    progress: Progress = field(default_factory=Silent)
    against: Path | None = None
    on: Literal["test", "tune"] = "test"
    audit: int = 0
    verdicts: Path | None = None
    sanity_checks: SanityMode = "all"
    at: str | None = None
    operating: Path | None = None

    @property
    def detecting(self) -> DetectOptions:
        """The same for the detection of the model to judge."""
        return DetectOptions(
            device=self.device,
            overwrite=self.overwrite,
            progress=self.progress,
            at=self.at,
            operating=self.operating,
        )


@dataclass(frozen=True)
class Entrant:
    """A model to be judged, where its detection goes and how, its threshold, and what a reader said of its findings."""

    model: ModelFolder
    found: Output
    detecting: DetectOptions
    verdicts: Verdicts | None = None

    @property
    def point(self) -> OperatingPoint | None:
        """The cut-off for the wish, if there is one."""
        return point_of(self.model, self.detecting)

    @property
    def threshold(self) -> float:
        chosen = self.model.recipe.detection.threshold
        return self.model.threshold if chosen is None else chosen


def evaluate(
    model: ModelFolder | Path, cohort: Cohort | Path, out: Path, options: EvaluateOptions | None = None
) -> Scores:
    """Run the model on the test slides of a cohort and compare what it finds with the outlines drawn there.

    The test slides are those whose split is "test"; without splits, those of patients the model has not seen. A
    patient the model was trained or tuned on is refused. Pixels count where there is tissue and nothing is to be
    ignored. Writes scores.json, slides.csv, overlays with both outlines, and the detection under `out`/found;
    what is detected there already is not detected again. A slide that fails is told in the notes, and the others
    go on. Raises OutputError if `out` holds scores of another set or model (unless `options.overwrite`).
    """
    options = options or EvaluateOptions()
    cohort = read_cohort(cohort) if isinstance(cohort, Path) else cohort
    entrants = _entrants(model, out, options)
    chosen = examinees(cohort, [entrant.model for entrant in entrants], options.on)
    exam = _exam(entrants, options, chosen.apart)
    refuse_other_scores(out, exam, options.overwrite)
    sanity_checks = guard_evaluation(entrants[0].model, chosen.cases, options.on, options.sanity_checks)
    entrants = _with_verdicts(entrants, chosen.cases, options, out)
    cases, broken = _detected(entrants, chosen.cases)
    judge = partial(_judge_case, entrants, out / "overlays")
    judged, told = judge_each(cases, judge, options.progress)
    if not judged:
        reasons = "; ".join([*broken, *told])
        raise CohortError(
            cohort.where, f"no slide could be judged: {reasons}", "Mend the slides, or leave them out"
        )
    heard = _heard(judged, entrants[0].verdicts, options.verdicts)
    wished = _wished(entrants[0].point, judged)
    notes = (*cohort.notes, *chosen.notes, *wished, *broken, *told, *heard)
    scores = Scores(replace(exam, leak=leak_in(sanity_checks)), judged, notes, sanity_checks=sanity_checks)
    write_scores(scores, out)
    _write_operating(scores, entrants[0], out)
    _ask(scores, cases, entrants[0], AuditPlan(out / "audit", options.audit))
    return scores


def _wished(point: OperatingPoint | None, judged: Sequence[SlideScores]) -> list[str]:
    """What is to be said of the wish that the regions were kept for."""
    if point is None:
        return []
    chose = sorted({slide.patient for slide in judged} & set(point.chosen_by))
    optimistic = (
        f"; figures at this score are optimistic: {len(chose)} of the patients judged have chosen it"
        if chose
        else ""
    )
    return [f"{point.wish}: {point.expected}{optimistic}"]


def _write_operating(scores: Scores, entrant: Entrant, out: Path) -> None:
    """What each score is worth as a cut-off on these patients, for detections to come."""
    owner = Owner(scores.exam.source, entrant.threshold, entrant.model.hash)
    table = measure_operating(scores.lesions, [slide.patient for slide in scores.slides], owner)
    write_text(out / FILE, json.dumps(table.to_dict(), indent=1, allow_nan=False) + "\n")


def _with_verdicts(
    entrants: Sequence[Entrant], cases: Sequence[Case], options: EvaluateOptions, out: Path
) -> tuple[Entrant, ...]:
    """The entrants, the first with what a reader said of its findings; and no earlier audit is in the way."""
    if options.audit:
        refuse_lost_verdicts(out / "audit", options.overwrite)
    if options.verdicts is None:
        return tuple(entrants)
    classes = entrants[0].model.recipe.classes
    drawn = {label for case in cases for label in labeled_regions(case, classes).regions.labels}
    return replace(entrants[0], verdicts=read_verdicts(options.verdicts, classes, drawn)), *entrants[1:]


def _heard(judged: Sequence[SlideScores], verdicts: Verdicts | None, where: Path | None) -> list[str]:
    """What is to be said of a reader's verdicts."""
    if verdicts is None or where is None:
        return []
    return verdict_notes(verdicts, {slide.name: slide.lesions for slide in judged}, where)


def _ask(scores: Scores, cases: Sequence[Case], entrant: Entrant, plan: AuditPlan) -> None:
    """Lay the surest false alarms before a reader, those left out on which he has spoken already."""
    if plan.most:
        spoken = entrant.verdicts.judged if entrant.verdicts else frozenset[str]()
        lesions = {slide.name: slide.audited or slide.lesions for slide in scores.slides}
        named = {case.name: case for case in cases}
        lay_out_audit(lesions, named, entrant.model.recipe.classes, replace(plan, asked_before=spoken))


def _entrants(model: ModelFolder | Path, out: Path, options: EvaluateOptions) -> tuple[Entrant, ...]:
    """The model to judge, and the previous one if there is one to compare with."""
    read = read_model(model) if isinstance(model, Path) else model
    ours = Entrant(read, Output(out / "found"), options.detecting)
    point_of(read, options.detecting)  # a wish that cannot be met is told before anything is opened
    if options.against is None:
        return (ours,)
    same = (
        options.detecting
        if options.operating is None
        else replace(options.detecting, at=None, operating=None)
    )
    theirs = Entrant(read_model(options.against), Output(out / "found by previous model"), same)
    looked_for = [entrant.model.recipe.classes.positive for entrant in (ours, theirs)]
    if looked_for[0] != looked_for[1]:
        fault = f"looks for {looked_for[1]!r}, the model to judge for {looked_for[0]!r}"
        raise ModelError(options.against, fault, "Compare models of the same positive class")
    return ours, theirs


def _detected(entrants: Sequence[Entrant], cases: Sequence[Case]) -> tuple[list[Case], list[str]]:
    """The cases on which every model has been run, and what is to be said of the others."""
    broken: dict[str, str] = {}
    strange: dict[str, str] = {}
    for entrant in entrants:
        rows = detect(entrant.model, cases, entrant.found.folder, entrant.detecting)
        broken |= {row.slide: row.reason for row in rows if row.state == "failed"}
        strange |= {row.slide: row.reason for row in rows if UNLIKE in row.reason}
    notes = [f"{slide}: not evaluated, {reason}" for slide, reason in broken.items()]
    notes += [f"{slide}: {reason}" for slide, reason in strange.items() if slide not in broken]
    return [case for case in cases if case.name not in broken], notes


def _judge_case(entrants: Sequence[Entrant], overlays: Path, case: Case, told: Told) -> SlideScores:
    """Compare what each model found on one slide with what was drawn on it."""
    ours, *theirs = entrants
    judged = replace(_judge_found(case, ours, overlays, told), site=case.site)
    for entrant in theirs:
        found = _judge_found(case, entrant, None, told).found
        judged = replace(judged, baselines={**judged.baselines, PREVIOUS: found})
    return judged


def _judge_found(case: Case, entrant: Entrant, overlays: Path | None, told: Told) -> SlideScores:
    labeled, notes = open_labeled(case, entrant.model.recipe)
    told.add(case.name, *notes)
    with labeled.slide:
        ground = Ground.of(labeled)
        heatmap = read_heatmap(entrant.found.heatmap(case.name))
        regions = read_geojson(entrant.found.regions(case.name)).regions
        if overlays is not None:
            draw_overlay(labeled.slide, regions, ground.positive, overlays / f"{case.name}.png")
        cut_off = None if entrant.point is None else entrant.point.cut_off
        judged = judge_heatmap(ground, heatmap, regions, entrant.threshold, cut_off, entrant.model.hash)
    if entrant.verdicts is None:
        return judged
    return replace(judged, audited=audited_lesions(ground, judged.lesions, entrant.verdicts))


def _exam(entrants: Sequence[Entrant], options: EvaluateOptions, apart: bool) -> Exam:
    ours, *theirs = entrants
    tune = ours.model.metrics.get("tune", {})
    return Exam(
        finder=FINDER,
        set_name=options.on,
        positive=ours.model.recipe.classes.positive,
        threshold=ours.threshold,
        apart=apart,
        tuned_on_blocks=bool(tune.get("optimistic")),
        model=ours.model.hash,
        at="" if ours.point is None else ours.point.words,
        previous=str(options.against) if options.against else None,
        previous_threshold=theirs[0].threshold if theirs else 1.0,
    )
