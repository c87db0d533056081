"""Splits: training, tuning and test set by patient, blocks of slides for tuning, and folds.

With too few patients for a tuning set, blocks of the training slides are used. Neighboring tissue is alike, so blocks
are large (1 mm) with a gap around them, and metrics on them are still marked optimistic.
"""

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from histoscout.cohort.case import Case
from histoscout.cohort.cohort import Cohort
from histoscout.errors import CohortError
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Regions
from histoscout.io.tables import write_csv

_OPTIMISTIC = (
    "too few patients with positive regions to keep some apart: tuning is done on blocks of the training "
    "slides themselves, so its figures are optimistic"
)
_TRAIN_AND_TUNE = "train and tune"


@dataclass(frozen=True)
class Split:
    """The cases to train on, to tune on, and to test on.

    With `blocks`, training and tuning share the same slides, and tuning happens on blocks of them (see
    `histoscout.cohort.splits`). Otherwise no patient is in two of the three.
    """

    train: tuple[Case, ...]
    tune: tuple[Case, ...]
    test: tuple[Case, ...]
    blocks: bool
    notes: tuple[str, ...] = ()


def split_cohort(
    cohort: Cohort, tune_share: float, seed: int, has_positive: Callable[[Case], bool], turn: int = 0
) -> Split:
    """Divide a cohort by patient, keeping every split that its table already says.

    If the table names no case to tune on, `tune_share` of the other patients (test aside) are drawn for it,
    of patients with and without positive regions alike, the same for the same `seed` and patients. Another
    `turn` of the same seed draws patients who have not had theirs, until everybody has. If fewer than two
    patients have positive regions, nobody can be kept apart: `blocks`. `has_positive` is never asked about
    test cases. CohortError if there is nothing to train on, or nothing positive in it.

    Args:
        cohort: The cohort.
        tune_share: Share of patients for tuning.
        seed: Random seed.
        has_positive: Whether a case has positive regions.
        turn: Number of the ensemble member.
    """
    test = cohort.in_split("test").cases
    tune = cohort.in_split("tune").cases
    pool = tuple(case for case in cohort.cases if case.split in ("train", None))
    if not pool:
        raise CohortError(
            cohort.where, "has no slides to train on", "Leave the split of some rows empty, or 'train'"
        )
    positive = {case.patient for case in pool if has_positive(case)}
    if not positive:
        fault = "there is no annotation of the positive class on any training slide"
        raise CohortError(cohort.where, fault, "Check the class names (--positive), or annotate some slides")
    if tune:
        notes = () if any(map(has_positive, tune)) else ("no tuning slide has a positive region",)
        return Split(pool, tune, test, False, notes)
    if len(positive) < 2:
        return Split(pool, pool, test, True, (_OPTIMISTIC,))
    chosen = _drawn({case.patient for case in pool}, positive, tune_share, (seed, turn))
    tune = tuple(case for case in pool if case.patient in chosen)
    train = tuple(case for case in pool if case.patient not in chosen)
    return Split(train, tune, test, False, tuple(_thin(chosen & positive)))


def split_by_class(cohort: Cohort, tune_share: float, seed: int) -> Split:
    """Divide images of one class each by patient, keeping every split that they already have.

    If none is to tune on, patients are drawn for it (test aside), the rarest classes first, until `tune_share` of the
    patients of each class are among them; one patient of each class at least stays to train on. The same for the same
    `seed` and patients. CohortError if there are fewer than two classes to train on, or nobody to tune on.

    Args:
        cohort: The cohort.
        tune_share: Share of patients for tuning.
        seed: Random seed.
    """
    test, tune = cohort.in_split("test").cases, cohort.in_split("tune").cases
    pool = tuple(case for case in cohort.cases if case.split in ("train", None))
    if not tune:
        chosen = _drawn_by_class(pool, tune_share, np.random.default_rng(seed))
        tune = tuple(case for case in pool if case.patient in chosen)
        pool = tuple(case for case in pool if case.patient not in chosen)
    if len({case.label for case in pool}) < 2:
        raise CohortError(
            cohort.where, "there are fewer than two classes", "Give images of two classes at least"
        )
    if not tune:
        fault = "there are too few patients for a tuning set"
        raise CohortError(cohort.where, fault, "Give images of two patients of each class at least")
    unseen = sorted({case.label for case in pool} - {case.label for case in tune})
    notes = (f"no tuning patient has images of: {', '.join(unseen)}",) if unseen else ()
    return Split(pool, tune, test, False, notes)


