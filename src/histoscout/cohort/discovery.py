"""Find slides in folders, annotations by name and moved slides; name patients."""

import os
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from histoscout.annotations.read import FORMATS, format_of, is_annotation_file
from histoscout.cohort.case import Case
from histoscout.errors import CohortError
from histoscout.io.inputs import real_path, why_no_file
from histoscout.io.names import name_rank, slide_key, slide_name
from histoscout.io.notes import count_and_list, pluralize
from histoscout.slides.files import main_files

SLIDE_SUFFIXES = frozenset(
    {".svs", ".tif", ".tiff", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".svslide", ".bif", ".czi", ".dcm"}
    | {".png", ".jpg", ".jpeg", ".bmp", ".jp2"}
)
"""Suffixes of slide files, in lower case."""

MASK_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})
"""Suffixes of images that may be masks, or slides themselves."""

ROI_FOLDERS = ("roi", "rois")
"""Folders in which Slideflow keeps its regions of interest."""

_ORDER = {suffix: number for number, suffix in enumerate(FORMATS)}
"""The place of each format; of several files of a slide, the first format is read."""


def find_slides(folder: Path) -> list[Path]:
    """Find the slide files directly in a folder.

    Args:
        folder: The folder.

    Returns:
        The slides, sorted by name, without hidden files.
    """
    files = sorted(entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith("."))
    slides = [file for file in files if is_named_like_slide(file)]
    # the files of a DICOM series are one slide, and so are the images that a .vms or .vmu names
    main = main_files(slides)
    return [file for file in slides if main[file] == file]


def is_named_like_slide(path: Path) -> bool:
    """Whether the suffix of a path is that of a slide file.

    Args:
        path: The path.
    """
    return path.suffix.casefold() in SLIDE_SUFFIXES


def unreadable_notes(entries: Iterable[Path], kind: str) -> list[str]:
    """The note on entries of folders that are named like files but are none, such as links to nothing.

    Args:
        entries: Entries with the names of slides or annotations.
        kind: What they are named like, in the plural.

    Returns:
        One note that lists them with what they are, or none.
    """
    visible = [entry for entry in sorted(set(entries)) if not entry.name.startswith(".")]
    listed = [f"{entry.name}: {fault}" for entry in visible if (fault := why_no_file(entry))]
    note = f"named like {kind}, but no files that can be read, left out: {count_and_list(listed)}"
    return [note] if listed else []


@dataclass(frozen=True)
class AnnotationMatches:
    """Annotation files by the slide they are named after.

    Attributes:
        by_slide: The files of each slide; the first one is to be read.
        unclaimed: Files in the same folders that are named after no slide.
        unreadable: The note on entries that are named like annotation files but are none.
    """

    by_slide: Mapping[Path, tuple[Path, ...]]
    unclaimed: tuple[Path, ...]
    unreadable: tuple[str, ...] = ()

    @property
    def notes(self) -> list[str]:
        """The notes on files that belong to no slide, and on what is no file."""
        if not self.unclaimed:
            return list(self.unreadable)
        names = count_and_list([file.name for file in self.unclaimed])
        return [f"annotation files that are named after no slide, left out: {names}", *self.unreadable]


