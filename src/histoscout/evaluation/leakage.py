"""Sanity checks before an evaluation: leakage of training data, and patch size."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from histoscout.cohort.annotated_slide import labeled_regions
from histoscout.cohort.case import Case, open_case
from histoscout.cohort.duplicates import Fingerprint
from histoscout.cohort.leakage import (
    check_disjoint_sets,
    check_known_patients,
    known_fingerprints,
    known_patients,
)
from histoscout.detection.grid import WindowPlan
from histoscout.detection.self_check import check_field_of_view, check_no_augmentation
from histoscout.errors import CohortError, HistoscoutError
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Regions
from histoscout.network.model_folder import ModelFolder
from histoscout.recipe import Recipe
from histoscout.verdict import Verdict

SanityMode = Literal["all", "warn"]
"""What happens if a sanity check fails: "all" stops, "warn" continues."""


def check_evaluation(
    model: ModelFolder, cases: Sequence[Case], set_name: str, sanity_checks: SanityMode = "all"
) -> tuple[Verdict, ...]:
    """Check the slides of an evaluation: leakage, patch size, and how detection reads slides.

    A slide that cannot be read is skipped here: detection reports it.

    Args:
        model: The model to evaluate.
        cases: The cases to evaluate on.
        set_name: "test", or "tune", where tuning patients are allowed.
        sanity_checks: Whether to stop at a failure.

    Returns:
        The results of the checks.

    Raises:
        CohortError: A check failed, unless `sanity_checks` is "warn".
    """
    # read each slide once for all checks
    slides = [checked for case in cases if (checked := _check_slide(case, model.recipe)) is not None]
    verdicts = [
        check_known_patients(set_name, [case.patient for case in cases], known_patients(model, set_name)),
        check_disjoint_sets(
            known_fingerprints(model, set_name), [slide.fingerprint for slide in slides], set_name
        ),
        check_field_of_view([(slide.regions, slide.mpp) for slide in slides], model.recipe),
    ]
    # one result on reading slides: a failure if there is any
    reading = sorted((slide.reading for slide in slides), key=lambda verdict: verdict.state != "failed")
    verdicts += reading[:1]

    # stop at a failure, unless it is to be reported only
    failed = [verdict for verdict in verdicts if verdict.state == "failed"]
    if failed and sanity_checks == "all":
        remedy = f"{failed[0].remedy}. To evaluate all the same: --sanity warn"
        raise CohortError(f"sanity check: {failed[0].name}", failed[0].message, remedy)
    return tuple(verdicts)


@dataclass(frozen=True, kw_only=True)
class _CheckedSlide:
    """What the checks need of a slide."""

    fingerprint: Fingerprint
    regions: Regions
    mpp: float
    reading: Verdict


def _check_slide(case: Case, recipe: Recipe) -> _CheckedSlide | None:
    """Read what the checks need of a slide; None if it cannot be read."""
    try:
        with open_case(case) as slide:
            regions = labeled_regions(case, recipe.classes, slide).regions

            # windows around the annotations, or in the middle of the slide
            plan = WindowPlan.of(recipe)
            side = plan.side_px * plan.mpp / slide.mpp
            centers = [region.box.center for region in regions] or [slide.box.center]
            boxes = [Box.around(round(x), round(y), side, side) for x, y in centers]
            return _CheckedSlide(
                fingerprint=Fingerprint.of(slide, case.patient),
                regions=regions,
                mpp=slide.mpp,
                reading=check_no_augmentation(slide, boxes, plan),
            )
    except HistoscoutError:
        return None
