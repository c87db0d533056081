"""Image classification data: a folder with a folder for each class, or a table."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from types import MappingProxyType

from histoscout.cohort.bracs import MPP as BRACS_MPP
from histoscout.cohort.case import Case, SplitName
from histoscout.cohort.cohort import TABLES, Cohort
from histoscout.cohort.discovery import find_slides, is_named_like_slide, unreadable_notes
from histoscout.cohort.leakage import find_split_conflicts
from histoscout.cohort.table import SPLITS, read_mpp, read_split_name
from histoscout.errors import CohortError
from histoscout.io.files import StrPath
from histoscout.io.inputs import real_path
from histoscout.io.names import patient_key, patient_spellings, spellings_note
from histoscout.io.notes import count_and_list, pluralize
from histoscout.io.tables import SLIDE_TABLE_COLUMNS, CsvRow, TableSchema, read_headings, read_table
from histoscout.recipe_sections import plain

BRACS_NAME = re.compile(r"(?P<slide>BRACS_\w+?)_(?P<label>N|PB|UDH|FEA|ADH|DCIS|IC)_\d+", re.IGNORECASE)
"""Names of BRACS images, such as BRACS_010_PB_32: slide, class and number."""

NUMBER_PREFIX = re.compile(r"^\d+_(?=\D)")
"""The number before the class in names of folders, such as 0_N."""

NOT_CLASSES = frozenset({"annotations", "slides"})
"""Names of folders that are not classes."""

COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "image": ("image", "path", "file", "filename"),
        "class": ("class", "label"),
        **{column: SLIDE_TABLE_COLUMNS[column] for column in ("patient", "mpp", "split")},
    }
)
"""The names that each column of a table may have."""

IMAGE_TABLE = TableSchema(
    items="images",
    columns=COLUMNS,
    required=("image", "class"),
    remedy="Give a table with the columns image and class",
)


@dataclass(frozen=True)
class RoiImage:
    """An image that belongs to one class as a whole, such as a region of interest.

    Attributes:
        path: The image file.
        label: Its class.
        patient: Its patient; "" if none is named.
        mpp: um/px, used where the file does not state it.
        split: Its split; None if none is named.
    """

    path: Path
    label: str
    patient: str = ""
    _: KW_ONLY
    mpp: float | None = None
    split: SplitName | None = None

    @property
    def owner(self) -> str:
        """The patient; for an image that names none, a name of its own."""
        return self.patient or "/".join([*([self.split] if self.split else []), self.label, self.path.stem])


@dataclass(frozen=True)
class RoiImages:
    """Image classification data.

    Attributes:
        images: The images.
        where: The folder or table they come from.
        notes: Notes for the user.
    """

    images: tuple[RoiImage, ...]
    where: str
    notes: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Every class once, sorted."""
        return tuple(sorted({image.label for image in self.images}))


# ---------------------------------------------------------------- reading


def is_image_folder(path: Path) -> bool:
    """Whether a path holds image classification data instead of a cohort of slides.

    Args:
        path: A folder or table.

    Returns:
        True for a folder without slides that has folders of at least two classes, and for a table with the columns
        image and class and without annotations.
    """
    if path.is_dir():
        return not find_slides(path) and len({image.label for image in _images_in_folder(path)}) > 1
    if path.suffix.casefold() not in TABLES or not path.is_file():
        return False
    headings = read_headings(path)
    has_images = all(headings & set(COLUMNS[column]) for column in ("image", "class"))
    return has_images and not headings & set(SLIDE_TABLE_COLUMNS["annotations"])


def read_all_images(path: Path) -> RoiImages:
    """Read the images of a folder or table with their classes, of all splits.

    Folders may be split/class or class/split, with split train, val or test; "0_N" is class N. In BRACS, class and
    slide are read from the name of the image (BRACS_010_PB_32.png), and the slide counts as the patient. A table has
    the columns image and class, and optionally patient, mpp (um/px) and split. Classes that differ only in case,
    blanks, hyphens or underscores are one.

    Args:
        path: A folder with a folder for each class, or a table.

    Returns:
        The images.

    Raises:
        CohortError: If there are no images, or the table has problems.
    """
    if path.is_dir():
        images, notes = _images_in_folder(path), unreadable_notes(_named_like_images(path), "images")
    else:
        images, notes = _images_in_table(path)
    if not images:
        raise CohortError(path, "there are no images by class", "Give a folder for each class")
    # Different spellings of a class become the most frequent one.
    counts = Counter(image.label for image in images)
    spellings: dict[str, list[str]] = {}
    for label in sorted(counts, key=lambda label: (-counts[label], label)):
        spellings.setdefault(plain(label), []).append(label)
    merged = [" = ".join(labels) for labels in spellings.values() if len(labels) > 1]
    if merged:
        notes = [*notes, f"classes taken as one: {'; '.join(merged)}"]
    images = [replace(image, label=spellings[plain(image.label)][0]) for image in images]
    # Different spellings of a patient become the first one.
    if patients := patient_spellings(image.patient for image in images if image.patient):
        one = {spelling: group[0] for group in patients for spelling in group}
        images = [replace(image, patient=one.get(image.patient, image.patient)) for image in images]
        notes = [*notes, spellings_note(patients)]
    return RoiImages(tuple(images), str(path), tuple(notes))


