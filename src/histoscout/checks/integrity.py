"""Integrity of a cohort: readable files, plausible scales and sizes, class names."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import shapely

from histoscout.annotations.overlaps import describe_overlaps
from histoscout.annotations.read import Annotations
from histoscout.cohort.annotated_slide import read_annotated_regions
from histoscout.cohort.case import Case, open_case
from histoscout.errors import HistoscoutError
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Regions
from histoscout.io.notes import list_some, pluralize
from histoscout.recipe_sections import ClassConfig, plain
from histoscout.slides.slide import Slide
from histoscout.verdict import Verdict

SHORTEST_NAME = 3
"""Letters of a name in which a typo can be distinguished from another name."""

LONG_NAME = 6
"""Letters of a name from which a single wrong letter counts as a typo."""

# um/px of a slide's finest level that is usual
FINEST = 0.1
COARSEST = 2.1

TINY_UM2 = 50.0
"""Less than a nucleus."""

SAME_IOU = 0.95
"""IoU from which two annotations are the same one, drawn twice."""

EDGE_PX = 2.0
"""How far an annotation may reach beyond the slide's edge unnoticed, in level-0 px."""


def find_equal_spellings(labels: Mapping[str, int]) -> list[tuple[str, ...]]:
    """Find spellings of one class that differ only in case, spaces, hyphens or underscores.

    Args:
        labels: Number of annotations by class name.

    Returns:
        Groups of two or more spellings.
    """
    groups: dict[str, list[str]] = {}
    for label in sorted(labels):
        groups.setdefault(plain(label), []).append(label)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def find_near_misses(labels: Mapping[str, int]) -> list[tuple[str, str]]:
    """Find class names that are probably typos of others.

    Args:
        labels: Number of annotations by class name.

    Returns:
        Pairs of a rarer and a more common name, see `is_typo`.
    """
    counts: dict[str, int] = {}
    # plain names are compared, spellings are returned
    typed: dict[str, str] = {}
    for label, count in labels.items():
        counts[plain(label)] = counts.get(plain(label), 0) + count
        typed.setdefault(plain(label), label)
    pairs = [
        sorted((first, second), key=lambda name: counts[name])
        for first, second in combinations(sorted(counts), 2)
        if is_typo(first, second)
    ]
    return [(typed[rare], typed[common]) for rare, common in pairs]


def is_typo(first: str, second: str) -> bool:
    """Whether two names differ by one typo.

    A typo is two neighboring letters exchanged, one letter too many or too few, or in long names one wrong letter.
    "UDH" and "ADH" are two names, and so are names that end in different digits.

    Args:
        first: A plain name.
        second: Another one.

    Returns:
        Whether they probably mean the same.
    """
    if min(len(first), len(second)) < SHORTEST_NAME or first == second:
        return False
    if len(first) == len(second):
        wrong = [place for place in range(len(first)) if first[place] != second[place]]
        if len(wrong) == 2 and wrong[1] == wrong[0] + 1:
            left, right = wrong
            return first[left] == second[right] and first[right] == second[left]
        return (
            len(wrong) == 1 and len(first) >= LONG_NAME and not (first[wrong[0]] + second[wrong[0]]).isdigit()
        )
    short, long = sorted((first, second), key=len)
    one_dropped = (long[:place] + long[place + 1 :] for place in range(len(long)))
    return len(long) == len(short) + 1 and not long[-1].isdigit() and short in one_dropped


@dataclass(frozen=True, kw_only=True)
class LoadedCase:
    """A case whose slide and annotations were opened.

    Attributes:
        case: The case.
        mpp: um per level-0 px; None if the slide cannot be read.
        regions: The annotations as they are in the file.
        fault: Why slide or annotations cannot be read; empty if they can.
        notes: Notes from the readers.
        odd: What is wrong with the annotations or the scale.
    """

    case: Case
    mpp: float | None = None
    regions: Regions = field(default_factory=Regions)
    fault: str = ""
    notes: tuple[str, ...] = ()
    odd: tuple[str, ...] = ()


