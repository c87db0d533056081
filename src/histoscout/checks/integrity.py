"""Can everything be read? Slides, outlines and classes, one slide after the other; a broken one stops no other.

Class names that somebody may have meant to be the same.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import shapely

from histoscout.annotations.read import Annotations
from histoscout.cohort.annotated_slide import drawn_regions
from histoscout.cohort.case import Case, open_case
from histoscout.errors import HistoscoutError
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Regions
from histoscout.io.notes import list_some
from histoscout.recipe_sections import ClassConfig, plain
from histoscout.slides.slide import Slide
from histoscout.verdict import Verdict

SHORTEST = 3  # letters of a name in which a slip can be told from another name
LONG = 6  # from here on a single wrong letter is a slip


def same_class(labels: Mapping[str, int]) -> list[tuple[str, ...]]:
    """Spellings that histoscout takes for one class: they differ in case, blanks, hyphens or underscores only."""
    groups: dict[str, list[str]] = {}
    for label in sorted(labels):
        groups.setdefault(plain(label), []).append(label)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def near_misses(labels: Mapping[str, int]) -> list[tuple[str, str]]:
    """Pairs of a rarer and a more common class name that differ by one slip of the hand; counts by name.

    A slip is two neighbouring letters exchanged, or one letter too many or too few, or in long names one wrong letter.
    "UDH" and "ADH" are two names.
    """
    counts: dict[str, int] = {}
    typed: dict[str, str] = {}
    for label, count in labels.items():
        counts[plain(label)] = counts.get(plain(label), 0) + count
        typed.setdefault(plain(label), label)
    found = [
        sorted((one, two), key=lambda name: counts[name])
        for one, two in combinations(sorted(counts), 2)
        if is_slip(one, two)
    ]
    return [(typed[rare], typed[common]) for rare, common in found]


def is_slip(one: str, two: str) -> bool:
    """Whether two names are one slip of the hand apart."""
    if min(len(one), len(two)) < SHORTEST or one == two:
        return False
    if len(one) == len(two):
        wrong = [place for place in range(len(one)) if one[place] != two[place]]
        if len(wrong) == 2 and wrong[1] == wrong[0] + 1:
            first, second = wrong
            return one[first] == two[second] and one[second] == two[first]
        return len(wrong) == 1 and len(one) >= LONG and not (one[wrong[0]] + two[wrong[0]]).isdigit()
    short, long = sorted((one, two), key=len)
    dropped = (long[:place] + long[place + 1 :] for place in range(len(long)))
    return len(long) == len(short) + 1 and not long[-1].isdigit() and short in dropped


FINEST, COARSEST = 0.1, 2.1  # um/px of a slide's finest copy that nobody wonders at
TINY_UM2 = 50.0  # less than a nucleus
TWICE = 0.95  # IoU from which two outlines are the same drawn twice
EDGE_PX = 2.0


@dataclass(frozen=True)
class Read:
    """What became of a case: um per level-0 px, and the outlines as they are in the file; or the `fault`.

    `notes` are what the readers had to say, `odd` what is wrong with outlines or scale.
    """

    case: Case
    mpp: float | None = None
    regions: Regions = field(default_factory=Regions)
    fault: str = ""
    notes: tuple[str, ...] = ()
    odd: tuple[str, ...] = ()


def read_case(case: Case) -> Read:
    """Open a case's slide and read its outlines. Nothing is raised that is a fault of the files."""
    try:
        with open_case(case) as slide:
            slide.read(Box(0, 0, 1, 1), slide.mpp)  # some files open and cannot be read
            drawn = Annotations(Regions())
            if case.annotations is not None:
                drawn = drawn_regions(case, case.annotations, slide)
    except HistoscoutError as error:
        return Read(case, fault=str(error))
    odd = (*_odd_scale(slide), *odd_outlines(drawn.regions, slide))
    return Read(case, slide.mpp, drawn.regions, notes=(*slide.notes, *drawn.notes), odd=odd)


def _odd_scale(slide: Slide) -> Iterator[str]:
    if not FINEST <= slide.mpp <= COARSEST:
        yield f"{slide.mpp:.4g} um/px is unusual for a slide ({FINEST:g} to {COARSEST:g} is usual)"


def odd_outlines(regions: Regions, slide: Slide) -> Iterator[str]:
    """What is wrong with outlines, a sentence for each kind: outside the slide, tiny, drawn twice."""
    near = slide.box.expand(EDGE_PX)
    outside = [region for region in regions if region.box.intersection(slide.box) is None]
    beyond = sum(not near.contains(region.box) for region in regions) - len(outside)
    if outside:
        yield f"{len(outside)} of {len(regions)} outlines lie outside the slide"
    if beyond:
        yield f"{beyond} of {len(regions)} outlines reach beyond the slide's edge"
    areas = np.array([region.outline.area for region in regions]) * slide.mpp**2
    if tiny := int((areas < TINY_UM2).sum()):
        yield f"{tiny} outlines are smaller than a nucleus ({TINY_UM2:g} um2)"
    pairs = drawn_twice(regions)
    alike = sum(regions[one].label == regions[two].label for one, two in pairs)
    if alike:
        yield f"{alike} outlines are drawn twice"
    if len(pairs) > alike:
        yield f"{len(pairs) - alike} outlines are drawn twice, with different classes"


