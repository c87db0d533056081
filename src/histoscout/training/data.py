"""The slides that training learns from, and those on which it chooses.

The images that training learns from, and those on which it chooses, where each image is of one class.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import shapely

from histoscout.cohort.annotated_slide import LabeledSlide, open_labeled, open_labeled_image
from histoscout.cohort.case import Case
from histoscout.cohort.cohort import Cohort
from histoscout.cohort.splits import (
    GAP_UM,
    Split,
    read_split,
    split_by_class,
    split_cohort,
    tune_blocks,
    write_split,
)
from histoscout.detection.grid import detection_windows
from histoscout.errors import TrainingError
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions
from histoscout.hardware import usable_cores
from histoscout.progress import Progress
from histoscout.recipe import SET_ASIDE, ClassConfig, Recipe


@dataclass(frozen=True)
class Sets:
    """Opened slides for training and for tuning.

    With too few patients both are the same slides: then `tune_boxes[i]` are the blocks of slide i used for tuning,
    which no training window may touch, not even `kept_out[i]`, the same blocks with a gap around them. Of images that
    are of one class each (`by_class`), `tune_boxes[i]` is the whole image.
    """

    train: tuple[LabeledSlide, ...]
    tune: tuple[LabeledSlide, ...]
    tune_boxes: Mapping[int, Sequence[Box]]
    kept_out: Mapping[int, Sequence[Box]]
    split: Split
    notes: tuple[str, ...]
    by_class: bool = False


def tuning_area(blocks: Sequence[Box] | None) -> Regions | None:
    """The blocks of a slide that are tuned on, as regions; None: all of it."""
    if blocks is None:
        return None
    return Regions.of(Region(shapely.box(*box.bounds), "tune") for box in blocks)


def tuning_windows(labeled: LabeledSlide, blocks: Sequence[Box] | None, recipe: Recipe) -> list[Box]:
    """The windows by which detection looks at a tuning slide, or at its blocks."""
    return detection_windows(labeled.slide, labeled.tissue, recipe, tuning_area(blocks))


def count_tuning_windows(sets: Sets, recipe: Recipe) -> int:
    """How many windows detection looks at on the tuning slides; 0 of images of one class each."""
    if sets.by_class:
        return 0
    return sum(
        len(tuning_windows(labeled, sets.tune_boxes.get(place), recipe))
        for place, labeled in enumerate(sets.tune)
    )


def open_sets(cohort: Cohort, recipe: Recipe, split_file: Path, progress: Progress) -> Sets:
    """Open every slide that is not kept for testing, divide them by patient, and write the division down.

    Raises TrainingError if no region of the positive class is left to learn from.
    """
    cases = [case for case in cohort.cases if case.split != "test"]
    annotated = [case for case in cases if case.annotations is not None]
    opened, notes = _open_all(annotated, recipe, progress)
    if not any(labeled.has_positive for labeled in opened.values()):
        raise _no_positive(cohort, opened.values(), recipe)
    if len(annotated) < len(cases):
        names = ", ".join(case.name for case in cases if case.annotations is None)
        notes.append(f"without annotations, not used in training: {names}")
        progress.note(notes[-1])
    split = _split(cohort, annotated, opened, recipe, split_file)
    train = tuple(opened[case.slide] for case in split.train)
    tune = tuple(opened[case.slide] for case in split.tune)
    if not any(labeled.has_positive for labeled in train):
        raise _no_positive(cohort, train, recipe)
    blocks, kept_out = _blocks(tune, recipe) if split.blocks else ({}, {})
    if split.blocks:  # what lies outside the blocks is learnt from
        tune = tuple(
            replace(labeled, tissue=labeled.tissue.within(blocks[i])) for i, labeled in enumerate(tune)
        )
    said = [*split.notes, *_incomplete(split, recipe)]
    for note in said:
        progress.note(note)
    return Sets(train, tune, blocks, kept_out, split, (*notes, *said))


def turned(sets: Sets, cohort: Cohort, recipe: Recipe, turn: int, split_file: Path) -> Sets:
    """The same slides divided anew: other patients are tuned on, so that in turn each is learnt from.

    Where the cohort's table names who is tuned on, where blocks of the same slides are, and of images of one class each,
    the division stays.
    """
    cases = (*sets.split.train, *sets.split.tune)
    if turn == 0 or sets.by_class or sets.split.blocks or any(case.split == "tune" for case in cases):
        return sets
    opened = {case.slide: labeled for case, labeled in zip(cases, (*sets.train, *sets.tune), strict=True)}
    ordered = [case for case in cohort.cases if case.slide in opened]
    split = _split(cohort, ordered, opened, recipe, split_file, turn)
    train, tune = (tuple(opened[case.slide] for case in part) for part in (split.train, split.tune))
    return Sets(train, tune, {}, {}, split, (*split.notes, *_incomplete(split, recipe)))


def _incomplete(split: Split, recipe: Recipe) -> list[str]:
    if recipe.classes.complete:
        return []
    patients = ", ".join(dict.fromkeys(case.patient for case in split.tune))
    return [
        "not every lesion is outlined, says the recipe; on the tuning patients every one should be, or the threshold is "
        f"too high: {patients}"
    ]


def _open_all(
    cases: Sequence[Case], recipe: Recipe, progress: Progress
) -> tuple[dict[Path, LabeledSlide], list[str]]:
    opened: dict[Path, LabeledSlide] = {}
    notes: list[str] = []
    progress.start("reading slides and outlines", len(cases))
    for case in cases:
        labeled, said = open_labeled(case, recipe)
        opened[case.slide] = labeled
        for text in said:
            notes.append(f"{case.name}: {text}")
            progress.note(notes[-1])  # at once: it may be the reason for an error
        progress.advance()
    progress.done()
    return opened, notes


def _split(
    cohort: Cohort,
    cases: Sequence[Case],
    opened: Mapping[Path, LabeledSlide],
    recipe: Recipe,
    file: Path,
    turn: int = 0,
) -> Split:
    """The split of an earlier start of this training if there was one, else a new one, written down."""
    if file.exists():
        return read_split(file, Cohort((*cases, *cohort.in_split("test").cases), cohort.where))
    known = Cohort(tuple(cases), cohort.where)
    split = split_cohort(
        known, recipe.training.tuning_share, recipe.seed, lambda case: opened[case.slide].has_positive, turn
    )
    write_split(
        Split(split.train, split.tune, cohort.in_split("test").cases, split.blocks, split.notes), file
    )
    return split


def _blocks(
    slides: Sequence[LabeledSlide], recipe: Recipe
) -> tuple[dict[int, list[Box]], dict[int, list[Box]]]:
    positive, share = recipe.classes.positive, recipe.training.tuning_share
    blocks = {
        index: tune_blocks(
            labeled.slide.box,
            labeled.slide.mpp,
            recipe.seed,
            share,
            holding=labeled.regions.labeled(positive),
        )
        for index, labeled in enumerate(slides)
    }
    kept_out = {
        index: [
            box.grown(max(slides[index].px(GAP_UM), _beyond(box, slides[index], recipe))) for box in boxes
        ]
        for index, boxes in blocks.items()
    }
    return blocks, kept_out


def _beyond(block: Box, labeled: LabeledSlide, recipe: Recipe) -> float:
    """How far a tuning window reaches out of a block that is smaller than it, level-0 px."""
    return (labeled.px(recipe.patches.size_um) - min(block.width, block.height)) / 2


def _no_positive(cohort: Cohort, slides: Iterable[LabeledSlide], recipe: Recipe) -> TrainingError:
    labels = sorted({label for labeled in slides for label in labeled.regions.labels})
    return TrainingError(
        cohort.where,
        f"no outline of the class {recipe.classes.positive!r} among the slides for training "
        f"(their classes: {', '.join(labels) or 'none'})",
        "Name the class with --positive, or give its spellings in classes.aliases of the recipe",
    )


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
        split = split_by_class(kept, recipe.training.tuning_share, recipe.seed)
        write_split(split, split_file)
    for note in (*notes, *split.notes):
        progress.note(note)
    opened = _open_all_images((*split.train, *split.tune), recipe, progress)
    train, tune = opened[: len(split.train)], opened[len(split.train) :]
    if (held := sum(_bytes(labeled) for labeled in opened)) > TOLD_BYTES:
        progress.note(f"images take {held / 2**30:.1f} GiB of memory; a larger windows.mpp takes less")
    whole = {number: [labeled.slide.box] for number, labeled in enumerate(tune)}
    return Sets(train, tune, whole, {}, split, (*notes, *split.notes), by_class=True)


def of_known_classes(cohort: Cohort, classes: ClassConfig) -> tuple[Cohort, tuple[str, ...]]:
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


def _bytes(labeled: LabeledSlide) -> float:
    return 3 * labeled.slide.box.width * labeled.slide.box.height


def _open_all_images(cases: Sequence[Case], recipe: Recipe, progress: Progress) -> tuple[LabeledSlide, ...]:
    """The images in order, decoded by a few threads: each is decoded once, and then held as fine as it is needed."""
    opened = []
    progress.start("reading images", len(cases))
    with ThreadPoolExecutor(min(MOST_READERS, usable_cores()), thread_name_prefix="histoscout-read") as pool:
        for labeled in pool.map(lambda case: open_labeled_image(case, case.label, recipe), cases):
            opened.append(labeled)
            progress.advance()
    progress.done()
    return tuple(opened)
