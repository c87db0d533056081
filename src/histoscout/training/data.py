"""The slides or images of a training: opened, labeled, and divided into training and tuning set."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import shapely

from histoscout.cohort.annotated_slide import LabeledSlide, open_labeled_image, open_labeled_slide
from histoscout.cohort.case import Case, SlideKey
from histoscout.cohort.cohort import Cohort
from histoscout.cohort.splits import (
    GAP_UM,
    Split,
    choose_tuning_blocks,
    read_split,
    split_by_class,
    split_cohort,
    write_split,
)
from histoscout.detection.grid import detection_windows
from histoscout.errors import TrainingError
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions
from histoscout.hardware import usable_cores
from histoscout.progress import Progress
from histoscout.recipe import SET_ASIDE, Recipe
from histoscout.recipe_sections import ClassConfig

MAX_READERS = 8
"""Threads that decode images."""

LARGE_BYTES = 2**30
"""Size of the images held in memory from which the user is informed."""


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Opened slides of the training and tuning sets.

    With too few patients both are the same slides; then some blocks of each slide are for tuning.

    Attributes:
        train: The slides to train on.
        tune: The slides to validate on and to choose the threshold on.
        tuning_boxes: For slides of `tune` by index, the boxes used for tuning, if not the whole slide; of
            image classification data, the whole image.
        excluded_boxes: For slides of `train` by index, boxes that no training patch may touch: the tuning
            blocks with a gap around them.
        split: The cases of each set.
        notes: What a user should know.
        by_class: Whether these are images with one class each (image classification data).
    """

    train: tuple[LabeledSlide, ...]
    tune: tuple[LabeledSlide, ...]
    tuning_boxes: Mapping[int, Sequence[Box]]
    excluded_boxes: Mapping[int, Sequence[Box]]
    split: Split
    notes: tuple[str, ...]
    by_class: bool = False


# ---------------------------------------------------------------- slides


def open_training_slides(
    cohort: Cohort, recipe: Recipe, split_file: Path, progress: Progress
) -> TrainingData:
    """Open every slide that is not kept for testing, and divide them by patient.

    Args:
        cohort: The cohort.
        recipe: Classes, tissue, patches and the share of tuning patients.
        split_file: Where the split is written, or read from if the training is resumed.
        progress: Who is informed.

    Returns:
        Training and tuning set.

    Raises:
        TrainingError: If no region of the positive class is left to train on.
    """
    cases = [case for case in cohort.cases if case.split != "test"]
    annotated = [case for case in cases if case.annotated]
    opened, notes = _open_slides(annotated, recipe, progress)
    if not any(labeled.has_positive for labeled in opened.values()):
        raise _no_positive(cohort, opened.values(), recipe)
    if len(annotated) < len(cases):
        names = ", ".join(case.name for case in cases if not case.annotated)
        notes.append(f"slides without annotations are not used for training: {names}")
        progress.note(notes[-1])
    # by patient, or by blocks of each slide where patients are too few
    split = _split(cohort, annotated, opened, recipe=recipe, file=split_file)
    train = tuple(opened[case.key] for case in split.train)
    tune = tuple(opened[case.key] for case in split.tune)
    if not any(labeled.has_positive for labeled in train):
        raise _no_positive(cohort, train, recipe)
    tuning_boxes: dict[int, list[Box]] = {}
    excluded_boxes: dict[int, list[Box]] = {}
    if split.blocks:
        tuning_boxes, excluded_boxes = _tuning_blocks(tune, recipe)
        # outside of its blocks a slide belongs to the training set
        tune = tuple(
            replace(labeled, tissue=labeled.tissue.restrict_to(tuning_boxes[index]))
            for index, labeled in enumerate(tune)
        )
    split_notes = [*split.notes, *_incomplete_notes(split, recipe)]
    for note in split_notes:
        progress.note(note)
    return TrainingData(
        train=train,
        tune=tune,
        tuning_boxes=tuning_boxes,
        excluded_boxes=excluded_boxes,
        split=split,
        notes=(*notes, *split_notes),
    )