def load_case(case: Case, classes: ClassConfig | None = None) -> LoadedCase:
    """Open a case's slide and read its annotations; a fault is returned, not raised.

    Args:
        case: The case.
        classes: Say which classes are ignored; the defaults if None.

    Returns:
        Its annotations, or the fault.
    """
    try:
        with open_case(case) as slide:
            # some files open and cannot be read
            slide.read(Box(0, 0, 1, 1), slide.mpp)
            annotations = Annotations(Regions())
            if case.annotations is not None:
                annotations = read_annotated_regions(case, case.annotations, slide)
    except HistoscoutError as error:
        return LoadedCase(case=case, fault=str(error))
    odd = list(describe_odd_annotations(annotations.regions, slide))
    if not FINEST <= slide.mpp <= COARSEST:
        odd.insert(0, f"{slide.mpp:.4g} um/px is unusual for a slide ({FINEST:g} to {COARSEST:g} is usual)")
    return LoadedCase(
        case=case,
        mpp=slide.mpp,
        regions=annotations.regions,
        notes=(
            *slide.notes,
            *annotations.notes,
            *describe_overlaps(annotations.regions, classes or ClassConfig()),
        ),
        odd=tuple(odd),
    )


def describe_odd_annotations(regions: Regions, slide: Slide) -> Iterator[str]:
    """Describe what is wrong with annotations: outside the slide, tiny, drawn twice.

    Args:
        regions: The annotations.
        slide: Their slide.

    Yields:
        A sentence for each kind of fault.
    """
    total = pluralize(len(regions), "annotation")
    near = slide.box.expand(EDGE_PX)
    outside = [region for region in regions if region.box.intersection(slide.box) is None]
    beyond = sum(not near.contains(region.box) for region in regions) - len(outside)
    if outside:
        yield f"{len(outside)} of {total} outside the slide"
    if beyond:
        yield f"{beyond} of {total} beyond the slide's edge in part"
    areas = np.array([region.outline.area for region in regions]) * slide.mpp**2
    if tiny := int((areas < TINY_UM2).sum()):
        yield f"{pluralize(tiny, 'annotation')} smaller than a nucleus ({TINY_UM2:g} um2)"
    pairs = find_duplicate_annotations(regions)
    alike = sum(regions[first].label == regions[second].label for first, second in pairs)
    if alike:
        yield f"{pluralize(alike, 'annotation')} drawn twice"
    if len(pairs) > alike:
        yield f"{pluralize(len(pairs) - alike, 'annotation')} drawn twice, with different classes"


def find_duplicate_annotations(regions: Regions) -> list[tuple[int, int]]:
    """Find annotations that were drawn twice, of any class.

    Args:
        regions: The annotations.

    Returns:
        Pairs of indices with an IoU above `SAME_IOU`.
    """
    if len(regions) < 2:
        return []
    outlines = np.array([region.outline for region in regions], dtype=object)
    first, second = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    first, second = first[first < second], second[first < second]
    # areas are compared before the costly intersections
    areas = shapely.area(outlines)
    similar = np.minimum(areas[first], areas[second]) > SAME_IOU * np.maximum(areas[first], areas[second])
    first, second = first[similar], second[similar]
    shared = shapely.area(shapely.intersection(outlines[first], outlines[second]))
    same = shared > SAME_IOU * (areas[first] + areas[second] - shared)
    return list(zip(first[same].tolist(), second[same].tolist(), strict=True))


@dataclass(frozen=True, kw_only=True)
class ClassCount:
    """Annotations of one class on one slide.

    Attributes:
        label: The class as the annotator typed it.
        patient: The patient.
        slide: Name of the slide.
        annotations: Number of annotations.
        area_mm2: Their area.
    """

    label: str
    patient: str
    slide: str
    annotations: int
    area_mm2: float


def count_classes(cases: Sequence[LoadedCase]) -> list[ClassCount]:
    """Count annotations and their area by class, patient and slide.

    Args:
        cases: The cases; those that cannot be read are left out.

    Returns:
        Sorted by class, patient and slide.
    """
    rows = []
    for loaded in cases:
        if loaded.mpp is None:
            continue
        for label in loaded.regions.labels:
            labeled = loaded.regions.with_labels(label)
            rows.append(
                ClassCount(
                    label=label,
                    patient=loaded.case.patient,
                    slide=loaded.case.name,
                    annotations=len(labeled),
                    area_mm2=sum(region.area_mm2(loaded.mpp) for region in labeled),
                )
            )
    return sorted(rows, key=lambda row: (row.label.casefold(), row.patient, row.slide))


