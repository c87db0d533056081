"""Scores of an evaluation: every metric with its confidence interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from histoscout.evaluation.bootstrap import (
    DRAWS,
    ConfidenceInterval,
    Statistic,
    bootstrap,
    bootstrap_difference,
)
from histoscout.evaluation.lesions.compare import SlideLesions
from histoscout.evaluation.lesions.froc import STRICT, FrocCurve, froc_curve, lesion_statistic
from histoscout.evaluation.lesions.matching import PRIMARY_RULE
from histoscout.evaluation.lesions.objects import object_statistic, sum_objects
from histoscout.evaluation.lesions.summary import class_auroc_statistic
from histoscout.evaluation.pixels.counts import PixelCounts
from histoscout.evaluation.pixels.metrics import (
    PIXEL_METRICS,
    PROBABILITY_METRICS,
    TILE_METRICS,
    Curve,
    ReliabilityBin,
    join_statistics,
    mean_dice_statistic,
    pixel_statistic,
    pr_curve,
    prevalence_statistic,
    reliability,
    roc_curve,
    select_metrics,
)
from histoscout.evaluation.pixels.tile_table import REGION_THRESHOLD, TILE_SET_METRICS
from histoscout.evaluation.protocol import CohortSummary, EvaluationProtocol, list_claims
from histoscout.evaluation.slide_metrics import BASELINES, PREVALENCE, PREVIOUS, MethodCounts, SlideScores
from histoscout.verdict import Verdict

MetricIntervals = Mapping[str, ConfidenceInterval]
"""Metrics with their confidence intervals, by name."""

COMPARED_PIXEL_METRICS = ("ap", "dice", "dice_per_patient")
"""Pixel metrics whose difference to a previous model is reported."""

COMPARED_LESION_METRICS = ("sensitivity", "fp_per_cm2", "froc_per_cm2")
"""Lesion metrics whose difference to a previous model is reported."""


@dataclass(frozen=True)
class MethodMetrics:
    """All metrics of one method over all slides, with confidence intervals over patients.

    Attributes:
        pixel: Pixel metrics by name.
        tile: Tile metrics by name; empty without probabilities.
        lesion: Lesion metrics by name; empty if the method detects no regions.
    """

    pixel: MetricIntervals
    tile: MetricIntervals
    lesion: MetricIntervals


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of an evaluation: pixel, tile and lesion metrics with 95 % confidence intervals.

    Metrics are computed from the counts of the slides on first access. The order of slides does not matter.

    Attributes:
        protocol: What was evaluated, on which patients.
        slides: The counts of each slide.
        notes: What the user should know.
        draws: Bootstrap resamples.
        seed: Seed of the resamples.
        sanity_checks: Results of the checks before the evaluation.

    Example:
        >>> import shapely
        >>> from histoscout import Box, Region, Regions, SlideComparison, score_regions
        >>> lesion = Region(shapely.Point(100, 100).buffer(40), "UDH")
        >>> slide = SlideComparison(
        ...     name="slide", truth=Regions.of([lesion]), detected=Regions(), box=Box(0, 0, 256, 256), mpp=2.0
        ... )
        >>> scores = score_regions([slide])
        >>> scores.patients
        ('slide',)
        >>> scores.lesion["sensitivity"].value
        0.0
    """

    protocol: EvaluationProtocol
    slides: tuple[SlideScores, ...]
    notes: tuple[str, ...] = ()
    draws: int = DRAWS
    seed: int = 0
    sanity_checks: tuple[Verdict, ...] = ()

    @cached_property
    def patients(self) -> tuple[str, ...]:
        """The patients, sorted by name."""
        return tuple(sorted({slide.patient for slide in self.slides}))

    @cached_property
    def patient_numbers(self) -> tuple[int, ...]:
        """The patient of each slide, by position in `patients`."""
        number = {patient: index for index, patient in enumerate(self.patients)}
        return tuple(number[slide.patient] for slide in self.slides)

    @property
    def threshold(self) -> float:
        """The probability threshold in use."""
        return self.protocol.threshold

    @cached_property
    def pixels(self) -> PixelCounts:
        """Histograms of the pixels of all slides."""
        return PixelCounts.total(slide.pixels for slide in self.slides)

    @cached_property
    def tiles(self) -> PixelCounts:
        """Histograms of the tiles of all slides."""
        return PixelCounts.total(slide.tiles for slide in self.slides)

    @property
    def lesions(self) -> tuple[SlideLesions, ...]:
        """The lesions and detections of each slide."""
        return tuple(slide.lesions for slide in self.slides)

    @property
    def reviewed(self) -> tuple[SlideLesions, ...]:
        """The lesions and detections of each slide after an expert review; empty without one."""
        return tuple(slide.reviewed for slide in self.slides if slide.reviewed is not None)

    @property
    def tissue_mm2(self) -> float:
        """Tissue that is not ignored on all slides, mm2."""
        return sum(slide.tissue_mm2 for slide in self.slides)

    # ------------------------------------------------------------ metrics

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """The evaluated method, the previous model if there is one, and the baselines."""
        previous = (PREVIOUS,) if self.protocol.previous_model else ()
        return (self.protocol.method, *previous, *BASELINES)

    @cached_property
    def metrics(self) -> Mapping[str, MethodMetrics]:
        """The metrics of every method, by its name."""
        return MappingProxyType({method: self._method_metrics(method) for method in self.methods})

    @property
    def pixel(self) -> MetricIntervals:
        """Pixel metrics of the evaluated method."""
        return self.metrics[self.protocol.method].pixel

    @property
    def tile(self) -> MetricIntervals:
        """Tile metrics of the evaluated method."""
        return self.metrics[self.protocol.method].tile

    @property
    def lesion(self) -> MetricIntervals:
        """Lesion metrics of the evaluated method."""
        return self.metrics[self.protocol.method].lesion

    def lesion_by(self, rule: str = PRIMARY_RULE, policy: str = STRICT) -> MetricIntervals:
        """Compute the lesion metrics by another matching rule or annotation policy."""
        return self.intervals(lesion_statistic(self.lesions, self.patient_numbers, rule=rule, policy=policy))

    @cached_property
    def lesion_reviewed(self) -> MetricIntervals:
        """Lesion metrics after an expert review; empty without one."""
        if not self.reviewed:
            return {}
        return self.intervals(lesion_statistic(self.reviewed, self.patient_numbers))

    @cached_property
    def objects(self) -> MetricIntervals:
        """Object metrics of the GlaS challenge and panoptic quality of the evaluated method."""
        sums = [sum_objects(slide.lesions, slide.mpp) for slide in self.slides]
        return self.intervals(object_statistic(sums, self.patient_numbers))

    @cached_property
    def tile_set(self) -> MetricIntervals:
        """Metrics of the tiles of a fixed size; empty without such."""
        if self.protocol.tile_um is None:
            return {}
        counts = self.by_patient(self.tile_set_counts)
        return self.intervals(pixel_statistic(counts, self.tile_threshold, TILE_SET_METRICS))

    @property
    def tile_set_counts(self) -> list[PixelCounts]:
        """Histograms of the tiles of a fixed size, of each slide."""
        return [slide.tile_set or PixelCounts.empty() for slide in self.slides]

    @property
    def tile_threshold(self) -> float:
        """The mean probability from which a tile of a fixed size is positive."""
        return self.threshold if self.protocol.has_probabilities else REGION_THRESHOLD

    @cached_property
    def class_auroc(self) -> MetricIntervals:
        """AUROC of the positive class against each other annotated class, over annotations."""
        annotations = [slide.scored_annotations for slide in self.slides]
        return self.intervals(
            class_auroc_statistic(annotations, self.patient_numbers, self.protocol.positive)
        )

    @cached_property
    def differences(self) -> MetricIntervals:
        """Differences to the previous model, paired over the same patients; empty without one."""
        if not self.protocol.previous_model:
            return {}
        return bootstrap_difference(
            self._compared_statistic(self.protocol.method),
            self._compared_statistic(PREVIOUS),
            len(self.patients),
            draws=self.draws,
            seed=self.seed,
        )

    def intervals(self, statistic: Statistic) -> dict[str, ConfidenceInterval]:
        """Bootstrap a statistic over the patients, with the same resamples as all metrics."""
        return bootstrap(statistic, len(self.patients), draws=self.draws, seed=self.seed)

    # ------------------------------------------------------------ curves

    @cached_property
    def roc(self) -> Curve:
        """ROC curve of pixels."""
        return roc_curve(self.pixels)

    @cached_property
    def pr(self) -> Curve:
        """Precision-recall curve of pixels."""
        return pr_curve(self.pixels)

    @cached_property
    def froc(self) -> FrocCurve:
        """FROC curve of lesions."""
        return froc_curve(self.lesions, self.patient_numbers)

    @cached_property
    def reliability(self) -> tuple[ReliabilityBin, ...]:
        """Reliability diagram of pixels."""
        return reliability(self.pixels)

    @cached_property
    def claims(self) -> tuple[str, ...]:
        """What may and may not be claimed, in sentences."""
        sites = [slide.site for slide in self.slides if slide.site]
        summary = CohortSummary(
            patients=len(self.patients),
            with_lesions=len({slide.patient for slide in self.slides if slide.lesions.lesions}),
            sites=sorted(set(sites)),
            sites_known=bool(self.slides) and len(sites) == len(self.slides),
        )
        return list_claims(self.protocol, summary)

    # ------------------------------------------------------------ how metrics are made

    def counts_of(self, method: str) -> list[MethodCounts]:
        """List what a method counts on each slide."""
        if method == self.protocol.method:
            return [slide.counts for slide in self.slides]
        return [slide.baselines[method] for slide in self.slides]

    def by_patient(self, counts: Sequence[PixelCounts]) -> list[PixelCounts]:
        """Add up the histograms of slides by patient, in the order of `patients`."""
        totals = [PixelCounts.empty() for _ in self.patients]
        for number, slide_counts in zip(self.patient_numbers, counts, strict=True):
            totals[number] += slide_counts
        return totals

    def threshold_of(self, method: str) -> float:
        """The probability from which a method is positive."""
        if method == self.protocol.method:
            return self.protocol.threshold
        return self.protocol.previous_threshold if method == PREVIOUS else 1.0

    def _method_metrics(self, method: str) -> MethodMetrics:
        tile = self.intervals(self._tile_statistic(method)) if self.protocol.has_probabilities else {}
        lesion = {} if method == PREVALENCE else self.intervals(self._lesion_statistic(method))
        return MethodMetrics(self.intervals(self._pixel_statistic(method)), tile, lesion)

    def _pixel_statistic(self, method: str) -> Statistic:
        counts = self.by_patient([slide.pixels for slide in self.counts_of(method)])
        metrics = {
            name: metric
            for name, metric in PIXEL_METRICS.items()
            if self.protocol.has_probabilities or name not in PROBABILITY_METRICS
        }
        if method == PREVALENCE:
            return prevalence_statistic(counts, metrics)
        threshold = self.threshold_of(method)
        return join_statistics(
            pixel_statistic(counts, threshold, metrics), mean_dice_statistic(counts, threshold)
        )

    def _tile_statistic(self, method: str) -> Statistic:
        counts = self.by_patient([slide.tiles for slide in self.counts_of(method)])
        return pixel_statistic(counts, self.threshold_of(method), TILE_METRICS)

    def _lesion_statistic(self, method: str) -> Statistic:
        return lesion_statistic([slide.lesions for slide in self.counts_of(method)], self.patient_numbers)

    def _compared_statistic(self, method: str) -> Statistic:
        return join_statistics(
            select_metrics(self._pixel_statistic(method), COMPARED_PIXEL_METRICS),
            select_metrics(self._lesion_statistic(method), COMPARED_LESION_METRICS),
        )
