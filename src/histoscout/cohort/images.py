"""Images by class: a folder with a folder for each class, as BRACS gives its regions of interest, or a table."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from histoscout.cohort.bracs_rois import MPP
from histoscout.cohort.case import SplitName
from histoscout.cohort.folder import SLIDE_SUFFIXES, slides_in
from histoscout.cohort.rows import SPLITS
from histoscout.cohort.table import COLUMNS as OF_SLIDES
from histoscout.errors import CohortError

BRACS = re.compile(r"(?P<slide>BRACS_\w+?)_(?P<label>N|PB|UDH|FEA|ADH|DCIS|IC)_\d+", re.IGNORECASE)
NUMBERED = re.compile(r"^\d+_(?=\D)")
NOT_CLASSES = frozenset({"annotations", "slides"})
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "path", "file", "filename"),
    "class": ("class", "label"),
    "patient": ("patient", "patient_id", "case"),
    "mpp": ("mpp", "um_per_px"),
    "split": ("split", "set"),
}


@dataclass(frozen=True)
class RoiImage:
    """An image of one class: whose it is ("" if nobody knows), its um/px where it does not say itself."""

    path: Path
    label: str
    patient: str = ""
    mpp: float | None = None
    split: SplitName | None = None

    @property
    def owner(self) -> str:
        """The patient, or where none is named a name for the image alone."""
        return self.patient or "/".join([*([self.split] if self.split else []), self.label, self.path.stem])


@dataclass(frozen=True)
class RoiImages:
    """The images to be judged, where they were listed, and what the user should know about them."""

    images: tuple[RoiImage, ...]
    where: str
    notes: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Every class once, sorted."""
        return tuple(sorted({image.label for image in self.images}))


def holds_images_by_class(path: Path) -> bool:
    """Whether a path is what `read_images` reads, rather than a cohort of slides."""
    if path.is_dir():
        return not slides_in(path) and len({image.label for image in _in_folder(path)}) > 1
    if path.suffix.casefold() not in (".csv", ".tsv", ".txt") or not path.is_file():
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        head = {cell.strip(' "').casefold() for cell in re.split(r"[,;\t]", file.readline().strip())}
    of_images = all(head & set(COLUMNS[column]) for column in ("image", "class"))
    return of_images and not head & set(OF_SLIDES["annotations"])


def all_images(path: Path) -> list[RoiImage]:
    """The images in a folder that has a folder for each class, or that a table names with their classes.

    Folders may be split/class or class/split, with split train, val or test; "0_N" is class N. Of BRACS names
    (BRACS_010_PB_32.png) the class is read, and the slide, which stands for the patient. A table has the columns
    image and class, and perhaps patient, mpp (um/px) and split. CohortError if there are none.
    """
    found = _in_folder(path) if path.is_dir() else _in_table(path)
    if not found:
        raise CohortError(path, "holds no images by class", "Give a folder for each class")
    return found


def read_images(path: Path) -> RoiImages:
    """The images to be judged among `all_images`: those of the split test if there are splits, else all.

    CohortError if there are none.
    """
    found = all_images(path)
    chosen = tuple(image for image in found if image.split in (None, "test"))
    if not chosen:
        raise CohortError(path, "holds no images by class to test on", "Give a folder for each class")
    left = len(found) - len(chosen)
    notes = [f"{left} images of other splits than test are left out"] if left else []
    return RoiImages(chosen, str(path), (*notes, *notes_on_patients(chosen)))


def notes_on_patients(images: Sequence[RoiImage]) -> tuple[str, ...]:
    """What a user should know about whose the images are."""
    notes = []
    if slides := sum(
        bool(BRACS.match(image.path.stem)) and image.patient == slide_of(image.path) for image in images
    ):
        notes.append(
            f"{slides} images name their slide, not their patient: slides are taken as patients, so intervals may be "
            "too narrow"
        )
    if nameless := sum(not image.patient for image in images):
        notes.append(f"{nameless} images name no patient")
    return tuple(notes)


