"""Leakage: the same patient, slide or tissue in two sets that must be apart.

Results on patients that a model was trained on are too good; in the study, identical tiles were in both sets.
There is one function per kind of leak: `check_...` functions return a `Verdict`, `find_...` functions the patients.
Callers decide whether to stop.
"""

from collections.abc import Collection, Iterable, Sequence

from histoscout.cohort.case import Case, SplitName
from histoscout.cohort.duplicates import Fingerprint, Landmarks, find_shared_tissue
from histoscout.io.names import patient_key, patient_spellings, patients_in_both, slide_key
from histoscout.io.notes import list_some, pluralize
from histoscout.network.model_folder import ModelFolder
from histoscout.verdict import Verdict

PATIENT_SPLITS = "no patient in two splits"
DUPLICATE_SLIDES = "no duplicate slides"
SHARED_TISSUE = "no shared tissue between slides"
DISJOINT_SETS = "no patient or slide in both sets"
KNOWN_PATIENTS = "no training patient in the evaluated set"
PATIENT_COUNT = "enough patients"

LEAK_CHECKS = frozenset({KNOWN_PATIENTS, DISJOINT_SETS})
"""The checks of an evaluation that fail if the model was trained on what is evaluated."""

MIN_PATIENTS = 5
"""With fewer patients, no confidence interval over patients is estimated either."""

SHOWN_PAIRS = 4
"""Pairs of slides that a message lists."""

SHOWN_NAMES = 5
"""Names that a message lists."""

_ONE_PATIENT = "Give both slides the same patient, or remove one from the cohort"


# ---------------------------------------------------------------- in a cohort


def find_split_conflicts(
    patients: Iterable[str], splits: Iterable[SplitName | None]
) -> dict[str, dict[SplitName, list[int]]]:
    """Find the patients that are in more than one split, however their ids are spelled.

    Args:
        patients: The patient of each slide or image.
        splits: The split of each, in the same order; None where the cohort names none.

    Returns:
        For each such patient, the positions of their slides by split; several spellings are joined: "001 = 1".
    """
    positions: dict[str, dict[SplitName, list[int]]] = {}
    spellings: dict[str, dict[str, None]] = {}
    for position, (patient, split) in enumerate(zip(patients, splits, strict=True)):
        if split is not None:
            key = patient_key(patient)
            spellings.setdefault(key, {}).setdefault(patient)
            positions.setdefault(key, {}).setdefault(split, []).append(position)
    return {" = ".join(spellings[key]): by_split for key, by_split in positions.items() if len(by_split) > 1}


def check_patient_splits(cases: Sequence[Case], spellings: Sequence[tuple[str, ...]] = ()) -> Verdict:
    """Check that every patient is in one split only, and that no id is spelled in two ways.

    Args:
        cases: The cases of a cohort.
        spellings: `Cohort.spellings`: ids that the cohort took as one patient.

    Returns:
        "failed" with the names of patients in two splits, "warning" where ids differ only in case, blanks, leading
        zeros or ".0", else "good".
    """
    spellings = [*spellings, *patient_spellings(case.patient for case in cases)]
    conflicts = find_split_conflicts([case.patient for case in cases], [case.split for case in cases])
    if conflicts:
        return Verdict(
            name=PATIENT_SPLITS,
            state="failed",
            message="; ".join(
                f"{patient} in {' and '.join(sorted(conflicts[patient]))}" for patient in sorted(conflicts)
            ),
            remedy="Put all slides of a patient into one split",
        )
    if spellings:
        listed = list_some([" = ".join(group) for group in spellings], SHOWN_NAMES, "; ")
        return Verdict(
            name=PATIENT_SPLITS,
            state="warning",
            message=f"ids that are probably one patient, and are taken as one: {listed}",
            remedy="Spell each patient in one way; patients who differ need ids that differ in letters or numbers",
        )
    patients = {case.patient for case in cases if case.split is not None}
    message = (
        pluralize(len(patients), "patient")
        if patients
        else "the cohort names no splits; training splits by patient"
    )
    return Verdict(name=PATIENT_SPLITS, state="good", message=message)