def _drawn_by_class(cases: Sequence[Case], share: float, random: np.random.Generator) -> set[str]:
    """The patients to tune on: of each class a share, and never its last patient."""
    of_class: dict[str, set[str]] = {}
    for case in cases:
        of_class.setdefault(case.label, set()).add(case.patient)
    chosen: set[str] = set()
    for _, patients in sorted(of_class.items(), key=lambda item: (len(item[1]), item[0])):
        wanted = max(1, round(share * len(patients)))
        ordered = sorted(patients - chosen)
        for place in random.permutation(len(ordered)):
            more = chosen | {ordered[place]}
            if len(patients & more) <= wanted and all(one - more for one in of_class.values()):
                chosen = more
    return chosen


def _drawn(patients: set[str], positive: set[str], share: float, draw: tuple[int, int]) -> set[str]:
    """The patients to tune on: at least one with positive regions, and at least one such left to train on."""
    seed, turn = draw
    random = np.random.default_rng(seed)
    most = min(len(positive) - 1, max(1, round(share * len(positive))))
    negative = patients - positive
    return _some_patients(positive, most, random, turn) | _some_patients(
        negative, round(share * len(negative)), random, turn
    )


def _some_patients(patients: Iterable[str], count: int, random: np.random.Generator, turn: int) -> set[str]:
    """So many of the patients, those who follow on those of the turn before."""
    ordered = sorted(patients)
    places = np.roll(random.permutation(len(ordered)), -turn * count)[:count]
    return {ordered[place] for place in places}


def _thin(positive: set[str]) -> list[str]:
    if len(positive) > 1:
        return []
    return [f"only one patient with positive regions is left for tuning ({min(positive)})"]


# ---------------------------------------------------------------- on disk


def write_split(split: Split, path: Path) -> None:
    """Write a split as a table of part, slide and patient, to be read back when a training resumes.

    Args:
        split: The split.
        path: The file or folder.
    """
    parts: list[tuple[str, Sequence[Case]]] = [
        ("train", split.train),
        ("tune", split.tune),
        ("test", split.test),
    ]
    if split.blocks:
        parts = [(_TRAIN_AND_TUNE, split.train), ("test", split.test)]
    rows = [(part, str(case.slide), case.patient) for part, cases in parts for case in cases]
    rows += [("note", note, "") for note in split.notes]
    write_csv(path, ("part", "slide", "patient"), rows)


def read_split(path: Path, cohort: Cohort) -> Split:
    """Read a split of this very cohort back; CohortError if the cohort's slides are not the split's.

    Slides are known by their paths, or by name and patient if they have moved.

    Args:
        path: The file or folder.
        cohort: The cohort.
    """
    rows = _rows(path)
    parts: dict[str, list[Case]] = {part: [] for part in ("train", "tune", "test", _TRAIN_AND_TUNE)}
    strangers = []
    for part, slide, patient in rows:
        if part in parts:
            case = _case(slide, patient, cohort)
            if case is None:
                strangers.append(Path(slide).name)
            else:
                parts[part].append(case)
    held = {case for cases in parts.values() for case in cases}
    new = [case.name for case in cohort.cases if case not in held]
    if strangers or new:
        gone, come = ", ".join(strangers) or "none", ", ".join(new) or "none"
        fault = f"this is the split of another cohort (missing slides: {gone}; new slides: {come})"
        raise CohortError(path, fault, "Train into a new folder")
    shared = tuple(parts[_TRAIN_AND_TUNE])
    notes = tuple(text for part, text, _ in rows if part == "note")
    return Split(
        tuple(parts["train"]) + shared,
        tuple(parts["tune"]) + shared,
        tuple(parts["test"]),
        bool(shared),
        notes,
    )


