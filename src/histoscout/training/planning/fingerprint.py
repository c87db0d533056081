"""The fingerprint of a cohort and a machine: all numbers that a plan may use (as nnU-Net's "dataset fingerprint").

Slides of the split "test" are never opened. Nothing here needs torch.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import shapely
from numpy.typing import NDArray

from histoscout.annotations.overlaps import describe_overlaps
from histoscout.cohort.annotated_slide import UNLISTED, labeled_regions
from histoscout.cohort.case import Case, open_case
from histoscout.cohort.cohort import Cohort
from histoscout.errors import CohortError
from histoscout.geometry.regions import Region, Regions
from histoscout.progress import Progress
from histoscout.recipe_sections import ClassConfig, PatchConfig, TissueConfig, plain
from histoscout.tissue.artifacts import OPTICAL_DENSITY, RGB_TO_HED
from histoscout.tissue.mask import find_tissue

MAX_SAMPLED_SLIDES = 40
"""Slides whose tissue and stain are measured; annotations are read on all slides."""

OVERVIEW_PX = 512
"""Longest side at which the stain is measured."""

_AS_TYPED = ClassConfig(positive="\U0010fffd", ignore=(), reviewed=())
"""Classes with a name that nobody can type as the positive one: every label stays as it is."""


@dataclass(frozen=True)
class Quantiles:
    """Median, and 10 % and 90 % quantile of some numbers.

    Attributes:
        low: The 10 % quantile.
        median: The median.
        high: The 90 % quantile.
    """

    low: float
    median: float
    high: float

    @classmethod
    def from_values(cls, values: Sequence[float]) -> Self:
        """Compute the quantiles of some values."""
        low, median, high = np.quantile(np.asarray(values, np.float64), [0.1, 0.5, 0.9]).tolist()
        return cls(low, median, high)

    def __str__(self) -> str:
        """Describe the quantiles."""
        return f"median {self.median:.3g} (80 % from {self.low:.3g} to {self.high:.3g})"


@dataclass(frozen=True, kw_only=True)
class ClassStatistics:
    """One annotated class: how much of it there is, and how large its regions are.

    Attributes:
        name: Its most common spelling.
        regions: Number of regions.
        patients: Number of patients with such regions.
        slides: Number of slides with such regions.
        area_mm2: Area of all regions.
        diameter_um: Diameter of the circle with the area of a region.
        extent_um: Longer side of the box of a region.
        contained_share: Share of the regions of other classes that are inside regions of this class.
    """

    name: str
    regions: int
    patients: int
    slides: int
    area_mm2: float
    diameter_um: Quantiles
    extent_um: Quantiles
    contained_share: float = 0.0


@dataclass(frozen=True, kw_only=True)
class SlideScale:
    """The scale of a slide.

    Attributes:
        name: The slide.
        mpp: um per level-0 px.
        source: Where `mpp` is from.
        shorter_um: The shorter side of the slide.
    """

    name: str
    mpp: float
    source: str
    shorter_um: float


@dataclass(frozen=True)
class StainStatistics:
    """How differently patients are stained: mean optical density of each dye in a patient's tissue, over patients.

    Attributes:
        patients: Number of patients.
        hematoxylin: Density of hematoxylin.
        eosin: Density of eosin.
    """

    patients: int
    hematoxylin: Quantiles
    eosin: Quantiles


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a training may use.

    Attributes:
        cores: Number of cores.
        memory_gb: Memory in GiB; None where the system does not say.
        device: The fastest device.
        gpu_memory_gb: Memory of the GPU in GiB.
        bf16: Whether the device is faster with bfloat16.
    """

    cores: int
    memory_gb: float | None
    device: Literal["cpu", "cuda", "mps"]
    gpu_memory_gb: float | None = None
    bf16: bool = False


