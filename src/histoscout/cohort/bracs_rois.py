"""The regions of interest of BRACS: images of one class each, in folders by subset and class."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from histoscout.annotations.findings import enumerated
from histoscout.cohort.case import SplitName
from histoscout.cohort.rows import SPLITS

MPP = 0.25  # um/px of the images, which do not say so themselves (40x)
CLASSES = ("N", "PB", "UDH", "FEA", "ADH", "DCIS", "IC")
LATEST, PREVIOUS = "latest_version", "previous_version"
# the older version numbers its folders otherwise (3_ADH, 4_FEA): numbers are passed over, names are read
_FOLDER = re.compile(rf"(?:\d_)?({'|'.join(CLASSES)})", re.IGNORECASE)
_FILE = re.compile(rf"(BRACS_\w+?)_({'|'.join(CLASSES)})_\d+", re.IGNORECASE)


@dataclass(frozen=True)
class BracsRoi:
    """The image of a region of interest at 0.25 um/px: its class, the slide it was cut from, whose it is."""

    image: Path
    label: str
    slide: str
    patient: str
    split: SplitName


def find_rois(
    files: Sequence[Path], known: Mapping[str, tuple[str, SplitName]]
) -> tuple[tuple[BracsRoi, ...], list[str]]:
    """The RoIs among files (BRACS_010_PB_32.png in train/1_PB), and notes; `known` is patient and split by slide.

    Of the two published versions the latest is taken where both are there. An image whose folder and name are of
    different classes is left out, as its class is not certain. The subset is the patient's, so that slides and RoIs
    agree; of slides that are not known it is the folder's, and the slide stands for the patient.
    """
    images = [file for file in files if file.suffix.casefold() == ".png" and _FILE.fullmatch(file.stem)]
    notes: list[str] = []
    if {LATEST, PREVIOUS} <= {part for file in images for part in file.parts}:
        left = sum(PREVIOUS in file.parts for file in images)
        images = [file for file in images if PREVIOUS not in file.parts]
        notes.append(f"RoIs are taken from {LATEST}; {left} images of {PREVIOUS} are left out")
    elif any(PREVIOUS in file.parts for file in images):
        notes.append(f"RoIs are of {PREVIOUS}; some were given other classes in {LATEST}")
    rois: list[BracsRoi] = []
    unsure, homeless, moved = [], [], 0
    for file in images:
        label, slide, of_folder = _said(file)
        filed = _split_of(file)
        if of_folder not in (None, label):
            unsure.append(f"{of_folder}/{file.name}")
            continue
        patient, split = known.get(slide, (slide, filed))
        if split is None:
            homeless.append(file.name)
            continue
        moved += filed not in (None, split)
        rois.append(BracsRoi(file, label, slide, patient, split))
    if unsure:
        notes.append(f"RoIs whose folder and name are of different classes, left out: {enumerated(unsure)}")
    if homeless:
        notes.append(
            f"RoIs in no folder of a subset, of slides that are not listed, left out: {enumerated(homeless)}"
        )
    if moved:
        notes.append(f"{moved} RoIs are in the subset of their patient, which is not that of their folder")
    if strange := sorted({roi.slide for roi in rois} - set(known)):
        notes.append(
            f"RoIs of slides that are not listed; the slide counts as the patient: {enumerated(strange)}"
        )
    return tuple(rois), notes


def _said(file: Path) -> tuple[str, str, str | None]:
    """Class and slide by the file's name, and the class by its folder; None if the folder names none."""
    named = _FILE.fullmatch(file.stem)
    folder = _FOLDER.fullmatch(file.parent.name)
    slide, label = (named[1], named[2]) if named else ("", "")
    return label.upper(), slide.upper(), folder[1].upper() if folder else None


def _split_of(file: Path) -> SplitName | None:
    return next(
        (SPLITS[place.name.casefold()] for place in file.parents if place.name.casefold() in SPLITS), None
    )
