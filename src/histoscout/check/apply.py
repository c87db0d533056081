"""Corrected outlines, written beside nothing: into a folder of their own, never over what a pathologist drew."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from histoscout.annotations.write import write_annotations
from histoscout.check.check import Looked
from histoscout.cohort.case import Case
from histoscout.cohort.nameless import told_apart
from histoscout.errors import OutputError


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