def check_duplicate_slides(fingerprints: Sequence[Fingerprint], splits: Sequence[str]) -> Verdict:
    """Check that no slide is in the cohort twice, under whatever name.

    Args:
        fingerprints: The fingerprint of each slide.
        splits: The split of each slide, in the same order; "" where the cohort names none.

    Returns:
        "failed" if two copies have different patients or splits, "warning" for other copies, else "good".
    """
    slides = list(zip(fingerprints, splits, strict=True))
    copies = [
        (first, second, not _same_patient(first, second) or split != other_split)
        for number, (first, split) in enumerate(slides)
        for second, other_split in slides[number + 1 :]
        if first.is_copy_of(second)
    ]
    if not copies:
        return Verdict(
            name=DUPLICATE_SLIDES, state="good", message=f"{pluralize(len(slides), 'slide')}, all different"
        )
    return Verdict(
        name=DUPLICATE_SLIDES,
        state="failed" if any(leaks for _, _, leaks in copies) else "warning",
        message="; ".join(
            f"{first.name} and {second.name} show the same" for first, second, _ in copies[:SHOWN_PAIRS]
        ),
        remedy=_ONE_PATIENT,
    )


def check_shared_tissue(slides: Sequence[Landmarks]) -> Verdict:
    """Check that slides of different patients or splits do not show the same piece of tissue.

    Args:
        slides: The landmarks of each slide.

    Returns:
        "failed" if slides of two splits share tissue, "warning" if slides of two patients do, else "good".
    """
    pairs = [
        pair
        for pair in find_shared_tissue(slides)
        if not _same_patient(pair.first, pair.second) or pair.first.split != pair.second.split
    ]
    if not pairs:
        message = f"no two of {pluralize(len(slides), 'slide')} share tissue"
        return Verdict(name=SHARED_TISSUE, state="good", message=message)
    return Verdict(
        name=SHARED_TISSUE,
        state="failed" if any(pair.first.split != pair.second.split for pair in pairs) else "warning",
        message="; ".join(
            f"{pair.first.slide} and {pair.second.slide} share {pair.landmarks} places"
            for pair in pairs[:SHOWN_PAIRS]
        ),
        remedy=_ONE_PATIENT,
    )


def _same_patient(first: Fingerprint | Landmarks, second: Fingerprint | Landmarks) -> bool:
    return patient_key(first.patient) == patient_key(second.patient)


def check_patient_count(patients: Iterable[str], tuned_on_blocks: bool) -> Verdict:
    """Check that there are enough patients to generalize to new ones.

    In the study, "two-patients" is the fault of too few.

    Args:
        patients: The patients with annotated slides, in any split.
        tuned_on_blocks: Whether the tuning set consists of blocks of the training slides.

    Returns:
        "warning" below `MIN_PATIENTS` patients or with blocks, else "good".
    """
    count = len(set(map(patient_key, patients)))
    message = pluralize(count, "patient")
    if count >= MIN_PATIENTS and not tuned_on_blocks:
        return Verdict(name=PATIENT_COUNT, state="good", message=message)
    reason = ", because the tuning set consists of blocks of the training slides" if tuned_on_blocks else ""
    return Verdict(
        name=PATIENT_COUNT,
        state="warning",
        message=f"{message}: no statement about new patients is possible{reason}",
        remedy=f"Annotate slides of at least {MIN_PATIENTS} patients",
    )


# ---------------------------------------------------------------- between two sets


def check_disjoint_sets(
    training: Sequence[Fingerprint], evaluated: Sequence[Fingerprint], set_name: str = "tuning"
) -> Verdict:
    """Check that no slide, no copy of a slide and no patient is in both sets.

    In the study, this is the fault "tiles-in-both-sets".

    Args:
        training: Fingerprints of the slides that a model is or was trained on.
        evaluated: Fingerprints of the slides of the other set.
        set_name: What messages call the other set.

    Returns:
        "failed" if they share a slide or patient, "cannot tell" if one of them is empty, else "good".
    """
    if not training or not evaluated:
        message = f"the training set or the {set_name} set is empty"
        return Verdict(name=DISJOINT_SETS, state="cannot tell", message=message)
    copies = [
        own.name if slide_key(own.name) == slide_key(other.name) else f"{own.name} = {other.name}"
        for own in training
        for other in evaluated
        if own.is_copy_of(other)
    ]
    if copies:
        return Verdict(
            name=DISJOINT_SETS,
            state="failed",
            message=f"the same slide is in the training set and in the {set_name} set: "
            f"{list_some(sorted(set(copies)), SHOWN_NAMES)}",
            remedy="Remove the copies from the cohort, or give them the same patient",
        )
    patients = patients_in_both((slide.patient for slide in training), (slide.patient for slide in evaluated))
    if patients:
        return Verdict(
            name=DISJOINT_SETS,
            state="failed",
            message=f"patients are in the training set and in the {set_name} set: "
            f"{list_some(patients, SHOWN_NAMES)}",
            remedy="Put all slides of a patient into one split",
        )
    return Verdict(
        name=DISJOINT_SETS,
        state="good",
        message=f"no patient and no slide in both ({len(training)} training slides, {len(evaluated)} in the "
        f"{set_name} set)",
    )


