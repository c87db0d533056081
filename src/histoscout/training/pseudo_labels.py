"""Pseudo-labeling of lesions that nobody annotated on the training slides: twice, the network looks for them.

For recipes that say that annotations are incomplete. Detections on unannotated tissue are ignored from then
on; they are not used as positives.
"""

import copy
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from shapely.geometry.base import BaseGeometry

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.detection.grid import detection_windows
from histoscout.detection.heatmap import LEVELS, Heatmap, read_heatmap, write_heatmap
from histoscout.detection.postprocess import find_regions
from histoscout.evaluation.pixels.counts import PixelCounts, count_pixels
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Regions, valid_outline
from histoscout.io.files import scratch_folder
from histoscout.io.notes import pluralize
from histoscout.network.detector import Detector
from histoscout.recipe import Recipe
from histoscout.sampling.datasets import SampledExamples
from histoscout.sampling.sampler import PatchSampler
from histoscout.training.checkpoint import TrainingState
from histoscout.training.data import TrainingData
from histoscout.training.ensemble import InMemoryEngine
from histoscout.training.loop import (
    PU_MIN_PROBABILITY,
    PU_QUANTILE,
    Batches,
    TrainingContext,
    training_batches,
)
from histoscout.training.tuning import compute_smoothed_heatmap, heatmap_file, unique_names

ROUND_SHARES = (1 / 2, 3 / 4)
"""Shares of the steps after which the slides are searched: the network knows the lesion, and can still learn."""

ROUNDS = len(ROUND_SHARES)
"""Number of searches."""

RIM_UM = 24.0
"""Width around a detection that is ignored too, since its border is less certain."""

MAX_WINDOW_SHARE = 0.2
"""Windows of one search at most, per patch that the whole training reads."""

FOLDER = "pseudo-labels"
"""Folder of the detections in that of the training."""


def uses_pseudo_labels(data: TrainingData, recipe: Recipe) -> bool:
    """Whether the training slides are searched for lesions that are not annotated.

    Args:
        data: The training data.
        recipe: The recipe.

    Returns:
        Whether pseudo-labeling is on.
    """
    return not (recipe.classes.complete or data.by_class)


def count_pseudo_label_windows(data: TrainingData, recipe: Recipe) -> int:
    """Count the windows that detection reads on the training slides; 0 without pseudo-labeling.

    Args:
        data: The training data.
        recipe: The recipe.

    Returns:
        The number of windows.
    """
    slides = data.train if uses_pseudo_labels(data, recipe) else ()
    return sum(len(detection_windows(labeled.slide, labeled.tissue, recipe)) for labeled in slides)


