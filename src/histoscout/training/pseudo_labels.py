"""Lesions that nobody outlined on the slides learnt from: halfway, the network looks for them itself."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from shapely.geometry.base import BaseGeometry

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.detection.grid import detection_windows
from histoscout.detection.heatmap import LEVELS, Heatmap, read_heatmap, write_heatmap
from histoscout.detection.postprocess import outline
from histoscout.evaluation.pixels.counts import PixelCounts, count_pixels
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Outline, Region, Regions, polygonal
from histoscout.network.detector import Detector
from histoscout.recipe import Recipe
from histoscout.sampling.datasets import SampledExamples
from histoscout.sampling.sampler import WindowSampler
from histoscout.training.checkpoint import State
from histoscout.training.data import Sets
from histoscout.training.ensemble import InTraining
from histoscout.training.loop import LEAST, SURER_THAN, Batches, Job, sampled_batches
from histoscout.training.tuning import kept_heatmap, look_through
from histoscout.training.unannotated import names_apart

AFTER = (1 / 2, 3 / 4)
"""Shares of the steps after which the slides are looked through: the network knows the lesion by then, and can still learn."""
LOOKS = len(AFTER)

RIM_UM = 24.0
"""How far around a finding nothing is taught either."""

SHARE = 0.2
"""Windows looked at each time, at most, for each window that the whole training learns from."""

FOLDER = "second-look"


def looks_again(sets: Sets, recipe: Recipe) -> bool:
    """Whether lesions may lie where nobody drew."""
    return not (recipe.classes.complete or sets.by_class)


def count_looked_at(sets: Sets, recipe: Recipe) -> int:
    """The windows of the slides learnt from, as detection looks at them; 0 if they are not looked through again."""
    slides = sets.train if looks_again(sets, recipe) else ()
    return sum(len(detection_windows(one.slide, one.tissue, recipe)) for one in slides)


@dataclass(frozen=True)
class SecondLook:
    """A training in which the slides learnt from are looked through for lesions that nobody outlined, and how long it is.

    The averaged weights are the teacher (Tarvainen 2017, "mean teacher"); whole findings that touch no outline are not learnt
    from. To teach the surest as lesions was no better: docs/log.md.
    """

    job: Job
    sets: Sets
    steps: int

    @property
    def marks(self) -> list[int]:
        """The steps after which there is a look."""
        return sorted({mark for share in AFTER if 0 < (mark := round(share * self.steps)) < self.steps})

    def batches(self, state: State, batches: Batches) -> Batches:
        """The batches of a training from the state's step on, of which `batches` are those of the outlines as drawn.

        From each look on, what was found is ignored in the windows. To be asked for one after the other while the state
        takes its steps: each look is that of the averaged weights of its step.
        """
        done = state.step
        for mark in (*self.marks, self.steps):
            yield from islice(batches, max(0, mark - done))
            done = max(done, mark)
            if mark < self.steps:
                slides = self.look(state, mark)
                sampler = WindowSampler(slides, self.job.recipe, self.sets.kept_out)
                examples = SampledExamples(slides, sampler, self.job.recipe)
                batches = sampled_batches(examples, self.job.recipe, done, self.steps)

    def look(self, state: State, mark: int) -> tuple[LabeledSlide, ...]:
        """The slides with what is found on them, which is kept in files; what is there already is read."""
        files = self._files(mark)
        if not all(file.exists() for file in files):
            found = self._find(state, mark)
            for file, regions in zip(files, found, strict=True):
                write_geojson(regions, file)
            self._tell(found, files[0].parent, mark)
        return tuple(
            replace(slide, regions=Regions.of([*slide.regions, *read_geojson(file).regions]))
            for slide, file in zip(self.sets.train, files, strict=True)
        )

    def _files(self, mark: int) -> list[Path]:
        folder = self.job.folder / FOLDER / f"step-{mark}"
        return [folder / f"{name}.geojson" for name in names_apart(self.sets.split.train)]

    def _find(self, state: State, mark: int) -> list[Regions]:
        """What the averaged weights find on each slide where nothing is drawn; where they do not look, what was found before."""
        earlier = [one for one in self.marks if one < mark]
        before = self._files(earlier[-1]) if earlier else []
        found = [read_geojson(file).regions if file.exists() else Regions() for file in before]
        found = found or [Regions()] * len(self.sets.train)
        positive, chosen = self.job.recipe.classes.positive, self._chosen(mark)
        engine, counts = self._engine(state), PixelCounts.none()
        with TemporaryDirectory(dir=self.job.folder, prefix=".part.look.") as scratch:
            for number, windows in chosen.items():
                slide = self.sets.train[number]
                heatmap = look_through(slide, engine, windows, 1, lambda *_: None)
                counts = counts + count_pixels(slide, heatmap, positive)
                write_heatmap(heatmap, kept_heatmap(Path(scratch), number))
            doubtful = doubtful_from(counts)
            for number in chosen if counts.positive.any() else ():
                heatmap = read_heatmap(kept_heatmap(Path(scratch), number))
                found[number] = unmarked_regions(self.sets.train[number], heatmap, doubtful)
        return found

    def _chosen(self, mark: int) -> dict[int, list[Box]]:
        """Slides and their windows: all, or as many as there is time for, drawn by the seed, those with lesions first."""
        random = np.random.default_rng([self.job.recipe.seed, mark])
        drawn = random.permutation(len(self.sets.train)).tolist()
        left = SHARE * self.steps * self.job.recipe.training.batch_size
        chosen: dict[int, list[Box]] = {}
        for number in sorted(drawn, key=lambda number: not self.sets.train[number].has_positive):
            slide = self.sets.train[number]
            windows = detection_windows(slide.slide, slide.tissue, self.job.recipe)
            if windows and (not chosen or len(windows) <= left):
                chosen[number] = windows
                left -= len(windows)
        return dict(sorted(chosen.items()))

    def _engine(self, state: State) -> InTraining:
        network = copy.deepcopy(state.network)
        network.load_state_dict(state.average)
        detector = Detector(network, self.job.recipe).eval().to(self.job.fabric.device)
        return InTraining(detector, self.job)

    def _tell(self, found: Sequence[Regions], folder: Path, mark: int) -> None:
        count = sum(map(len, found))
        message = (
            f"second look at the slides learnt from, after step {mark}: {count} found where nothing is drawn"
        )
        if count:
            message += f", no longer taught as background and kept in {folder}. Outline what is lesion there and train again"
        self.job.progress.note(message)


def doubtful_from(counts: PixelCounts) -> float:
    """The probability from which a place may be lesion: one that few places inside of outlines do not reach; 1 without outlines."""
    below = np.cumsum(counts.positive)
    if not below[-1]:
        return 1.0
    return max(LEAST, float(np.searchsorted(below, SURER_THAN * below[-1])) / (LEVELS - 1))


def unmarked_regions(slide: LabeledSlide, heatmap: Heatmap, doubtful: float) -> Regions:
    """What may be lesion on a slide and touches no outline, to be ignored, with a rim, since its edge is less sure.

    An outline of any class stands, whatever lies beside it: what is there was seen by whoever drew it.
    """
    label, choices = slide.recipe.classes.positive, slide.recipe.detection
    found = outline(heatmap, label, doubtful, choices)
    return Regions.of(
        replace(region, label="ignore", outline=rim)
        for region in found
        if not _meets(region, slide.regions) and (rim := _with_rim(region, slide)) is not None
    )


def _meets(region: Region, drawn: Regions) -> bool:
    return any(region.outline.intersects(other.outline) for other in drawn.touching(region.box))


def _with_rim(region: Region, slide: LabeledSlide) -> Outline | None:
    """The region, wider by a rim as far as no outline lies there."""
    wide: BaseGeometry = region.outline.buffer(slide.px(RIM_UM))
    for other in slide.regions.touching(region.box.grown(slide.px(RIM_UM))):
        wide = wide.difference(other.outline)
    return polygonal(wide)
