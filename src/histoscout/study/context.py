"""What all runs of the study share: slides, scale, device and the folder of the results."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from lightning_fabric import Fabric

from histoscout.cohort.annotated_slide import LabeledSlide, labeled_regions, open_labeled_slide
from histoscout.cohort.case import Case, open_case
from histoscout.cohort.cohort import Cohort
from histoscout.errors import CohortError
from histoscout.io.files import package_file
from histoscout.progress import Progress
from histoscout.recipe import Recipe
from histoscout.study import protocol
from histoscout.study.slides import Scale


@dataclass(frozen=True, kw_only=True)
class StudyContext:
    """What all runs of the study share.

    Attributes:
        cases: The study's slides, those of the left-out patient last.
        referees: Slides of a patient outside the study, the referee, for evaluation only.
        scale: How large the study is.
        tile_um: Width of a tile, um: the paper's field of view per lesion, for lesions of the size on these slides.
        weights: Initial weights of the ResNet50.
        fabric: Device and precision.
        out: Folder of the results.
        progress: Receives progress.
        slide_cache: Opened slides by task, since finding tissue takes time.
    """

    cases: tuple[Case, ...]
    referees: tuple[Case, ...]
    scale: Scale
    tile_um: float
    weights: str
    fabric: Fabric
    out: Path
    progress: Progress
    slide_cache: dict[str, tuple[LabeledSlide, ...]] = field(default_factory=dict)

    def recipe(self, name: str) -> Recipe:
        """Return one of the study's recipes at this scale."""
        recipe = read_study_recipe(name)
        mpp = self.tile_um / self.scale.tile_px
        # the field of view is that of the paper per lesion, at the pixels of the scale
        choices: dict[str, Any] = {
            "patches.size_um": self.tile_um,
            "patches.mpp": mpp,
            "tissue.mpp": mpp,
            "network.decoder_channels": self.scale.channels(recipe.network.decoder_channels),
        }
        if name == "resnet50_unet":
            choices |= {"network.weights": self.weights, "network.encoder": self.scale.resnet}
        return recipe.with_choices(choices)

    def study_slides(self, recipe: Recipe) -> tuple[LabeledSlide, ...]:
        """Open the study's slides; their tissue is the tiles that the recipe's filter keeps."""
        return self._open(f"filtering tiles of {recipe.patches.size_um:.0f} um", self.cases, recipe)

    def referee_slides(self) -> tuple[LabeledSlide, ...]:
        """Open the slides of the referee, with their tissue found by color."""
        return self._open("reading the referee's slides", self.referees, read_study_recipe("working"))

    def left_out_slides(self) -> tuple[LabeledSlide, ...]:
        """Open the slides of the left-out patient, with their tissue found by color."""
        cases = tuple(case for case in self.cases if case.patient == self.left_out)
        return self._open("reading the left-out patient's slides", cases, read_study_recipe("working"))

    def _open(self, task: str, cases: tuple[Case, ...], recipe: Recipe) -> tuple[LabeledSlide, ...]:
        if task not in self.slide_cache:
            self.progress.start(task, len(cases))
            slides = []
            for case in cases:
                slides.append(open_labeled_slide(case, recipe)[0])
                self.progress.advance()
            self.progress.done()
            self.slide_cache[task] = tuple(slides)
        return self.slide_cache[task]

    @property
    def left_out(self) -> str:
        """The patient whom our recipe is not trained on, and the only one to test on without J."""
        return self.cases[-1].patient

    @property
    def patients(self) -> tuple[str, ...]:
        """The patients of the study."""
        return tuple(dict.fromkeys(case.patient for case in self.cases))


def read_study_recipe(name: str) -> Recipe:
    """Return a recipe of the study, by its file name in `study/recipes`.

    Args:
        name: Its name.
    """
    return Recipe.read(package_file("study", "recipes", f"{name}.toml"))


def select_cases(cohort: Cohort) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """Divide the annotated slides of a cohort into those of the study and those of the referee.

    Args:
        cohort: The slides; those in the split "test" are the referee's.

    Returns:
        The study's slides, those of the left-out patient last, and the referee's, which may be none.

    Raises:
        CohortError: There are fewer than two patients with annotations in the study.
    """
    annotated = [case for case in cohort.cases if case.annotated]
    referees = tuple(case for case in annotated if case.split == "test")
    cases = [case for case in annotated if case.split != "test"]
    if len({case.patient for case in cases}) < 2:
        raise CohortError(
            cohort.where,
            "the cohort has fewer than two patients with annotations outside the test split",
            "Add a patient: the study needs one to train on and one to leave out",
        )
    last = choose_left_out(cases)
    return tuple(sorted(cases, key=lambda case: case.patient == last)), referees


def choose_left_out(cases: Sequence[Case]) -> str:
    """Return the patient to leave out: of those with the fewest slides, the last one.

    Args:
        cases: Cases of the study.
    """
    patients = dict.fromkeys(case.patient for case in cases)
    return min(reversed(patients), key=lambda patient: sum(case.patient == patient for case in cases))


def median_lesion_um(cases: Sequence[Case]) -> float:
    """Return the width of the lesions on some slides.

    Args:
        cases: The annotated slides.

    Returns:
        The median over lesions of the square root of height times width of their bounding boxes, um.

    Raises:
        CohortError: The slides have no lesion.
    """
    classes = read_study_recipe("unet").classes
    sizes = []
    for case in cases:
        with open_case(case) as slide:
            regions = labeled_regions(case, classes, slide).regions.with_labels(classes.positive)
            # the side of a square as large as the bounding box
            sizes += [float(np.sqrt(region.box.width * region.box.height)) * slide.mpp for region in regions]
    if not sizes:
        fault = f"the slides have no annotation of {classes.positive}"
        raise CohortError(cases[0].slide, fault, "Give slides with annotations of UDH")
    return median(sizes)


def choose_tile_um(cases: Sequence[Case], scale: Scale) -> float:
    """Return the width of a tile in um: the paper's, or the paper's share of these lesions.

    Args:
        cases: Cases of the study.
        scale: Scale of the study.
    """
    if scale.steps is None:
        return protocol.TILE_UM
    return round(protocol.VIEW_PER_LESION * median_lesion_um(cases), 1)
