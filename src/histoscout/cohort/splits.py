"""Splits: training, tuning and test set by patient, and blocks of slides for tuning.

With too few patients for a tuning set, blocks of the training slides are used. Neighboring tissue is alike, so blocks
are large (1 mm) with a gap around them, and metrics on them are still marked optimistic.
"""

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

import numpy as np

from histoscout.cohort.case import Case
from histoscout.cohort.cohort import Cohort
from histoscout.errors import CohortError
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Regions
from histoscout.io.files import encoding_note, read_text
from histoscout.io.inputs import read_bytes
from histoscout.io.names import patient_key, slide_key
from histoscout.io.tables import read_cell, write_csv
from histoscout.slides.files import image_name

BLOCK_UM = 1000.0
"""Side of a tuning block in um."""

GAP_UM = 250.0
"""Gap around a tuning block in um that no training patch may touch."""

COLUMNS = ["part", "slide", "patient"]
"""The columns of a written split."""

TRAIN_AND_TUNE = "train and tune"
"""Part of a written split whose slides are in both sets, tuning on blocks of them."""

NOTE = "note"
"""Part of a written split that holds a note instead of a slide."""

_PARTS = ("train", "tune", "test", TRAIN_AND_TUNE)


@dataclass(frozen=True)
class Split:
    """The cases of the training, tuning and test set.

    Attributes:
        train: Cases to train on.
        tune: Cases to tune on.
        test: Cases to test on.
        blocks: Whether training and tuning share the same slides, and tuning uses blocks of them. Otherwise no
            patient is in two of the sets.
        notes: Notes for the user.
    """

    train: tuple[Case, ...]
    tune: tuple[Case, ...]
    test: tuple[Case, ...]
    _: KW_ONLY
    blocks: bool = False
    notes: tuple[str, ...] = ()


# ---------------------------------------------------------------- drawing patients


def split_cohort(
    cohort: Cohort, tune_share: float, seed: int, has_positive: Callable[[Case], bool], turn: int = 0
) -> Split:
    """Split a cohort by patient, keeping the splits that its table names.

    If the table names no tuning case, a share of the patients outside the test split is drawn, with and without
    positive regions alike. With fewer than two patients with positive regions, tuning uses blocks.

    Args:
        cohort: The cohort.
        tune_share: Share of patients for tuning.
        seed: Random seed; the same seed and patients give the same split.
        has_positive: Whether a case has positive regions; it is not called for test cases.
        turn: Number of the ensemble member: every turn draws other patients until all were drawn.

    Returns:
        The split.

    Raises:
        CohortError: If there is nothing to train on, or no positive region in it.
    """
    test = cohort.in_split("test").cases
    tune = cohort.in_split("tune").cases
    pool = tuple(case for case in cohort.cases if case.split in ("train", None))
    if not pool:
        fault = "the cohort has no slides to train on"
        raise CohortError(cohort.where, fault, "Leave the split of some rows empty, or set it to train")
    positive = {case.patient for case in pool if has_positive(case)}
    if not positive:
        fault = "there is no annotation of the positive class on any training slide"
        raise CohortError(cohort.where, fault, "Check the class names (--positive), or annotate some slides")
    if tune:
        notes = () if any(map(has_positive, tune)) else ("no tuning slide has a positive region",)
        return Split(pool, tune, test, notes=notes)
    if len(positive) < 2:
        note = (
            "too few patients with positive regions for a tuning set of their own: tuning uses blocks of the training "
            "slides, so its metrics are optimistic"
        )
        return Split(pool, pool, test, blocks=True, notes=(note,))
    # Draw at least one patient with positive regions, and leave at least one to train on.
    negative = {case.patient for case in pool} - positive
    random = np.random.default_rng(seed)
    count = min(len(positive) - 1, max(1, round(tune_share * len(positive))))
    drawn_positive = _draw_patients(positive, count, random, turn)
    drawn = drawn_positive | _draw_patients(negative, round(tune_share * len(negative)), random, turn)
    notes = ()
    if len(drawn_positive) == 1:
        notes = (f"only one patient with positive regions is left for tuning ({min(drawn_positive)})",)
    return Split(
        tuple(case for case in pool if case.patient not in drawn),
        tuple(case for case in pool if case.patient in drawn),
        test,
        notes=notes,
    )


