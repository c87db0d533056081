"""Images by class that a model has learnt from and is to be judged by, under whatever name."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from histoscout.cohort.images import RoiImage
from histoscout.cohort.leaks import Fingerprint, sets_apart
from histoscout.cores import usable_cores
from histoscout.errors import CohortError, HistoscoutError
from histoscout.evaluation.guards import Guarding, learnt_by
from histoscout.network.model_folder import ModelFolder
from histoscout.slides.open import open_slide


def guard_images(model: ModelFolder, images: Sequence[RoiImage], guarding: Guarding) -> tuple[str, ...]:
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
        raise CohortError(f"guard: {verdict.name}", verdict.says, remedy)
    return (f"failed: {verdict.name}: {verdict.says}; the figures are too good",)


def _fingerprint(image: RoiImage) -> Fingerprint | None:
    try:
        with open_slide(image.path, image.mpp) as opened:
            return Fingerprint.of(opened, image.owner)
    except HistoscoutError:
        return None
