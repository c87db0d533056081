"""Find slides in folders, annotations by name and moved slides; name patients."""

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
"""Suffixes of slide files, in lower case."""

MASK_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})
"""Suffixes of images that may be masks, or slides themselves."""


def find_slides(folder: Path) -> list[Path]:
    """Find the slide files directly in a folder.

    Args:
        folder: The folder.

    Returns:
        The slides, sorted by name, without hidden files.
    """
    files = sorted(entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith("."))
    return [file for file in files if file.suffix.casefold() in SLIDE_SUFFIXES]


def find_annotations(slide: Path) -> list[Path]:
    """Find annotation files that are named after a slide.

    They are beside the slide, or in a folder `annotations` in or beside the folder of the slide. "a.svs" goes with
    "a.geojson" and "a.svs.geojson".

    Args:
        slide: The slide file.

    Returns:
        The annotation files, usually one or none; the first one is to be read.
    """
    folder = slide.parent
    inside = folder / "annotations"
    beside = Path(os.path.normpath(folder / ".." / "annotations"))
    # Beside a slide, an image may be a slide itself, and a zip file may hold anything.
    places = [(folder, [suffix for suffix in FORMATS if suffix not in MASK_SUFFIXES | {".zip"}])]
    for place in dict.fromkeys((inside, beside)):
        if place.is_dir() and place != folder:
            places.append((place, list(FORMATS)))
    candidates = [
        place / f"{name}{suffix}"
        for place, suffixes in places
        for suffix in suffixes
        for name in (slide.stem, slide.name)
    ]
    return [file for file in candidates if file.is_file() and file != slide]


@dataclass(frozen=True)
class SlideFinder:
    """Finds slides that were moved by their names, anywhere below a folder.

    Attributes:
        folder: The folder that holds the slides now.
        found: The slides that were found so far.
    """

    folder: Path
    found: set[str] = field(default_factory=set, compare=False)

    @cached_property
    def _slides(self) -> dict[str, list[Path]]:
        """Every slide file below the folder by its name in lower case."""
        if not self.folder.is_dir():
            raise CohortError(self.folder, "this is not a folder", "Give the present folder of the slides")
        slides: dict[str, list[Path]] = {}
        for place, folders, files in os.walk(self.folder):
            folders.sort()
            for name in sorted(files):
                if Path(name).suffix.casefold() in SLIDE_SUFFIXES and not name.startswith("."):
                    slides.setdefault(name.casefold(), []).append(Path(place) / name)
        return slides

    def find(self, name: str) -> Path | None:
        """Find the slide of a name.

        Args:
            name: The file name of the slide.

        Returns:
            The slide; if there is none, a copy of the same name with another suffix; else None.

        Raises:
            CohortError: If there are several such slides, or the folder does not exist.
        """
        wanted = name.casefold()
        paths = self._slides.get(wanted, [])
        # A copy in another format differs by its suffix only.
        for stem in (wanted, Path(wanted).stem):
            paths = paths or [
                path for other, same in self._slides.items() if Path(other).stem == stem for path in same
            ]
        if len(paths) > 1:
            fault = f"there are {len(paths)} slides called {name} ({paths[0]}, {paths[1]})"
            raise CohortError(self.folder, fault, "Give a folder that holds one of them")
        self.found.update(map(str, paths))
        return paths[0] if paths else None

    @property
    def note(self) -> str:
        """The note for the user on slides that were found."""
        return f"{len(self.found)} slides were found by name under {self.folder}"


def assign_own_patients(cases: Sequence[Case], patients: Sequence[str]) -> tuple[list[Case], list[str]]:
    """Make each slide that names no patient a patient of its own.

    Files of one name in one folder (A1.svs, A1.tif) are taken to show the same slide, so they share a patient.

    Args:
        cases: The cases.
        patients: The stated patient of each case; "" if none is stated.

    Returns:
        The cases, and a note for the user if a patient was assigned.
    """
    unnamed = [case.slide for case, patient in zip(cases, patients, strict=True) if not patient]
    own = unique_slide_names(unnamed)
    if not own:
        return list(cases), []
    note = f"{len(own)} slides name no patient: each counts as a patient of its own"
    if longer := sorted({name for slide, name in own.items() if name != slide.stem}):
        note += f", those of one file name are named with their folders: {count_and_list(longer)}"
    assigned = [
        case if patient else replace(case, patient=own[case.slide])
        for case, patient in zip(cases, patients, strict=True)
    ]
    return assigned, [note]


def unique_slide_names(slides: Sequence[Path]) -> dict[Path, str]:
    """Name slides so that no two slides in different folders share a name.

    Args:
        slides: Slide files.

    Returns:
        The name of each slide without its suffix, with as many parent folders as are needed to distinguish it from
        other slides of that name: "left/A1".
    """
    folders = {slide: Path(os.path.abspath(slide)).parent for slide in slides}
    folders_by_name: dict[str, set[Path]] = {}
    for slide, folder in folders.items():
        folders_by_name.setdefault(slide.stem, set()).add(folder)
    # How many parent folders distinguish all slides of a name.
    depths = {}
    for name, places in folders_by_name.items():
        depth = 0
        while len({_last_parts(folder, depth) for folder in places}) < len(places):
            depth += 1
        depths[name] = depth
    return {
        slide: "/".join((*_last_parts(folder, depths[slide.stem]), slide.stem))
        for slide, folder in folders.items()
    }


def _last_parts(folder: Path, count: int) -> tuple[str, ...]:
    return folder.parts[max(0, len(folder.parts) - count) :]