# ---------------------------------------------------------------- between a model and an evaluated set


def known_patients(model: ModelFolder, set_name: str = "test") -> set[str]:
    """The patients that a model must not be evaluated on.

    Args:
        model: The model.
        set_name: The evaluated set.

    Returns:
        The patients of the training set, and those of the tuning set unless the evaluated set is "tune".
    """
    data = model.metrics.get("data", {})
    tuning = () if set_name == "tune" else data.get("tune_patients", ())
    return {*data.get("train_patients", ()), *tuning}


def known_fingerprints(model: ModelFolder, set_name: str = "test") -> list[Fingerprint]:
    """The fingerprints of the slides or images of `known_patients` that the model folder holds.

    Args:
        model: The model.
        set_name: The evaluated set.

    Returns:
        One fingerprint per slide; none for models that were written without fingerprints.
    """
    patients = known_patients(model, set_name)
    fingerprints = model.metrics.get("data", {}).get("fingerprints", ())
    return [Fingerprint.from_dict(values) for values in fingerprints if values["patient"] in patients]


def find_known_patients(model: ModelFolder, patients: Iterable[str], set_name: str = "test") -> list[str]:
    """Find the patients of an evaluated set that the model was trained on.

    Args:
        model: The model.
        patients: The patients of the evaluated set.
        set_name: The evaluated set; the tuning set may hold patients that the model was tuned on.

    Returns:
        The patients in both, sorted, however their ids are spelled.
    """
    return patients_in_both(patients, known_patients(model, set_name))


def find_start_model_overlap(
    model: ModelFolder, tuning_patients: Collection[str], test_patients: Collection[str]
) -> list[str]:
    """Find the patients that a model, used as the start of a training, must not be evaluated on.

    Args:
        model: The model whose weights are the start.
        tuning_patients: The tuning set of the new training.
        test_patients: The patients that the cohort keeps for testing.

    Returns:
        Tuning patients that the start was trained on, and test patients that it was trained or tuned on, sorted.
    """
    tuning = find_known_patients(model, tuning_patients, "tune")
    return sorted({*tuning, *find_known_patients(model, test_patients)})


def splits_of_start_model(model: ModelFolder, patients: Collection[str]) -> dict[str, SplitName]:
    """The splits that patients keep when a training starts from a model, so that none moves from one to the other.

    Args:
        model: The model whose weights are the start.
        patients: Patients of the new training.

    Returns:
        "train" or "tune" for each patient that the model knows.
    """
    data = model.metrics.get("data", {})
    # patients of models with tuning blocks are in both
    splits: dict[str, SplitName] = {patient_key(patient): "tune" for patient in data.get("tune_patients", ())}
    splits.update({patient_key(patient): "train" for patient in data.get("train_patients", ())})
    return {patient: splits[key] for patient in patients if (key := patient_key(patient)) in splits}


def check_known_patients(set_name: str, evaluated: Iterable[str], known: Iterable[str]) -> Verdict:
    """Check that the evaluated set holds no patient that the model was trained on.

    In the study, this is the fault "metrics-on-all".

    Args:
        set_name: What the results are called.
        evaluated: The patients of the evaluated set.
        known: The patients that the model was trained on, see `known_patients`.

    Returns:
        "failed" with the names of patients in both, else "good".
    """
    both = patients_in_both(evaluated, known)
    if not both:
        message = f"the model was not trained on any patient of the {set_name} set"
        return Verdict(name=KNOWN_PATIENTS, state="good", message=message)
    return Verdict(
        name=KNOWN_PATIENTS,
        state="failed",
        message=f"the {set_name} set holds patients that the model was trained on: "
        f"{list_some(both, SHOWN_NAMES)}",
        remedy="Evaluate the model on other patients; these results are too good",
    )


def leak_message(verdicts: Iterable[Verdict]) -> str:
    """The message of the first failed check of `LEAK_CHECKS`, "" if none failed.

    Args:
        verdicts: Results of checks.
    """
    leaks = (verdict for verdict in verdicts if verdict.state == "failed" and verdict.name in LEAK_CHECKS)
    return next((verdict.message for verdict in leaks), "")