def check_readable(cases: Sequence[LoadedCase]) -> Verdict:
    """Check that slides and annotations can be read.

    Args:
        cases: The cases.

    Returns:
        Failed if one cannot be read or none has annotations, a warning if some have none.
    """
    name = "slides and annotations are readable"
    if faults := [loaded.fault for loaded in cases if loaded.fault]:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        return Verdict(
            name=name,
            state="failed",
            message=f"{len(faults)} of {pluralize(len(cases), 'slide')}: {faults[0]}{more}",
            remedy="Repair them, or leave them out of the cohort",
        )
    missing = [loaded.case.name for loaded in cases if not loaded.case.annotated]
    empty = [loaded.case for loaded in cases if loaded.case.annotated and not len(loaded.regions)]
    # QuPath writes a data file for every image that was opened, annotated or not
    doubtful = [case.name for case in empty if case.annotations and case.annotations.suffix == ".qpdata"]
    if len(missing) + len(empty) == len(cases):
        return Verdict(
            name=name,
            state="failed",
            message="no slide has annotations",
            remedy="Name them in the column 'annotations' of the table",
        )
    if missing or doubtful:
        kinds = (("not annotated", missing), ("opened in QuPath, without annotations", doubtful))
        message = "; ".join(f"{kind}: {list_some(names, 5)}" for kind, names in kinds if names)
        return Verdict(
            name=name,
            state="warning",
            message=message,
            remedy='Write "none" in the column annotations for slides that have no lesion',
        )
    total = sum(len(loaded.regions) for loaded in cases)
    without = f"; {len(empty)} looked through without lesions" if empty else ""
    return Verdict(
        name=name,
        state="good",
        message=f"{pluralize(len(cases), 'slide')}, {pluralize(total, 'annotation')}{without}",
    )


def check_annotations(cases: Sequence[LoadedCase]) -> Verdict:
    """Check that annotations are on their slides, plausible in size, and drawn once.

    Args:
        cases: The cases.

    Returns:
        A warning if something is odd.
    """
    name = "annotations and scales are plausible"
    odd = [f"{loaded.case.name}: {text}" for loaded in cases for text in loaded.odd]
    if not odd:
        return Verdict(
            name=name, state="good", message="no annotation is outside its slide, tiny or drawn twice"
        )
    return Verdict(
        name=name, state="warning", message=list_some(odd, 4, "; "), remedy="See the table of slides"
    )


def check_classes(cases: Sequence[LoadedCase], classes: ClassConfig, named: bool) -> Verdict:
    """Check that the positive class occurs, and look for class names that are probably typos.

    Args:
        cases: The cases.
        classes: The recipe's classes.
        named: Whether the user chose the positive class, so that it must occur.

    Returns:
        Failed if the chosen class does not occur, a warning for typos.
    """
    name = "classes"
    counts = Counter(region.label for loaded in cases for region in loaded.regions)
    if not counts:
        return Verdict(name=name, state="cannot tell", message="there are no annotations")
    listed = ", ".join(f"{label or 'unclassified'} ({count})" for label, count in sorted(counts.items()))
    if classes.positive not in {classes.canonical(label) for label in counts}:
        return Verdict(
            name=name,
            state="failed" if named else "warning",
            message=f"no annotation of {classes.positive!r} (classes: {listed})",
            remedy="Name the class to detect with --positive, or its spellings in classes.aliases of the recipe",
        )
    if typos := [f"{rare!r} beside {common!r}" for rare, common in find_near_misses(counts)]:
        return Verdict(
            name=name,
            state="warning",
            message=f"possible typos: {'; '.join(typos)} (classes: {listed})",
            remedy="Correct them, or name them in classes.aliases of the recipe",
        )
    equal = [" = ".join(repr(label) for label in group) for group in find_equal_spellings(counts)]
    joined = f"; counted as one class: {'; '.join(equal)}" if equal else ""
    return Verdict(name=name, state="good", message=f"{listed}{joined}")
