"""What an evaluation asks itself before it detects anything: is anything judged that was learnt from?

Images by class that a model has learnt from and is to be judged by, under whatever name.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from histoscout.cohort.annotated_slide import labeled_regions
from histoscout.cohort.case import Case, open_case
from histoscout.cohort.image_folders import RoiImage
from histoscout.cohort.leakage import Fingerprint, named_after_its_set, sets_apart
from histoscout.detection.grid import WindowPlan
from histoscout.detection.self_check import detection_rests, field_of_view
from histoscout.errors import CohortError, HistoscoutError
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Regions
from histoscout.hardware import usable_cores
from histoscout.network.model_folder import ModelFolder
from histoscout.recipe import Recipe
from histoscout.slides.open import open_slide
from histoscout.slides.slide import Slide
from histoscout.verdict import Verdict

SanityMode = Literal["all", "warn"]

LEAKS = frozenset({"figures named after their set", "no slide or patient in two sets"})
"""The guards whose failure means that what is judged was learnt from."""


def guard_evaluation(
    model: ModelFolder, cases: Sequence[Case], set_name: str, guarding: SanityMode = "all"
) -> tuple[Verdict, ...]:
    """No patient, slide or copy of a slide that was learnt from; windows that fit; slides seen as they are.

    `set_name` is what the figures will be called: "test", where tuning patients are known ones, too, or "tune".
    CohortError at the first failure, unless `guarding` is "tell". A slide that cannot be read is passed over here:
    detection will say why.
    """
    parts = ("train",) if set_name == "tune" else ("train", "tune")
    known = _patients(model, parts)
    learnt = learnt_by(model, parts)
    looks = list(_looks(cases, model.recipe))
    verdicts = (
        named_after_its_set(set_name, [case.patient for case in cases], known),
        sets_apart(learnt, [look.fingerprint for look in looks], set_name),
        field_of_view([(look.regions, look.mpp) for look in looks], model.recipe),
        *sorted((look.rests for look in looks), key=lambda rests: rests.state != "failed")[:1],
    )
    failed = [verdict for verdict in verdicts if verdict.state == "failed"]
    if failed and guarding == "all":
        remedy = f"{failed[0].remedy}. To judge all the same: --guards tell"
        raise CohortError(f"guard: {failed[0].name}", failed[0].message, remedy)
    return verdicts


def learnt_by(model: ModelFolder, parts: Sequence[str]) -> list[Fingerprint]:
    """What the slides or images look like of the patients that a model has learnt from ("train") or was tuned on ("tune")."""
    known = _patients(model, parts)
    told = model.metrics.get("data", {}).get("fingerprints", ())
    return [Fingerprint.from_dict(one) for one in told if one["patient"] in known]


def _patients(model: ModelFolder, parts: Sequence[str]) -> set[str]:
    data = model.metrics.get("data", {})
    return {patient for part in parts for patient in data.get(f"{part}_patients", ())}


def leak_in(verdicts: Sequence[Verdict]) -> str:
    """What a guard said that found what was learnt from among what is judged; empty if none did."""
    return next((one.message for one in verdicts if one.state == "failed" and one.name in LEAKS), "")


@dataclass(frozen=True)
class _Look:
    """What the guards want to know of a slide."""

    fingerprint: Fingerprint
    regions: Regions
    mpp: float
    rests: Verdict


def _looks(cases: Sequence[Case], recipe: Recipe) -> Iterator[_Look]:
    for case in cases:
        try:
            with open_case(case) as slide:
                regions = labeled_regions(case, recipe.classes, slide).regions
                fingerprint = Fingerprint.of(slide, case.patient)
                yield _Look(fingerprint, regions, slide.mpp, _rests(slide, regions, recipe))
        except HistoscoutError:
            continue


def _rests(slide: Slide, regions: Regions, recipe: Recipe) -> Verdict:
    plan = WindowPlan.of(recipe)
    side = plan.side_px * plan.mpp / slide.mpp
    centers = [region.box.center for region in regions] or [slide.box.center]
    return detection_rests(slide, [Box.around(round(x), round(y), side, side) for x, y in centers], plan)


def guard_images(model: ModelFolder, images: Sequence[RoiImage], guarding: SanityMode) -> tuple[str, ...]:
    """What is to be said of images that are copies of ones that were learnt from; CohortError unless failures are told.

    An image that cannot be read is passed over here: judging will say why.
    """
    learnt = learnt_by(model, ("train", "tune"))
    if not learnt:
        return ()
    with ThreadPoolExecutor(min(4, usable_cores()), thread_name_prefix="histoscout-read") as pool:
        seen = [one for one in pool.map(_fingerprint, images) if one is not None]
    verdict = sets_apart(learnt, seen, "test")
    if verdict.state != "failed":
        return ()
    if guarding == "all":
        remedy = "Take these images out. To judge all the same: --guards tell"
        raise CohortError(f"guard: {verdict.name}", verdict.message, remedy)
    return (f"failed: {verdict.name}: {verdict.message}; the figures are too good",)


def _fingerprint(image: RoiImage) -> Fingerprint | None:
    try:
        with open_slide(image.path, image.mpp) as opened:
            return Fingerprint.of(opened, image.owner)
    except HistoscoutError:
        return None