def with_scale(images: Sequence[RoiImage], mpp: float | None) -> tuple[list[RoiImage], tuple[str, ...]]:
    """The images with the um/px that is given where the table says none, and what was taken without being asked.

    Without one, images named as BRACS names its own are taken to have its 0.25 um/px, and the note says so.
    """
    if mpp is not None:
        return [image if image.mpp else replace(image, mpp=mpp) for image in images], ()
    silent = {image.path for image in images if image.mpp is None and BRACS.match(image.path.stem)}
    scaled = [replace(image, mpp=MPP) if image.path in silent else image for image in images]
    told = f"{len(silent)} images are named as in BRACS: where a file does not say, its {MPP} um/px are taken (--mpp)"
    return scaled, (told,) if silent else ()


def slide_of(path: Path) -> str:
    """The slide that an image was cut from, by its BRACS name; "" for other names."""
    named = BRACS.match(path.stem)
    return named["slide"] if named else ""


def _in_folder(folder: Path) -> list[RoiImage]:
    """The images one or two folders below this one, by their paths."""
    files = [file for pattern in ("*/*", "*/*/*") for file in folder.glob(pattern) if _is_image(file, folder)]
    return [_by_place(file, folder) for file in sorted(files)]


def _is_image(file: Path, folder: Path) -> bool:
    places = file.relative_to(folder).parts
    hidden = any(part.startswith(".") or part.casefold() in NOT_CLASSES for part in places)
    return file.suffix.casefold() in SLIDE_SUFFIXES and not hidden and file.is_file()


def _by_place(file: Path, folder: Path) -> RoiImage:
    places = file.relative_to(folder).parts[:-1]
    splits = [place for place in places if place.casefold() in SPLITS]
    classes = [NUMBERED.sub("", place) for place in places if place not in splits]
    named = BRACS.match(file.stem)
    label = named["label"].upper() if named else classes[0] if classes else places[0]
    split = SPLITS[splits[0].casefold()] if splits else None
    return RoiImage(file, label, slide_of(file), None, split)


def _in_table(path: Path) -> list[RoiImage]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CohortError(path, f"cannot be read ({error})", "Save it as CSV (UTF-8)") from error
    rows = list(csv.reader(io.StringIO(text), delimiter=max(",;\t", key=text.partition("\n")[0].count)))
    places = _places(rows[0] if rows else [], path)
    images, problems = [], []
    for number, row in enumerate(rows[1:], start=2):
        cells = {name: row[place].strip() for name, place in places.items() if place < len(row)}
        if not any(cells.values()):
            continue
        try:
            images.append(_of_row(cells, path.parent))
        except ValueError as error:
            problems.append(f"  row {number}: {error}")
    if problems:
        listed = "\n".join(problems)
        raise CohortError(path, f"{len(problems)} problems\n{listed}\n ", "Correct these rows")
    return images


def _places(head: list[str], path: Path) -> dict[str, int]:
    plain = [cell.strip().casefold() for cell in head]
    places = {
        name: plain.index(found)
        for name, names in COLUMNS.items()
        if (found := next((one for one in names if one in plain), None)) is not None
    }
    if missing := [name for name in ("image", "class") if name not in places]:
        raise CohortError(
            path, f"has no column {missing[0]!r}", "Give a table with the columns image and class"
        )
    return places


def _of_row(cells: Mapping[str, str], folder: Path) -> RoiImage:
    file = folder / cells.get("image", "")
    if not file.is_file():
        raise ValueError(f"there is no image {cells.get('image', '')!r}")
    if not cells.get("class"):
        raise ValueError("no class")
    split = cells.get("split", "").casefold()
    if split and split not in SPLITS:
        raise ValueError(f"split {split!r} is not train, tune or test")
    try:
        mpp = float(cells["mpp"].replace(",", ".")) if cells.get("mpp") else None
    except ValueError:
        raise ValueError(f"mpp {cells['mpp']!r} is not a number") from None
    return RoiImage(file, cells["class"], cells.get("patient", ""), mpp, SPLITS[split] if split else None)