def _draw_patients(patients: Iterable[str], count: int, random: np.random.Generator, turn: int) -> set[str]:
    """Draw patients; each turn takes those that follow the ones of the turn before."""
    ordered = sorted(patients)
    places = np.roll(random.permutation(len(ordered)), -turn * count)[:count]
    return {ordered[place] for place in places}


def split_by_class(cohort: Cohort, tune_share: float, seed: int) -> Split:
    """Split image classification data by patient, keeping the splits that it names.

    If there is no tuning set, patients outside the test split are drawn, the rarest class first, until a share of the
    patients of each class is in it. At least one patient of each class stays to train on.

    Args:
        cohort: The cohort.
        tune_share: Share of patients for tuning.
        seed: Random seed; the same seed and patients give the same split.

    Returns:
        The split.

    Raises:
        CohortError: If there are fewer than two classes to train on, or too few patients for a tuning set.
    """
    test = cohort.in_split("test").cases
    tune = cohort.in_split("tune").cases
    pool = tuple(case for case in cohort.cases if case.split in ("train", None))
    if not tune:
        drawn = _draw_patients_by_class(pool, tune_share, np.random.default_rng(seed))
        tune = tuple(case for case in pool if case.patient in drawn)
        pool = tuple(case for case in pool if case.patient not in drawn)
    if len({case.label for case in pool}) < 2:
        raise CohortError(
            cohort.where, "there are fewer than two classes", "Give images of two classes at least"
        )
    if not tune:
        fault = "there are too few patients for a tuning set"
        raise CohortError(cohort.where, fault, "Give images of two patients of each class at least")
    absent = sorted({case.label for case in pool} - {case.label for case in tune})
    notes = (f"no tuning patient has images of: {', '.join(absent)}",) if absent else ()
    return Split(pool, tune, test, notes=notes)


def _draw_patients_by_class(cases: Sequence[Case], share: float, random: np.random.Generator) -> set[str]:
    """Draw a share of the patients of each class, and never the last patient of a class."""
    patients_by_class: dict[str, set[str]] = {}
    for case in cases:
        patients_by_class.setdefault(case.label, set()).add(case.patient)
    drawn: set[str] = set()
    rarest_first = sorted(patients_by_class.items(), key=lambda item: (len(item[1]), item[0]))
    for _, patients in rarest_first:
        wanted = max(1, round(share * len(patients)))
        ordered = sorted(patients - drawn)
        for place in random.permutation(len(ordered)):
            larger = drawn | {ordered[place]}
            leaves_some = all(others - larger for others in patients_by_class.values())
            if len(patients & larger) <= wanted and leaves_some:
                drawn = larger
    return drawn


# ---------------------------------------------------------------- files


def write_split(split: Split, path: Path) -> None:
    """Write a split as a table, to be read when training resumes.

    Args:
        split: The split.
        path: The CSV file.

    Raises:
        OutputError: If the file cannot be written.
    """
    parts: list[tuple[str, Sequence[Case]]] = [("test", split.test)]
    if split.blocks:
        parts = [(TRAIN_AND_TUNE, split.train), *parts]
    else:
        parts = [("train", split.train), ("tune", split.tune), *parts]
    rows = [(part, _slide_cell(case), case.patient) for part, cases in parts for case in cases]
    rows += [(NOTE, note, "") for note in split.notes]
    write_csv(path, COLUMNS, rows)


