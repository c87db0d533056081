"""The result of an evaluation: what each slide counts, and every figure that follows, with its interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from histoscout.evaluation.bootstrap import DRAWS, Interval, Statistic, bootstrap, bootstrap_difference
from histoscout.evaluation.lesions.class_auroc import outline_statistic
from histoscout.evaluation.lesions.compare import SlideLesions
from histoscout.evaluation.lesions.froc import STRICT, FrocCurve, froc_curve, lesion_statistic
from histoscout.evaluation.lesions.matching import PRIMARY
from histoscout.evaluation.pixels.counts import PixelCounts
from histoscout.evaluation.pixels.metrics import (
    OF_PROBABILITIES,
    PIXEL_FIGURES,
    TILE_FIGURES,
    Curve,
    ReliabilityBin,
    joined,
    mean_dice_of,
    only,
    pr_curve,
    prevalence_of,
    reliability,
    roc_curve,
    statistic_of,
)
from histoscout.evaluation.protocol import Basis, Exam, claims
from histoscout.evaluation.slide_metrics import BASELINES, PREVALENCE, PREVIOUS, Counted, SlideScores
from histoscout.verdict import Verdict

Intervals = Mapping[str, Interval]

COMPARED = (("ap", "dice", "dice_per_patient"), ("sensitivity", "false_per_cm2", "froc_per_cm2"))
"""The figures of pixels and of lesions of which a difference to a previous model is told."""


@dataclass(frozen=True)
class FinderFigures:
    """All figures of one finder over all slides, by name, with intervals over patients."""

    pixel: Intervals
    tile: Intervals
    lesion: Intervals


@dataclass(frozen=True)
class Scores:
    """What was examined, each slide's counts, and what a user should know.

    All figures are computed from the counts when they are first asked for. Slides may come in any order: patients
    are counted in the order of their names.
    """

    exam: Exam
    slides: tuple[SlideScores, ...]
    notes: tuple[str, ...] = ()
    draws: int = DRAWS
    seed: int = 0
    sanity_checks: tuple[Verdict, ...] = ()

    @cached_property
    def patients(self) -> tuple[str, ...]:
        return tuple(sorted({slide.patient for slide in self.slides}))

    @cached_property
    def patient_numbers(self) -> tuple[int, ...]:
        """The patient of each slide, by place in `patients`."""
        number = {patient: index for index, patient in enumerate(self.patients)}
        return tuple(number[slide.patient] for slide in self.slides)

    @property
    def threshold(self) -> float:
        return self.exam.threshold

    @cached_property
    def pixels(self) -> PixelCounts:
        return PixelCounts.total(slide.pixels for slide in self.slides)

    @cached_property
    def tiles(self) -> PixelCounts:
        return PixelCounts.total(slide.tiles for slide in self.slides)

    @property
    def lesions(self) -> tuple[SlideLesions, ...]:
        """What became of lesions and findings, slide by slide."""
        return tuple(slide.lesions for slide in self.slides)

    @property
    def audited(self) -> tuple[SlideLesions, ...]:
        """The same after a reader has judged findings; empty where nobody did."""
        return tuple(slide.audited for slide in self.slides if slide.audited is not None)

    @property
    def tissue_mm2(self) -> float:
        return sum(slide.tissue_mm2 for slide in self.slides)

    @cached_property
    def finders(self) -> tuple[str, ...]:
        """The one judged, the previous model if there is one, and the baselines."""
        previous = (PREVIOUS,) if self.exam.previous else ()
        return (self.exam.finder, *previous, *BASELINES)

    @cached_property
    def figures(self) -> Mapping[str, FinderFigures]:
        """The figures of every finder, by its name."""
        return MappingProxyType({finder: self._figures_of(finder) for finder in self.finders})

    @property
    def pixel(self) -> Intervals:
        return self.figures[self.exam.finder].pixel

    @property
    def tile(self) -> Intervals:
        return self.figures[self.exam.finder].tile

    @property
    def lesion(self) -> Intervals:
        return self.figures[self.exam.finder].lesion

    def lesion_by(self, rule: str = PRIMARY, reading: str = STRICT) -> Intervals:
        """The lesion figures by another rule of matching, or another reading of what is not annotated."""
        return self.interval(lesion_statistic(self.lesions, self.patient_numbers, rule, reading))

    @cached_property
    def lesion_audited(self) -> Intervals:
        """The lesion figures after a reader has judged findings; empty where nobody did."""
        if not self.audited:
            return {}
        return self.interval(lesion_statistic(self.audited, self.patient_numbers))

    @cached_property
    def outlined(self) -> Intervals:
        """AUROC of the positive class against each other annotated class, over the drawn outlines."""
        drawn = [slide.outlined for slide in self.slides]
        return self.interval(outline_statistic(drawn, self.patient_numbers, self.exam.positive))

    @cached_property
    def differences(self) -> Intervals:
        """How much better than the previous model, paired over the same patients; empty without one."""
        if not self.exam.previous:
            return {}
        ours, theirs = (self._compared(finder) for finder in (self.exam.finder, PREVIOUS))
        return bootstrap_difference(ours, theirs, len(self.patients), self.draws, self.seed)

    def interval(self, statistic: Statistic) -> dict[str, Interval]:
        """Any statistic over this evaluation's patients, with the same draws as all the others."""
        return bootstrap(statistic, len(self.patients), self.draws, self.seed)

    # ------------------------------------------------------------ curves

    @cached_property
    def roc(self) -> Curve:
        return roc_curve(self.pixels)

    @cached_property
    def pr(self) -> Curve:
        return pr_curve(self.pixels)

    @cached_property
    def froc(self) -> FrocCurve:
        return froc_curve(self.lesions, self.patient_numbers)

    @cached_property
    def reliability(self) -> tuple[ReliabilityBin, ...]:
        return reliability(self.pixels)

    @cached_property
    def claims(self) -> tuple[str, ...]:
        """What may and may not be claimed, in sentences."""
        with_lesions = {slide.patient for slide in self.slides if slide.lesions.lesions}
        sites = [slide.site for slide in self.slides]
        known = [site for site in sites if site]
        basis = Basis(
            len(self.patients),
            len(with_lesions),
            len(sites),
            sorted(set(known)),
            bool(sites) and len(known) == len(sites),
        )
        return claims(self.exam, basis)

    # ------------------------------------------------------------ how figures are made

    def of(self, finder: str) -> list[Counted]:
        """What a finder gets on each slide."""
        if finder == self.exam.finder:
            return [slide.found for slide in self.slides]
        return [slide.baselines[finder] for slide in self.slides]

    def by_patient(self, counts: Sequence[PixelCounts]) -> list[PixelCounts]:
        """Counts of slides, added up by patient in the order of `patients`."""
        totals = [PixelCounts.none() for _ in self.patients]
        for number, each in zip(self.patient_numbers, counts, strict=True):
            totals[number] += each
        return totals

    def threshold_of(self, finder: str) -> float:
        """From which probability on a place counts as found by a finder."""
        if finder == self.exam.finder:
            return self.exam.threshold
        return self.exam.previous_threshold if finder == PREVIOUS else 1.0

    def _figures_of(self, finder: str) -> FinderFigures:
        nothing_said = finder == PREVALENCE
        return FinderFigures(
            self.interval(self._pixel_statistic(finder)),
            self.interval(self._tile_statistic(finder)) if self.exam.probabilities else {},
            {} if nothing_said else self.interval(self._lesion_statistic(finder)),
        )

    def _pixel_statistic(self, finder: str) -> Statistic:
        counts = self.by_patient([each.pixels for each in self.of(finder)])
        figures = {
            name: figure
            for name, figure in PIXEL_FIGURES.items()
            if self.exam.probabilities or name not in OF_PROBABILITIES
        }
        if finder == PREVALENCE:
            return prevalence_of(counts, figures)
        threshold = self.threshold_of(finder)
        return joined(statistic_of(counts, threshold, figures), mean_dice_of(counts, threshold))

    def _tile_statistic(self, finder: str) -> Statistic:
        counts = self.by_patient([each.tiles for each in self.of(finder)])
        return statistic_of(counts, self.threshold_of(finder), TILE_FIGURES)

    def _lesion_statistic(self, finder: str) -> Statistic:
        return lesion_statistic([each.lesions for each in self.of(finder)], self.patient_numbers)

    def _compared(self, finder: str) -> Statistic:
        both = (self._pixel_statistic(finder), self._lesion_statistic(finder))
        return joined(*(only(each, names) for each, names in zip(both, COMPARED, strict=True)))
