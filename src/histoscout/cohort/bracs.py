"""The BRACS data as downloaded: a cohort of slides, and one of regions of interest (RoIs).

BRACS (Brancati et al. 2022, doi:10.1093/database/baac093): 547 H&E slides of breast biopsies of 189 patients, some
with QuPath annotations, and 4,539 images of RoIs cut from 387 of them. `BRACS.xlsx` lists patients and official
subsets, which are kept except for patients in two of them: see `unambiguous_splits`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from histoscout.cohort.bracs_table import BracsRow, read_bracs_table, slide_name, unambiguous_splits
from histoscout.cohort.case import Case, SplitName
from histoscout.cohort.cohort import Cohort, write_cohort
from histoscout.cohort.discovery import unreadable_notes
from histoscout.cohort.table import SPLITS
from histoscout.errors import CohortError, OutputError
from histoscout.io.files import StrPath, write_text
from histoscout.io.inputs import real_path
from histoscout.io.notes import count_and_list
from histoscout.io.tables import write_csv
from histoscout.recipe import Recipe

MPP = 0.25
"""um/px of the images, which do not state it (40x)."""

CLASSES = ("N", "PB", "UDH", "FEA", "ADH", "DCIS", "IC")
"""The classes, from normal and benign tissue to invasive carcinoma."""

LATEST, PREVIOUS = "latest_version", "previous_version"
"""Folders of the two published versions of the RoIs."""

RECIPE = Path(__file__).with_name("bracs.toml")
"""The recipe for BRACS."""

# The older version numbers its folders in another way (3_ADH, 4_FEA): the number is skipped.
_FOLDER = re.compile(rf"(?:\d_)?({'|'.join(CLASSES)})", re.IGNORECASE)
_FILE = re.compile(rf"(BRACS_\w+?)_({'|'.join(CLASSES)})_\d+", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class BracsRoi:
    """An image of a region of interest at 0.25 um/px.

    Attributes:
        image: The image file.
        label: Its class.
        slide: The slide that it was cut from.
        patient: The patient; the slide if its patient is not known.
        split: The subset.
    """

    image: Path
    label: str
    slide: str
    patient: str
    split: SplitName


@dataclass(frozen=True)
class Bracs:
    """What was found of the BRACS data.

    Attributes:
        slides: The slides, with annotations where there are any.
        rois: Images of regions of interest.
        notes: Notes for the user.

    Example:
        >>> from histoscout import Bracs, Cohort
        >>> len(Bracs(slides=Cohort((), "BRACS"), rois=(), notes=()).rois)
        0
    """

    slides: Cohort
    rois: tuple[BracsRoi, ...]
    notes: tuple[str, ...]


def bracs_recipe() -> Recipe:
    """The recipe for BRACS, with UDH as the positive class and all spellings of the data."""
    return Recipe.read(RECIPE)


def read_bracs(folders: Sequence[StrPath], table: StrPath | None = None) -> Bracs:
    """Find slides, annotations and RoIs of BRACS in folders, at any depth, and their patients.

    Slides that the table does not list are left out, and so are RoIs whose folder and name disagree; notes say so.

    Args:
        folders: Folders of the BRACS data.
        table: BRACS.xlsx; None to look for it in the folders.

    Returns:
        What was found.

    Raises:
        CohortError: Without a table, or without slides and RoIs.

    Example:
        >>> from pathlib import Path
        >>> from histoscout import HistoscoutError, read_bracs
        >>> try:
        ...     read_bracs([Path("no-such-folder")])
        ... except HistoscoutError as error:
        ...     print(type(error).__name__)
        CohortError
    """
    table, paths = None if table is None else Path(table), [Path(folder) for folder in folders]
    for folder in paths:
        if not folder.is_dir():
            raise CohortError(folder, "this is not a folder", "Give the folders of the BRACS download")
    where = ", ".join(map(str, paths))
    files = sorted({file for folder in paths for file in folder.rglob("*") if not file.name.startswith(".")})
    tables = [table] if table else [file for file in files if file.name.casefold() == "bracs.xlsx"]
    if not tables:
        raise CohortError(where, "there is no BRACS.xlsx, which lists the patients", "Give it with --table")
    rows = read_bracs_table(tables[0])
    splits, split_notes = unambiguous_splits(rows.values())
    slides, slide_notes = _find_slides(files, rows, splits, tables[0])
    patients = {name: (row.patient, splits[row.patient]) for name, row in rows.items()}
    rois, roi_notes = find_rois(files, patients)
    if not slides.cases and not rois:
        fault = "the folder holds no slides (BRACS_*.svs) and no RoIs of BRACS"
        raise CohortError(where, fault, "Give the folders they are in")
    named = (file for file in files if file.name.startswith("BRACS_"))
    lost = unreadable_notes((file for file in named if file.suffix and not file.is_dir()), "slides and RoIs")
    return Bracs(slides, rois, (*split_notes, *slide_notes, *roi_notes, *lost))


def write_bracs(found: Bracs, folder: StrPath, overwrite: bool = False) -> tuple[Path, ...]:
    """Write cohort.csv, rois.csv and recipe.toml, ready for `check` and `train`.

    Args:
        found: What was read.
        folder: The folder.
        overwrite: Whether existing files are replaced.

    Returns:
        The files that were written.

    Raises:
        OutputError: If one of them exists, unless `overwrite` is given.

    Example:
        >>> from pathlib import Path
        >>> from histoscout import Bracs, Cohort, write_bracs
        >>> [path.name for path in write_bracs(Bracs(slides=Cohort((), "BRACS"), rois=(), notes=()), Path("bracs"))]
        ['recipe.toml']
    """
    folder = Path(folder)
    paths = [folder / "recipe.toml"]
    if found.slides.cases:
        paths.append(folder / "cohort.csv")
    if found.rois:
        paths.append(folder / "rois.csv")
    if existing := [path for path in paths if path.exists() and not overwrite]:
        raise OutputError(
            existing[0], "the file already exists", "Give another folder with -o, or --overwrite"
        )
    if found.slides.cases:
        write_cohort(found.slides, folder / "cohort.csv")
    if found.rois:
        columns = ("image", "class", "patient", "split", "mpp")
        rows = [(real_path(roi.image), roi.label, roi.patient, roi.split, MPP) for roi in found.rois]
        write_csv(folder / "rois.csv", columns, rows)
    write_text(folder / "recipe.toml", RECIPE.read_text(encoding="utf-8"))
    return tuple(paths)


# ---------------------------------------------------------------- slides and RoIs


def _find_slides(
    files: Sequence[Path], rows: Mapping[str, BracsRow], splits: Mapping[str, SplitName], table: Path
) -> tuple[Cohort, list[str]]:
    """The listed slides with their annotations, and notes on what is missing or unexpected."""
    notes: list[str] = []
    slides, repeated_slides = _files_by_slide(files, ".svs")
    annotations, repeated_annotations = _files_by_slide(files, ".qpdata")
    for kind, repeated in (("slides", repeated_slides), ("annotations", repeated_annotations)):
        if repeated:
            notes.append(f"{kind} that exist twice, the first is used: {count_and_list(repeated)}")
    listed = {name: slide for name, slide in slides.items() if name in rows}
    if unlisted := sorted(set(slides) - set(listed)):
        notes.append(f"slides that {table.name} does not list, left out: {count_and_list(unlisted)}")
    if stray := sorted(set(annotations) - set(slides)):
        notes.append(f"annotations without a slide: {count_and_list(stray)}")
    misfiled = [
        name for name, slide in listed.items() if _folder_split(slide) not in (None, rows[name].split)
    ]
    if misfiled:
        notes.append(
            f"slides in the folder of another subset than {table.name} says, which is used: {count_and_list(misfiled)}"
        )
    if bare := sorted(set(listed) - set(annotations)):
        with_rois = sum(rows[name].rois > 0 for name in bare)
        notes.append(
            f"slides without annotations (.qpdata), {with_rois} of them with RoIs: {count_and_list(bare)}"
        )
    if missing := len(set(rows) - set(listed)):
        notes.append(f"{missing} of the {len(rows)} slides in {table.name} are missing")
    cases = [
        Case(slide, annotations.get(name), rows[name].patient, split=splits[rows[name].patient])
        for name, slide in sorted(listed.items())
    ]
    return Cohort(tuple(cases), str(table)), notes


def _files_by_slide(files: Sequence[Path], suffix: str) -> tuple[dict[str, Path], list[str]]:
    """The files with a suffix by their slide, and the slides that have more than one."""
    first: dict[str, Path] = {}
    repeated = []
    for file in files:
        name = slide_name(file.name)
        if file.suffix.casefold() == suffix and name.startswith("BRACS_") and file.is_file():
            if name in first:
                repeated.append(name)
            first.setdefault(name, file)
    return first, repeated


def _folder_split(path: Path) -> SplitName | None:
    """The subset that the nearest folder with such a name stands for."""
    names = (folder.name.casefold() for folder in path.parents)
    return next((SPLITS[name] for name in names if name in SPLITS), None)


def find_rois(
    files: Sequence[Path], patients: Mapping[str, tuple[str, SplitName]]
) -> tuple[tuple[BracsRoi, ...], list[str]]:
    """Find the images of RoIs among files, such as train/1_PB/BRACS_010_PB_32.png.

    Of the two published versions, the latest is used if both exist. Images whose folder and name are of different
    classes are left out. The subset is that of the patient; for slides that are not listed it is that of the folder,
    and the slide counts as the patient.

    Args:
        files: Files of the download.
        patients: Patient and subset of each listed slide.

    Returns:
        The RoIs, and notes for the user.
    """
    images = {
        file: name
        for file in files
        if file.suffix.casefold() == ".png" and (name := _FILE.fullmatch(file.stem))
    }
    notes: list[str] = []
    if {LATEST, PREVIOUS} <= {part for file in images for part in file.parts}:
        left_out = sum(PREVIOUS in file.parts for file in images)
        images = {file: name for file, name in images.items() if PREVIOUS not in file.parts}
        notes.append(f"RoIs are taken from {LATEST}; {left_out} images of {PREVIOUS} are left out")
    elif any(PREVIOUS in file.parts for file in images):
        notes.append(f"RoIs are of {PREVIOUS}; some were given other classes in {LATEST}")
    rois: list[BracsRoi] = []
    contradictory, without_subset, moved = [], [], 0
    for file, name in images.items():
        slide = name[1].upper()
        label = name[2].upper()
        folder = _FOLDER.fullmatch(file.parent.name)
        if folder and folder[1].upper() != label:
            contradictory.append(f"{folder[1].upper()}/{file.name}")
            continue
        folder_split = _folder_split(file)
        patient, split = patients.get(slide, (slide, folder_split))
        if split is None:
            without_subset.append(file.name)
            continue
        moved += folder_split not in (None, split)
        rois.append(BracsRoi(image=file, label=label, slide=slide, patient=patient, split=split))
    if contradictory:
        notes.append(
            f"RoIs whose folder and name are of different classes, left out: {count_and_list(contradictory)}"
        )
    if without_subset:
        notes.append(
            f"RoIs in no folder of a subset, of slides that are not listed, left out: {count_and_list(without_subset)}"
        )
    if moved:
        notes.append(f"{moved} RoIs are in the subset of their patient, which is not that of their folder")
    if unlisted := sorted({roi.slide for roi in rois} - set(patients)):
        notes.append(
            f"RoIs of slides that are not listed; the slide counts as the patient: {count_and_list(unlisted)}"
        )
    return tuple(rois), notes
