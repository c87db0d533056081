"""What detection would do and how long it would take, without doing it."""

import time
from collections.abc import Sequence
from dataclasses import replace

from histoscout.cohort.case import Case
from histoscout.cohort.open_case import open_case
from histoscout.detection.heatmap import compute_heatmap
from histoscout.detection.job import Job, row_of
from histoscout.detection.ledger import LedgerRow
from histoscout.detection.look import Sight, survey
from histoscout.errors import HistoscoutError
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
