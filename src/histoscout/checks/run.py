"""`histoscout check`: a cohort looked at before anything is learnt from it.

Corrected outlines, written beside nothing: into a folder of their own, never over what a pathologist drew.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from histoscout.annotations.write import write_annotations
from histoscout.checks.alignment.slides import NAME, Alignment, aligned, cohort_verdict, subject_of
from histoscout.checks.alignment.windows import windows_fit
from histoscout.checks.integrity import (
    ClassRow,
    Read,
    class_rows,
    classes_known,
    read_case,
    readable,
    sound_outlines,
)
from histoscout.checks.leakage import Landmarks, find_landmarks, check_patient_splits, check_duplicate_slides, check_shared_tissue
from histoscout.cohort.annotated_slide import REVIEWED
from histoscout.cohort.case import Case, open_case
from histoscout.cohort.cohort import Cohort, read_cohort
from histoscout.cohort.discovery import told_apart
from histoscout.cohort.leakage import Fingerprint
from histoscout.errors import HistoscoutError, OutputError
from histoscout.geometry.regions import Regions
from histoscout.hardware import usable_cores
from histoscout.progress import Progress, NoProgress
from histoscout.recipe import Recipe
from histoscout.slides.slide import Slide
from histoscout.tissue.mask import find_tissue
from histoscout.verdict import Verdict


@dataclass(frozen=True)
class CheckOptions:
    """What is not part of the recipe. `class_named`: the positive class was chosen, so that it must occur."""

    class_named: bool = False
    progress: Progress = field(default_factory=NoProgress)


@dataclass(frozen=True)
class Looked:
    """One slide of a cohort, looked at: what was read, whether outlines fit, and what it looks like."""

    read: Read
    alignment: Alignment
    landmarks: Landmarks | None = None
    fingerprint: Fingerprint | None = None
    tissue_mm2: float = 0.0

    @property
    def name(self) -> str:
        return self.read.case.name


@dataclass(frozen=True)
class Checks:
    """What was found out about a cohort: verdicts over all, the slides one by one, classes by slide and patient."""

    where: str
    verdicts: tuple[Verdict, ...]
    slides: tuple[Looked, ...]
    classes: tuple[ClassRow, ...]
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether anything was found that would make results wrong."""
        return any(verdict.state == "failed" for verdict in self.verdicts)


def check_cohort(
    cohort: Cohort | Path, recipe: Recipe | None = None, options: CheckOptions | None = None
) -> Checks:
    """Look at a cohort before learning from it: can all be read, do outlines fit the tissue, does anything leak.

    A slide that is broken stops no other. Slides are read at 1 to 2 um/px, a few seconds each. CohortError if there is
    no cohort.
    """
    recipe, options = recipe or Recipe(), options or CheckOptions()
    cohort = read_cohort(cohort) if isinstance(cohort, Path) else cohort
    reads = [read_case(case) for case in cohort.cases]
    options.progress.start("looking at slides", len(reads))

    def look(read: Read) -> Looked:
        found = look_at(read, recipe, lambda: _others(read, reads))
        options.progress.advance()
        return found

    with ThreadPoolExecutor(usable_cores()) as pool:
        slides = tuple(pool.map(look, reads))
    options.progress.done()
    reads = [one.read for one in slides]
    verdicts = (
        readable(reads),
        classes_known(reads, recipe.classes, options.class_named),
        sound_outlines(reads),
        cohort_verdict([one.alignment for one in slides]),
        windows_fit(reads, recipe),
        check_patient_splits(cohort.cases),
        *_leaks(slides),
    )
    return Checks(cohort.where, verdicts, slides, tuple(class_rows(reads)), cohort.notes)