@dataclass(frozen=True)
class PseudoLabeler:
    """Searches the training slides for unannotated lesions during a training.

    The averaged weights are the teacher (Tarvainen 2017, "mean teacher"). Using the detections with the
    highest scores as positives was no better.

    Attributes:
        context: The training.
        data: Its slides.
        steps: Its number of steps.
    """

    context: TrainingContext
    data: TrainingData
    steps: int

    @property
    def search_steps(self) -> list[int]:
        """The steps after which the slides are searched."""
        steps = {round(share * self.steps) for share in ROUND_SHARES}
        return sorted(step for step in steps if 0 < step < self.steps)

    def batches(self, state: TrainingState, batches: Batches) -> Batches:
        """Replace the batches of a training from each search on: what was found is ignored in the patches.

        The batches are to be read one by one while the state takes its steps, since each search uses the
        averaged weights of its step.

        Args:
            state: The state of the training.
            batches: The batches from the state's step on, with the annotations as they are.

        Yields:
            The batches from the state's step on.
        """
        done = state.step
        for step in (*self.search_steps, self.steps):
            yield from islice(batches, max(0, step - done))
            done = max(done, step)
            if step < self.steps:
                slides = self.label_slides(state, step)
                sampler = PatchSampler(slides, self.context.recipe, self.data.excluded_boxes)
                examples = SampledExamples(slides, sampler, self.context.recipe)
                batches = training_batches(examples, self.context.recipe, start=done, stop=self.steps)

    def label_slides(self, state: TrainingState, step: int) -> tuple[LabeledSlide, ...]:
        """Search the training slides, or read what was found at this step before the training was killed.

        Args:
            state: The state after this step.
            step: One of `search_steps`.

        Returns:
            The training slides with the detections as regions to ignore.
        """
        files = self._files(step)
        if not all(file.exists() for file in files):
            detections = self._search(state, step)
            for file, regions in zip(files, detections, strict=True):
                write_geojson(regions, file)
            count = sum(map(len, detections))
            message = (
                f"pseudo-labeling after step {step}: {pluralize(count, 'detection')} on unannotated tissue"
            )
            if count:
                message += (
                    f"; they no longer count as background, and are in {files[0].parent}. Annotate those that are "
                    "lesions and train again"
                )
            self.context.progress.note(message)
        return tuple(
            replace(labeled, regions=Regions.of([*labeled.regions, *read_geojson(file).regions]))
            for labeled, file in zip(self.data.train, files, strict=True)
        )

    def _files(self, step: int) -> list[Path]:
        folder = self.context.folder / FOLDER / f"step-{step}"
        return [folder / f"{name}.geojson" for name in unique_names(self.data.split.train)]

    def _search(self, state: TrainingState, step: int) -> list[Regions]:
        """The detections on each training slide; of slides that are not searched, those of the search before."""
        earlier = [other for other in self.search_steps if other < step]
        detections = [Regions() for _ in self.data.train]
        for index, file in enumerate(self._files(earlier[-1]) if earlier else []):
            if file.exists():
                detections[index] = read_geojson(file).regions
        # the averaged weights as an engine
        network = copy.deepcopy(state.network)
        network.load_state_dict(state.average)
        detector = Detector(network, self.context.recipe).eval().to(self.context.fabric.device)
        engine = InMemoryEngine(detector, self.context)
        # heatmaps in files, since the threshold depends on all of them
        counts = PixelCounts.empty()
        windows_by_slide = self._choose_windows(step)
        with scratch_folder(self.context.folder) as scratch:
            for index, windows in windows_by_slide.items():
                labeled = self.data.train[index]
                heatmap = compute_smoothed_heatmap(labeled, engine, windows, views=1)
                counts = counts + count_pixels(labeled, heatmap, self.context.recipe.classes.positive)
                write_heatmap(heatmap, heatmap_file(scratch, index))
            threshold = lesion_threshold(counts)
            for index in windows_by_slide if counts.positive.any() else ():
                heatmap = read_heatmap(heatmap_file(scratch, index))
                detections[index] = find_unannotated_regions(self.data.train[index], heatmap, threshold)
        return detections

    def _choose_windows(self, step: int) -> dict[int, list[Box]]:
        """The windows of the slides to search: all slides, or as many as there is time for.

        The order is random by seed and step, slides with positive regions first.
        """
        random = np.random.default_rng([self.context.recipe.seed, step])
        order = random.permutation(len(self.data.train)).tolist()
        left = MAX_WINDOW_SHARE * self.steps * self.context.recipe.training.batch_size
        chosen: dict[int, list[Box]] = {}
        for index in sorted(order, key=lambda index: not self.data.train[index].has_positive):
            labeled = self.data.train[index]
            windows = detection_windows(labeled.slide, labeled.tissue, self.context.recipe)
            if windows and (not chosen or len(windows) <= left):
                chosen[index] = windows
                left -= len(windows)
        return dict(sorted(chosen.items()))


def lesion_threshold(counts: PixelCounts) -> float:
    """Find the probability from which a pixel may be a lesion, given the pixels of annotated lesions.

    Args:
        counts: Pixels of the training slides.

    Returns:
        The probability that all but a tenth of the annotated pixels reach, at least `PU_MIN_PROBABILITY`; 1
        without annotated pixels.
    """
    below = np.cumsum(counts.positive)
    if not below[-1]:
        return 1.0
    return max(PU_MIN_PROBABILITY, float(np.searchsorted(below, PU_QUANTILE * below[-1])) / (LEVELS - 1))


def find_unannotated_regions(slide: LabeledSlide, heatmap: Heatmap, threshold: float) -> Regions:
    """Find regions of a slide that may be lesions and touch no annotation.

    Annotations of any class stay as they are: a person drew them.

    Args:
        slide: The slide.
        heatmap: Its heatmap.
        threshold: The probability from which a pixel may be a lesion.

    Returns:
        Regions with the label "ignore", wider by a rim of `RIM_UM` as far as no annotation is there.
    """
    recipe = slide.recipe
    regions = []
    for region in find_regions(heatmap, recipe.classes.positive, threshold, recipe.detection):
        annotated = slide.regions.intersecting(region.box)
        if any(region.outline.intersects(other.outline) for other in annotated):
            continue
        wide: BaseGeometry = region.outline.buffer(slide.px(RIM_UM))
        for other in slide.regions.intersecting(region.box.expand(slide.px(RIM_UM))):
            wide = wide.difference(other.outline)
        valid = valid_outline(wide)
        if valid is not None:
            regions.append(replace(region, label="ignore", outline=valid))
    return Regions.of(regions)
