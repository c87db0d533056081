"""Folds of a cross-validation: each patient is in the test set of exactly one fold."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from histoscout.cohort.cohort import Cohort
from histoscout.errors import CohortError
from histoscout.io.files import read_text
from histoscout.io.names import patient_key
from histoscout.io.tables import read_cell, write_csv

COLUMNS = ["fold", "patient"]
"""The columns of a table of folds."""


@dataclass(frozen=True)
class Folds:
    """The patients of each fold. Folds are numbered from 1.

    Attributes:
        patients: The patients of each fold, sorted; no patient is in two folds.
    """

    patients: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.patients)

    @property
    def numbers(self) -> range:
        """The numbers of the folds, from 1."""
        return range(1, len(self.patients) + 1)

    def of(self, number: int) -> tuple[str, ...]:
        """The patients of a fold.

        Args:
            number: Number of the fold.
        """
        return self.patients[number - 1]


def draw_folds(positive: Mapping[str, bool], count: int, seed: int, where: str = "cohort") -> Folds:
    """Draw folds at random, the same for the same patients and seed.

    The numbers of patients in the folds differ by at most one, and so do those of patients with positive regions.

    Args:
        positive: Whether each patient has positive regions.
        count: Number of folds.
        seed: Random seed.
        where: What an error names as its place.

    Returns:
        The folds.

    Raises:
        CohortError: If there are fewer patients than folds, or fewer than two with positive regions: then a fold
            would leave nothing to train on.
    """
    if count < 2:
        raise CohortError("--folds", f"{count} folds leave no patient out", "Use 2 or more; 4 or 5 are usual")
    if len(positive) < count:
        fault = f"{len(positive)} patients with annotations are too few for {count} folds"
        raise CohortError(where, fault, "Use fewer folds with --folds")
    if sum(positive.values()) < 2:
        fault = (
            "fewer than two patients have positive regions: without one of them nothing is left for training"
        )
        raise CohortError(where, fault, "Check the class names (--positive), or annotate more patients")
    # Patients with positive regions come first, so that dealing them out in turn spreads them over the folds.
    random = np.random.default_rng(seed)
    shuffled: list[str] = []
    for has_positive in (True, False):
        names = sorted(patient for patient, has in positive.items() if has is has_positive)
        shuffled += [names[place] for place in random.permutation(len(names))]
    return Folds(tuple(tuple(sorted(shuffled[fold::count])) for fold in range(count)))


def cohort_of_fold(cohort: Cohort, folds: Folds, number: int) -> Cohort:
    """The cohort of one fold: its patients are the test split, all others are not.

    The cohort's own splits are not used; the tuning set is drawn from the other patients.

    Args:
        cohort: The cohort.
        folds: The folds.
        number: Number of the fold.

    Returns:
        The cohort with the splits of this fold.
    """
    test = set(map(patient_key, folds.of(number)))
    cases = tuple(
        replace(case, split="test" if patient_key(case.patient) in test else "train") for case in cohort.cases
    )
    return Cohort(cases, f"{cohort.where}, fold {number}")


def write_folds(folds: Folds, path: Path) -> None:
    """Write folds as a table of fold and patient.

    Args:
        folds: The folds.
        path: The CSV file.

    Raises:
        OutputError: If the file cannot be written.
    """
    rows = [(number, patient) for number in folds.numbers for patient in folds.of(number)]
    write_csv(path, COLUMNS, rows)


def read_folds(path: Path, patients: Sequence[str]) -> Folds:
    """Read folds of exactly these patients.

    Args:
        path: The CSV file.
        patients: The annotated patients of the cohort.

    Returns:
        The folds.

    Raises:
        CohortError: If the file is not a table of folds, or one of other patients.
    """
    try:
        lines = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
        rows = [[read_cell(cell) for cell in line] for line in lines]
    except OSError as error:
        fault = f"the file cannot be read ({error.strerror})"
        raise CohortError(path, fault, "Give a table of folds") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise CohortError(
            path, "this is not a table of folds", "Give the columns fold and patient"
        ) from error
    filled = [row for row in rows if any(cell.strip() for cell in row)]
    if filled[:1] != [COLUMNS] or any(len(row) != 2 or not row[0].isdecimal() for row in filled[1:]):
        remedy = "Begin with the line fold,patient; then give the number of a fold and a patient in each line"
        raise CohortError(path, "this is not a table of folds", remedy)
    # the cohort's spelling of each patient; one that a fold lists in two spellings counts once
    known = {patient_key(patient): patient for patient in patients}
    listed = [(int(fold), known.get(patient_key(patient), patient)) for fold, patient in filled[1:]]
    if len({tuple(row) for row in filled[1:]}) == len(listed):
        listed = list(dict.fromkeys(listed))
    numbers = sorted({fold for fold, _ in listed})
    if numbers != list(range(1, len(numbers) + 1)) or len(numbers) < 2:
        fault = f"the table has the folds {numbers}"
        raise CohortError(path, fault, "Number two folds or more from 1 without gaps")
    _check_patients([patient for _, patient in listed], patients, path)
    return Folds(
        tuple(tuple(sorted(patient for fold, patient in listed if fold == number)) for number in numbers)
    )


def _check_patients(listed: Sequence[str], patients: Sequence[str], path: Path) -> None:
    """CohortError unless each patient of the cohort is listed exactly once."""
    repeated = sorted({patient for patient in listed if listed.count(patient) > 1})
    if repeated:
        fault = f"these patients are listed twice: {', '.join(repeated)}"
        raise CohortError(path, fault, "List each patient in one fold")
    missing = sorted(set(patients) - set(listed))
    unknown = sorted(set(listed) - set(patients))
    if missing or unknown:
        fault = (
            f"these are folds of other patients (not in them: {', '.join(missing) or 'none'}; "
            f"not in the cohort or without annotations: {', '.join(unknown) or 'none'})"
        )
        raise CohortError(path, fault, "List every annotated patient of the cohort once")
