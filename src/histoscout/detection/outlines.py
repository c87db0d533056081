"""Regions at another threshold, from heatmaps that are there already: no network runs."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from histoscout.annotations.found import mark_found
from histoscout.annotations.geojson import write_geojson
from histoscout.cohort.case import Case, open_case
from histoscout.detection.heatmap import read_heatmap
from histoscout.detection.outlining import write_outlining
from histoscout.detection.overlay import draw_overlay
from histoscout.detection.pipeline import regions_of_heatmap
from histoscout.detection.results import LedgerRow, ResultFolder, read_ledger, write_ledger, write_lesions
from histoscout.detection.settings import (
    DetectionContext,
    area_hash,
    file_hash,
    has_same_scale,
    heatmap_settings,
)
from histoscout.errors import HistoscoutError, OutputError
from histoscout.io.locks import claim_folder
from histoscout.io.notes import list_some


def holds_usable_heatmaps(
    context: DetectionContext, cases: Sequence[Case], rows: Mapping[str, LedgerRow]
) -> bool:
    """Whether a folder has heatmaps of these slides that differ from this run in the threshold alone.

    Args:
        context: The run.
        cases: The slides.
        rows: The ledger of the folder.

    Returns:
        True if another threshold is asked for, and all it needs is there for at least one slide.
    """
    return any(
        case.name in rows
        and rows[case.name].settings != context.settings
        and _is_usable(context, case, rows[case.name])
        for case in cases
    )


def _is_usable(context: DetectionContext, case: Case, row: LedgerRow) -> bool:
    """Whether the heatmap of a slide is the one that this run would compute."""
    wanted = heatmap_settings(context.model, context.options)
    same = row.state == "done" and wanted in (row.heatmap_settings, row.settings)
    same_scale = has_same_scale(case, row)
    same_file = not row.file_hash or file_hash(case) in ("", row.file_hash)
    same_area = row.area == area_hash(case, context.options)
    return same and same_scale and same_file and same_area and context.output.has_whole_heatmap(row)


def outline_again(
    context: DetectionContext, cases: Sequence[Case], rows: Mapping[str, LedgerRow]
) -> list[LedgerRow]:
    """Find regions at the threshold of this run in the heatmaps of an earlier one.

    They are written into a folder of their own inside the folder of the heatmaps, which stays as it is.

    Args:
        context: The run.
        cases: The slides.
        rows: The ledger of the folder with the heatmaps.

    Returns:
        One row for each slide.

    Raises:
        OutputError: If a slide has no heatmap that can be used.
    """
    without = [
        case.name for case in cases if case.name not in rows or not _is_usable(context, case, rows[case.name])
    ]
    if without:
        fault = f"there is no heatmap of {list_some(without)} with these settings"
        remedy = (
            "First run detect on these slides without --at and --threshold, or give another folder with -o"
        )
        raise OutputError(context.output.folder, fault, remedy)
    folder = output_folder(context)
    # the heatmaps must not be replaced meanwhile
    purpose = f"detect {rows[cases[0].name].settings}"
    with claim_folder(context.output.folder, purpose), claim_folder(folder.folder):
        folder.remove_leftovers(alone=True)
        return _outline_all(context, cases, rows, folder)


def _outline_all(
    context: DetectionContext, cases: Sequence[Case], rows: Mapping[str, LedgerRow], folder: ResultFolder
) -> list[LedgerRow]:
    """Outline the regions of all slides in a folder that is locked."""
    context.progress.note(f"regions are outlined from the heatmaps in {context.output.folder}")
    context.progress.start("outlining", len(cases))
    done: dict[str, LedgerRow] = {}
    for case in cases:
        start = time.perf_counter()
        try:
            row = replace(_outline_one(context, case, folder, rows[case.name]), state="done")
        except HistoscoutError as error:
            context.progress.note(f"{case.name} failed: {error}")
            row = replace(rows[case.name], state="failed", reason=str(error), regions=0)
        done[case.name] = replace(row, seconds=round(time.perf_counter() - start, 2))
        context.progress.advance()
    context.progress.done()
    write_outlining(context, folder)
    every = {**read_ledger(folder.ledger), **done}
    write_ledger(every.values(), folder.ledger)
    for note in write_lesions(every.values(), folder):
        context.progress.note(note)
    return list(done.values())


def _outline_one(context: DetectionContext, case: Case, folder: ResultFolder, row: LedgerRow) -> LedgerRow:
    heatmap = read_heatmap(folder.heatmap(case.name))
    point = context.operating_point
    lowest = None if point is None else point.score_threshold
    regions = regions_of_heatmap(heatmap, context.model, context.threshold, lowest)
    with open_case(case) as slide:
        draw_overlay(slide, regions, None, folder.overlay(case.name))
    write_geojson(mark_found(regions), folder.regions(case.name))
    return replace(
        row,
        regions=len(regions),
        settings=context.settings,
        files=folder.describe_files(case.name),
        operating_target="" if point is None else point.summary,
    )


def output_folder(context: DetectionContext) -> ResultFolder:
    """The folder for regions at the threshold of a run, such as "found/at 1 FP per cm2".

    Args:
        context: The run.

    Returns:
        The folder; its name has a hash if the plain name holds results of other settings.
    """
    point = context.operating_point
    # a target may hold characters that no file name can have, such as the slash of FP/cm2
    name = (
        f"threshold {context.threshold:.4g}" if point is None else f"at {point.target.replace('/', ' per ')}"
    )
    place = context.output.folder / name
    rows = read_ledger(ResultFolder(place).ledger).values()
    if any(row.settings != context.settings for row in rows):
        place = place.with_name(f"{name} ({context.settings})")
    return ResultFolder(place, heatmaps=context.output.folder)
