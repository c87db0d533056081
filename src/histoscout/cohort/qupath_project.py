"""QuPath projects (version 0.1 and later): their slides and annotations as cases."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from histoscout.annotations.files import read_json_text
from histoscout.annotations.qpdata.image import calibrated_mpp, image_series, image_uri, uri_file_name
from histoscout.cohort.case import Case
from histoscout.cohort.discovery import (
    SlideFinder,
    assign_own_patients,
    find_slides,
    is_named_like_slide,
    unreadable_notes,
)
from histoscout.errors import AnnotationError, CohortError
from histoscout.io.inputs import real_path
from histoscout.io.notes import count_and_list, list_some, pluralize
from histoscout.io.tables import EMPTY_CELLS, SLIDE_TABLE_COLUMNS
from histoscout.slides.files import main_files

PROJECT = ".qpproj"
"""Suffix of project files."""

_PROJECT_FOLDER = "{$PROJECT_DIR}"
"""How QuPath 0.1 wrote the project's own folder."""

_MAX_NAMES = 10
"""Names that a message lists."""


@dataclass(frozen=True, kw_only=True)
class ProjectEntry:
    """One image of a QuPath project.

    Attributes:
        name: Name of the image.
        uri: Where QuPath found the image.
        annotations: The data file; None if the image was never annotated.
        mpp: um/px; None if the project does not state it.
        patient: The patient; "" if the project names none.
        series: The number of the image in its file; None if the project does not state it.
    """

    name: str
    uri: str
    annotations: Path | None
    mpp: float | None
    patient: str
    series: int | None = None


@dataclass(frozen=True)
class QuPathProject:
    """The images of a QuPath project.

    Attributes:
        path: The project file.
        entries: The images.
        uri: Where the project was when it was saved; "" if it does not say.
        notes: Notes on the file, and on data files that no image of the project has.
    """

    path: Path
    entries: tuple[ProjectEntry, ...]
    uri: str = ""
    notes: tuple[str, ...] = ()

    def find_slide(self, entry: ProjectEntry, finder: SlideFinder | None = None) -> Path | None:
        """Find the slide of an entry.

        It is at its URI, at the same place relative to the project, or found by its name.

        Args:
            entry: The entry.
            finder: Finds slides that were moved by their names; None if no slide was moved.

        Returns:
            The slide; None if it is not found.

        Raises:
            CohortError: If several slides have the name.
        """
        candidates = [_local_path(entry.uri), self._relative_place(entry.uri)]
        slide = next((path for path in candidates if path is not None and _is_file(path)), None)
        if slide is None and finder is not None:
            slide = finder.find(uri_file_name(entry.uri) or entry.name) or finder.find(entry.name)
        return slide

    def _relative_place(self, uri: str) -> Path | None:
        """Where a slide is if it was moved together with the project."""
        # The nearest folder above the old project that holds the slide gives the way from one to the other.
        folder = self.uri.rpartition("/")[0]
        while folder.count("/") > 1:
            if uri.startswith(f"{folder}/"):
                levels_up = self.uri.removeprefix(folder).count("/") - 1
                relative = ("../" * levels_up) + unquote(uri.removeprefix(f"{folder}/"))
                return Path(os.path.normpath(self.path.parent / relative))
            folder = folder.rpartition("/")[0]
        return None


def find_project(folder: Path) -> Path | None:
    """Find the project file of a folder.

    Args:
        folder: The folder.

    Returns:
        project.qpproj, or the only project file in the folder; else None.
    """
    projects = sorted(folder.glob(f"*{PROJECT}"))
    usual = folder / f"project{PROJECT}"
    return usual if usual in projects else projects[0] if len(projects) == 1 else None


def read_project(path: Path) -> QuPathProject:
    """Read the images that a QuPath project lists, whether or not their slides can be found.

    Args:
        path: The project file.

    Returns:
        The project.

    Raises:
        CohortError: If the file is not a project, or lists no images.
    """
    try:
        content, notes = read_json_text(path)
    except AnnotationError as error:
        raise CohortError(error.where, error.fault, "Open the project in QuPath and save it") from error
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list):
        raise CohortError(path, "this is not a QuPath project", "Give the file project.qpproj")
    entries = tuple(_read_entry(image, path) for image in images if isinstance(image, dict))
    if not entries:
        raise CohortError(path, "the project lists no images", "Add the slides to the project in QuPath")
    uri = content.get("uri")
    claimed = {entry.annotations for entry in entries}
    lost = [
        file.relative_to(path.parent).as_posix()
        for pattern in ("data/*/data.qpdata", "data/*.qpdata")
        for file in sorted(path.parent.glob(pattern))
        if file not in claimed
    ]
    if lost:
        notes.append(f"data files that no image of the project has, left out: {count_and_list(lost)}")
    return QuPathProject(path, entries, uri if isinstance(uri, str) else "", tuple(notes))


