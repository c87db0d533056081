"""What all runs of the study share: its slides, its scale, where it computes and where results go."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from lightning_fabric import Fabric

from histoscout.cohort.annotated_slide import LabeledSlide, labeled_regions, open_labeled
from histoscout.cohort.case import Case, open_case
from histoscout.cohort.cohort import Cohort
from histoscout.errors import CohortError
from histoscout.io.files import packaged
from histoscout.progress import Progress
from histoscout.recipe import Recipe
from histoscout.study import protocol
from histoscout.study.slides import Scale


@dataclass(frozen=True)
class Bench:
    """The study's cases, those of the referee (other patients, only judged on), and how large all is made.

    `side_um` is the width of a tile: the paper's field of view for each lesion, for lesions as these slides have.
    """

    cases: tuple[Case, ...]
    referees: tuple[Case, ...]
    scale: Scale
    side_um: float
    weights: str
    fabric: Fabric
    out: Path
    progress: Progress
    opened: dict[str, tuple[LabeledSlide, ...]] = field(default_factory=dict)  # by what their tissue is for

    def recipe(self, name: str) -> Recipe:
        """One of the study's recipes at this scale; at full scale as it is written."""
        recipe, px = own_recipe(name), self.scale.tile_px
        choices: dict[str, Any] = {
            "patches.size_um": self.side_um,
            "patches.mpp": self.side_um / px,
            "tissue.mpp": self.side_um / px,
            "network.decoder_channels": self.scale.widths(recipe.network.decoder_channels),
        }
        if name == "resnet50_unet":
            choices |= {"network.weights": self.weights, "network.encoder": self.scale.resnet}
        return recipe.with_choices(choices)

    def slides(self, recipe: Recipe) -> tuple[LabeledSlide, ...]:
        """The study's slides, filtered by tiles of the recipe's width."""
        return self._open(f"filtering tiles of {recipe.patches.size_um:.0f} um", self.cases, recipe)

    def referee(self) -> tuple[LabeledSlide, ...]:
        """The slides of patients outside the study, with their tissue by colour."""
        return self._open("reading the referee's slides", self.referees, own_recipe("ours"))

    def last_patient(self) -> tuple[LabeledSlide, ...]:
        """The slides of the patient whom our recipe does not see, with their tissue by colour."""
        cases = tuple(case for case in self.cases if case.patient == self.left_out)
        return self._open("reading the left-out patient's slides", cases, own_recipe("ours"))

    def _open(self, task: str, cases: tuple[Case, ...], recipe: Recipe) -> tuple[LabeledSlide, ...]:
        """Looked at once, then kept: finding tissue takes its time."""
        if task not in self.opened:
            self.progress.start(task, len(cases))
            found = []
            for case in cases:
                found.append(open_labeled(case, recipe)[0])
                self.progress.advance()
            self.progress.done()
            self.opened[task] = tuple(found)
        return self.opened[task]

    @property
    def left_out(self) -> str:
        """The patient whom our recipe does not see, and who alone is tested on without J."""
        return self.cases[-1].patient

    @property
    def patients(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(case.patient for case in self.cases))


def own_recipe(name: str) -> Recipe:
    """A recipe that comes with the study, as it is written."""
    return Recipe.read(packaged("study", "recipes", f"{name}.toml"))


def study_cases(cohort: Cohort) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """The slides of the study and, if some are marked as test, those of the referee; the left-out patient's slides last.

    CohortError with fewer than two patients, or none with outlines.
    """
    annotated = [case for case in cohort.cases if case.annotations is not None]
    referees = tuple(case for case in annotated if case.split == "test")
    cases = [case for case in annotated if case.split != "test"]
    if len({case.patient for case in cases}) < 2:
        raise CohortError(
            cohort.where,
            "has fewer than two patients with outlines beside those to test on",
            "The study needs one patient to learn from and one to leave out",
        )
    last = left_out_of(cases)
    return tuple(sorted(cases, key=lambda case: case.patient == last)), referees


def left_out_of(cases: Sequence[Case]) -> str:
    """Who is left out: of the patients with the fewest slides the last one."""
    patients = dict.fromkeys(case.patient for case in cases)
    return min(reversed(patients), key=lambda patient: sum(case.patient == patient for case in cases))


def lesion_um(cases: Sequence[Case]) -> float:
    """How wide the lesions are: the median of the square root of height times width of their outlines, um."""
    classes = own_recipe("unet").classes
    sizes = []
    for case in cases:
        with open_case(case) as slide:
            regions = labeled_regions(case, classes, slide).regions.labeled(classes.positive)
            sizes += [float(np.sqrt(region.box.width * region.box.height)) * slide.mpp for region in regions]
    if not sizes:
        raise CohortError(
            cases[0].slide, f"no outline of {classes.positive}", "Give slides with outlines of UDH"
        )
    return median(sizes)


def side_for(cases: Sequence[Case], scale: Scale) -> float:
    """The width of a tile: as in the paper at full scale, else the paper's share of a lesion, for these lesions."""
    return protocol.SIDE_UM if scale.steps is None else round(protocol.VIEW * lesion_um(cases), 1)
