"""Find slides in folders, their annotations by name, and slides that were moved; name patients."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from histoscout.annotations.read import FORMATS
from histoscout.cohort.case import Case
from histoscout.errors import CohortError
from histoscout.io.notes import count_and_list

SLIDE_SUFFIXES = frozenset(
    {".svs", ".tif", ".tiff", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".svslide", ".bif", ".czi", ".dcm"}
    | {".png", ".jpg", ".jpeg", ".bmp", ".jp2"}
)
PICTURES = frozenset(
    {".png", ".jpg", ".jpeg", ".tif", ".tiff"}
)  # beside a slide these may be slides themselves


def find_slides(folder: Path) -> list[Path]:
    """The slide files directly in a folder, by name; hidden files are passed over.

    Args:
        folder: The folder.
    """
    files = sorted(entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith("."))
    return [file for file in files if file.suffix.casefold() in SLIDE_SUFFIXES]


def find_annotations(slide: Path) -> list[Path]:
    """Annotation files of a slide's name, beside it or in `annotations/` within or beside its folder.

    The name is the slide's with or without its suffix: a.svs goes with a.geojson and a.svs.geojson. Usually
    one or none; the first is to be taken. Beside the slide itself a picture is a slide, not a mask, and a zip may
    hold anything.

    Args:
        slide: The slide.
    """
    folder = slide.parent
    beside = [suffix for suffix in FORMATS if suffix not in PICTURES | {".zip"}]
    places = [(folder, beside), *((other, list(FORMATS)) for other in _annotation_folders(folder))]
    candidates = [
        place / f"{name}{suffix}"
        for place, suffixes in places
        for suffix in suffixes
        for name in (slide.stem, slide.name)
    ]
    return [file for file in candidates if file.is_file() and file != slide]


def _annotation_folders(folder: Path) -> list[Path]:
    within, sister = folder / "annotations", Path(os.path.normpath(folder / ".." / "annotations"))
    return [place for place in dict.fromkeys((within, sister)) if place.is_dir() and place != folder]


@dataclass(frozen=True)
class SlideFinder:
    """A folder, with all folders in it, where slides are looked for by their names."""

    folder: Path
    found: set[str] = field(default_factory=set, compare=False)

    @cached_property
    def _slides(self) -> dict[str, list[Path]]:
        """Every slide file of the folder by its name, case aside."""
        if not self.folder.is_dir():
            raise CohortError(self.folder, "is not a folder", "Give the present folder of the slides")
        slides: dict[str, list[Path]] = {}
        for place, folders, files in os.walk(self.folder):
            folders.sort()
            for name in sorted(files):
                if Path(name).suffix.casefold() in SLIDE_SUFFIXES and not name.startswith("."):
                    slides.setdefault(name.casefold(), []).append(Path(place) / name)
        return slides

    def find(self, name: str) -> Path | None:
        """The slide of this name; if there is none, the one that differs by its suffix alone, as copies do.

        CohortError if there are several.
        """
        wanted = name.casefold()
        there = self._slides.get(wanted, [])
        for stem in (wanted, Path(wanted).stem):
            there = there or [
                path for n, paths in self._slides.items() if Path(n).stem == stem for path in paths
            ]
        if len(there) > 1:
            fault = f"holds {len(there)} slides called {name} ({there[0]}, {there[1]})"
            raise CohortError(self.folder, fault, "Give a folder that holds one of them")
        self.found.update(map(str, there))
        return there[0] if there else None

    @property
    def told(self) -> str:
        """What was found, in words for the user."""
        return f"{len(self.found)} slides were found by name under {self.folder}"


def assign_own_patients(cases: Sequence[Case], named: Sequence[str]) -> tuple[list[Case], list[str]]:
    """The cases, those whose patient is named "" with one of their own, and a note on them.

    `named` says of each case how its patient is named. Files of one name in one folder (A1.svs, A1.tif) are taken
    to show the same slide, so they share a patient.

    Args:
        cases: The cases.
        named: Patient of each case as stated; empty if none.
    """
    own = unique_slide_names([case.slide for case, name in zip(cases, named, strict=True) if not name])
    if not own:
        return list(cases), []
    told = f"{len(own)} slides name no patient: each counts as a patient of its own"
    if longer := sorted({patient for slide, patient in own.items() if patient != slide.stem}):
        told += f", those of one file name are named with their folders: {count_and_list(longer)}"
    changed = [
        case if name else replace(case, patient=own[case.slide])
        for case, name in zip(cases, named, strict=True)
    ]
    return changed, [told]


def unique_slide_names(slides: Sequence[Path]) -> dict[Path, str]:
    """The name of each slide, with as many folders before it as tell it from others of that name.

    Args:
        slides: Slide files.
    """
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
