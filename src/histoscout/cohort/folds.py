"""Folds: every patient is kept apart once, so that a cohort judges what was learnt from the rest of it."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from histoscout.cohort.cohort import Cohort
from histoscout.errors import CohortError
from histoscout.files import write_text

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
    """
    if count < 2:
        raise CohortError("--folds", f"{count} folds keep nobody apart", "Take 2 or more; 4 or 5 are usual")
    if len(positive) < count:
        fault = f"has {len(positive)} patients with annotations, too few for {count} folds"
        raise CohortError(where, fault, "Take fewer folds with --folds")
    random = np.random.default_rng(seed)
    dealt = [patient for wanted in (True, False) for patient in _shuffled(positive, wanted, random)]
    if sum(positive.values()) < 2:
        fault = (
            "has fewer than two patients with positive regions: without one of them nothing is left to learn"
        )
        raise CohortError(where, fault, "Check the class names (--positive), or annotate more patients")
    return Folds(tuple(tuple(sorted(dealt[fold::count])) for fold in range(count)))


def _shuffled(positive: Mapping[str, bool], wanted: bool, random: np.random.Generator) -> list[str]:
    names = sorted(patient for patient, has in positive.items() if has is wanted)
    return [names[place] for place in random.permutation(len(names))]


def fold_cohort(cohort: Cohort, folds: Folds, number: int) -> Cohort:
    """The cohort with the patients of this fold as its test split; all others are trained and tuned on.

    Whatever the cohort said of splits is gone: who is tuned on is drawn anew, from the others alone.
    """
    apart = set(folds.of(number))
    cases = tuple(replace(case, split="test" if case.patient in apart else "train") for case in cohort.cases)
    return Cohort(cases, f"{cohort.where}, fold {number}")


def write_folds(folds: Folds, path: Path) -> None:
    """Write folds as a table of fold and patient, to be read back or kept with a study."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEAD)
    writer.writerows((number, patient) for number in folds.numbers for patient in folds.of(number))
    write_text(path, text.getvalue())


def read_folds(path: Path, patients: Sequence[str]) -> Folds:
    """Read folds of exactly these patients; CohortError if the file is none, or is one of other patients."""
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
            f"is of other patients (not in it: {', '.join(absent) or 'none'}; "
            f"not in the cohort or without annotations: {', '.join(strange) or 'none'})"
        )
        raise CohortError(path, fault, "List every annotated patient of the cohort once")
