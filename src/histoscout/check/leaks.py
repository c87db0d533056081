"""Does anything that is learnt from come back where it is judged: patients, slides, tissue?"""

from collections import defaultdict
from collections.abc import Sequence

from histoscout.check.copies import Landmarks, Sharing, all_shared
from histoscout.cohort.case import Case
from histoscout.cohort.leaks import Fingerprint
from histoscout.verdict import Verdict

_REMEDY = "Give both slides the same patient, or take one out of the cohort"


def patients_apart(cases: Sequence[Case]) -> Verdict:
    """Whether every patient is in one split only."""
    name = "no patient in two splits"
    splits: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        if case.split is not None:
            splits[case.patient].add(case.split)
    both = [
        f"{patient} in {' and '.join(sorted(found))}"
        for patient, found in sorted(splits.items())
        if len(found) > 1
    ]
    if both:
        return Verdict(name, "failed", "; ".join(both), "Put all slides of a patient into one split")
    if not splits:
        return Verdict(name, "good", "no splits are named; training divides by patient")
    return Verdict(name, "good", f"{len(splits)} patients")


def slides_once(prints: Sequence[Fingerprint], splits: Sequence[str]) -> Verdict:
    """Whether any slide is there twice under two names; `splits` are those of the slides, "" where none is named."""
    name = "no slide twice"
    copies = [
        (one, two, first, second)
        for number, (one, first) in enumerate(zip(prints, splits, strict=True))
        for two, second in zip(prints[number + 1 :], splits[number + 1 :], strict=True)
        if one.is_copy_of(two)
    ]
    if not copies:
        return Verdict(name, "good", f"{len(prints)} slides, no two alike")
    says = "; ".join(f"{one.name} and {two.name} show the same" for one, two, _, _ in copies[:4])
    leak = any(one.patient != two.patient or first != second for one, two, first, second in copies)
    return Verdict(name, "failed" if leak else "warning", says, _REMEDY)


def tissue_apart(slides: Sequence[Landmarks]) -> Verdict:
    """Whether slides of different patients, or of different splits, show the same piece of tissue."""
    name = "no tissue twice"
    found = [one for one in all_shared(slides) if _matters(one)]
    if not found:
        return Verdict(name, "good", f"no two of {len(slides)} slides share tissue")
    says = "; ".join(f"{one.one.slide} and {one.two.slide} share {one.landmarks} places" for one in found[:4])
    leak = any(one.one.split != one.two.split for one in found)
    return Verdict(name, "failed" if leak else "warning", says, _REMEDY)


def _matters(sharing: Sharing) -> bool:
    return sharing.one.patient != sharing.two.patient or sharing.one.split != sharing.two.split
