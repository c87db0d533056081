"""Detections on unannotated tissue of the tuning slides, exported for review: look-alikes, or missed annotations."""

import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from histoscout.cohort.case import Case
from histoscout.evaluation.lesions.compare import LocationKind, SlideLesions
from histoscout.evaluation.review import ReviewPlan, prepare_review, select_review_items
from histoscout.recipe_sections import ClassConfig

FOLDER = "unannotated"
"""Folder of the export in that of the training."""

OLD_FOLDER = "unmarked"
"""What histoscout 0.1.0 called it."""

MAX_SHOWN = 30
"""Detections that are exported at most, those with the highest scores."""

LOCATIONS: tuple[LocationKind, ...] = ("unannotated tissue",)
"""Where exported detections are."""


def export_folder(training: Path) -> Path:
    """The folder of the export in the folder of a training, also where histoscout 0.1.0 wrote it.

    Args:
        training: The folder of a training.

    Returns:
        The folder.
    """
    old = training / OLD_FOLDER
    return old if old.is_dir() and not (training / FOLDER).exists() else training / FOLDER


def export_unannotated(
    lesions: Mapping[Path, SlideLesions], cases: Sequence[Case], classes: ClassConfig, folder: Path
) -> int:
    """Export the detections with the highest scores on unannotated tissue for review by a pathologist.

    Writes a review table, a picture of each, and for each slide a GeoJSON file for QuPath; nothing where
    there is no such detection.

    Args:
        lesions: The lesions of each tuning slide by its file, by networks that were not trained on the slide.
        cases: The tuning slides.
        classes: The recipe's section `classes`.
        folder: Where to write; what is there is replaced.

    Returns:
        The number of such detections.
    """
    # an earlier end of the same training may have written it
    shutil.rmtree(folder, ignore_errors=True)
    named_cases = dict(zip(unique_names(cases), cases, strict=True))
    by_name = {name: lesions[case.slide] for name, case in named_cases.items() if case.slide in lesions}
    plan = ReviewPlan(folder=folder, max_items=MAX_SHOWN, locations=LOCATIONS)
    count = len(select_review_items(by_name, replace(plan, max_items=sys.maxsize)))
    if count:
        prepare_review(by_name, named_cases, classes, plan)
    return count


def unique_names(cases: Sequence[Case]) -> list[str]:
    """Name each slide: its own name, and where several have it, also its folder and a number.

    Args:
        cases: The cases.

    Returns:
        A name for each case.
    """
    counts = Counter(case.name.casefold() for case in cases)
    return [
        case.name
        if counts[case.name.casefold()] == 1
        else f"{case.name} ({case.slide.parent.name}, {number})"
        for number, case in enumerate(cases, start=1)
    ]