def _rows(path: Path) -> list[list[str]]:
    try:
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline=""), strict=True))
    except OSError as error:
        raise CohortError(path, f"cannot be read ({error.strerror})", "Train into a new folder") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise CohortError(path, "is damaged", "Train into a new folder") from error
    parts = {"train", "tune", "test", _TRAIN_AND_TUNE, "note"}
    if rows[:1] != [["part", "slide", "patient"]] or any(
        len(row) != 3 or row[0] not in parts for row in rows[1:]
    ):
        raise CohortError(path, "is not a split", "Train into a new folder")
    return rows[1:]


def _case(slide: str, patient: str, cohort: Cohort) -> Case | None:
    for case in cohort.cases:
        if str(case.slide) == slide:
            return case
    namesakes = [
        case for case in cohort.cases if (case.slide.name, case.patient) == (Path(slide).name, patient)
    ]
    return namesakes[0] if len(namesakes) == 1 else None


BLOCK_UM, GAP_UM = 1000.0, 250.0


def choose_tuning_blocks(
    slide_box: Box,
    mpp: float,
    seed: int,
    share: float,
    block_um: float = BLOCK_UM,
    holding: Regions | None = None,
) -> list[Box]:
    """The blocks of a slide to tune on: `share` of its area, at least one block and never all of them.

    The slide is divided into equal blocks of at least `block_um`; one too small for two blocks is
    halved. With `holding`, blocks that meet these regions and blocks that do not are drawn in the same share,
    so that both sides get some. Level-0 px; the same seed gives the same blocks.

    Args:
        slide_box: The slide in level-0 px.
        mpp: Resolution in um/px.
        seed: Random seed.
        share: Share of the area.
        block_um: Side of a block in um.
        holding: Regions that some block should hold.
    """
    rows, columns = (
        max(1, math.floor(side * mpp / block_um)) for side in (slide_box.height, slide_box.width)
    )
    if rows * columns == 1:
        rows, columns = (2, 1) if slide_box.height > slide_box.width else (1, 2)
    width, height = slide_box.width / columns, slide_box.height / rows
    blocks = [
        Box(slide_box.x + column * width, slide_box.y + row * height, width, height)
        for row in range(rows)
        for column in range(columns)
    ]
    random = np.random.default_rng(seed)
    with_regions = [block for block in blocks if holding is not None and len(holding.intersecting(block))]
    without = [block for block in blocks if block not in with_regions]
    chosen = _some_blocks(with_regions, share, random) + _some_blocks(without, share, random)
    return sorted(chosen or [blocks[int(random.integers(len(blocks)))]], key=lambda block: (block.y, block.x))


def _some_blocks(blocks: list[Box], share: float, random: np.random.Generator) -> list[Box]:
    """A share of the blocks: one at least and not all, if there are two; none if there is one."""
    count = min(len(blocks) - 1, max(1, round(share * len(blocks))))
    return [blocks[i] for i in random.permutation(len(blocks))[: max(0, count)]]


HEAD = ["fold", "patient"]


@dataclass(frozen=True)
class Folds:
    """The patients of each fold, sorted; no patient is in two. Folds are counted from 1."""

    patients: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.patients)

    @property
    def numbers(self) -> range:
        return range(1, len(self.patients) + 1)

    def of(self, number: int) -> tuple[str, ...]:
        return self.patients[number - 1]


