"""Image classification data: a folder with a folder for each class, as BRACS gives its RoIs, or a table."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from histoscout.cohort.bracs import MPP
from histoscout.cohort.case import Case, SplitName
from histoscout.cohort.cohort import Cohort
from histoscout.cohort.discovery import SLIDE_SUFFIXES, find_slides
from histoscout.cohort.table import SPLITS, read_mpp, read_split_name
from histoscout.errors import CohortError
from histoscout.io.notes import count_and_list, pluralize
from histoscout.io.tables import SLIDE_TABLE_COLUMNS as OF_SLIDES
from histoscout.io.tables import CsvRow, TableSchema, read_headings, read_table
from histoscout.recipe_sections import plain

BRACS = re.compile(r"(?P<slide>BRACS_\w+?)_(?P<label>N|PB|UDH|FEA|ADH|DCIS|IC)_\d+", re.IGNORECASE)
NUMBERED = re.compile(r"^\d+_(?=\D)")
NOT_CLASSES = frozenset({"annotations", "slides"})
COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "image": ("image", "path", "file", "filename"),
        "class": ("class", "label"),
        **{column: OF_SLIDES[column] for column in ("patient", "mpp", "split")},
    }
)
TABLE = TableSchema(
    items="images",
    columns=COLUMNS,
    required=("image", "class"),
    remedy="Give a table with the columns image and class",
)


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


def is_image_folder(path: Path) -> bool:
    """Whether a path is what `read_images` reads, rather than a cohort of slides.

    Args:
        path: The file or folder.
    """
    if path.is_dir():
        return not find_slides(path) and len({image.label for image in _in_folder(path)}) > 1
    if path.suffix.casefold() not in (".csv", ".tsv", ".txt") or not path.is_file():
        return False
    head = read_headings(path)
    of_images = all(head & set(COLUMNS[column]) for column in ("image", "class"))
    return of_images and not head & set(OF_SLIDES["annotations"])


def read_all_images(path: Path) -> RoiImages:
    """The images in a folder that has a folder for each class, or that a table names with their classes.

    Folders may be split/class or class/split, with split train, val or test; "0_N" is class N. Of BRACS names
    (BRACS_010_PB_32.png) the class is read, and the slide, which stands for the patient. A table has the columns
    image and class, and perhaps patient, mpp (um/px) and split. Classes that differ in case, blanks, hyphens or underscores only are one.
    CohortError if there are none.

    Args:
        path: The file or folder.
    """
    found, notes = (_in_folder(path), []) if path.is_dir() else _in_table(path)
    if not found:
        raise CohortError(path, "holds no images by class", "Give a folder for each class")
    images, told = _of_one_spelling(found)
    return RoiImages(tuple(images), str(path), (*notes, *told))


def read_images(path: Path) -> RoiImages:
    """The images to be judged among `read_all_images`: those of the split test; where there are none, those of no split.

    CohortError if there are none.

    Args:
        path: The file or folder.
    """
    found = read_all_images(path)
    tested = tuple(image for image in found.images if image.split == "test")
    chosen = tested or tuple(image for image in found.images if image.split is None)
    if not chosen:
        raise CohortError(path, "the folder holds no test images", "Give a folder for each class")
    left = len(found.images) - len(chosen)
    notes = [f"{left} images that are not of the split test are left out"] if left else []
    return replace(found, images=chosen, notes=(*found.notes, *notes, *patient_notes(chosen)))


def patient_notes(images: Sequence[RoiImage]) -> tuple[str, ...]:
    """What a user should know about whose the images are.

    Args:
        images: The images.
    """
    notes = []
    if slides := sum(
        bool(BRACS.match(image.path.stem)) and image.patient == slide_of_image(image.path) for image in images
    ):
        notes.append(
            f"{slides} images name their slide, not their patient: slides are taken as patients, so intervals may be "
            "too narrow"
        )
    if nameless := sum(not image.patient for image in images):
        notes.append(f"{nameless} images name no patient")
    return tuple(notes)


def assign_scale(images: Sequence[RoiImage], mpp: float | None) -> tuple[list[RoiImage], tuple[str, ...]]:
    """The images with the um/px that is given where the table says none, and what was taken without being asked.

    Without one, images named as BRACS names its own are taken to have its 0.25 um/px, and the note says so.

    Args:
        images: The images.
        mpp: um/px of images that do not state it.
    """
    if mpp is not None:
        return [image if image.mpp else replace(image, mpp=mpp) for image in images], ()
    silent = {image.path for image in images if image.mpp is None and BRACS.match(image.path.stem)}
    scaled = [replace(image, mpp=MPP) if image.path in silent else image for image in images]
    told = f"{len(silent)} images are named as in BRACS: for files that do not state it, {MPP} um/px is used (--mpp)"
    return scaled, (told,) if silent else ()


def slide_of_image(path: Path) -> str:
    """The slide that an image was cut from, by its BRACS name; "" for other names.

    Args:
        path: The file or folder.
    """
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
    return RoiImage(file, label, slide_of_image(file), None, split)


def _of_one_spelling(images: Sequence[RoiImage]) -> tuple[list[RoiImage], list[str]]:
    """The images with the commonest spelling of each class, and a note on classes that were typed in several."""
    counts = Counter(image.label for image in images)
    spellings: dict[str, list[str]] = {}
    for label in sorted(counts, key=lambda label: (-counts[label], label)):
        spellings.setdefault(plain(label), []).append(label)
    several = [" = ".join(group) for group in spellings.values() if len(group) > 1]
    notes = [f"classes taken as one: {'; '.join(several)}"] if several else []
    return [replace(image, label=spellings[plain(image.label)][0]) for image in images], notes


def _in_table(path: Path) -> tuple[list[RoiImage], list[str]]:
    table = read_table(path, TABLE)
    images, problems = [], []
    for row in table.rows:
        try:
            images.append(_of_row(row, path.parent))
        except ValueError as error:
            problems.append(f"  row {row.number}: {error}")
    if problems:
        listed = "\n".join(problems)
        fault = f"{pluralize(len(problems), 'problem')}\n{listed}\n "
        raise CohortError(path, fault, "Correct these rows")
    return images, table.notes


def _of_row(row: CsvRow, folder: Path) -> RoiImage:
    name, label, mpp, split = (row.cell(column) for column in ("image", "class", "mpp", "split"))
    file = folder / name
    if not file.is_file():
        raise ValueError(f"there is no image {name!r}")
    if not label:
        raise ValueError("no class")
    return RoiImage(
        file,
        label,
        row.cell("patient"),
        read_mpp(mpp) if mpp else None,
        read_split_name(split) if split else None,
    )


def read_image_cohort(path: Path, mpp: float | None = None) -> Cohort:
    """Read image classification data: each image is a case with its class as label.

    Args:
        path: A folder with a folder for each class, or a table.
        mpp: um/px of images that do not state it.

    Returns:
        The cohort; an image that names no patient counts as a patient of its own.

    Raises:
        CohortError: If there are no images, if one is listed twice, or if a patient is in two splits.

    Example:
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from histoscout import read_image_cohort
        >>> for name in ("UDH", "ADH"):
        ...     Path("images", name).mkdir(parents=True)
        ...     Image.new("RGB", (32, 32)).save(Path("images", name, f"{name}.png"))
        >>> sorted(case.label for case in read_image_cohort(Path("images"), mpp=0.5).cases)
        ['ADH', 'UDH']
    """
    found = read_all_images(path)
    images, scale = assign_scale(found.images, mpp)
    _refuse_repeated(images, path)
    splits = _splits(images, path)
    cases = tuple(
        Case(image.path, None, image.owner, splits.get(image.owner), image.mpp, label=image.label)
        for image in images
    )
    return Cohort(cases, str(path), (*found.notes, *scale, *patient_notes(images)))


def _refuse_repeated(images: Sequence[RoiImage], path: Path) -> None:
    counts = Counter(image.path.resolve() for image in images)
    if repeated := [file.name for file, count in counts.items() if count > 1]:
        raise CohortError(path, f"names images twice: {count_and_list(repeated)}", "Leave each in once")


def _splits(images: Sequence[RoiImage], path: Path) -> dict[str, SplitName]:
    """The split of each patient of whom one is said; in two, what is learnt from one image would be asked on another."""
    splits: dict[str, set[SplitName]] = {}
    for image in images:
        if image.split is not None:
            splits.setdefault(image.owner, set()).add(image.split)
    leaks = [f"{patient} ({', '.join(sorted(of))})" for patient, of in splits.items() if len(of) > 1]
    if leaks:
        remedy = "Put all images of a patient into one split; `histoscout bracs` does so for BRACS"
        raise CohortError(path, f"patients are in two splits: {count_and_list(leaks)}", remedy)
    return {patient: next(iter(of)) for patient, of in splits.items()}