@dataclass(frozen=True, kw_only=True)
class CohortFingerprint:
    """The annotated slides of a cohort outside the split "test", and the machine.

    Attributes:
        patients: Number of patients.
        slides: The scale of each slide.
        classes: The annotated classes, the one with most regions first.
        machine: The machine.
        sampled_slides: Number of slides whose tissue and stain were measured.
        tissue_mm2: Mean tissue of a sampled slide.
        annotated_share: Annotated share of the tissue of the sampled slides, whatever the class.
        stain: Stain of the sampled slides.
        without_annotations: Number of slides without annotations.
        test_slides: Number of slides of the split "test".
        tuned_by_table: Whether the table of the cohort names the tuning set.
        built_in: Whether the slides are synthetic.
    """

    patients: int
    slides: tuple[SlideScale, ...]
    classes: tuple[ClassStatistics, ...]
    machine: Machine
    sampled_slides: int
    tissue_mm2: float
    annotated_share: float
    stain: StainStatistics | None = None
    without_annotations: int = 0
    test_slides: int = 0
    tuned_by_table: bool = False
    built_in: bool = False


@dataclass(frozen=True, kw_only=True)
class SlideAnnotations:
    """The annotations of a slide with the labels as they were typed.

    Attributes:
        case: The case.
        scale: The slide's scale.
        regions: The annotations.
        notes: What a user should know.
    """

    case: Case
    scale: SlideScale
    regions: Regions
    notes: tuple[str, ...] = ()


def read_slide_annotations(cohort: Cohort, progress: Progress) -> tuple[SlideAnnotations, ...]:
    """Read the annotations of every slide that is not kept for testing.

    Args:
        cohort: The cohort.
        progress: Who is informed.

    Returns:
        One entry per annotated slide.

    Raises:
        CohortError: If there is no annotated slide.
    """
    cases = [case for case in cohort.cases if case.split != "test" and case.annotated]
    if not cases:
        fault = "the cohort has no annotated slide outside the split test"
        raise CohortError(cohort.where, fault, "Put annotations beside the slides, or name them in the table")
    slides = []
    progress.start("reading annotations", len(cases))
    for case in cases:
        with open_case(case) as slide:
            annotations = labeled_regions(case, _AS_TYPED, slide)
            notes = [note for note in annotations.notes if not note.startswith(UNLISTED)]
            notes += describe_overlaps(annotations.regions, ClassConfig())
            shorter_um = min(slide.box.width, slide.box.height) * slide.mpp
            slides.append(
                SlideAnnotations(
                    case=case,
                    scale=SlideScale(
                        name=slide.name, mpp=slide.mpp, source=slide.mpp_source, shorter_um=shorter_um
                    ),
                    regions=annotations.regions,
                    notes=tuple(f"{case.name}: {note}" for note in notes),
                )
            )
        progress.advance()
    progress.done()
    return tuple(slides)


def compute_fingerprint(
    cohort: Cohort, slides: Sequence[SlideAnnotations], machine: Machine, progress: Progress
) -> CohortFingerprint:
    """Measure a cohort; tissue and stain on up to 40 slides, taken from all patients in turn.

    Args:
        cohort: The cohort.
        slides: Its annotations.
        machine: The machine.
        progress: Who is informed.

    Returns:
        The fingerprint.
    """
    # the first slide of every patient, then the second of each, and so on
    counts: Counter[str] = Counter()
    turns = []
    for number, slide in enumerate(slides):
        turns.append((counts[slide.case.patient], number))
        counts[slide.case.patient] += 1
    sampled = [slides[number] for _, number in sorted(turns)][:MAX_SAMPLED_SLIDES]
    samples = []
    progress.start("measuring tissue and stain", len(sampled))
    for slide in sampled:
        samples.append(_sample_tissue(slide))
        progress.advance()
    progress.done()
    tissue = sum(sample.tissue_mm2 for sample in samples)
    annotated = sum(sample.annotated_mm2 for sample in samples)
    cases = [case for case in cohort.cases if case.split != "test"]
    return CohortFingerprint(
        patients=len({slide.case.patient for slide in slides}),
        slides=tuple(slide.scale for slide in slides),
        classes=class_statistics(slides),
        machine=machine,
        sampled_slides=len(samples),
        tissue_mm2=tissue / len(samples),
        annotated_share=min(1.0, annotated / tissue) if tissue else 0.0,
        stain=_stain_statistics(samples),
        without_annotations=len(cases) - len(slides),
        test_slides=len(cohort.cases) - len(cases),
        tuned_by_table=any(case.split == "tune" for case in cases),
        built_in=cohort.built_in,
    )