def read_images(path: Path) -> RoiImages:
    """Read the images to evaluate: the test split, or else the images without a split.

    Args:
        path: A folder with a folder for each class, or a table.

    Returns:
        The images.

    Raises:
        CohortError: If there are no such images, or the table has problems.
    """
    data = read_all_images(path)
    test = tuple(image for image in data.images if image.split == "test")
    images = test or tuple(image for image in data.images if image.split is None)
    if not images:
        raise CohortError(path, "the folder holds no test images", "Give a folder for each class")
    left_out = len(data.images) - len(images)
    notes = [f"{left_out} images that are not of the split test are left out"] if left_out else []
    return replace(data, images=images, notes=(*data.notes, *notes, *patient_notes(images)))


def _named_like_images(folder: Path) -> list[Path]:
    """The entries one or two folders below this one that have names of images, and are not hidden."""
    return [
        file
        for file in sorted(file for pattern in ("*/*", "*/*/*") for file in folder.glob(pattern))
        if is_named_like_slide(file)
        and not any(
            part.startswith(".") or part.casefold() in NOT_CLASSES for part in file.relative_to(folder).parts
        )
    ]


def _images_in_folder(folder: Path) -> list[RoiImage]:
    """The images one or two folders below this one."""
    images = []
    for file in _named_like_images(folder):
        if not file.is_file():
            continue
        parts = file.relative_to(folder).parts
        # One folder may be the split, the other is the class; BRACS names its images after slide and class.
        split_folders = [part for part in parts[:-1] if part.casefold() in SPLITS]
        class_folders = [NUMBER_PREFIX.sub("", part) for part in parts[:-1] if part not in split_folders]
        bracs = BRACS_NAME.match(file.stem)
        label = bracs["label"].upper() if bracs else class_folders[0] if class_folders else parts[0]
        split = SPLITS[split_folders[0].casefold()] if split_folders else None
        images.append(RoiImage(file, label, slide_of_image(file), split=split))
    return images


def _images_in_table(path: Path) -> tuple[list[RoiImage], list[str]]:
    table = read_table(path, IMAGE_TABLE)
    images, problems = [], []
    for row in table.rows:
        try:
            images.append(_image_of_row(row, path.parent))
        except ValueError as error:
            problems.append(f"  row {row.number}: {error}")
    if problems:
        lines = "\n".join(problems)
        fault = f"{pluralize(len(problems), 'problem')}\n{lines}"
        raise CohortError(path, fault, "Correct these rows")
    return images, table.notes


def _image_of_row(row: CsvRow, folder: Path) -> RoiImage:
    """The image of a row; ValueError if a cell is wrong."""
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
        mpp=read_mpp(mpp) if mpp else None,
        split=read_split_name(split) if split else None,
    )


def slide_of_image(path: Path) -> str:
    """The slide that an image was cut from, by its BRACS name.

    Args:
        path: The image file.

    Returns:
        The name of the slide; "" for images that are not named as in BRACS.
    """
    bracs = BRACS_NAME.match(path.stem)
    return bracs["slide"] if bracs else ""


def patient_notes(images: Sequence[RoiImage]) -> tuple[str, ...]:
    """Notes for the user on images that name only their slide, or no patient.

    Args:
        images: The images.

    Returns:
        The notes.
    """
    notes = []
    slides = sum(
        bool(BRACS_NAME.match(image.path.stem)) and image.patient == slide_of_image(image.path)
        for image in images
    )
    if slides:
        notes.append(
            f"{slides} images name their slide, not their patient: slides are taken as patients, so intervals may be "
            "too narrow"
        )
    if unnamed := sum(not image.patient for image in images):
        notes.append(f"{unnamed} images name no patient")
    return tuple(notes)


def assign_scale(images: Sequence[RoiImage], mpp: float | None) -> tuple[list[RoiImage], tuple[str, ...]]:
    """Set the um/px of images that the table does not state.

    Args:
        images: The images.
        mpp: um/px; None to use 0.25 um/px for images that are named as in BRACS.

    Returns:
        The images, and a note for the user if the um/px of BRACS were used.
    """
    if mpp is not None:
        return [image if image.mpp else replace(image, mpp=mpp) for image in images], ()
    bracs = {image.path for image in images if image.mpp is None and BRACS_NAME.match(image.path.stem)}
    scaled = [replace(image, mpp=BRACS_MPP) if image.path in bracs else image for image in images]
    note = f"{len(bracs)} images are named as in BRACS: for files that do not state it, {BRACS_MPP} um/px is used (--mpp)"
    return scaled, (note,) if bracs else ()


# ---------------------------------------------------------------- as a cohort


def read_image_cohort(path: StrPath, mpp: float | None = None) -> Cohort:
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
    path = Path(path)
    data = read_all_images(path)
    images, scale_notes = assign_scale(data.images, mpp)
    counts = Counter(real_path(image.path) for image in images)
    if repeated := [file.name for file, count in counts.items() if count > 1]:
        raise CohortError(
            path, f"images are listed twice: {count_and_list(repeated)}", "Leave each of them in once"
        )
    owners = [image.owner for image in images]
    conflicts = find_split_conflicts(owners, [image.split for image in images])
    if conflicts:
        patients = [f"{patient} ({', '.join(sorted(by_split))})" for patient, by_split in conflicts.items()]
        remedy = "Put all images of a patient into one split; `histoscout bracs` does so for BRACS"
        raise CohortError(path, f"patients are in two splits: {count_and_list(patients)}", remedy)
    # An image without a split gets that of its patient.
    splits = {patient_key(image.owner): image.split for image in images if image.split is not None}
    cases = tuple(
        Case(
            image.path,
            patient=image.owner,
            split=splits.get(patient_key(image.owner)),
            mpp=image.mpp,
            label=image.label,
        )
        for image in images
    )
    return Cohort(cases, str(path), (*data.notes, *scale_notes, *patient_notes(images)))
