"""Detection on many slides: every slide leaves its files and a row in the ledger, whatever happens to it.

What detection would do and how long it would take, without doing it.
"""

import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from histoscout.annotations.geojson import write_geojson
from histoscout.cohort.case import Case, of_one_name, open_case
from histoscout.detection.domain_shift import Learnt, looks_known
from histoscout.detection.heatmap import compute_heatmap, write_heatmap
from histoscout.detection.overlay import draw_overlay
from histoscout.detection.pipeline import Look, Sight, find_regions, survey
from histoscout.detection.results import LedgerRow, Output, read_ledger, write_ledger, write_lesions
from histoscout.detection.settings import DetectOptions as DetectOptions
from histoscout.detection.settings import Job, area_of, file_hash, point_of, row_of, settings_of
from histoscout.errors import CohortError, HistoscoutError, OutputError
from histoscout.io.files import write_text
from histoscout.network.model_folder import ModelFolder, read_model
from histoscout.progress import NoProgress
from histoscout.slides.slide import Slide

TIMED_WINDOWS = 12


def planned(job: Job, cases: Sequence[Case]) -> list[LedgerRow]:
    """What a run would do, and for how long, by the speed measured on a few windows of one slide."""
    rate: float | None = None
    rows = []
    try:
        for case in cases:
            try:
                with open_case(case) as slide:
                    start = time.perf_counter()
                    sight = survey(slide, case, job.model, job.options.within)
                    surveyed = time.perf_counter() - start
                    if rate is None and sight.boxes:
                        rate = _seconds_per_window(job, slide, sight)
                    row = row_of(job, case, slide, sight)
                    rows.append(replace(row, seconds=round(surveyed + (rate or 0) * len(sight.boxes), 1)))
            except HistoscoutError as error:
                rows.append(
                    LedgerRow(case.name, "failed", str(error), model=job.model.hash, settings=job.settings)
                )
    finally:
        job.close()
    return rows


def _seconds_per_window(job: Job, slide: Slide, sight: Sight) -> float:
    middle = len(sight.boxes) // 2
    some = sight.boxes[max(0, middle - TIMED_WINDOWS) :][:TIMED_WINDOWS]
    plan = job.plan
    compute_heatmap(slide, job.engine(), some[: plan.batch], plan, on_window=lambda done, total: None)
    start = time.perf_counter()
    compute_heatmap(slide, job.engine(), some, plan, on_window=lambda done, total: None)
    return (time.perf_counter() - start) / len(some)


def detect(
    model: ModelFolder | Path,
    slides: Sequence[Case | Path],
    out: Path,
    options: DetectOptions | None = None,
) -> list[LedgerRow]:
    """Find the model's lesions on slides; one ledger row for each slide, in the order given.

    Writes under `out`: regions/NAME.geojson (for QuPath), heatmaps/NAME.ome.tiff, overlays/NAME.png,
    lesions.csv (all slides) and ledger.csv. Slides already done with the same model and settings are not
    done again. A slide that fails is told in its row, its traceback is in errors/NAME.txt, and the others
    go on. Raises OutputError if `out` holds the results of another model or of other settings (unless
    `options.overwrite`), CohortError for no slides or two of one name, ModelError.
    """
    options = options or DetectOptions()
    model = read_model(model) if isinstance(model, Path) else model
    cases = _cases(slides, options)
    point = point_of(model, options)
    if point is not None:
        (options.progress or NoProgress()).note(f"{point.wish}: {point.expected}")
    if not Learnt.of(model).enough:
        (options.progress or NoProgress()).note(looks_known(Learnt.of(model), {}).message)
    job = Job(model, Output(out), options, settings_of(model, options, point), point)
    if options.dry_run:
        return planned(job, cases)
    return _work(job, cases)


def _cases(slides: Sequence[Case | Path], options: DetectOptions) -> list[Case]:
    cases = [Case(slide) if isinstance(slide, Path) else slide for slide in slides]
    if not cases:
        raise CohortError(
            "detect", "no slides were given", "Give slide files, a folder of slides or a cohort.csv"
        )
    for case in cases:
        _refuse_unwritable(case)
    if two := of_one_name(cases):
        fault = f"has the same name as {two[0].slide}: their results would overwrite one another"
        raise CohortError(two[1].slide, fault, "Rename one of them, or detect into two folders")
    return [replace(case, mpp=options.mpp) if case.mpp is None else case for case in cases]


def _refuse_unwritable(case: Case) -> None:
    """CohortError if no file can be written that has the slide's name: a name from an old archive, of another encoding."""
    try:
        case.name.encode()
    except UnicodeEncodeError as error:
        shown = case.slide.name.encode(errors="backslashreplace").decode()
        raise CohortError(shown, "its name is not in UTF-8", "Rename the file") from error


# ---------------------------------------------------------------- doing


