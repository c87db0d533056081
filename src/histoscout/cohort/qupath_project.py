"""QuPath projects, of version 0.1 and later, as lists of slides with their annotations."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from histoscout.annotations.files import read_json
from histoscout.annotations.qpdata.image import calibrated_mpp, image_uri, uri_file_name
from histoscout.cohort.case import Case
from histoscout.cohort.discovery import SlideFinder, assign_own_patients, find_slides
from histoscout.errors import AnnotationError, CohortError
from histoscout.io.tables import SLIDE_TABLE_COLUMNS

PROJECT = ".qpproj"
_BASE = "{$PROJECT_DIR}"  # how version 0.1 wrote the project's own folder
_SAVE = "Open the project in QuPath and save it"
_SHOWN = 10


@dataclass(frozen=True)
class ProjectEntry:
    """One image of a project: its name, where QuPath found it, its data file if there is one, um/px if known."""

    name: str
    uri: str
    annotations: Path | None
    mpp: float | None
    patient: str


@dataclass(frozen=True)
class QuPathProject:
    """The images of a project, and where the project lay when it was saved."""

    path: Path
    entries: tuple[ProjectEntry, ...]
    uri: str = ""

    def slide_of(self, entry: ProjectEntry, moved: SlideFinder | None = None) -> Path | None:
        """Where an entry's slide is: at its URI, where it lay beside the project, or found again by its name."""
        here = [_local(entry.uri), self._beside(entry.uri)]
        there = next((path for path in here if path is not None and _is_file(path)), None)
        if there is None and moved is not None:
            there = moved.find(uri_file_name(entry.uri) or entry.name) or moved.find(entry.name)
        return there

    def _beside(self, uri: str) -> Path | None:
        """The same way from the project as when it was saved."""
        old = self.uri.rpartition("/")[0]
        while old.count("/") > 1:
            if uri.startswith(f"{old}/"):
                up = self.uri.removeprefix(old).count("/") - 1
                return Path(
                    os.path.normpath(self.path.parent / ("../" * up) / unquote(uri.removeprefix(f"{old}/")))
                )
            old = old.rpartition("/")[0]
        return None


def find_project(folder: Path) -> Path | None:
    """The project file of a folder: project.qpproj, or the only one there is.

    Args:
        folder: The folder.
    """
    found = sorted(folder.glob(f"*{PROJECT}"))
    usual = folder / f"project{PROJECT}"
    return usual if usual in found else found[0] if len(found) == 1 else None


def read_project(path: Path) -> QuPathProject:
    """The images that a QuPath project lists, whether or not their slides can be found.

    CohortError for a file that is no project or lists nothing.

    Args:
        path: The file or folder.
    """
    try:
        content = read_json(path)
    except AnnotationError as error:
        raise CohortError(error.where, error.fault, _SAVE) from error
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list):
        raise CohortError(path, "is not a QuPath project", "Give the file project.qpproj")
    entries = tuple(_entry(image, path) for image in images if isinstance(image, dict))
    if not entries:
        raise CohortError(path, "lists no images", "Add the slides to the project in QuPath")
    uri = content.get("uri")
    return QuPathProject(path, entries, uri if isinstance(uri, str) else "")


def _entry(image: Mapping[str, Any], path: Path) -> ProjectEntry:
    server = image.get("serverBuilder")
    server = server if isinstance(server, dict) else {}
    metadata, described = image.get("metadata"), server.get("metadata")
    old = image.get("path")  # version 0.1 has no more than path and name
    uri = str(old).replace(_BASE, path.parent.resolve().as_uri()) if old else image_uri(server)
    name = str(image.get("imageName") or image.get("name") or uri_file_name(uri) or "")
    saved = f"data/{name}.qpdata" if old else f"data/{image.get('entryID')}/data.qpdata"
    return ProjectEntry(
        name,
        uri,
        _inside(path.parent, saved),
        calibrated_mpp(described) if isinstance(described, dict) else None,
        _patient(metadata if isinstance(metadata, dict) else {}),
    )


