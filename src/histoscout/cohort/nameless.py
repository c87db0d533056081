"""Slides that name no patient: each is a patient of its own, also where files in several folders share a name."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from histoscout.annotations.findings import enumerated
from histoscout.cohort.case import Case


def with_own_patients(cases: Sequence[Case], named: Sequence[str]) -> tuple[list[Case], list[str]]:
    """The cases, those whose patient is named "" with one of their own, and a note on them.

    `named` says of each case how its patient is named. Files of one name in one folder (A1.svs, A1.tif) are taken
    to show the same slide, so they share a patient.
    """
    own = told_apart([case.slide for case, name in zip(cases, named, strict=True) if not name])
    if not own:
        return list(cases), []
    told = f"{len(own)} slides name no patient: each counts as a patient of its own"
    if longer := sorted({patient for slide, patient in own.items() if patient != slide.stem}):
        told += f", those of one file name told apart by their folders: {enumerated(longer)}"
    changed = [
        case if name else replace(case, patient=own[case.slide])
        for case, name in zip(cases, named, strict=True)
    ]
    return changed, [told]


def told_apart(slides: Sequence[Path]) -> dict[Path, str]:
    """The name of each slide, with as many folders before it as tell it from others of that name."""
    folders = {slide: Path(os.path.abspath(slide)).parent for slide in slides}
    of_name: dict[str, set[Path]] = {}
    for slide, folder in folders.items():
        of_name.setdefault(slide.stem, set()).add(folder)
    depths = {name: _depth(places) for name, places in of_name.items()}
    return {
        slide: "/".join((*_last(folder, depths[slide.stem]), slide.stem)) for slide, folder in folders.items()
    }


def _depth(folders: set[Path]) -> int:
    """How many last parts of their paths tell folders apart."""
    depth = 0
    while len({_last(folder, depth) for folder in folders}) < len(folders):
        depth += 1
    return depth


def _last(folder: Path, count: int) -> tuple[str, ...]:
    return folder.parts[max(0, len(folder.parts) - count) :]