def rotate_tuning_set(
    data: TrainingData, cohort: Cohort, recipe: Recipe, *, turn: int, split_file: Path
) -> TrainingData:
    """Divide the same slides differently for another ensemble member: other patients are the tuning set.

    So each patient is in the training set of most members. The division stays where the cohort's table names
    the tuning set, where the sets are blocks of the same slides, and for image classification data.

    Args:
        data: The data of the first member.
        cohort: The cohort.
        recipe: The recipe of the model, whose seed all members share here.
        turn: The number of the member, from 0.
        split_file: Where the split is written, or read from if the training is resumed.

    Returns:
        The data of this member; `data` itself if the division stays.
    """
    cases = (*data.split.train, *data.split.tune)
    if turn == 0 or data.by_class or data.split.blocks or any(case.split == "tune" for case in cases):
        return data
    opened = {case.key: labeled for case, labeled in zip(cases, (*data.train, *data.tune), strict=True)}
    ordered = [case for case in cohort.cases if case.key in opened]
    split = _split(cohort, ordered, opened, recipe=recipe, file=split_file, turn=turn)
    return TrainingData(
        train=tuple(opened[case.key] for case in split.train),
        tune=tuple(opened[case.key] for case in split.tune),
        tuning_boxes={},
        excluded_boxes={},
        split=split,
        notes=(*split.notes, *_incomplete_notes(split, recipe)),
    )


def _open_slides(
    cases: Sequence[Case], recipe: Recipe, progress: Progress
) -> tuple[dict[SlideKey, LabeledSlide], list[str]]:
    """The slides by path, and notes on them."""
    opened: dict[SlideKey, LabeledSlide] = {}
    notes: list[str] = []
    progress.start("reading slides and annotations", len(cases))
    for case in cases:
        labeled, slide_notes = open_labeled_slide(case, recipe)
        opened[case.key] = labeled
        # at once, since a note may be the reason for an error
        for text in slide_notes:
            notes.append(f"{case.name}: {text}")
            progress.note(notes[-1])
        progress.advance()
    progress.done()
    return opened, notes


def _split(
    cohort: Cohort,
    cases: Sequence[Case],
    opened: Mapping[SlideKey, LabeledSlide],
    *,
    recipe: Recipe,
    file: Path,
    turn: int = 0,
) -> Split:
    """The split of an earlier start of this training, else a new one, which is written to the file."""
    test = cohort.in_split("test").cases
    if file.exists():
        return read_split(file, Cohort((*cases, *test), cohort.where))
    split = split_cohort(
        Cohort(tuple(cases), cohort.where),
        recipe.training.tuning_share,
        recipe.seed,
        lambda case: opened[case.key].has_positive,
        turn,
    )
    write_split(replace(split, test=test), file)
    return split


def _tuning_blocks(
    slides: Sequence[LabeledSlide], recipe: Recipe
) -> tuple[dict[int, list[Box]], dict[int, list[Box]]]:
    """The tuning blocks of each slide, and the same with a gap around them."""
    blocks: dict[int, list[Box]] = {}
    excluded: dict[int, list[Box]] = {}
    for index, labeled in enumerate(slides):
        blocks[index] = choose_tuning_blocks(
            labeled.slide.box,
            labeled.slide.mpp,
            recipe.seed,
            recipe.training.tuning_share,
            holding=labeled.regions.with_labels(recipe.classes.positive),
        )
        # a tuning patch reaches out of a block that is smaller than the patch
        side = labeled.px(recipe.patches.size_um)
        excluded[index] = [
            box.expand(max(labeled.px(GAP_UM), (side - min(box.width, box.height)) / 2))
            for box in blocks[index]
        ]
    return blocks, excluded


def _incomplete_notes(split: Split, recipe: Recipe) -> list[str]:
    if recipe.classes.complete:
        return []
    patients = ", ".join(dict.fromkeys(case.patient for case in split.tune))
    return [
        "by the recipe, not every lesion is annotated; annotate every lesion of the tuning patients, or the "
        f"threshold is too high: {patients}"
    ]


def _no_positive(cohort: Cohort, slides: Iterable[LabeledSlide], recipe: Recipe) -> TrainingError:
    labels = sorted({label for labeled in slides for label in labeled.regions.labels})
    return TrainingError(
        cohort.where,
        f"no slide of the training set has an annotation of the class {recipe.classes.positive!r} "
        f"(annotated classes: {', '.join(labels) or 'none'})",
        "Name the class with --positive, or list its spellings in classes.aliases of the recipe",
    )


# ---------------------------------------------------------------- detection windows on tuning slides


def tuning_regions(boxes: Sequence[Box] | None) -> Regions | None:
    """The tuning boxes of a slide as regions; None stands for the whole slide.

    Args:
        boxes: Boxes of a slide in level-0 px; None for the whole slide.

    Returns:
        Regions, or None.
    """
    if boxes is None:
        return None
    return Regions.of(Region(shapely.box(*box.bounds), "tune") for box in boxes)


