"""Detection on many slides: every slide leaves its files and a row in the ledger, whatever happens to it."""

import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from histoscout.annotations.found import mark_found
from histoscout.annotations.geojson import write_geojson
from histoscout.cohort.case import Case, check_unchanged, file_states, find_name_clash, open_case
from histoscout.detection.domain_shift import AppearanceReference, check_appearance
from histoscout.detection.heatmap import compute_heatmap, write_heatmap
from histoscout.detection.outlines import holds_usable_heatmaps, outline_again
from histoscout.detection.outlining import write_outlining
from histoscout.detection.overlay import draw_overlay
from histoscout.detection.pipeline import PipelineOptions, SlideSurvey, detect_on_slide, survey_slide
from histoscout.detection.results import (
    LedgerRow,
    ResultFolder,
    read_ledger,
    write_cases,
    write_ledger,
    write_lesions,
)
from histoscout.detection.settings import (
    DetectionContext,
    area_hash,
    begun_row,
    choose_point,
    file_hash,
    has_same_scale,
    planned_row,
    settings_hash,
)
from histoscout.detection.settings import DetectOptions as DetectOptions
from histoscout.errors import CohortError, HistoscoutError, OutputError, SlideError
from histoscout.io.files import StrPath, encoding_note, write_text
from histoscout.io.inputs import read_bytes
from histoscout.io.locks import claim_folder, hold
from histoscout.io.names import slide_key
from histoscout.io.notes import pluralize
from histoscout.io.replacement import Replacement, finish_replacement, is_unfinished
from histoscout.network.model_folder import ModelFolder, read_model
from histoscout.progress import NoProgress
from histoscout.slides.slide import Slide

TIMED_WINDOWS = 12
"""Windows that are timed to estimate how long a run takes."""


def detect(
    model: ModelFolder | StrPath,
    slides: Sequence[Case | StrPath] | str,
    out: StrPath,
    options: DetectOptions | None = None,
) -> list[LedgerRow]:
    """Detect lesions on slides.

    Writes under `out`: regions/NAME.geojson (for QuPath), heatmaps/NAME.ome.tiff, overlays/NAME.png,
    lesions.csv (all slides) and ledger.csv. Slides that are finished with the same model and settings are
    skipped. If the folder holds their heatmaps and only the threshold is another one (`threshold`, `at`), regions are
    outlined from them, in seconds, into a folder inside `out`. A slide that fails gets a row with its reason and errors/NAME.txt; the others continue.

    Args:
        model: A model, or its folder.
        slides: Slide files or cases, or a single file as text.
        out: The folder of results.
        options: Further options.

    Returns:
        One ledger row for each slide, in the order given.

    Raises:
        OutputError: If `out` holds results of another model or of other settings, unless `options.overwrite`.
        CohortError: If no slides are given, or two of one name.
        ModelError: If the model cannot be used.

    Example:
        >>> from pathlib import Path
        >>> from histoscout import HistoscoutError, detect
        >>> try:
        ...     detect(Path("no-such-model"), [Path("slide.svs")], Path("found"))
        ... except HistoscoutError as error:
        ...     print(type(error).__name__)
        ModelError
        >>> detect(Path("model"), [Path("slide.svs")], Path("found"))  # doctest: +SKIP
    """
    out = Path(out)
    options = options or DetectOptions()
    progress = options.progress or NoProgress()
    model = model if isinstance(model, ModelFolder) else read_model(model)
    cases = _check_cases([slides] if isinstance(slides, str) else slides, options)
    point = choose_point(model, options)
    if point is not None:
        progress.note(f"{point.target}: {point.expected}")
    reference = AppearanceReference.of(model)
    if not reference.enough:
        progress.note(check_appearance(reference, {}).message)
    context = DetectionContext(
        model=model,
        output=ResultFolder(out),
        options=options,
        settings=settings_hash(model, options, point),
        operating_point=point,
    )
    if options.dry_run:
        return plan_detection(context, cases)
    if is_unfinished(out):
        with claim_folder(out):
            finish_replacement(out)
    earlier = {} if options.overwrite else read_ledger(context.output.ledger)
    if holds_usable_heatmaps(context, cases, earlier):
        return outline_again(context, cases, earlier)
    return _run(context, cases)