def match_annotations(slides: Sequence[Path], listed: Collection[Path] = ()) -> AnnotationMatches:
    """Find the annotation files that are named after slides, and those that are named after none.

    They are beside a slide, or in a folder `annotations` (or `rois`, as Slideflow has) in or beside its folder. "a.svs" goes with "a.geojson" and
    "a.svs.geojson", "a.ome.tif" with "a.geojson"; a file goes with the slides whose name it fits best.

    Args:
        slides: Slide files.
        listed: Annotation files that a table names: they are claimed, and their folders are searched for others.

    Returns:
        The files of each slide, and those that belong to no slide.
    """
    found: dict[Path, list[tuple[tuple[int, ...], Path]]] = {slide: [] for slide in slides}
    claimed = {real_path(file) for file in listed}
    seen: dict[Path, set[Path]] = {}
    unreadable: list[Path] = []
    folders = dict.fromkeys(slide.parent for slide in slides)
    for folder in folders:
        index = _SlideIndex([*(slide for slide in slides if slide.parent == folder), *_slides_in(folder)])
        for number, place in enumerate(_annotation_places(folder)):
            unreadable += _no_annotation_files(place, beside_slides=place == folder)
            for file in _annotation_files(place, beside_slides=place == folder):
                seen.setdefault(place, set()).add(file)
                order = _ORDER[format_of(file) or ""]
                for slide, rank in index.find(file):
                    claimed.add(real_path(file))
                    if slide in found:
                        whole = _annotation_stem(file) != slide_name(slide)
                        found[slide].append(((rank, number, order, whole), file))
    for place in {file.parent for file in listed} - seen.keys():
        seen[place] = set(_annotation_files(place, beside_slides=bool(_slides_in(place))))
    lost = []
    for place, files in seen.items():
        # a folder of annotations may serve several folders of slides
        rest = {file for file in files if real_path(file) not in claimed}
        around = _slides_around(place) if rest and place not in folders else []
        lost += [file for file in rest if not _SlideIndex(around).find(file)]
    return AnnotationMatches(
        {slide: tuple(file for _, file in sorted(files)) for slide, files in found.items()},
        tuple(sorted(lost)),
        tuple(unreadable_notes(unreadable, "annotations")),
    )


def match_names(slides: Sequence[Path], files: Sequence[Path]) -> dict[Path, list[Path]]:
    """Match annotation files with the slides whose names they fit best, wherever they are.

    Args:
        slides: Slide files.
        files: Annotation files.

    Returns:
        The files of each slide, the best first.
    """
    index = _SlideIndex(slides)
    found: dict[Path, list[tuple[int, int, Path]]] = {slide: [] for slide in slides}
    for file in files:
        for slide, rank in index.find(file):
            found[slide].append((rank, _ORDER[format_of(file) or ""], file))
    return {slide: [file for _, _, file in sorted(matched)] for slide, matched in found.items()}


class _SlideIndex:
    """Slides by their names, to find those that an annotation file is named after."""

    def __init__(self, slides: Sequence[Path]) -> None:
        self._by_key: dict[str, list[Path]] = {}
        for slide in dict.fromkeys(slides):
            # "A1.svs.tif" is called A1.svs, and an annotation of that name is looked up as A1
            for key in {slide_key(slide), slide_key(slide_name(slide))}:
                self._by_key.setdefault(key, []).append(slide)

    def find(self, file: Path) -> list[tuple[Path, int]]:
        """The slides that fit the name of an annotation file best, with their rank."""
        stem = _annotation_stem(file)
        ranked = [
            (slide, rank)
            for slide in self._by_key.get(slide_key(stem), ())
            if slide != file and (rank := name_rank(slide, stem)) is not None
        ]
        best = min((rank for _, rank in ranked), default=0)
        return [(slide, rank) for slide, rank in ranked if rank == best]


def _annotation_stem(file: Path) -> str:
    """The name of an annotation file without the suffix of its format, in NFC."""
    return unicodedata.normalize("NFC", file.name[: -len(format_of(file) or "") or None])


def _annotation_places(folder: Path) -> list[Path]:
    """The folders that may hold annotations of the slides in a folder."""
    beside = Path(os.path.normpath(folder / ".." / "annotations"))
    rois = (root / name for root in (folder, folder.parent) for name in ROI_FOLDERS)
    places = dict.fromkeys((folder / "annotations", beside, *rois))
    return [folder, *(place for place in places if place.is_dir() and place != folder)]


def _annotation_files(place: Path, *, beside_slides: bool) -> list[Path]:
    """The annotation files in a folder: beside slides, an image may be a slide, and a zip file may hold anything."""
    left_out = {*MASK_SUFFIXES, ".zip"} if beside_slides else set()
    return [
        entry
        for entry in _entries(place)
        if format_of(entry) not in left_out
        and not entry.name.startswith(".")
        and entry.is_file()
        and is_annotation_file(entry)
    ]