def tuning_windows(labeled: LabeledSlide, boxes: Sequence[Box] | None, recipe: Recipe) -> list[Box]:
    """List the windows that detection reads on a tuning slide.

    Args:
        labeled: The slide.
        boxes: Its tuning boxes; None for the whole slide.
        recipe: The recipe.

    Returns:
        Boxes in level-0 px.
    """
    return detection_windows(labeled.slide, labeled.tissue, recipe, tuning_regions(boxes))


def count_tuning_windows(data: TrainingData, recipe: Recipe) -> int:
    """Count the windows that detection reads on the tuning slides; 0 for image classification data.

    Args:
        data: The training data.
        recipe: The recipe.

    Returns:
        The number of windows.
    """
    if data.by_class:
        return 0
    return sum(
        len(tuning_windows(labeled, data.tuning_boxes.get(index), recipe))
        for index, labeled in enumerate(data.tune)
    )


# ---------------------------------------------------------------- image classification data


def open_training_images(
    cohort: Cohort, recipe: Recipe, split_file: Path, progress: Progress
) -> TrainingData:
    """Read every image that is not kept for testing, and divide them by patient (image classification data).

    Args:
        cohort: A cohort of images with one class each; those of classes that the recipe ignores or does not
            name are left out, with a note.
        recipe: Classes, patches and the share of tuning patients.
        split_file: Where the split is written, or read from if the training is resumed.
        progress: Who is informed.

    Returns:
        Training and tuning set.

    Raises:
        TrainingError: If no image of the positive class is left.
        CohortError: If the patients cannot be divided.
    """
    kept, notes = select_known_classes(cohort, recipe.classes)
    if not any(case.label == recipe.classes.positive for case in kept.cases if case.split != "test"):
        labels = ", ".join(sorted({case.label for case in cohort.cases}))
        fault = f"no image to train on has the class {recipe.classes.positive!r} (classes: {labels})"
        raise TrainingError(cohort.where, fault, "Name one of these classes with --positive")
    if split_file.exists():
        split = read_split(split_file, kept)
    else:
        split = split_by_class(kept, recipe.training.tuning_share, recipe.seed)
        write_split(split, split_file)
    for note in (*notes, *split.notes):
        progress.note(note)
    opened = _read_images((*split.train, *split.tune), recipe, progress)
    # they stay in memory, 3 bytes per pixel
    size = sum(3 * labeled.slide.box.width * labeled.slide.box.height for labeled in opened)
    if size > LARGE_BYTES:
        progress.note(f"the images take {size / 2**30:.1f} GiB of memory; a larger patches.mpp takes less")
    train, tune = opened[: len(split.train)], opened[len(split.train) :]
    return TrainingData(
        train=train,
        tune=tune,
        tuning_boxes={index: [labeled.slide.box] for index, labeled in enumerate(tune)},
        excluded_boxes={},
        split=split,
        notes=(*notes, *split.notes),
        by_class=True,
    )


def select_known_classes(cohort: Cohort, classes: ClassConfig) -> tuple[Cohort, tuple[str, ...]]:
    """Select the images of the classes that a recipe names.

    Args:
        cohort: A cohort of images with one class each.
        classes: The recipe's section `classes`.

    Returns:
        The cohort with these images, labeled as the recipe spells the classes, and notes on what was left
        out.
    """
    canonical = {case.label: classes.canonical(case.label) for case in cohort.cases}
    kept = tuple(
        replace(case, label=label)
        for case in cohort.cases
        if (label := canonical[case.label]) is not None and label not in SET_ASIDE
    )
    left_out = sorted(name for name, label in canonical.items() if label in (None, *SET_ASIDE))
    count = len(cohort.cases) - len(kept)
    notes: tuple[str, ...] = ()
    if left_out:
        notes = (
            f"{count} images of classes that the recipe does not use are left out: {', '.join(left_out)}",
        )
    return replace(cohort, cases=kept), notes


def _read_images(cases: Sequence[Case], recipe: Recipe, progress: Progress) -> tuple[LabeledSlide, ...]:
    """The images in order: each is decoded once, by a few threads, and held at the resolution that is needed."""
    opened = []
    progress.start("reading images", len(cases))
    with ThreadPoolExecutor(min(MAX_READERS, usable_cores()), thread_name_prefix="histoscout-read") as pool:
        for labeled in pool.map(lambda case: open_labeled_image(case, case.label, recipe), cases):
            opened.append(labeled)
            progress.advance()
    progress.done()
    return tuple(opened)
