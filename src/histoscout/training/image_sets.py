"""The images that training learns from, and those on which it chooses, where each image is of one class."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from histoscout.cohort.case import Case
from histoscout.cohort.cohort import Cohort
from histoscout.cohort.split import read_split, split_by_class, write_split
from histoscout.cores import usable_cores
from histoscout.detection.labelled import LabelledSlide
from histoscout.detection.labelled_image import open_labelled_image
from histoscout.errors import TrainingError
from histoscout.progress import Progress
from histoscout.recipe import SET_ASIDE, Classes, Recipe
from histoscout.training.sets import Sets

MOST_READERS = 8
TOLD_BYTES = 2**30  # of images held in memory, from which it is said


def open_image_sets(cohort: Cohort, recipe: Recipe, split_file: Path, progress: Progress) -> Sets:
    """Read every image that is not kept for testing, divide them by patient, and write the division down.

    Images of classes that the recipe ignores or does not name are left out, and told. Raises TrainingError if no
    image is left of the positive class, CohortError if patients cannot be divided.
    """
    kept, notes = of_known_classes(cohort, recipe.classes)
    if not any(case.label == recipe.classes.positive for case in kept.cases if case.split != "test"):
        labels = ", ".join(sorted({case.label for case in cohort.cases}))
        fault = f"no image of the class {recipe.classes.positive!r} to train on (classes: {labels})"
        raise TrainingError(cohort.where, fault, "Name one of them with --positive")
    if split_file.exists():
        split = read_split(split_file, kept)
    else:
        split = split_by_class(kept, recipe.training.tune_share, recipe.seed)
        write_split(split, split_file)
    for note in (*notes, *split.notes):
        progress.note(note)
    opened = _open_all((*split.train, *split.tune), recipe, progress)
    train, tune = opened[: len(split.train)], opened[len(split.train) :]
    if (held := sum(_bytes(labelled) for labelled in opened)) > TOLD_BYTES:
        progress.note(f"images take {held / 2**30:.1f} GiB of memory; a larger windows.mpp takes less")
    whole = {number: [labelled.slide.box] for number, labelled in enumerate(tune)}
    return Sets(train, tune, whole, {}, split, (*notes, *split.notes), by_class=True)


def of_known_classes(cohort: Cohort, classes: Classes) -> tuple[Cohort, tuple[str, ...]]:
    """The images of the classes a recipe names, labelled in its words, and what was left out."""
    words = {case.label: classes.canonical(case.label) for case in cohort.cases}
    kept = tuple(
        replace(case, label=word)
        for case in cohort.cases
        if (word := words[case.label]) is not None and word not in SET_ASIDE
    )
    left = sorted(label for label, word in words.items() if word in (None, *SET_ASIDE))
    count = len(cohort.cases) - len(kept)
    notes = (
        (f"{count} images of classes that are not looked for are left out: {', '.join(left)}",)
        if left
        else ()
    )
    return replace(cohort, cases=kept), notes


def _bytes(labelled: LabelledSlide) -> float:
    return 3 * labelled.slide.box.width * labelled.slide.box.height


def _open_all(cases: Sequence[Case], recipe: Recipe, progress: Progress) -> tuple[LabelledSlide, ...]:
    """The images in order, decoded by a few threads: each is decoded once, and then held as fine as it is needed."""
    opened = []
    progress.start("reading images", len(cases))
    with ThreadPoolExecutor(min(MOST_READERS, usable_cores()), thread_name_prefix="histoscout-read") as pool:
        for labelled in pool.map(lambda case: open_labelled_image(case, case.label, recipe), cases):
            opened.append(labelled)
            progress.advance()
    progress.done()
    return tuple(opened)
