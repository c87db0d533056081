"""BRACS as it is downloaded, as a cohort of slides and one of regions of interest.

BRACS (Brancati et al. 2022, doi:10.1093/database/baac093): 547 H&E slides of breast biopsies of 189 patients, some
with QuPath outlines, and 4,539 images of regions of interest (RoIs) cut from 387 of them. The official subsets are
kept, but for patients who are in two: see `settled`.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from histoscout.annotations.findings import enumerated
from histoscout.cohort.bracs_rois import MPP, BracsRoi, find_rois
from histoscout.cohort.bracs_table import BracsRow, read_bracs_table, slide_name
from histoscout.cohort.case import Case, SplitName
from histoscout.cohort.cohort import Cohort, write_cohort
from histoscout.cohort.rows import SPLITS
from histoscout.errors import CohortError, OutputError
from histoscout.files import write_text
from histoscout.recipe import Recipe

RECIPE = Path(__file__).with_name("bracs.toml")
_LEARNING_ORDER: tuple[SplitName, ...] = ("train", "tune", "test")


@dataclass(frozen=True)
class Bracs:
    """What is there of BRACS: the slides with outlines where there are any, the RoIs, and what a user should know."""

    slides: Cohort
    rois: tuple[BracsRoi, ...]
    notes: tuple[str, ...]


def bracs_recipe() -> Recipe:
    """The recipe for BRACS: UDH is looked for; the other classes by every spelling in its files; unsure ones ignored."""
    return Recipe.read(RECIPE)


def read_bracs(folders: Sequence[Path], table: Path | None = None) -> Bracs:
    """Find slides, outlines and RoIs of BRACS in folders, at any depth, and who they belong to.

    `table` is BRACS.xlsx, looked for in the folders if not given. Slides that it does not list are left out, and so
    are RoIs whose folder and name disagree; notes say so. CohortError without a table, or without slides and RoIs.
    """
    files = _files(folders)
    where = table or _table(files, folders)
    rows = read_bracs_table(where)
    splits, moved = settled(rows.values())
    cohort, said = _slides(files, rows, splits, where)
    rois, said_of_rois = find_rois(
        files, {name: (row.patient, splits[row.patient]) for name, row in rows.items()}
    )
    if not cohort.cases and not rois:
        places = ", ".join(map(str, folders))
        raise CohortError(
            places, "holds no slides (BRACS_*.svs) and no RoIs of BRACS", "Give the folders they are in"
        )
    return Bracs(cohort, rois, (*moved, *said, *said_of_rois))


def settled(rows: Iterable[BracsRow]) -> tuple[dict[str, SplitName], tuple[str, ...]]:
    """One subset for each patient, and who had to be moved.

    A patient in two subsets goes with all slides to the one that is learnt from more: training before tuning before
    test. So nobody is tested on who was learnt from, and each test slide that is left is one of the official test.
    """
    found: dict[str, dict[SplitName, list[str]]] = {}
    for row in rows:
        found.setdefault(row.patient, {}).setdefault(row.split, []).append(row.slide)
    splits = {
        patient: next(s for s in _LEARNING_ORDER if s in of_patient) for patient, of_patient in found.items()
    }
    notes = []
    for patient, of_patient in found.items():
        if len(of_patient) > 1:
            stay = splits[patient]
            gone = [
                f"{name} from {split}"
                for split, names in of_patient.items()
                if split != stay
                for name in names
            ]
            notes.append(
                f"patient {patient} is in two subsets; all slides are now in {stay}: {', '.join(gone)} moved"
            )
    return splits, tuple(notes)


def write_bracs(found: Bracs, folder: Path, overwrite: bool = False) -> tuple[Path, ...]:
    """Write cohort.csv, rois.csv and recipe.toml into a folder: what was found, ready for `histoscout check` and train.

    OutputError if one of them exists, unless `overwrite` is given.
    """
    paths = [folder / "recipe.toml"]
    if found.slides.cases:
        paths.append(folder / "cohort.csv")
    if found.rois:
        paths.append(folder / "rois.csv")
    if there := [path for path in paths if path.exists() and not overwrite]:
        raise OutputError(there[0], "exists already", "Give another folder with -o, or --overwrite")
    if found.slides.cases:
        write_cohort(found.slides, folder / "cohort.csv")
    if found.rois:
        write_text(folder / "rois.csv", _roi_table(found.rois))
    write_text(folder / "recipe.toml", RECIPE.read_text(encoding="utf-8"))
    return tuple(paths)


# ---------------------------------------------------------------- slides


def _files(folders: Sequence[Path]) -> list[Path]:
    for folder in folders:
        if not folder.is_dir():
            raise CohortError(folder, "is not a folder", "Give the folders that BRACS was downloaded into")
    return sorted({file for folder in folders for file in folder.rglob("*") if not file.name.startswith(".")})


def _table(files: Sequence[Path], folders: Sequence[Path]) -> Path:
    tables = [file for file in files if file.name.casefold() == "bracs.xlsx"]
    if not tables:
        places = ", ".join(map(str, folders))
        raise CohortError(places, "holds no BRACS.xlsx, which says whose a slide is", "Give it with --table")
    return tables[0]


def _slides(
    files: Sequence[Path], rows: Mapping[str, BracsRow], splits: Mapping[str, SplitName], where: Path
) -> tuple[Cohort, list[str]]:
    notes: list[str] = []
    slides, again = _by_name(files, ".svs")
    outlines, outlines_again = _by_name(files, ".qpdata")
    for kind, repeated in (("slides", again), ("outlines", outlines_again)):
        if repeated:
            notes.append(f"{kind} that are there twice, the first is taken: {enumerated(repeated)}")
    known = {name: slide for name, slide in slides.items() if name in rows}
    if unknown := sorted(set(slides) - set(known)):
        notes.append(f"slides that {where.name} does not list, left out: {enumerated(unknown)}")
    if stray := sorted(set(outlines) - set(slides)):
        notes.append(f"outlines whose slide is not there: {enumerated(stray)}")
    if misfiled := [
        name for name, slide in known.items() if _folder_split(slide) not in (None, rows[name].split)
    ]:
        notes.append(
            f"slides in the folder of another subset than {where.name} says, which is believed: {enumerated(misfiled)}"
        )
    if bare := sorted(set(known) - set(outlines)):
        with_rois = sum(rows[name].rois > 0 for name in bare)
        notes.append(f"slides without outlines (.qpdata), {with_rois} of them with RoIs: {enumerated(bare)}")
    if missing := len(set(rows) - set(known)):
        notes.append(f"{missing} of the {len(rows)} slides in {where.name} are not there")
    cases = [
        Case(slide, outlines.get(name), rows[name].patient, splits[rows[name].patient])
        for name, slide in sorted(known.items())
    ]
    return Cohort(tuple(cases), str(where)), notes


def _by_name(files: Sequence[Path], suffix: str) -> tuple[dict[str, Path], list[str]]:
    """The files of a suffix by the slide they are named after, and the names that occur again."""
    found: dict[str, Path] = {}
    again = []
    for file in files:
        name = slide_name(file.name)
        if file.suffix.casefold() == suffix and name.startswith("BRACS_") and file.is_file():
            if name in found:
                again.append(name)
            found.setdefault(name, file)
    return found, again


def _folder_split(path: Path) -> SplitName | None:
    """The subset that the nearest folder of such a name stands for."""
    return next((SPLITS[p.name.casefold()] for p in path.parents if p.name.casefold() in SPLITS), None)


def _roi_table(rois: Sequence[BracsRoi]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "class", "patient", "split", "mpp"])
    writer.writerows([roi.image.resolve(), roi.label, roi.patient, roi.split, MPP] for roi in rois)
    return text.getvalue()
