"""Every slide judged, some at once, and one that cannot be judged ends no other."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from histoscout.cohort.case import Case
from histoscout.cores import usable_cores
from histoscout.errors import HistoscoutError
from histoscout.evaluation.judge import SlideScores
from histoscout.evaluation.told import Told
from histoscout.progress import Progress

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
