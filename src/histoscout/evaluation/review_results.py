"""Expert review, results: read from a table or QuPath, and applied to the reference."""

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from histoscout.annotations.geojson import read_geojson
from histoscout.annotations.read import format_of
from histoscout.errors import AnnotationError, OutputError
from histoscout.evaluation.lesions.compare import SlideLesions, compare_lesions
from histoscout.evaluation.reference import Reference
from histoscout.evaluation.review import REVIEW_CLASS
from histoscout.geometry.regions import Region, Regions
from histoscout.io.names import slide_key, slide_name
from histoscout.io.tables import find_review_table, read_review_table
from histoscout.recipe_sections import ClassConfig, plain

OLD_REVIEW_CLASS = "audit: ?"
"""The class of a detection that is to be reviewed, as histoscout 0.1.0 wrote it."""

ReviewLabel = Literal["lesion", "unclear", "no lesion"]

REVIEW_WORDS: Mapping[str, ReviewLabel] = MappingProxyType(
    {
        **dict.fromkeys(("lesion", "yes", "y", "true", "1"), "lesion"),
        **dict.fromkeys(("unclear", "unsure", "maybe", "ignore"), "unclear"),
        **dict.fromkeys(
            ("no lesion", "not lesion", "not a lesion", "no", "n", "false", "0", "none"), "no lesion"
        ),
    }
)
"""Words that an expert may write in the table, and what they mean."""

UNREVIEWED = frozenset({"", "?", plain(REVIEW_CLASS), plain(OLD_REVIEW_CLASS)})
"""Words and classes of detections that are not reviewed yet."""

_ITEM_NAME = re.compile(r"(?:review|audit) \d+")
_GEOJSON = frozenset({".geojson", ".geojson.gz", ".json", ".json.gz"})


@dataclass(frozen=True, kw_only=True)
class ReviewEntry:
    """One row of the review table, or one object of a GeoJSON file.

    Attributes:
        id: Id of the detection.
        slide: Name of the slide.
        word: The word or class that the expert gave.
        where: The row or object, for messages.
        region: The region, if the file has it.
    """

    id: str
    slide: str
    word: str
    where: str
    region: Region | None = None


@dataclass(frozen=True, kw_only=True)
class ReviewResults:
    """The results of an expert review.

    Attributes:
        labels: The label of each reviewed detection, by its id.
        regions: Slide name and region of each detection, by its id, where a file has them.
        unreviewed: How many detections have no label.
    """

    labels: Mapping[str, ReviewLabel]
    regions: Mapping[str, tuple[str, Region]]
    unreviewed: int


def read_review_results(path: Path, classes: ClassConfig, annotated: Iterable[str] = ()) -> ReviewResults:
    """Read the results of an expert review: its folder, its table, or GeoJSON from QuPath.

    A result is "lesion" (or yes), "no lesion" (or no) or "unclear", or a class: the positive class means a
    lesion, classes to be ignored mean unclear, other classes no lesion. Empty cells and objects that still
    have the class "review: ?" are not reviewed. In GeoJSON only objects named "review NUMBER" count, since a
    file may hold the other annotations of the slide, too. Reviews of histoscout 0.1.0 ("audit") are read
    alike.

    Args:
        path: The folder or file.
        classes: The classes of the recipe.
        annotated: Other classes that occur on the slides; they mean no lesion.

    Returns:
        The results.

    Raises:
        AnnotationError: A file cannot be read, a word is not understood, or a detection has two results.
    """
    entries = _read_entries(path)
    negative = frozenset(plain(label) for label in annotated)

    # collect all problems before any is reported
    labels: dict[str, ReviewLabel] = {}
    problems: list[str] = []
    for entry in entries:
        label = parse_review_label(entry.word, classes, negative)
        if label is None and plain(entry.word) not in UNREVIEWED:
            problems.append(f"  {entry.where}: {entry.word!r} is not understood")
        elif label is not None and labels.setdefault(entry.id, label) != label:
            problems.append(f"  {entry.where}: {label}, but {labels[entry.id]} elsewhere")
    if problems:
        listed = "\n".join(problems)
        fault = f"{len(problems)} review results cannot be used\n{listed}"
        remedy = f"Write lesion, no lesion or unclear, or the class {classes.positive}"
        raise AnnotationError(path, fault, remedy)

    return ReviewResults(
        labels=labels,
        regions={entry.id: (entry.slide, entry.region) for entry in entries if entry.region is not None},
        unreviewed=len({entry.id for entry in entries} - labels.keys()),
    )


def parse_review_label(
    word: str, classes: ClassConfig, negative: Container[str] = frozenset()
) -> ReviewLabel | None:
    """Understand a word or class that an expert gave.

    Args:
        word: The word or class.
        classes: The classes of the recipe.
        negative: Further classes that mean no lesion, in `plain` spelling.

    Returns:
        The label; None if it is not reviewed, and for unknown words.
    """
    # words go before classes
    spelling = plain(word)
    if spelling in UNREVIEWED:
        return None
    if spelling in REVIEW_WORDS:
        return REVIEW_WORDS[spelling]

    # a class of the recipe, or another one that is annotated
    label = classes.canonical(word)
    if label in (classes.positive, "ignore"):
        return "lesion" if label == classes.positive else "unclear"
    if label == "reviewed":
        return None
    return "no lesion" if label is not None or spelling in negative else None


