"""What looks like the lesion on tuning slides where nobody outlined anything: look-alikes, or lesions that were missed."""

import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from histoscout.cohort.case import Case
from histoscout.evaluation.lesions.compare import Place, SlideLesions
from histoscout.evaluation.review import AuditPlan, lay_out_audit, questions
from histoscout.progress import Progress
from histoscout.recipe import ClassConfig

FOLDER = "unmarked"
MOST = 30
PLACES: tuple[Place, ...] = ("unmarked tissue",)


def lay_out_unmarked(
    lesions: Mapping[Path, SlideLesions], cases: Sequence[Case], classes: ClassConfig, folder: Path
) -> int:
    """Lay the surest findings on unmarked tissue before the pathologist; how many there are.

    `lesions` of each slide by its file, as networks see it that have not learnt from it. Writes the files of an audit (a table,
    a picture each, and for each slide a GeoJSON for QuPath) to `folder`, which is made anew; nothing where nothing was
    found.
    """
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier end of the same training
    named = dict(zip(names_apart(cases), cases, strict=True))
    by_name = {name: lesions[case.slide] for name, case in named.items() if case.slide in lesions}
    found = questions(by_name, sys.maxsize, places=PLACES)
    if found:
        lay_out_audit(by_name, named, classes, AuditPlan(folder, MOST, places=PLACES))
    return len(found)


def names_apart(cases: Sequence[Case]) -> list[str]:
    """A name for each slide: its own, and where several have it, with the folder it lies in and a number."""
    counted = Counter(case.name.casefold() for case in cases)
    return [
        case.name
        if counted[case.name.casefold()] == 1
        else f"{case.name} ({case.slide.parent.name}, {number})"
        for number, case in enumerate(cases, start=1)
    ]


def tell_unmarked(found: int, folder: Path, progress: Progress) -> None:
    """Say where to look, and what to do about lesions that are among them."""
    if found:
        shown = f"the {MOST} surest" if found > MOST else "they"
        progress.note(
            f"{found} findings on tuning slides lie where nothing is drawn; {shown} are shown in {folder}: outline those that "
            "are lesions and train again"
        )