def look_at(
    read: Read, recipe: Recipe, others: Callable[[], Sequence[tuple[str, Regions]]] = tuple
) -> Looked:
    """Look at one slide; `others` gives the outlines of the others, tried where its own do not fit."""
    if read.fault:
        return Looked(read, _unasked(read, "the slide cannot be read"))
    try:
        with open_case(read.case) as slide:
            return _looked(read, slide, recipe, others)
    except HistoscoutError as error:  # some files open, and break further in
        broken = replace(read, fault=str(error))
        return Looked(broken, _unasked(broken, "the slide cannot be read"))


def _looked(
    read: Read, slide: Slide, recipe: Recipe, others: Callable[[], Sequence[tuple[str, Regions]]]
) -> Looked:
    tissue = find_tissue(slide, recipe.tissue, recipe.patches)
    alignment = _unasked(read, "no outlines")
    if any(recipe.classes.canonical(label) != REVIEWED for label in read.regions.labels):
        subject = subject_of(slide, read.regions, tissue, recipe.patches.size_um)
        alignment = aligned(replace(subject, classes=recipe.classes), others)
    landmarks = find_landmarks(slide, tissue, read.case.patient, read.case.split or "")
    print_of = Fingerprint.of(slide, read.case.patient)
    return Looked(read, alignment, landmarks, print_of, tissue.area_mm2)


def _unasked(read: Read, why: str) -> Alignment:
    return Alignment(read.case.name, Verdict(name=NAME, state="cannot tell", message=why))


def _others(read: Read, reads: Sequence[Read]) -> list[tuple[str, Regions]]:
    return [(one.case.name, one.regions) for one in reads if one is not read and len(one.regions)]


def _leaks(slides: Sequence[Looked]) -> list[Verdict]:
    seen = [one for one in slides if one.landmarks is not None and one.fingerprint is not None]
    prints = [one.fingerprint for one in seen if one.fingerprint is not None]
    splits = [one.read.case.split or "" for one in seen]
    return [
        check_duplicate_slides(prints, splits),
        check_shared_tissue([one.landmarks for one in seen if one.landmarks is not None]),
    ]


def refuse_used(folder: Path, cases: Sequence[Case]) -> None:
    """OutputError if corrected outlines of these slides cannot go into a folder: that of the originals, or not empty."""
    _refuse_originals(folder, cases)
    if folder.exists() and not folder.is_dir():
        raise OutputError(folder, "is no folder", "Give an empty folder")
    there = sorted(path.name for path in folder.glob("[!.]*"))
    if there:
        raise OutputError(folder, f"holds files already ({there[0]})", "Give an empty folder")


def _refuse_originals(folder: Path, cases: Sequence[Case]) -> None:
    if folder.resolve() in {case.annotations.parent.resolve() for case in cases if case.annotations}:
        raise OutputError(
            folder, "holds the original annotations", "Give another folder for the corrected ones"
        )


def apply_corrections(slides: Sequence[Looked], folder: Path) -> list[Path]:
    """Undo the mistake that was found on each slide and write its outlines to `folder`/SLIDE.geojson; what was written.

    Slides on which no mistake was found are left out; those of one file name are told apart by their folders, and in
    one folder by their suffixes. OutputError if a file is there already, or if the folder is that of the originals.
    """
    _refuse_originals(folder, [one.read.case for one in slides])
    names = _names([one.read.case.slide for one in slides])
    corrected = {
        folder / f"{names[one.read.case.slide]}.geojson": mistake.correct(one.read.regions)
        for one in slides
        if (mistake := one.alignment.mistake) is not None
    }
    if there := [target for target in corrected if target.exists()]:
        raise OutputError(there[0], "is there already", "Give an empty folder")
    for target, regions in corrected.items():
        write_annotations(regions, target)
    return list(corrected)


def _names(slides: Sequence[Path]) -> dict[Path, str]:
    names = told_apart(slides)
    counts = Counter(name.casefold() for name in names.values())
    return {
        slide: name if counts[name.casefold()] == 1 else f"{name}{slide.suffix}"
        for slide, name in names.items()
    }
