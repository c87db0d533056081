"""Detection on many slides: every slide leaves its files and a row in the ledger, whatever happens to it."""

import hashlib
import json
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from histoscout.annotations.geojson import write_geojson
from histoscout.cohort.case import Case
from histoscout.detection.heatmap import compute_heatmap, write_heatmap
from histoscout.detection.ledger import LedgerRow as LedgerRow
from histoscout.detection.ledger import read_ledger, write_ledger
from histoscout.detection.lesions import write_lesions
from histoscout.detection.look import Look, Sight, find_regions, survey
from histoscout.detection.output import Output
from histoscout.detection.overlay import draw_overlay
from histoscout.detection.windows import WindowPlan
from histoscout.errors import CohortError, HistoscoutError, OutputError
from histoscout.files import write_text
from histoscout.network.engines import Engine, open_engine
from histoscout.network.model_folder import ModelFolder, read_model
from histoscout.progress import Progress, Silent
from histoscout.slides.open import open_slide
from histoscout.slides.slide import Slide

TIMED_WINDOWS = 12


@dataclass(frozen=True)
class DetectOptions:
    """How to detect.

    `within`: look only inside outlines of this class. `dry_run` writes nothing and estimates the time.
    `overwrite` does finished slides again. `threshold` instead of the model's. `workers` are threads that read.
    `mpp` in um/px for slides that do not say.
    """

    device: str = "auto"
    within: str | None = None
    dry_run: bool = False
    overwrite: bool = False
    threshold: float | None = None
    workers: int | None = None
    mpp: float | None = None
    progress: Progress | None = None


def detect(
    model: ModelFolder | Path,
    slides: Sequence[Case | Path],
    out: Path,
    options: DetectOptions | None = None,
) -> list[LedgerRow]:
    """Find the model's lesions on slides; one ledger row for each slide, in the order given.

    Writes under `out`: regions/NAME.geojson (for QuPath), heatmaps/NAME.ome.tiff, overlays/NAME.png, lesions.csv
    (all slides), ledger.csv. Slides already done with the same model and settings are not done again. A slide that
    fails is told in its row, its traceback is in errors/NAME.txt, and the others go on. Raises OutputError if
    `out` holds the results of another model or of other settings (unless `options.overwrite`), CohortError for
    no slides or two of one name, ModelError.
    """
    options = options or DetectOptions()
    model = read_model(model) if isinstance(model, Path) else model
    cases = _cases(slides, options)
    run = _Run(model, Output(out), options, settings_of(model, options))
    if options.dry_run:
        return _plan(run, cases)
    return _work(run, cases)


@dataclass(frozen=True)
class _Run:
    """What stays the same for all slides of a run."""

    model: ModelFolder
    output: Output
    options: DetectOptions
    settings: str
    engines: list[Engine] = field(default_factory=list)

    @property
    def progress(self) -> Progress:
        return self.options.progress or Silent()

    @property
    def threshold(self) -> float:
        chosen = (self.options.threshold, self.model.recipe.detection.threshold, self.model.threshold)
        return next(value for value in chosen if value is not None)

    @property
    def plan(self) -> WindowPlan:
        scratch = None if self.options.dry_run else self.output.folder
        return WindowPlan.of(self.model.recipe, self.options.workers, scratch)

    def engine(self) -> Engine:
        """The engine, opened when it is first needed: a run with nothing left to do needs none."""
        if not self.engines:
            batch = self.model.recipe.detection.batch
            self.engines.append(open_engine(self.model, self.options.device, batch=batch))
        return self.engines[0]

    def close(self) -> None:
        for engine in self.engines:
            engine.close()


def settings_of(model: ModelFolder, options: DetectOptions) -> str:
    """Twelve digits that stand for everything that changes what is found: model, recipe, threshold, area."""
    choices = {
        "model": model.hash,
        "recipe": model.recipe.to_toml(),
        "calibration": [model.threshold, model.temperature],
        "threshold": options.threshold,
        "within": options.within,
    }
    return hashlib.sha256(json.dumps(choices, sort_keys=True).encode()).hexdigest()[:12]


def _cases(slides: Sequence[Case | Path], options: DetectOptions) -> list[Case]:
    cases = [Case(slide) if isinstance(slide, Path) else slide for slide in slides]
    if not cases:
        raise CohortError(
            "detect", "no slides were given", "Give slide files, a folder of slides or a cohort.csv"
        )
    first: dict[str, Case] = {}
    for case in cases:
        before = first.setdefault(case.name.casefold(), case)
        if before is not case:
            fault = f"has the same name as {before.slide}: their results would overwrite one another"
            raise CohortError(case.slide, fault, "Rename one of them, or detect into two folders")
    return [replace(case, mpp=options.mpp) if case.mpp is None else case for case in cases]


# ---------------------------------------------------------------- doing


def _work(run: _Run, cases: Sequence[Case]) -> list[LedgerRow]:
    rows = _earlier(run)
    todo = [case for case in cases if not _is_done(case, rows.get(case.name), run)]
    if len(todo) < len(cases):
        run.progress.note(f"{len(cases) - len(todo)} of {len(cases)} slides are done already")
    try:
        if todo:
            run.engine()  # a device that is not there is told before the first slide, not once for each
        for case in todo:
            rows[case.name] = _attempt(run, case)
            write_ledger(rows.values(), run.output.ledger)
    finally:
        run.close()
        if rows:
            write_ledger(rows.values(), run.output.ledger)
            write_lesions(rows.values(), run.output)
    return [rows[case.name] for case in cases]


