"""What a cohort and a machine are like, in numbers: all that a plan may rest on (nnU-Net's "dataset fingerprint").

Slides whose split is "test" are never opened. Nothing here needs torch.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import shapely
from numpy.typing import NDArray

from histoscout.cohort.annotated_slide import UNLISTED, labeled_regions
from histoscout.cohort.case import Case, open_case
from histoscout.cohort.cohort import Cohort
from histoscout.errors import CohortError
from histoscout.geometry.regions import Region, Regions
from histoscout.progress import Progress
from histoscout.recipe import ClassConfig, PatchConfig, TissueConfig, plain
from histoscout.sampling.augment import DENSITY, RGB_TO_HED
from histoscout.slides.slide import Slide
from histoscout.tissue.mask import find_tissue

MOST_LOOKED_AT = 40  # slides whose tissue and stain are looked at; outlines are read on all
OVERVIEW_PX = 512  # longest side at which stain is looked at

_AS_TYPED = ClassConfig(
    positive="\0", ignore=(), reviewed=()
)  # a class that nobody can type: every label stays as it is


@dataclass(frozen=True)
class Spread:
    """The median of some numbers, and where their smallest and largest tenth begin."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        low, median, high = np.quantile(np.asarray(values, np.float64), [0.1, 0.5, 0.9]).tolist()
        return cls(low, median, high)

    def __str__(self) -> str:
        return f"median {self.median:.3g}, tenths {self.low:.3g} and {self.high:.3g}"


@dataclass(frozen=True)
class ClassFacts:
    """One annotated class: its most common spelling, how much of it there is, and how large its outlines are.

    `diameter_um` is that of the circle of the same area, `extent_um` the longer side of the outline's box. `holds` is
    the share of all outlines of other classes that lie in outlines of this one.
    """

    name: str
    regions: int
    patients: int
    slides: int
    area_mm2: float
    diameter_um: Spread
    extent_um: Spread
    holds: float = 0.0


@dataclass(frozen=True)
class SlideScale:
    """How fine a slide is, who says so, and its shorter side."""

    name: str
    mpp: float
    source: str
    shorter_um: float


@dataclass(frozen=True)
class Stain:
    """How differently patients are stained: the mean density of each dye in a patient's tissue, over patients."""

    patients: int
    hematoxylin: Spread
    eosin: Spread


@dataclass(frozen=True)
class Machine:
    """What a training may use. Memory in GiB, None where the system does not say."""

    cores: int
    memory_gb: float | None
    device: Literal["cpu", "cuda", "mps"]
    gpu_memory_gb: float | None = None
    bf16: bool = False


@dataclass(frozen=True)
class CohortFingerprint:
    """A cohort's annotated slides outside the split "test", and the machine that will learn from them.

    `tissue_mm2` is the mean of a slide; `annotated_share` how much of the tissue is outlined, whatever the class;
    both, and the stain, of the `looked_at` slides. `tuned_by_table` says whether the cohort names its tuning patients,
    `built_in` whether histoscout drew its slides.
    """

    patients: int
    slides: tuple[SlideScale, ...]
    classes: tuple[ClassFacts, ...]
    machine: Machine
    looked_at: int
    tissue_mm2: float
    annotated_share: float
    stain: Stain | None = None
    without_annotations: int = 0
    test_slides: int = 0
    tuned_by_table: bool = False
    built_in: bool = False


@dataclass(frozen=True)
class DrawnSlide:
    """What is drawn on a slide, labels as they were typed, the slide's scale, and what a user should know of it."""

    case: Case
    scale: SlideScale
    regions: Regions
    notes: tuple[str, ...] = ()


def read_drawn(cohort: Cohort, progress: Progress) -> tuple[DrawnSlide, ...]:
    """The outlines of every annotated slide that is not kept for testing; CohortError if there is none."""
    cases = [case for case in cohort.cases if case.split != "test" and case.annotations is not None]
    if not cases:
        fault = "has no annotated slide outside the split test"
        raise CohortError(cohort.where, fault, "Put outlines beside the slides, or name them in the table")
    drawn = []
    progress.start("reading outlines", len(cases))
    for case in cases:
        with open_case(case) as slide:
            found = labeled_regions(case, _AS_TYPED, slide)
            notes = tuple(f"{case.name}: {note}" for note in found.notes if not note.startswith(UNLISTED))
            drawn.append(DrawnSlide(case, _scale(slide), found.regions, notes))
        progress.advance()
    progress.done()
    return tuple(drawn)


def _scale(slide: Slide) -> SlideScale:
    shorter = min(slide.box.width, slide.box.height) * slide.mpp
    return SlideScale(slide.name, slide.mpp, slide.mpp_source, shorter)