def _no_annotation_files(place: Path, *, beside_slides: bool) -> list[Path]:
    """The entries of a folder that are named like annotations and are no files; tables may be anything."""
    left_out = {None, ".csv", *({*MASK_SUFFIXES, ".zip"} if beside_slides else ())}
    return [entry for entry in _entries(place) if format_of(entry) not in left_out and not entry.is_file()]


def _entries(place: Path) -> list[Path]:
    try:
        return sorted(place.iterdir())
    except OSError:
        return []


def _slides_in(folder: Path) -> list[Path]:
    """The slides in a folder; none if it does not exist."""
    return find_slides(folder) if folder.is_dir() else []


def _slides_around(place: Path) -> list[Path]:
    """The slides in a folder, in the folder above it, and in the folders beside it."""
    above = place.parent
    beside = [folder for folder in above.iterdir() if folder.is_dir() and folder != place]
    return [slide for folder in (place, above, *beside) for slide in _slides_in(folder)]


def find_by_name(paths: Sequence[Path], name: str, *, copies: bool = True) -> list[Path]:
    """Find the slides that a name means: the exact one, else one that is spelled otherwise.

    Args:
        paths: Slide files.
        name: Name of a slide file, perhaps without its suffix.
        copies: Whether copies in another format count, where there is no better match.

    Returns:
        The slides that fit best; none if no slide fits.
    """
    wanted = unicodedata.normalize("NFC", name)
    stages: tuple[Callable[[Path], bool], ...] = (
        lambda path: unicodedata.normalize("NFC", path.name) == wanted,
        lambda path: unicodedata.normalize("NFC", path.name).casefold() == wanted.casefold(),
        lambda path: slide_name(path).casefold() == wanted.casefold(),
        lambda path: copies and slide_key(path) == slide_key(wanted),
    )
    return next((found for stage in stages if (found := [path for path in paths if stage(path)])), [])


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
        """Every slide file below the folder by the key of its name."""
        if not self.folder.is_dir():
            raise CohortError(self.folder, "this is not a folder", "Give the present folder of the slides")
        slides: dict[str, list[Path]] = {}
        for place, folders, files in os.walk(self.folder):
            folders.sort()
            for name in sorted(files):
                if is_named_like_slide(Path(name)) and not name.startswith("."):
                    path = Path(place) / name
                    for key in {slide_key(path), slide_key(slide_name(path))}:
                        slides.setdefault(key, []).append(path)
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
        paths = find_by_name(self._slides.get(slide_key(name), []), name)
        if len(paths) > 1:
            fault = f"there are {len(paths)} slides called {name} ({paths[0]}, {paths[1]})"
            raise CohortError(self.folder, fault, "Give a folder that holds one of them")
        self.found.update(map(str, paths))
        return paths[0] if paths else None

    @property
    def note(self) -> str:
        """The note for the user on slides that were found."""
        found = len(self.found)
        were = "was" if found == 1 else "were"
        return f"{pluralize(found, 'slide')} {were} found by name under {self.folder}"


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
    note = f"{pluralize(len(own), 'slide')} without a patient: each counts as a patient of its own"
    if longer := sorted({name for slide, name in own.items() if name != slide_name(slide)}):
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
        folders_by_name.setdefault(slide_key(slide), set()).add(folder)
    # How many parent folders distinguish all slides of a name.
    depths = {}
    for name, places in folders_by_name.items():
        depth = 0
        while len({_last_parts(folder, depth) for folder in places}) < len(places):
            depth += 1
        depths[name] = depth
    return {
        slide: "/".join((*_last_parts(folder, depths[slide_key(slide)]), slide_name(slide)))
        for slide, folder in folders.items()
    }


def _last_parts(folder: Path, count: int) -> tuple[str, ...]:
    return folder.parts[max(0, len(folder.parts) - count) :]