def _work(job: Job, cases: Sequence[Case]) -> list[LedgerRow]:
    job.output.make()
    earlier = _earlier(job)
    _refuse_mixing(job, cases, earlier)
    _refuse_strangers(job, cases, earlier)
    todo = [case for case in cases if not _is_done(case, earlier.get(case.name), job)]
    if len(todo) < len(cases):
        job.progress.note(f"{len(cases) - len(todo)} of {len(cases)} slides are done already")
    rows: dict[str, LedgerRow] = {}
    try:
        if todo:
            job.engine()  # a device that is not there is told before anything is replaced
        for case in todo:
            rows[case.name] = _attempt(job, case)
            _note_down(job, rows)
    finally:
        job.close()
        _sum_up(job, rows)
    return [rows.get(case.name) or earlier[case.name] for case in cases]


def _note_down(job: Job, rows: Mapping[str, LedgerRow]) -> None:
    """Write the ledger; one that is open in another program, which locks it on Windows, does not end a night's work.

    Rows that lie there are kept: of earlier runs, and of others that look at other slides meanwhile.
    """
    try:
        write_ledger({**read_ledger(job.output.ledger), **rows}.values(), job.output.ledger)
    except OutputError as error:
        job.progress.note(f"{error} (tried again after the next slide)")


def _earlier(job: Job) -> dict[str, LedgerRow]:
    """The rows in the folder, but for those whose results somebody has taken away."""
    rows = read_ledger(job.output.ledger)
    return {name: row for name, row in rows.items() if row.state == "failed" or job.output.is_complete(name)}


def _sum_up(job: Job, rows: Mapping[str, LedgerRow]) -> None:
    """Write the ledger and the table of all regions, which is that of the files that are there."""
    if every := {**_earlier(job), **rows}:
        write_ledger(every.values(), job.output.ledger)
        for said in write_lesions(every.values(), job.output):
            job.progress.note(said)


def _refuse_mixing(job: Job, cases: Sequence[Case], rows: Mapping[str, LedgerRow]) -> None:
    """OutputError if results in the folder are of another model or settings, and are not to be replaced by this run."""
    others = sorted(
        row.slide for row in rows.values() if row.state == "done" and row.settings != job.settings
    )
    if not others:
        return
    same_model = all(rows[slide].model == job.model.hash for slide in others)
    what = "other settings of the same model" if same_model else "another model"
    if not job.options.overwrite:
        fault = f"holds results of {what} ({len(others)} slides, such as {others[0]})"
        raise OutputError(
            job.output.folder, fault, "Give another folder with -o, or --overwrite to replace them"
        )
    if kept := sorted(set(others) - {case.name for case in cases}):
        fault = f"holds results of {what} of slides that are not given ({len(kept)}, such as {kept[0]})"
        raise OutputError(job.output.folder, fault, "Give these slides, too, or another folder with -o")
    job.progress.note(f"results of {what} are replaced: {', '.join(others)}")


def _refuse_strangers(job: Job, cases: Sequence[Case], rows: Mapping[str, LedgerRow]) -> None:
    """OutputError if the folder holds the results of another slide that has the name of one of these."""
    if job.options.overwrite:
        return
    for case in cases:
        before = rows[case.name].file_hash if case.name in rows else ""
        if before and (now := file_hash(case)) and now != before:
            fault = f"holds the results of another slide called {case.name}: {case.slide} is not the file that was looked at"
            raise OutputError(
                job.output.folder, fault, "Give another folder with -o, or --overwrite to replace them"
            )


def _is_done(case: Case, row: LedgerRow | None, job: Job) -> bool:
    if job.options.overwrite or row is None or row.state != "done" or row.settings != job.settings:
        return False
    other_scale = row.mpp_source != "metadata" and case.mpp is not None and case.mpp != row.mpp
    other_area = row.area != area_of(case, job.options)
    return not other_scale and not other_area and job.output.is_complete(case.name)


def _attempt(job: Job, case: Case) -> LedgerRow:
    """Do one slide; whatever goes wrong with it is written down and ends this slide only."""
    start = time.perf_counter()
    job.output.forget(case.name)
    try:
        row = _detect_one(job, case)
    except Exception as error:  # noqa: BLE001 one bad slide must not end a night's work; the traceback is kept
        written = job.output.error(case.name)
        write_text(written, traceback.format_exc())
        known = isinstance(error, HistoscoutError)
        reason = str(error) if known else f"{type(error).__name__}: {error} (details in {written})"
        job.output.forget(case.name, keep_error=True)
        job.progress.note(f"{case.name} failed: {reason}")
        row = LedgerRow(case.name, "failed", reason, model=job.model.hash, settings=job.settings)
    return replace(row, seconds=round(time.perf_counter() - start, 2))


def _detect_one(job: Job, case: Case) -> LedgerRow:
    with open_case(case) as slide:
        sight = survey(slide, case, job.model, job.options.within)
        for note in sight.notes:
            job.progress.note(f"{case.name}: {note}")
        job.progress.start(case.name, len(sight.boxes))
        look = Look(job.plan, job.progress, None if job.point is None else job.point.cut_off)
        heatmap, regions = find_regions(slide, job.engine(), job.model, job.threshold, sight, look)
        write_heatmap(heatmap, job.output.heatmap(case.name))
        draw_overlay(slide, regions, None, job.output.overlay(case.name))
        write_geojson(regions, job.output.regions(case.name))
        job.progress.done()
        return replace(row_of(job, case, slide, sight), state="done", regions=len(regions))