def _read_entry(image: Mapping[str, Any], path: Path) -> ProjectEntry:
    server = image.get("serverBuilder")
    server = server if isinstance(server, dict) else {}
    calibration = server.get("metadata")
    metadata = image.get("metadata")
    # Version 0.1 has only path and name, and names data files after images.
    old_path = image.get("path")
    if old_path:
        uri = str(old_path).replace(_PROJECT_FOLDER, real_path(path.parent).as_uri())
    else:
        uri = image_uri(server)
    name = str(image.get("imageName") or image.get("name") or uri_file_name(uri) or "")
    data_file = f"data/{name}.qpdata" if old_path else f"data/{image.get('entryID')}/data.qpdata"
    return ProjectEntry(
        name=name,
        uri=uri,
        annotations=_file_inside(path.parent, data_file),
        mpp=calibrated_mpp(calibration) if isinstance(calibration, dict) else None,
        patient=_find_patient(metadata if isinstance(metadata, dict) else {}),
        series=image_series(server),
    )


def _file_inside(folder: Path, relative: str) -> Path | None:
    """A file below a folder if it exists; a path in a project must not lead out of its folder."""
    path = folder / relative
    return path if ".." not in Path(relative).parts and _is_file(path) else None


def _is_file(path: Path) -> bool:
    """Whether a file exists; False for names that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _find_patient(metadata: Mapping[str, Any]) -> str:
    """The patient in the metadata that users enter in QuPath, under any name that tables use."""
    keys = {str(key).strip().replace(" ", "_").replace("-", "_").casefold(): key for key in metadata}
    key = next((keys[name] for name in SLIDE_TABLE_COLUMNS["patient"] if name in keys), None)
    patient = "" if key is None else str(metadata[key]).strip()
    return "" if patient.casefold() in EMPTY_CELLS else patient


def _local_path(uri: str) -> Path | None:
    """The file on this machine that a URI or path stands for."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    # A scheme of one letter is a drive of Windows.
    if not uri or (parts.scheme not in ("", "file") and len(parts.scheme) > 1):
        return None
    if parts.scheme != "file":
        return Path(uri)
    path = unquote(parts.path)
    return Path(path.lstrip("/") if os.name == "nt" else path)


# ---------------------------------------------------------------- cases


def read_project_cases(
    project: QuPathProject, finder: SlideFinder | None = None
) -> tuple[list[Case], list[str]]:
    """Read the cases of a project.

    Args:
        project: The project.
        finder: Finds slides that were moved by their names; None if no slide was moved.

    Returns:
        The cases, and notes on entries without annotations or slide. An image that was never opened in QuPath has no
        annotations; entries whose slides cannot be found are left out.

    Raises:
        CohortError: If none of the slides can be found, or two entries have annotations on the same slide.
    """
    slides = [project.find_slide(entry, finder) for entry in project.entries]
    entries = list(zip(project.entries, slides, strict=True))
    if all(slide is None for slide in slides):
        names = _list_names([entry.name for entry in project.entries])
        fault = f"none of its {pluralize(len(entries), 'slide')} is where the project says ({names})"
        raise CohortError(project.path, fault, "Give their present folder with --slides")
    # Of several entries of one slide, the annotated one is used; another series of a file is another slide.
    cases: dict[tuple[Path, int], Case] = {}
    patients: dict[tuple[Path, int], str] = {}
    main = main_files(real_path(slide) for slide in slides if slide is not None)
    for entry, slide in entries:
        if slide is None:
            continue
        path = (main[real_path(slide)], entry.series or 0)
        earlier = cases.get(path)
        if earlier is not None and earlier.annotations is not None and entry.annotations is not None:
            series = f" (series {entry.series})" if entry.series else ""
            fault = f"there are annotations on {slide.name}{series} in two entries"
            raise CohortError(project.path, fault, "Merge them in QuPath, or remove one of the entries")
        if earlier is None or entry.annotations is not None:
            cases[path] = Case(
                slide,
                entry.annotations,
                entry.patient,
                mpp=entry.mpp,
                mpp_source="qupath",
                series=entry.series,
            )
            patients[path] = entry.patient
    assigned, notes = assign_own_patients(list(cases.values()), list(patients.values()))
    notes = [*notes, *project.notes, *_project_notes(project, slides)]
    if finder is not None and finder.found:
        notes.append(finder.note)
    return assigned, notes


def _project_notes(project: QuPathProject, slides: Sequence[Path | None]) -> Iterator[str]:
    empty = [entry.name for entry in project.entries if entry.annotations is None]
    gone = [entry for entry, slide in zip(project.entries, slides, strict=True) if slide is None]
    if empty:
        yield (
            f"{len(empty)} of {pluralize(len(slides), 'image')} of the project "
            f"{'has' if len(empty) == 1 else 'have'} no data file ({_list_names(empty)})"
        )
    if gone:
        names = _list_names([entry.name for entry in gone])
        annotated = sum(entry.annotations is not None for entry in gone)
        yield (
            f"{len(gone)} of {pluralize(len(slides), 'slide')} of the project "
            f"{'is' if len(gone) == 1 else 'are'} not where the project says and left out, "
            f"{annotated or 'none'} of them annotated ({names}). Give their present folder with --slides"
        )
    yield from unreadable_notes(filter(is_named_like_slide, project.path.parent.iterdir()), "slides")
    used = {real_path(slide) for slide in slides if slide is not None}
    if more := [slide.name for slide in find_slides(project.path.parent) if real_path(slide) not in used]:
        yield f"slides beside the project that are not in it, left out: {len(more)} ({_list_names(more)})"


def _list_names(names: Sequence[str]) -> str:
    return list_some(names, _MAX_NAMES)