def _check_cases(slides: Sequence[Case | StrPath], options: DetectOptions) -> list[Case]:
    """The slides as cases; CohortError if their results cannot be kept apart."""
    cases = [slide if isinstance(slide, Case) else Case(Path(slide)) for slide in slides]
    if not cases:
        raise CohortError(
            "detect", "no slides were given", "Give slide files, a folder of slides or a cohort.csv"
        )
    for case in cases:
        # a name from an old archive, in another encoding, cannot name a result
        try:
            case.name.encode()
        except UnicodeEncodeError as error:
            shown = case.slide.name.encode(errors="backslashreplace").decode()
            raise CohortError(shown, "its name is not in UTF-8", "Rename the file") from error
    if two := find_name_clash(cases):
        fault = f"the slide has the same name as {two[0].slide}: their results would overwrite each other"
        raise CohortError(two[1].slide, fault, "Rename one of them, or detect into two folders")
    if options.mpp is None:
        return cases
    # a table names the um/px of each slide, a QuPath project mostly passes on what files state
    return [
        replace(case, mpp=options.mpp, mpp_source="given")
        if case.mpp is None or case.mpp_source == "qupath"
        else case
        for case in cases
    ]


def plan_detection(context: DetectionContext, cases: Sequence[Case]) -> list[LedgerRow]:
    """Plan a run without doing it: windows, tissue and an estimate of the time for each slide.

    Args:
        context: The run.
        cases: The slides.

    Returns:
        Rows of the state "planned", with estimated seconds.
    """
    seconds_per_window: float | None = None
    rows = []
    try:
        for case in cases:
            try:
                with open_case(case) as slide:
                    start = time.perf_counter()
                    survey = survey_slide(slide, case, context.model, context.options.within)
                    surveyed = time.perf_counter() - start
                    # the speed is measured on a few windows of the first slide that has any
                    if seconds_per_window is None and survey.boxes:
                        seconds_per_window = _time_windows(context, slide, survey)
                    seconds = surveyed + (seconds_per_window or 0) * len(survey.boxes)
                    row = planned_row(context, begun_row(context, case), slide, survey)
                    rows.append(replace(row, seconds=round(seconds, 1)))
            except HistoscoutError as error:
                rows.append(_failed_row(context, case, str(error)))
    finally:
        context.close()
    return rows


def _time_windows(context: DetectionContext, slide: Slide, survey: SlideSurvey) -> float:
    """Seconds for each window, from the middle of the slide; a first batch warms the engine up."""
    middle = len(survey.boxes) // 2
    some = survey.boxes[max(0, middle - TIMED_WINDOWS) :][:TIMED_WINDOWS]
    plan = context.plan
    compute_heatmap(slide, context.engine(), some[: plan.batch], plan, on_window=lambda done, total: None)
    start = time.perf_counter()
    compute_heatmap(slide, context.engine(), some, plan, on_window=lambda done, total: None)
    return (time.perf_counter() - start) / len(some)


def _run(context: DetectionContext, cases: Sequence[Case]) -> list[LedgerRow]:
    """Examine the slides that are not finished, in a folder that runs with the same settings may share."""
    output, overwrite = context.output, context.options.overwrite
    with claim_folder(output.folder, "" if overwrite else f"detect {context.settings}") as alone:
        if alone:
            finish_replacement(output.folder)
        output.remove_leftovers(alone=alone)
        if output.ledger.is_file() and (note := encoding_note(read_bytes(output.ledger))):
            context.progress.note(f"{output.ledger.name}: {note}")
        try:
            earlier = _read_rows(context, cases)
            _refuse_other_settings(context, cases, earlier)
            _refuse_other_slides(context, cases, earlier)
            if overwrite:
                return _replace_results(context, cases)
            with hold(output.folder, "ledger"):
                write_cases(cases, output)
                write_outlining(context, output)
            return _fill(context, cases)
        finally:
            context.close()


def _replace_results(context: DetectionContext, cases: Sequence[Case]) -> list[LedgerRow]:
    """Examine all slides aside, and only then replace the results that are there."""
    replacement = Replacement(context.output.folder)
    aside = replace(
        context, output=ResultFolder(replacement.folder), options=replace(context.options, overwrite=False)
    )
    with replacement.prepare({"settings": context.settings}):
        rows = _fill(aside, cases)
    before = read_ledger(context.output.ledger)
    lost = [row.slide for row in rows if row.state == "failed" and _was_done(before.get(row.slide))]
    if lost:
        context.progress.note(
            f"nothing is replaced, since slides failed whose results would be lost ({', '.join(lost)}). Run the same "
            "command again to try these once more"
        )
        return rows
    every = {**before, **{row.slide: row for row in rows}}
    write_ledger(every.values(), aside.output.ledger)
    for note in write_lesions(every.values(), aside.output, context.output):
        context.progress.note(note)
    # its paths are relative to the folder, so that it is not made aside
    write_cases(cases, context.output)
    write_outlining(context, aside.output)
    replacement.commit()
    return rows