def draw_folds(positive: Mapping[str, bool], count: int, seed: int, where: str = "cohort") -> Folds:
    """Deal patients out to folds; `positive` says of each whether he has positive regions.

    Folds differ by one patient at most, and by one with positive regions. The same for the same patients and seed,
    whatever their order. CohortError for fewer patients than folds, or fewer than two with positive regions: then a
    fold would leave nothing to learn from.

    Args:
        positive: Whether each patient has positive regions.
        count: How many at most.
        seed: Random seed.
        where: What an error names as its place.
    """
    if count < 2:
        raise CohortError("--folds", f"{count} folds leave no patient out", "Use 2 or more; 4 or 5 are usual")
    if len(positive) < count:
        fault = f"has {len(positive)} patients with annotations, too few for {count} folds"
        raise CohortError(where, fault, "Use fewer folds with --folds")
    random = np.random.default_rng(seed)
    dealt = [patient for wanted in (True, False) for patient in _shuffled(positive, wanted, random)]
    if sum(positive.values()) < 2:
        fault = (
            "fewer than two patients have positive regions: without one of them nothing is left for training"
        )
        raise CohortError(where, fault, "Check the class names (--positive), or annotate more patients")
    return Folds(tuple(tuple(sorted(dealt[fold::count])) for fold in range(count)))


def _shuffled(positive: Mapping[str, bool], wanted: bool, random: np.random.Generator) -> list[str]:
    names = sorted(patient for patient, has in positive.items() if has is wanted)
    return [names[place] for place in random.permutation(len(names))]


def cohort_of_fold(cohort: Cohort, folds: Folds, number: int) -> Cohort:
    """The cohort with the patients of this fold as its test split; all others are trained and tuned on.

    Whatever the cohort said of splits is gone: who is tuned on is drawn anew, from the others alone.

    Args:
        cohort: The cohort.
        folds: The folds.
        number: Number of the fold.
    """
    apart = set(folds.of(number))
    cases = tuple(replace(case, split="test" if case.patient in apart else "train") for case in cohort.cases)
    return Cohort(cases, f"{cohort.where}, fold {number}")


def write_folds(folds: Folds, path: Path) -> None:
    """Write folds as a table of fold and patient, to be read back or kept with a study.

    Args:
        folds: The folds.
        path: The file or folder.
    """
    rows = [(number, patient) for number in folds.numbers for patient in folds.of(number)]
    write_csv(path, HEAD, rows)


def read_folds(path: Path, patients: Sequence[str]) -> Folds:
    """Read folds of exactly these patients; CohortError if the file is none, or is one of other patients.

    Args:
        path: The file or folder.
        patients: The patients.
    """
    try:
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), strict=True))
    except OSError as error:
        raise CohortError(path, f"cannot be read ({error.strerror})", "Give a table of folds") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise CohortError(path, "is not a table of folds", "Columns are fold and patient") from error
    filled = [row for row in rows if any(cell.strip() for cell in row)]
    if filled[:1] != [HEAD] or any(len(row) != 2 or not row[0].isdecimal() for row in filled[1:]):
        remedy = "Its first line is fold,patient; then a fold's number and a patient in each"
        raise CohortError(path, "is not a table of folds", remedy)
    numbers = sorted({int(row[0]) for row in filled[1:]})
    if numbers != list(range(1, len(numbers) + 1)) or len(numbers) < 2:
        raise CohortError(path, f"has the folds {numbers}", "Number two folds or more from 1 without gaps")
    folds = Folds(tuple(tuple(sorted(p for n, p in filled[1:] if int(n) == number)) for number in numbers))
    _check_patients(folds, patients, path)
    return folds


def _check_patients(folds: Folds, patients: Sequence[str], path: Path) -> None:
    listed = [patient for fold in folds.patients for patient in fold]
    twice = sorted({patient for patient in listed if listed.count(patient) > 1})
    if twice:
        raise CohortError(path, f"lists patients twice: {', '.join(twice)}", "Give each one fold")
    absent, strange = sorted(set(patients) - set(listed)), sorted(set(listed) - set(patients))
    if absent or strange:
        fault = (
            f"these are folds of other patients (not in them: {', '.join(absent) or 'none'}; "
            f"not in the cohort or without annotations: {', '.join(strange) or 'none'})"
        )
        raise CohortError(path, fault, "List every annotated patient of the cohort once")