def read_split(path: Path, cohort: Cohort) -> Split:
    """Read a split of a cohort.

    Slides are recognized by their paths, or by name and patient if they were moved.

    Args:
        path: The CSV file.
        cohort: The cohort.

    Returns:
        The split.

    Raises:
        CohortError: If the file is not a split, or the split of other slides than the cohort's.
    """
    rows = _read_rows(path)
    parts: dict[str, list[Case]] = {part: [] for part in _PARTS}
    missing = []
    for part, slide, patient in rows:
        if part == NOTE:
            continue
        case = _find_case(slide, patient, cohort)
        if case is None:
            missing.append(Path(slide).name)
        else:
            parts[part].append(case)
    assigned = {case for cases in parts.values() for case in cases}
    new = [case.name for case in cohort.cases if case not in assigned]
    if missing or new:
        lists = f"missing slides: {', '.join(missing) or 'none'}; new slides: {', '.join(new) or 'none'}"
        fault = f"this is the split of another cohort ({lists})"
        raise CohortError(path, fault, "Train into a new folder")
    shared = parts[TRAIN_AND_TUNE]
    encoding = encoding_note(read_bytes(path))
    return Split(
        tuple(parts["train"] + shared),
        tuple(parts["tune"] + shared),
        tuple(parts["test"]),
        blocks=bool(shared),
        notes=(
            *(text for part, text, _ in rows if part == NOTE),
            *([f"{path.name}: {encoding}"] if encoding else []),
        ),
    )


def _read_rows(path: Path) -> list[list[str]]:
    remedy = "Train into a new folder"
    try:
        lines = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
        rows = [[read_cell(cell) for cell in line] for line in lines]
    except OSError as error:
        raise CohortError(path, f"the file cannot be read ({error.strerror})", remedy) from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise CohortError(path, "the file is damaged", remedy) from error
    if rows[:1] != [COLUMNS] or any(len(row) != 3 or row[0] not in (*_PARTS, NOTE) for row in rows[1:]):
        raise CohortError(path, "this is not a split", remedy)
    return rows[1:]


def _slide_cell(case: Case) -> str:
    """The path of a slide, with the series if it is not the first of its file."""
    return image_name(str(case.slide), case.series)


def _find_case(slide: str, patient: str, cohort: Cohort) -> Case | None:
    for case in cohort.cases:
        if _slide_cell(case) == slide:
            return case
    # by name, without the folders: a split may have been written on Windows
    wanted = slide_key(slide.replace("\\", "/").rpartition("/")[2]), patient_key(patient)
    same_name = [
        case
        for case in cohort.cases
        if (slide_key(image_name(case.slide.name, case.series)), patient_key(case.patient)) == wanted
    ]
    return same_name[0] if len(same_name) == 1 else None


# ---------------------------------------------------------------- blocks


def choose_tuning_blocks(
    slide_box: Box,
    mpp: float,
    seed: int,
    share: float,
    block_um: float = BLOCK_UM,
    holding: Regions | None = None,
) -> list[Box]:
    """Choose the blocks of a slide to tune on: at least one, and never all of them.

    The slide is divided into equal blocks of at least `block_um`; one that is too small for two blocks is halved.

    Args:
        slide_box: The slide in level-0 px.
        mpp: um per level-0 px.
        seed: Random seed; the same seed gives the same blocks.
        share: Share of the blocks.
        block_um: Side of a block in um.
        holding: Regions that both the tuning and the other blocks should hold: blocks with and without them are
            drawn in the same share.

    Returns:
        The blocks in level-0 px, by rows.
    """
    rows = max(1, math.floor(slide_box.height * mpp / block_um))
    columns = max(1, math.floor(slide_box.width * mpp / block_um))
    if rows * columns == 1:
        rows, columns = (2, 1) if slide_box.height > slide_box.width else (1, 2)
    width = slide_box.width / columns
    height = slide_box.height / rows
    blocks = [
        Box(slide_box.x + column * width, slide_box.y + row * height, width, height)
        for row in range(rows)
        for column in range(columns)
    ]
    random = np.random.default_rng(seed)
    with_regions = [block for block in blocks if holding is not None and len(holding.intersecting(block))]
    without = [block for block in blocks if block not in with_regions]
    chosen = _draw_blocks(with_regions, share, random) + _draw_blocks(without, share, random)
    if not chosen:
        chosen = [blocks[int(random.integers(len(blocks)))]]
    return sorted(chosen, key=lambda block: (block.y, block.x))


def _draw_blocks(blocks: list[Box], share: float, random: np.random.Generator) -> list[Box]:
    """Draw a share of the blocks: of two or more at least one and never all, of one none."""
    count = min(len(blocks) - 1, max(1, round(share * len(blocks))))
    return [blocks[i] for i in random.permutation(len(blocks))[: max(0, count)]]
