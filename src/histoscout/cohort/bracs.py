"""The BRACS data as downloaded: a cohort of slides, and one of regions of interest (RoIs).

BRACS (Brancati et al. 2022, doi:10.1093/database/baac093): 547 H&E slides of breast biopsies of 189 patients, some
with QuPath annotations, and 4,539 images of RoIs cut from 387 of them. `BRACS.xlsx` lists patients and official
subsets, which are kept except for patients in two of them: see `unambiguous_splits`.
"""

import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from xml.etree.ElementTree import ParseError

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from histoscout.cohort.case import Case, SplitName
from histoscout.cohort.cohort import Cohort, write_cohort
from histoscout.cohort.table import SPLITS
from histoscout.errors import CohortError, OutputError
from histoscout.io.files import write_text
from histoscout.io.notes import count_and_list
from histoscout.io.tables import write_csv
from histoscout.recipe import Recipe

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

    Args:
        files: Image files.
        known: Patient and split by slide.
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
        notes.append(
            f"RoIs whose folder and name are of different classes, left out: {count_and_list(unsure)}"
        )
    if homeless:
        notes.append(
            f"RoIs in no folder of a subset, of slides that are not listed, left out: {count_and_list(homeless)}"
        )
    if moved:
        notes.append(f"{moved} RoIs are in the subset of their patient, which is not that of their folder")
    if strange := sorted({roi.slide for roi in rois} - set(known)):
        notes.append(
            f"RoIs of slides that are not listed; the slide counts as the patient: {count_and_list(strange)}"
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


LARGEST_BYTES = 2**26  # unpacked; the real table has some 50 kB
MOST_ROWS = 100_000
HEADINGS_WITHIN = 20  # rows from the top in which the headings stand
# our word for a column, and how its heading reads without case, blanks and underscores
COLUMNS: Mapping[str, str] = MappingProxyType(
    {"slide": "wsifilename", "patient": "patientid", "rois": "roi", "label": "wsilabel", "set": "set"}
)
_NEEDED = ("slide", "patient", "set")
_STUMBLES = (ValueError, TypeError, LookupError, AttributeError, ParseError, EOFError, NotImplementedError)


@dataclass(frozen=True)
class BracsRow:
    """One slide of BRACS: its patient, the class it is filed under, its subset, how many RoIs were cut from it."""

    slide: str
    patient: str
    label: str
    split: SplitName
    rois: int


def read_bracs_table(path: Path) -> dict[str, BracsRow]:
    """The rows of BRACS.xlsx by slide (BRACS_1494). Values are read, formulas and macros are not run.

    CohortError for a file that is no such table, and for rows without patient or subset, all at once.

    Args:
        path: The file or folder.
    """
    sheets = _sheets(path)
    for cells in sheets:
        for start, row in enumerate(cells[:HEADINGS_WITHIN]):
            places = {word: i for word, i in _places(row).items() if i is not None}
            if all(word in places for word in _NEEDED):
                return _rows(cells[start + 1 :], places, start + 2, path)
    fault = "has no sheet with the columns WSI Filename, Patient Id and Set"
    raise CohortError(path, fault, "Give the BRACS.xlsx that comes with the BRACS data")


def slide_name(name: str) -> str:
    """BRACS_1494 for each way in which that slide and its files are named.

    Args:
        name: Name of a file.
    """
    found = re.match(r"\s*(bracs_\w+?)(?=\.|\s|$)", name, re.IGNORECASE)
    return found[1].upper() if found else name.strip()


def _sheets(path: Path) -> list[list[tuple[Any, ...]]]:
    """The values of every sheet."""
    remedy = "Give the BRACS.xlsx that comes with the BRACS data; open it in Excel and save it again"
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > LARGEST_BYTES:
                raise CohortError(
                    path, "unpacks to far more than a table of slides", "Check where it comes from"
                )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # openpyxl tells of styles and filters that it does not know
            book = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
            try:
                return [
                    list(sheet.iter_rows(max_row=MOST_ROWS, max_col=64, values_only=True))
                    for sheet in book.worksheets
                    if hasattr(sheet, "iter_rows")
                ]
            finally:
                book.close()
    except (zipfile.BadZipFile, InvalidFileException) as error:
        raise CohortError(path, "is not an Excel file (.xlsx)", remedy) from error
    except OSError as error:
        fault = f"cannot be read ({error.strerror or error})"
        raise CohortError(path, fault, "Check the path and its permissions") from error
    except (*_STUMBLES, RuntimeError, zipfile.LargeZipFile) as error:
        raise CohortError(path, f"is a damaged Excel file ({error})", remedy) from error


def _places(row: tuple[Any, ...]) -> dict[str, int | None]:
    plain = [re.sub(r"[\s_]+", "", str(cell)).casefold() if cell is not None else "" for cell in row]
    return {word: plain.index(said) if said in plain else None for word, said in COLUMNS.items()}


def _rows(
    cells: list[tuple[Any, ...]], places: Mapping[str, int], first: int, path: Path
) -> dict[str, BracsRow]:
    rows: dict[str, BracsRow] = {}
    problems = []
    for number, said in _filled(cells, places, first):
        split = SPLITS.get(said["set"].casefold())
        if split is None or not said["patient"]:
            problems.append(
                f"  row {number}: {said['slide']} has patient {said['patient']!r}, set {said['set']!r}"
            )
            continue
        rois = int(said.get("rois", "")) if said.get("rois", "").isdecimal() else 0
        row = BracsRow(slide_name(said["slide"]), said["patient"], said.get("label", ""), split, rois)
        if rows.setdefault(row.slide, row) != row:
            problems.append(f"  row {number}: {row.slide} is listed twice, and differently")
    if problems:
        listed = "\n".join(problems[:20])
        raise CohortError(path, f"{len(problems)} problems\n{listed}\n ", "Correct these rows")
    return rows


def _filled(
    cells: list[tuple[Any, ...]], places: Mapping[str, int], first: int
) -> Iterator[tuple[int, dict[str, str]]]:
    for number, row in enumerate(cells, first):
        said = {word: _text(row[place]) for word, place in places.items() if place < len(row)}
        if said.get("slide"):
            yield number, {**dict.fromkeys(_NEEDED, ""), **said}


def _text(cell: Any) -> str:
    """A cell as text; Excel keeps whole numbers as 49.0."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return "" if cell is None else str(cell).strip()


RECIPE = Path(__file__).with_name("bracs.toml")
_LEARNING_ORDER: tuple[SplitName, ...] = ("train", "tune", "test")


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
    """The recipe for BRACS: UDH is looked for; the other classes by every spelling in its files; unsure ones ignored."""
    return Recipe.read(RECIPE)


def read_bracs(folders: Sequence[Path], table: Path | None = None) -> Bracs:
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
    files = _files(folders)
    where = table or _table(files, folders)
    rows = read_bracs_table(where)
    splits, moved = unambiguous_splits(rows.values())
    cohort, said = _slides(files, rows, splits, where)
    rois, said_of_rois = find_rois(
        files, {name: (row.patient, splits[row.patient]) for name, row in rows.items()}
    )
    if not cohort.cases and not rois:
        places = ", ".join(map(str, folders))
        raise CohortError(
            places,
            "the folder holds no slides (BRACS_*.svs) and no RoIs of BRACS",
            "Give the folders they are in",
        )
    return Bracs(cohort, rois, (*moved, *said, *said_of_rois))


def unambiguous_splits(rows: Iterable[BracsRow]) -> tuple[dict[str, SplitName], tuple[str, ...]]:
    """One subset for each patient, and who had to be moved.

    A patient in two subsets goes with all slides to the one that is learnt from more: training before tuning before
    test. So nobody is tested on who was learnt from, and each test slide that is left is one of the official test.

    Args:
        rows: Rows of the table.
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
        columns = ("image", "class", "patient", "split", "mpp")
        rows = [(roi.image.resolve(), roi.label, roi.patient, roi.split, MPP) for roi in found.rois]
        write_csv(folder / "rois.csv", columns, rows)
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
        raise CohortError(places, "there is no BRACS.xlsx, which lists the patients", "Give it with --table")
    return tables[0]


def _slides(
    files: Sequence[Path], rows: Mapping[str, BracsRow], splits: Mapping[str, SplitName], where: Path
) -> tuple[Cohort, list[str]]:
    notes: list[str] = []
    slides, again = _by_name(files, ".svs")
    outlines, outlines_again = _by_name(files, ".qpdata")
    for kind, repeated in (("slides", again), ("outlines", outlines_again)):
        if repeated:
            notes.append(f"{kind} that exist twice, the first is used: {count_and_list(repeated)}")
    known = {name: slide for name, slide in slides.items() if name in rows}
    if unknown := sorted(set(slides) - set(known)):
        notes.append(f"slides that {where.name} does not list, left out: {count_and_list(unknown)}")
    if stray := sorted(set(outlines) - set(slides)):
        notes.append(f"annotations without a slide: {count_and_list(stray)}")
    if misfiled := [
        name for name, slide in known.items() if _folder_split(slide) not in (None, rows[name].split)
    ]:
        notes.append(
            f"slides in the folder of another subset than {where.name} says, which is used: {count_and_list(misfiled)}"
        )
    if bare := sorted(set(known) - set(outlines)):
        with_rois = sum(rows[name].rois > 0 for name in bare)
        notes.append(
            f"slides without annotations (.qpdata), {with_rois} of them with RoIs: {count_and_list(bare)}"
        )
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