# ---------------------------------------------------------------- classes


def class_statistics(slides: Sequence[SlideAnnotations]) -> tuple[ClassStatistics, ...]:
    """Compute the statistics of every annotated class.

    Args:
        slides: The annotations of a cohort.

    Returns:
        The classes, the one with most regions first; spellings that differ in case or spaces are one class.
    """
    by_class: dict[str, list[tuple[SlideAnnotations, Region]]] = defaultdict(list)
    for slide in slides:
        for region in slide.regions:
            by_class[plain(region.label)].append((slide, region))
    contained = sum((_count_contained(slide.regions) for slide in slides), Counter[str]())
    total = sum(map(len, by_class.values()))
    statistics = []
    for name, pairs in sorted(by_class.items()):
        spellings = Counter(region.label for _, region in pairs)
        areas = [region.outline.area * slide.scale.mpp**2 for slide, region in pairs]
        extents = [max(region.box.width, region.box.height) * slide.scale.mpp for slide, region in pairs]
        statistics.append(
            ClassStatistics(
                name=min(spellings, key=lambda spelling: (-spellings[spelling], spelling)),
                regions=len(pairs),
                patients=len({slide.case.patient for slide, _ in pairs}),
                slides=len({slide.case.key for slide, _ in pairs}),
                area_mm2=float(sum(areas)) * 1e-6,
                diameter_um=Quantiles.from_values([2 * (area / np.pi) ** 0.5 for area in areas]),
                extent_um=Quantiles.from_values(extents),
                contained_share=contained[name] / max(1, total - len(pairs)),
            )
        )
    return tuple(sorted(statistics, key=lambda part: -part.regions))


def _count_contained(regions: Regions) -> Counter[str]:
    """For each class, the number of regions of other classes with a point inside its regions."""
    if not len(regions):
        return Counter()
    names = [plain(region.label) for region in regions]
    tree = shapely.STRtree([region.outline for region in regions])
    points = [region.outline.representative_point() for region in regions]
    inner, outer = tree.query(points, predicate="within").tolist()
    pairs = {(region, names[container]) for region, container in zip(inner, outer, strict=True)}
    return Counter(name for region, name in pairs if names[region] != name)


# ---------------------------------------------------------------- tissue and stain


@dataclass(frozen=True)
class _TissueSample:
    """Tissue of one slide: its area, the annotated area, and the mean density of hematoxylin and eosin in it."""

    patient: str
    tissue_mm2: float
    annotated_mm2: float
    densities: NDArray[np.float64] | None


def _sample_tissue(annotations: SlideAnnotations) -> _TissueSample:
    with open_case(annotations.case) as slide:
        tissue = find_tissue(slide, TissueConfig(), PatchConfig())
        pixels, mpp = slide.overview(OVERVIEW_PX)
        mask = tissue.mask_in(slide.box, mpp / slide.mpp)
        densities = None
        if mask.shape == pixels.shape[:2] and mask.any():
            densities = (OPTICAL_DENSITY[pixels[mask]] @ RGB_TO_HED).mean(0, dtype=np.float64)[:2]
    return _TissueSample(
        patient=annotations.case.patient,
        tissue_mm2=tissue.area_mm2,
        annotated_mm2=sum(region.area_mm2(annotations.scale.mpp) for region in annotations.regions),
        densities=densities,
    )


def _stain_statistics(samples: Iterable[_TissueSample]) -> StainStatistics | None:
    by_patient: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    for sample in samples:
        if sample.densities is not None:
            by_patient[sample.patient].append(sample.densities)
    if not by_patient:
        return None
    means = np.array([np.mean(densities, axis=0) for densities in by_patient.values()])
    return StainStatistics(
        patients=len(means),
        hematoxylin=Quantiles.from_values(means[:, 0].tolist()),
        eosin=Quantiles.from_values(means[:, 1].tolist()),
    )