def drawn_twice(regions: Regions) -> list[tuple[int, int]]:
    """Pairs of outlines that are the same as far as can be seen."""
    if len(regions) < 2:
        return []
    outlines = np.array([region.outline for region in regions], dtype=object)
    one, two = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    one, two = one[one < two], two[one < two]
    areas = shapely.area(outlines)
    similar = np.minimum(areas[one], areas[two]) > TWICE * np.maximum(areas[one], areas[two])
    one, two = one[similar], two[similar]
    shared = shapely.area(shapely.intersection(outlines[one], outlines[two]))
    same = shared > TWICE * (areas[one] + areas[two] - shared)
    return list(zip(one[same].tolist(), two[same].tolist(), strict=True))


# ---------------------------------------------------------------- what the slides say together


@dataclass(frozen=True)
class ClassRow:
    """One class on one slide, as typed."""

    label: str
    patient: str
    slide: str
    outlines: int
    area_mm2: float


def class_rows(reads: Sequence[Read]) -> list[ClassRow]:
    """How much of each class there is on each slide of each patient."""
    rows = []
    for one in reads:
        if one.mpp is not None:
            for label in one.regions.labels:
                drawn = one.regions.with_labels(label)
                area = sum(region.area_mm2(one.mpp) for region in drawn)
                rows.append(ClassRow(label, one.case.patient, one.case.name, len(drawn), area))
    return sorted(rows, key=lambda row: (row.label.casefold(), row.patient, row.slide))


def readable(reads: Sequence[Read]) -> Verdict:
    """Whether slides and annotations could be read."""
    name = "slides and outlines can be read"
    faults = [one.fault for one in reads if one.fault]
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        return Verdict(
            name=name,
            state="failed",
            message=f"{len(faults)} of {len(reads)} slides: {faults[0]}{more}",
            remedy="Mend them, or leave them out of the cohort",
        )
    bare = [one.case.name for one in reads if one.case.annotations is None]
    empty = [one.case.name for one in reads if one.case.annotations is not None and not len(one.regions)]
    if len(bare) == len(reads):
        return Verdict(
            name=name,
            state="failed",
            message="no slide has annotations",
            remedy="Name them in the column 'annotations' of the table",
        )
    if bare or empty:
        message = "; ".join(
            f"{what}: {list_some(names, 5)}"
            for what, names in (("without annotations", bare), ("nothing outlined", empty))
            if names
        )
        return Verdict(
            name=name, state="warning", message=message, remedy="Right, if nothing is to be found there"
        )
    return Verdict(
        name=name,
        state="good",
        message=f"{len(reads)} slides, {sum(len(one.regions) for one in reads)} outlines",
    )


def sound_outlines(reads: Sequence[Read]) -> Verdict:
    """Whether outlines lie on their slides, are drawn once and are of a size; whether scales are plausible."""
    name = "outlines and scales are sound"
    odd = [f"{one.case.name}: {text}" for one in reads for text in one.odd]
    if not odd:
        return Verdict(
            name=name, state="good", message="no outline outside its slide, none tiny, none drawn twice"
        )
    return Verdict(
        name=name,
        state="warning",
        message=list_some(odd, 4, "; "),
        remedy="See the table of slides",
    )


def classes_known(reads: Sequence[Read], classes: ClassConfig, named: bool) -> Verdict:
    """Whether the positive class occurs, and which spellings may be slips. `named`: the user chose the class."""
    name = "classes"
    counts = Counter(region.label for one in reads for region in one.regions)
    listed = (
        ", ".join(f"{label or 'unclassified'} ({count})" for label, count in sorted(counts.items())) or "none"
    )
    if not counts:
        return Verdict(name=name, state="cannot tell", message="no outlines")
    words = {label: classes.canonical(label) for label in counts}
    if classes.positive not in words.values():
        remedy = "Name the class to look for with --positive, or give its spellings in classes.aliases of the recipe"
        return Verdict(
            name=name,
            state="failed" if named else "warning",
            message=f"no outline of {classes.positive!r} (there are {listed})",
            remedy=remedy,
        )
    slips = [f"{rare!r} beside {common!r}" for rare, common in near_misses(counts)]
    if slips:
        return Verdict(
            name=name,
            state="warning",
            message=f"may be slips of the hand: {'; '.join(slips)} (of {listed})",
            remedy="Correct them, or name them in classes.aliases of the recipe",
        )
    same = [" = ".join(repr(label) for label in group) for group in same_class(counts)]
    taken = f"; taken as one: {'; '.join(same)}" if same else ""
    return Verdict(name=name, state="good", message=f"{listed}{taken}")
