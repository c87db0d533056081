"""Results as a QuPath project: slides, annotations that are locked, and findings under derived classes."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from openslide import OpenSlide

from histoscout.annotations.geojson import write_geojson
from histoscout.annotations.qpdata.writer import QUPATH, write_qpdata
from histoscout.annotations.qupath_properties import class_color, stable_id
from histoscout.cohort.case import Case
from histoscout.cohort.qupath_project import PROJECT
from histoscout.errors import OutputError, ReviewError
from histoscout.geometry.regions import Region
from histoscout.io.files import atomic_write
from histoscout.io.inputs import real_path
from histoscout.io.notes import count_and_list
from histoscout.review.returned import GIVEN, read_references
from histoscout.review.review import OUTCOME_CLASSES, Review, found_class

OPENSLIDE = "qupath.lib.images.servers.openslide.OpenslideServerBuilder"
BIOFORMATS = "qupath.lib.images.servers.bioformats.BioFormatsServerBuilder"


@dataclass(frozen=True)
class WrittenProject:
    """A project that was written.

    Attributes:
        path: project.qpproj.
        slides: Names of its slides.
        notes: Notes for the user.
    """

    path: Path
    slides: tuple[str, ...]
    notes: tuple[str, ...] = ()


def write_project(review: Review, cases: Sequence[Case], folder: Path) -> WrittenProject:
    """Write a QuPath project of results and corrections.

    Each slide has the annotations of the cohort, locked, and the regions of the review under the classes that it derives:
    "UDH: found" for a finding that nobody judged. What the project was given is kept in its folder `histoscout`, so that
    `find_returned` can tell later what was changed in QuPath and what meanwhile on the page.

    Args:
        review: The review.
        cases: The slides.
        folder: A new folder.

    Returns:
        The project.

    Raises:
        OutputError: The folder holds a project, or cannot be written.
        ReviewError: None of the slides is there.
        AnnotationError: Annotations of the cohort cannot be read.
    """
    path = folder / f"project{PROJECT}"
    if path.exists():
        fault = "there is a project already, and what was drawn in it would be lost"
        raise OutputError(path, fault, "Give a new folder with -o")
    present = [case for case in cases if case.slide.exists()]
    notes = []
    if missing := [case.name for case in cases if case not in present]:
        notes.append(f"slides that are not there, left out: {count_and_list(missing)}")
    if not present:
        fault = (
            f"no slide is where the results say: {count_and_list(missing)}"
            if missing
            else "there is no slide"
        )
        raise ReviewError(folder, fault, "Give their present folder with --slides")
    images = []
    labels: set[str] = set()
    for number, case in enumerate(present, 1):
        shown = review.regions(case.name)
        references = [_lock(region) for region in read_references(case)]
        server = image_server(case)
        write_qpdata([*references, *shown], folder / "data" / str(number) / "data.qpdata", server, number)
        write_geojson(shown, folder / GIVEN / f"{case.name}.geojson")
        images.append(_image(case, number, server))
        labels |= {region.label for region in (*references, *shown)}
    labels |= {
        f"{found_class(label)}: {OUTCOME_CLASSES['reject']}"
        for label in labels
        if found_class(label) != label
    }
    labels |= {found_class(label) for label in labels}
    _write_json(
        {"pathClasses": [_class(label) for label in sorted(labels) if label]},
        folder / "classifiers" / "classes.json",
    )
    now = time.time_ns() // 1_000_000
    # the project file comes last: where it exists, the project is complete
    project = {
        "version": QUPATH,
        "createTimestamp": now,
        "modifyTimestamp": now,
        "uri": real_path(path).as_uri(),
        "lastID": len(images),
        "images": images,
    }
    _write_json(project, path)
    return WrittenProject(path, tuple(case.name for case in present), tuple(notes))


def image_server(case: Case) -> dict[str, Any]:
    """The JSON of QuPath's image server for a slide.

    Size and um/px are left to QuPath, which reads them from the slide.

    Args:
        case: The slide.

    Returns:
        OpenSlide where it reads the format, as histoscout does; else Bio-Formats with the number of the image.
    """
    whole = not case.series and OpenSlide.detect_format(str(case.slide)) is not None
    return {
        "builderType": "uri",
        "providerClassName": OPENSLIDE if whole else BIOFORMATS,
        "uri": real_path(case.slide).as_uri(),
        "args": [] if whole else ["--series", str(case.series or 0)],
    }


def _image(case: Case, number: int, server: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of a slide in the project."""
    # a slide that names no patient is called after itself
    own = case.patient in (case.name, case.slide.stem)
    return {
        "serverBuilder": dict(server),
        "entryID": number,
        "randomizedName": stable_id(case.name),
        "imageName": case.slide.name if not case.series else f"{case.slide.name} - series {case.series}",
        "metadata": {} if own else {"patient": case.patient},
    }


def _lock(region: Region) -> Region:
    return replace(region, properties={**region.properties, "isLocked": True})


def _class(label: str) -> dict[str, Any]:
    red, green, blue = class_color(label)
    return {"name": label, "color": [red, green, blue]}


def _write_json(content: object, path: Path) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
