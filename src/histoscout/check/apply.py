"""Corrected outlines, written beside nothing: into a folder of their own, never over what a pathologist drew."""

from collections.abc import Sequence
from pathlib import Path

from histoscout.annotations.write import write_annotations
from histoscout.check.check import Looked
from histoscout.errors import OutputError


def apply_corrections(slides: Sequence[Looked], folder: Path) -> list[Path]:
    """Undo the mistake that was found on each slide and write its outlines to `folder`/SLIDE.geojson; what was written.

    Slides on which no mistake was found are left out. OutputError if a file is there already, or if the folder is that
    of the originals.
    """
    found = [one for one in slides if one.alignment.mistake is not None]
    targets = [folder / f"{one.name}.geojson" for one in found]
    for one, target in zip(found, targets, strict=True):
        original = one.read.case.annotations
        if original is not None and original.parent.resolve() == folder.resolve():
            raise OutputError(
                folder, "holds the original annotations", "Give another folder for the corrected ones"
            )
        if target.exists():
            raise OutputError(target, "is there already", "Give an empty folder")
    for one, target in zip(found, targets, strict=True):
        mistake = one.alignment.mistake
        if mistake is not None:
            write_annotations(mistake.correct(one.read.regions), target)
    return targets