def take_fingerprint(
    cohort: Cohort, drawn: Sequence[DrawnSlide], machine: Machine, progress: Progress
) -> CohortFingerprint:
    """Measure a cohort whose outlines have been read. Looks at the tissue of up to 40 slides, of all patients in turn."""
    chosen = _in_turn(drawn)[:MOST_LOOKED_AT]
    looks = []
    progress.start("looking at tissue and stain", len(chosen))
    for one in chosen:
        looks.append(_look(one))
        progress.advance()
    progress.done()
    tissue = sum(look.tissue_mm2 for look in looks)
    outlined = sum(look.outlined_mm2 for look in looks)
    rest = [case for case in cohort.cases if case.split != "test"]
    return CohortFingerprint(
        patients=len({one.case.patient for one in drawn}),
        slides=tuple(one.scale for one in drawn),
        classes=class_facts(drawn),
        machine=machine,
        looked_at=len(looks),
        tissue_mm2=tissue / len(looks),
        annotated_share=min(1.0, outlined / tissue) if tissue else 0.0,
        stain=_stain(looks),
        without_annotations=len(rest) - len(drawn),
        test_slides=len(cohort.cases) - len(rest),
        tuned_by_table=any(case.split == "tune" for case in rest),
        built_in=cohort.built_in,
    )


def _in_turn(drawn: Sequence[DrawnSlide]) -> list[DrawnSlide]:
    """The first slide of every patient, then the second of each, and so on."""
    seen: Counter[str] = Counter()
    turns = []
    for number, one in enumerate(drawn):
        turns.append((seen[one.case.patient], number))
        seen[one.case.patient] += 1
    return [drawn[number] for _, number in sorted(turns)]


# ---------------------------------------------------------------- classes


def class_facts(drawn: Sequence[DrawnSlide]) -> tuple[ClassFacts, ...]:
    """Every class with its facts, the one with most outlines first; spellings that differ in case or blanks are one."""
    of_class: dict[str, list[tuple[DrawnSlide, Region]]] = defaultdict(list)
    for one in drawn:
        for region in one.regions:
            of_class[plain(region.label)].append((one, region))
    inside = sum((_inside(one.regions) for one in drawn), Counter[str]())
    total = sum(map(len, of_class.values()))
    facts = [
        _facts(pairs, inside[word] / max(1, total - len(pairs))) for word, pairs in sorted(of_class.items())
    ]
    return tuple(sorted(facts, key=lambda each: -each.regions))


def _facts(pairs: Sequence[tuple[DrawnSlide, Region]], holds: float) -> ClassFacts:
    spellings = Counter(region.label for _, region in pairs)
    areas = [region.outline.area * one.scale.mpp**2 for one, region in pairs]
    extents = [max(region.box.width, region.box.height) * one.scale.mpp for one, region in pairs]
    return ClassFacts(
        name=min(spellings, key=lambda name: (-spellings[name], name)),
        regions=len(pairs),
        patients=len({one.case.patient for one, _ in pairs}),
        slides=len({one.case.slide for one, _ in pairs}),
        area_mm2=float(sum(areas)) * 1e-6,
        diameter_um=Spread.of([2 * (area / np.pi) ** 0.5 for area in areas]),
        extent_um=Spread.of(extents),
        holds=holds,
    )


def _inside(regions: Regions) -> Counter[str]:
    """For each class, how many outlines of other classes have a point of theirs in its outlines."""
    if not len(regions):
        return Counter()
    words = [plain(region.label) for region in regions]
    tree = shapely.STRtree([region.outline for region in regions])
    points = [region.outline.representative_point() for region in regions]
    found, holding = tree.query(points, predicate="within").tolist()
    pairs = {(one, words[other]) for one, other in zip(found, holding, strict=True)}
    return Counter(word for one, word in pairs if words[one] != word)


# ---------------------------------------------------------------- tissue and stain


@dataclass(frozen=True)
class _Look:
    """What a slide's tissue is like: its area, what of it is outlined, and the mean density of each dye in it."""

    patient: str
    tissue_mm2: float
    outlined_mm2: float
    dyes: NDArray[np.float64] | None


def _look(one: DrawnSlide) -> _Look:
    with open_case(one.case) as slide:
        tissue = find_tissue(slide, TissueConfig(), PatchConfig())
        pixels, mpp = slide.overview(OVERVIEW_PX)
        seen = tissue.mask_of(slide.box, mpp / slide.mpp)
        dyes = None
        if seen.shape == pixels.shape[:2] and seen.any():
            dyes = (DENSITY[pixels[seen]] @ RGB_TO_HED).mean(0, dtype=np.float64)[:2]
    outlined = sum(region.area_mm2(one.scale.mpp) for region in one.regions)
    return _Look(one.case.patient, tissue.area_mm2, outlined, dyes)


def _stain(looks: Iterable[_Look]) -> Stain | None:
    of_patient: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    for look in looks:
        if look.dyes is not None:
            of_patient[look.patient].append(look.dyes)
    if not of_patient:
        return None
    means = np.array([np.mean(dyes, axis=0) for dyes in of_patient.values()])
    return Stain(len(means), Spread.of(means[:, 0].tolist()), Spread.of(means[:, 1].tolist()))