def _was_done(row: LedgerRow | None) -> bool:
    return row is not None and row.state == "done"


def _fill(context: DetectionContext, cases: Sequence[Case]) -> list[LedgerRow]:
    """Examine the slides that are not finished, and write the ledger before and after each."""
    earlier = _read_rows(context, cases)
    todo = [case for case in cases if not _is_done(case, earlier.get(case.name), context)]
    if len(todo) < len(cases):
        context.progress.note(f"{len(cases) - len(todo)} of {pluralize(len(cases), 'slide')} already done")
    for case in cases:
        if case not in todo and context.output.is_edited(earlier[case.name]):
            path = context.output.regions(case.name)
            context.progress.note(f"{path} was changed since detect wrote it, and is kept")
    rows: dict[str, LedgerRow] = {}
    try:
        if todo:
            # a device that does not exist is reported before anything is replaced
            context.engine()
        is_batch = len(todo) > 1
        if is_batch:
            context.progress.start("slides", len(todo))
        # slides that another run examines right now come last
        for wait in (False, True):
            for case in [case for case in todo if case.name not in rows]:
                with hold(context.output.folder, case.name, wait=wait) as is_ours:
                    if is_ours:
                        rows[case.name] = _examine(context, case, rows)
                        if is_batch:
                            context.progress.advance()
        if is_batch:
            context.progress.done()
    finally:
        _write_tables(context, rows)
    return [rows.get(case.name) or earlier[case.name] for case in cases]


def _examine(context: DetectionContext, case: Case, rows: Mapping[str, LedgerRow]) -> LedgerRow:
    """Examine one slide that is ours, unless another run has done so meanwhile."""
    before = read_ledger(context.output.ledger).get(case.name)
    if before is not None and _is_done(case, before, context) and context.output.is_complete(before):
        return before
    # from here on, the ledger does not call done what is being replaced
    begun = begun_row(context, case)
    try:
        _merge_rows(context, {**rows, case.name: begun})
    except OutputError as error:
        if _was_done(before):
            raise
        context.progress.note(f"{error} (tried again after the slide)")
    row = _attempt(context, case, begun)
    if row.state == "done":
        _forget_other_spellings(context, case.name)
    try:
        _merge_rows(context, {**rows, case.name: row})
    except OutputError as error:
        # a ledger that is open in another program, which locks it on Windows, does not end the run
        context.progress.note(f"{error} (tried again after the next slide)")
    return row


def _forget_other_spellings(context: DetectionContext, name: str) -> None:
    """Remove results of the same slide under another spelling: histoscout 0.1.0 called S1.ome.tif S1.ome."""
    for other in read_ledger(context.output.ledger):
        if other != name and slide_key(other) == slide_key(name):
            context.output.forget(other)


def _read_rows(context: DetectionContext, cases: Sequence[Case]) -> dict[str, LedgerRow]:
    """The rows in the folder, except those whose results somebody has removed or damaged."""
    output, given = context.output, {case.name for case in cases}
    return {
        name: row
        for name, row in read_ledger(output.ledger).items()
        if row.state != "done" or (output.is_complete(row) if name in given else output.has_files(name))
    }


def _merge_rows(context: DetectionContext, rows: Mapping[str, LedgerRow]) -> None:
    """Write rows into the ledger, where those of other slides are kept; other runs may write at the same time."""
    with hold(context.output.folder, "ledger"):
        write_ledger({**read_ledger(context.output.ledger), **rows}.values(), context.output.ledger)


def _write_tables(context: DetectionContext, rows: Mapping[str, LedgerRow]) -> None:
    """Write ledger and lesions, which cover all files in the folder, also those of earlier and other runs."""
    output = context.output
    with hold(output.folder, "ledger"):
        known = read_ledger(output.ledger).items()
        every = {name: row for name, row in known if row.state != "done" or output.has_files(name)}
        every |= rows
        if every:
            write_ledger(every.values(), output.ledger)
            for note in write_lesions(every.values(), output):
                context.progress.note(note)


