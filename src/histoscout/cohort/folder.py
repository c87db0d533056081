"""Finding slides in a folder, and the annotations that belong to a slide by their name."""

import os
from pathlib import Path

from histoscout.annotations.read import FORMATS

SLIDE_SUFFIXES = frozenset(
    {".svs", ".tif", ".tiff", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".svslide", ".bif", ".czi", ".dcm"}
    | {".png", ".jpg", ".jpeg", ".bmp", ".jp2"}
)
PICTURES = frozenset(
    {".png", ".jpg", ".jpeg", ".tif", ".tiff"}
)  # beside a slide these may be slides themselves


def slides_in(folder: Path) -> list[Path]:
    """The slide files directly in a folder, by name; hidden files are passed over."""
    files = sorted(entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith("."))
    return [file for file in files if file.suffix.casefold() in SLIDE_SUFFIXES]


def annotations_of(slide: Path) -> list[Path]:
    """Annotation files of a slide's name, beside it or in `annotations/` within or beside its folder.

    The name is the slide's with or without its suffix: a.svs goes with a.geojson and a.svs.geojson. Usually
    one or none; the first is to be taken. Beside the slide itself a picture is a slide, not a mask, and a zip may
    hold anything.
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