def _inside(folder: Path, relative: str) -> Path | None:
    """A file below a folder, if it is there; what a project says must not lead out of its folder."""
    path = folder / relative
    return path if ".." not in Path(relative).parts and _is_file(path) else None


def _is_file(path: Path) -> bool:
    """Whether there is such a file; names that no file can have are none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _patient(metadata: Mapping[str, Any]) -> str:
    """What the project's own table says of the patient, by any of the names that tables use."""
    plain = {str(key).strip().replace(" ", "_").replace("-", "_").casefold(): key for key in metadata}
    known = next((plain[name] for name in SLIDE_TABLE_COLUMNS["patient"] if name in plain), None)
    return "" if known is None else str(metadata[known]).strip()


def _local(uri: str) -> Path | None:
    """The file that a URI or path means on this machine."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    if not uri or (parts.scheme not in ("", "file") and len(parts.scheme) > 1):
        return None
    if parts.scheme != "file":
        return Path(uri)
    path = unquote(parts.path)
    return Path(path.lstrip("/") if os.name == "nt" else path)


# ---------------------------------------------------------------- as a cohort


def read_project_cases(
    project: QuPathProject, moved: SlideFinder | None = None
) -> tuple[list[Case], list[str]]:
    """The slides of a project with their outlines, and what the user should know.

    CohortError lists slides with outlines that cannot be found, and slides that two entries have outlines on. An
    image that was never opened has no outlines; one without slide or outlines is left out; both are told.

    Args:
        project: The project.
        moved: Finds slides that were moved; None if none were.
    """
    slides = {number: project.slide_of(entry, moved) for number, entry in enumerate(project.entries)}
    any_slide = any(slide is not None for slide in slides.values())
    lost = [
        entry
        for number, entry in enumerate(project.entries)
        if slides[number] is None and (entry.annotations is not None or not any_slide)
    ]
    if lost:
        fault = (
            f"{len(lost)} of {len(project.entries)} slides are not where the project says ({_names(lost)})"
        )
        raise CohortError(project.path, fault, "Give their present folder with --slides")
    cases: dict[Path, Case] = {}
    named: dict[Path, str] = {}
    for number, entry in enumerate(project.entries):
        slide = slides[number]
        if slide is None:
            continue
        before = cases.get(slide.resolve())
        if before is not None and before.annotations is not None and entry.annotations is not None:
            fault = f"there are annotations on {slide.name} in two entries"
            raise CohortError(project.path, fault, "Merge them in QuPath, or remove one of the entries")
        if before is None or entry.annotations is not None:
            cases[slide.resolve()] = Case(slide, entry.annotations, entry.patient, mpp=entry.mpp)
            named[slide.resolve()] = entry.patient
    own, nameless = assign_own_patients(list(cases.values()), list(named.values()))
    found = [moved.told] if moved is not None and moved.found else []
    return own, [*nameless, *_told(project, slides), *found]


def _told(project: QuPathProject, slides: Mapping[int, Path | None]) -> Iterator[str]:
    empty = [entry for entry in project.entries if entry.annotations is None]
    gone = [entry for n, entry in enumerate(project.entries) if slides[n] is None]
    if empty:
        yield f"{len(empty)} of {len(project.entries)} images of the project have no data file ({_names(empty)})"
    if gone:
        yield f"left out, since neither slides nor annotations exist: {len(gone)} ({_names(gone)})"
    listed = {slide.resolve() for slide in slides.values() if slide is not None}
    if more := [slide.name for slide in find_slides(project.path.parent) if slide.resolve() not in listed]:
        yield f"slides beside the project that are not in it, left out: {len(more)} ({', '.join(more[:_SHOWN])})"


def _names(entries: list[ProjectEntry]) -> str:
    shown = ", ".join(entry.name for entry in entries[:_SHOWN])
    return shown + ", ..." if len(entries) > _SHOWN else shown