def _refuse_other_settings(
    context: DetectionContext, cases: Sequence[Case], rows: Mapping[str, LedgerRow]
) -> None:
    """OutputError if the folder holds results of another model or settings that this run does not replace."""
    others = sorted(
        row.slide for row in rows.values() if row.state == "done" and row.settings != context.settings
    )
    if not others:
        return
    same_model = all(rows[slide].model == context.model.hash for slide in others)
    what = "other settings of the same model" if same_model else "another model"
    if not context.options.overwrite:
        fault = f"the folder holds results of {what} ({pluralize(len(others), 'slide')}, such as {others[0]})"
        raise OutputError(
            context.output.folder, fault, "Give another folder with -o, or --overwrite to replace them"
        )
    if kept := sorted(set(others) - {case.name for case in cases}):
        fault = f"the folder holds results of {what} of slides that are not given ({len(kept)}, such as {kept[0]})"
        raise OutputError(context.output.folder, fault, "Give these slides, too, or another folder with -o")
    context.progress.note(f"results of {what} are replaced: {', '.join(others)}")


def _refuse_other_slides(
    context: DetectionContext, cases: Sequence[Case], rows: Mapping[str, LedgerRow]
) -> None:
    """OutputError if the folder holds results of another slide that has the name of one of these."""
    if context.options.overwrite:
        return
    for case in cases:
        before = rows[case.name].file_hash if case.name in rows else ""
        if before and (now := file_hash(case)) and now != before:
            fault = (
                f"the folder holds results of another slide called {case.name}: {case.slide} is not the file that was "
                "examined"
            )
            raise OutputError(
                context.output.folder, fault, "Give another folder with -o, or --overwrite to replace them"
            )


def _is_done(case: Case, row: LedgerRow | None, context: DetectionContext) -> bool:
    if context.options.overwrite or row is None or row.state != "done" or row.settings != context.settings:
        return False
    other_scale = not has_same_scale(case, row)
    other_area = row.area != area_hash(case, context.options)
    other_file = row.file_hash and (now := file_hash(case)) and now != row.file_hash
    return not other_scale and not other_area and not other_file


def _failed_row(context: DetectionContext, case: Case, reason: str) -> LedgerRow:
    return LedgerRow(
        slide=case.name,
        state="failed",
        reason=reason,
        model=context.model.hash,
        settings=context.settings,
    )


def _attempt(context: DetectionContext, case: Case, begun: LedgerRow) -> LedgerRow:
    """Examine one slide; whatever goes wrong is written down and ends this slide only."""
    start = time.perf_counter()
    context.output.forget(case.name)
    try:
        row = _detect_one(context, case, begun)
    # one broken slide must not end a long run; the traceback is kept
    except Exception as error:  # noqa: BLE001
        written = context.output.error(case.name)
        write_text(written, traceback.format_exc())
        known = isinstance(error, HistoscoutError)
        reason = str(error) if known else f"{type(error).__name__}: {error} (details in {written})"
        context.output.forget(case.name, keep_error=True)
        context.progress.note(f"{case.name} failed: {reason}")
        row = _failed_row(context, case, reason)
    return replace(row, seconds=round(time.perf_counter() - start, 2))


def _detect_one(context: DetectionContext, case: Case, begun: LedgerRow) -> LedgerRow:
    """Examine one slide and write its results."""
    point = context.operating_point
    before = file_states(case)
    with open_case(case) as slide:
        survey = survey_slide(slide, case, context.model, context.options.within)
        for note in survey.notes:
            context.progress.note(f"{case.name}: {note}")
        context.progress.start(case.name, len(survey.boxes))
        options = PipelineOptions(
            context.plan, context.progress, None if point is None else point.score_threshold
        )
        try:
            heatmap, regions = detect_on_slide(
                slide,
                survey,
                engine=context.engine(),
                model=context.model,
                threshold=context.threshold,
                options=options,
            )
            write_heatmap(heatmap, context.output.heatmap(case.name))
            draw_overlay(slide, regions, None, context.output.overlay(case.name))
            write_geojson(mark_found(regions), context.output.regions(case.name))
        finally:
            # a slide that fails must not stay the current task of a batch
            context.progress.done()
        row = planned_row(context, begun, slide, survey)
    # the hashes in the row are those of the content that was read
    check_unchanged({case: before})
    now = begun_row(context, case)
    if (now.file_hash, now.area) != (begun.file_hash, begun.area):
        fault = "the slide or its annotations were changed while they were read"
        raise SlideError(case.slide, fault, "Run the same command again")
    files = context.output.describe_files(case.name)
    return replace(row, state="done", regions=len(regions), files=files)
