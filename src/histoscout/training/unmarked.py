"""What looks like the lesion on tuning slides where nobody outlined anything: look-alikes, or lesions that were missed."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from histoscout.cohort.case import Case
from histoscout.evaluation.audit import AuditPlan, lay_out_audit, questions
from histoscout.evaluation.compare import SlideLesions
from histoscout.evaluation.false_alarms import Place
from histoscout.progress import Progress
from histoscout.recipe import Classes

FOLDER = "unmarked"
MOST = 30
PLACES: tuple[Place, ...] = ("unmarked tissue",)


def lay_out_unmarked(
    lesions: Mapping[str, SlideLesions], cases: Sequence[Case], classes: Classes, folder: Path
) -> int:
    """Lay the surest findings on unmarked tissue before the pathologist; how many there are.

    `lesions` of each slide by name, as networks see it that have not learnt from it. Writes the files of an audit (a table,
    a picture each, and for each slide a GeoJSON for QuPath) to `folder`, which is made anew; nothing where nothing was
    found.
    """
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier end of the same training
    found = questions(lesions, sys.maxsize, places=PLACES)
    if found:
        lay_out_audit(lesions, cases, classes, AuditPlan(folder, MOST, places=PLACES))
    return len(found)


def tell_unmarked(found: int, folder: Path, progress: Progress) -> None:
    """Say where to look, and what to do about lesions that are among them."""
    if found:
        shown = f"the {MOST} surest" if found > MOST else "they"
        progress.note(
            f"{found} findings on tuning slides lie where nothing is drawn; {shown} are shown in {folder}: outline those that "
            "are lesions and train again"
        )