def _read_entries(path: Path) -> list[ReviewEntry]:
    if path.is_dir():
        files = [entry for file in _geojson_files(path) for entry in _read_objects(file)]
        return [*_read_table(find_review_table(path)), *files]
    if format_of(path) in _GEOJSON:
        return _read_objects(path)

    # a table alone: the files beside it give the regions, but no results
    rows = _read_table(path)
    ids = {row.id for row in rows}
    beside = [entry for file in _geojson_files(path.parent) for entry in _read_objects(file)]
    return [*rows, *(replace(entry, word="") for entry in beside if entry.id in ids)]


def _geojson_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if format_of(file) in _GEOJSON)


def _read_objects(path: Path) -> list[ReviewEntry]:
    """The reviewed objects of a GeoJSON file, which is named after its slide."""
    slide = slide_name(path.name[: -len(format_of(path) or "") or None])
    entries = []
    for region in read_geojson(path).regions:
        name = str(region.properties.get("name", "")).strip()
        if _ITEM_NAME.fullmatch(name):
            where = f"{path.name}, {name}"
            entry = ReviewEntry(id=region.id, slide=slide, word=region.label, where=where, region=region)
            entries.append(entry)
    return entries


def _read_table(path: Path) -> list[ReviewEntry]:
    rows = read_review_table(path, ("id", "slide", "verdict"))
    return [
        ReviewEntry(id=row["id"], slide=row["slide"], word=row["verdict"], where=f"row {number}")
        for number, row in enumerate(rows, start=2)
        if row["id"]
    ]


def refuse_lost_review(folder: Path, overwrite: bool) -> None:
    """Refuse to replace an expert review: any without `overwrite`, and never one with results.

    Args:
        folder: The folder of the review.
        overwrite: Whether a review without results may be replaced.

    Raises:
        OutputError: The folder holds a review that would be lost, or one that cannot be read and may have
            results.
    """
    # a review is its table, its GeoJSON files, or both
    table = find_review_table(folder)
    files = _geojson_files(folder) if folder.is_dir() else []
    if not table.exists() and not files:
        return
    if not overwrite:
        remedy = "Give its results with --reviewed, move it to another place, or --overwrite it"
        raise OutputError(folder, "the folder holds an expert review already", remedy)

    # with overwrite, only a review without results may go
    remedy = "Move it to another place first"
    try:
        rows = read_review_table(table, ("verdict",)) if table.exists() else []
        words = [row["verdict"] for row in rows]
        words += [entry.word for file in files for entry in _read_objects(file)]
    except AnnotationError as error:
        fault = f"the expert review in the folder cannot be read and its results would be lost ({error})"
        raise OutputError(folder, fault, remedy) from error
    if any(plain(word) not in UNREVIEWED for word in words):
        raise OutputError(
            folder, "the folder holds an expert review with results, which would be lost", remedy
        )


# ---------------------------------------------------------------- corrected reference


def correct_reference(reference: Reference, detected: Regions, results: ReviewResults) -> Reference:
    """Correct the reference of a slide by an expert review.

    Detections labeled as lesion become lesions, unclear ones become areas to be ignored; "no lesion" changes
    nothing.

    Args:
        reference: The reference of the slide.
        detected: The regions that are detected now. A reviewed region that is not among them is taken from
            the review.
        results: The results of the review.

    Returns:
        The corrected reference.
    """
    # regions of today go before those of the review
    from_review = {
        id: region
        for id, (slide, region) in results.regions.items()
        if slide_key(slide) == slide_key(reference.name)
    }
    regions = {**from_review, **{region.id: region for region in detected}}
    classes: dict[ReviewLabel, str] = {"lesion": reference.recipe.classes.positive, "unclear": "ignore"}
    added = [
        replace(region, label=classes[results.labels[id]], score=None)
        for id, region in regions.items()
        if results.labels.get(id) in classes
    ]
    return replace(reference, regions=Regions.of([*reference.regions, *added]))


def compare_with_review(reference: Reference, lesions: SlideLesions, results: ReviewResults) -> SlideLesions:
    """Compare the same detections again, with the reference corrected by an expert review.

    Args:
        reference: The reference of the slide.
        lesions: The comparison without the review.
        results: The results of the review.

    Returns:
        The comparison with the corrected reference.
    """
    detected = Regions.of(detection.region for detection in lesions.detections)
    corrected = correct_reference(reference, detected, results)
    return compare_lesions(corrected, detected, lesions.threshold)


def review_notes(results: ReviewResults, lesions: Mapping[str, SlideLesions], where: Path) -> list[str]:
    """Summarize an expert review for the user.

    Args:
        results: The results of the review.
        lesions: Lesions and detections by slide name.
        where: Where the results were read.

    Returns:
        The notes.

    Raises:
        AnnotationError: No result is of a detection on these slides.
    """
    # a result is used if its detection is on one of these slides, today or in the review
    ids = {detection.region.id for slide in lesions.values() for detection in slide.detections}
    keys = set(map(slide_key, lesions))
    ids |= {id for id, (slide, _) in results.regions.items() if slide_key(slide) in keys}
    used = Counter(label for id, label in results.labels.items() if id in ids)
    if not used:
        fault = "the expert review has no result for a detection on these slides"
        raise AnnotationError(where, fault, "Give the review of this model and these slides")
    listed = ", ".join(f"{count} {label}" for label, count in used.most_common())
    notes = [f"an expert reviewed {used.total()} detections: {listed}; {results.unreviewed} are not reviewed"]
    if others := len(results.labels) - used.total():
        notes.append(f"{others} review results are of detections that are not on these slides")
    return notes
