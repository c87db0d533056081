"""What may be claimed from an evaluation, and what may not: sentences made from what was evaluated."""

from collections.abc import Sequence
from dataclasses import dataclass

from histoscout.evaluation.exam import Exam
from histoscout.evaluation.intervals import FEWEST_PATIENTS

MANY = 20
"""From this many patients with lesions on, an interval is more than a rough guide."""


@dataclass(frozen=True)
class Basis:
    """On how much an evaluation stands: patients, those with lesions, slides, and the sites that are named."""

    patients: int
    with_lesions: int
    slides: int
    sites: Sequence[str]
    sites_known: bool


def claims(exam: Exam, basis: Basis) -> tuple[str, ...]:
    """The sentences that belong beside the figures."""
    said = (_number(basis), _apart(exam), _threshold(exam), _sites(basis), _USE)
    return tuple(sentence for sentence in said if sentence)


_USE = "For research only: nothing here says that a finding may be relied on for a patient."


def _number(basis: Basis) -> str:
    patients, lesions = _counted(basis.patients, "patient"), _counted(basis.with_lesions, "patient")
    if basis.patients < FEWEST_PATIENTS:
        return (
            f"{patients}: the figures describe these slides and say nothing about other patients; no interval can be "
            f"estimated from fewer than {FEWEST_PATIENTS}."
        )
    if basis.with_lesions < FEWEST_PATIENTS:
        return (
            f"{patients}, of whom {lesions} with lesions: false alarms may be judged, but how many lesions are found "
            "in other patients may not."
        )
    if basis.with_lesions < MANY:
        return (
            f"{patients}, {basis.with_lesions} with lesions: enough to tell useful from useless, too few to tell good "
            "from slightly better; with so few, intervals are rather too narrow."
        )
    return f"{patients}, {basis.with_lesions} with lesions: the intervals say what to expect of more patients like these."


def _apart(exam: Exam) -> str:
    if exam.leak:
        return (
            "A guard failed and these patients were judged all the same: in part they were learnt from, and the figures "
            f"are too good ({exam.leak})."
        )
    if exam.optimistic:
        return "The threshold and the weights were chosen by these patients: the figures are optimistic."
    if exam.set_name == "given":
        return "Outlines were compared as given: whether whoever made them had seen these slides is not known here."
    if exam.apart:
        return "These patients were kept apart: nothing was learnt from them and nothing chosen by them."
    return (
        "The cohort names no split: these are the patients whose names the model does not know. The same patient under "
        "another name would go unnoticed."
    )


def _threshold(exam: Exam) -> str:
    if not exam.tuned_on_blocks:
        return ""
    return (
        "The threshold was chosen on parts of the slides that were learnt from, for want of patients: figures at the "
        "threshold (Dice, precision, recall, sensitivity) may be better with another one; AP does not depend on it."
    )


def _sites(basis: Basis) -> str:
    if basis.sites_known and len(basis.sites) > 1:
        return f"The slides come from {len(basis.sites)} sites ({', '.join(basis.sites)})."
    source = (
        f"one site ({basis.sites[0]})"
        if basis.sites_known and basis.sites
        else "sites that the cohort does not name"
    )
    return f"The slides come from {source}: nothing is said about other laboratories, scanners or stains."


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