def _earlier(run: _Run) -> dict[str, LedgerRow]:
    """The ledger of earlier runs into the same folder, if they are of the same model and settings."""
    run.output.make()
    rows = read_ledger(run.output.ledger)
    others = sorted(row.slide for row in rows.values() if row.settings != run.settings)
    if not others:
        return rows
    if not run.options.overwrite:
        same_model = all(rows[slide].model == run.model.hash for slide in others)
        what = "other settings of the same model" if same_model else "another model"
        fault = f"holds results of {what} ({len(others)} slides, such as {others[0]})"
        raise OutputError(
            run.output.folder, fault, "Give another folder with -o, or --overwrite to replace them"
        )
    run.progress.note(f"results of another model or settings are replaced: {', '.join(others)}")
    for slide in others:
        run.output.forget(slide)
    return {slide: row for slide, row in rows.items() if slide not in others}


def _is_done(case: Case, row: LedgerRow | None, run: _Run) -> bool:
    if run.options.overwrite or row is None or row.state != "done" or row.settings != run.settings:
        return False
    other_scale = row.mpp_source != "metadata" and case.mpp is not None and case.mpp != row.mpp
    return not other_scale and run.output.is_complete(case.name)


def _attempt(run: _Run, case: Case) -> LedgerRow:
    """Do one slide; whatever goes wrong with it is written down and ends this slide only."""
    start = time.perf_counter()
    run.output.forget(case.name)
    failed = LedgerRow(case.name, "failed", model=run.model.hash, settings=run.settings)
    try:
        row = _detect_one(run, case)
    except HistoscoutError as error:
        reason = str(error)
        write_text(run.output.error(case.name), traceback.format_exc())
    except Exception as error:  # noqa: BLE001 one bad slide must not end a night's work; the traceback is kept
        reason = f"{type(error).__name__}: {error} (see {run.output.error(case.name)})"
        write_text(run.output.error(case.name), traceback.format_exc())
    else:
        return replace(row, seconds=round(time.perf_counter() - start, 2))
    run.progress.done()
    run.progress.note(f"{case.name} failed: {reason}")
    run.output.forget(case.name, keep_error=True)
    return replace(failed, reason=reason, seconds=round(time.perf_counter() - start, 2))


def _detect_one(run: _Run, case: Case) -> LedgerRow:
    with open_slide(case.slide, case.mpp) as slide:
        sight = survey(slide, case, run.model, run.options.within)
        for note in sight.notes:
            run.progress.note(f"{case.name}: {note}")
        run.progress.start(case.name, len(sight.boxes))
        look = Look(run.plan, run.progress)
        heatmap, regions = find_regions(slide, run.engine(), run.model, run.threshold, sight, look)
        write_heatmap(heatmap, run.output.heatmap(case.name))
        draw_overlay(slide, regions, None, run.output.overlay(case.name))
        write_geojson(regions, run.output.regions(case.name))
        run.progress.done()
        return replace(_row(run, case, slide, sight), state="done", regions=len(regions))


def _row(run: _Run, case: Case, slide: Slide, sight: Sight) -> LedgerRow:
    return LedgerRow(
        slide=case.name,
        state="planned",
        reason="; ".join(sight.notes),
        windows=len(sight.boxes),
        tissue_mm2=round(sight.tissue.area_mm2, 4),
        pen_mm2=round(sight.tissue.artefacts["pen"], 4),
        blur_mm2=round(sight.tissue.artefacts["out of focus"], 4),
        mpp=slide.mpp,
        mpp_source=slide.mpp_source,
        model=run.model.hash,
        settings=run.settings,
    )


# ---------------------------------------------------------------- planning


def _plan(run: _Run, cases: Sequence[Case]) -> list[LedgerRow]:
    """What a run would do and how long it would take, by the speed measured on a few windows of the first slide."""
    rate: float | None = None
    rows = []
    try:
        for case in cases:
            try:
                with open_slide(case.slide, case.mpp) as slide:
                    start = time.perf_counter()
                    sight = survey(slide, case, run.model, run.options.within)
                    surveyed = time.perf_counter() - start
                    if rate is None and sight.boxes:
                        rate = _seconds_per_window(run, slide, sight)
                    row = _row(run, case, slide, sight)
                    rows.append(replace(row, seconds=round(surveyed + (rate or 0) * len(sight.boxes), 1)))
            except HistoscoutError as error:
                rows.append(
                    LedgerRow(case.name, "failed", str(error), model=run.model.hash, settings=run.settings)
                )
    finally:
        run.close()
    return rows


def _seconds_per_window(run: _Run, slide: Slide, sight: Sight) -> float:
    middle = len(sight.boxes) // 2
    some = sight.boxes[max(0, middle - TIMED_WINDOWS) :][:TIMED_WINDOWS]
    plan = run.plan
    compute_heatmap(slide, run.engine(), some[: plan.batch], plan, on_window=lambda done, total: None)
    start = time.perf_counter()
    compute_heatmap(slide, run.engine(), some, plan, on_window=lambda done, total: None)
    return (time.perf_counter() - start) / len(some)
