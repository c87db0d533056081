"""Images of one class each as a cohort to learn from."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from histoscout.annotations.findings import enumerated
from histoscout.cohort.case import Case, SplitName
from histoscout.cohort.cohort import Cohort
from histoscout.cohort.images import RoiImage, all_images, notes_on_patients, with_scale
from histoscout.errors import CohortError


def read_image_cohort(path: Path, mpp: float | None = None) -> Cohort:
    """The images by class in a folder or table (see `images.all_images`), each a case whose label is its class.

    `mpp` is the um/px of images that do not say. An image that names no patient counts as a patient of its own.
    CohortError if there are no images, if one is listed twice, or if a patient is in two splits.
    """
    found = all_images(path)
    images, scale = with_scale(found.images, mpp)
    _refuse_repeated(images, path)
    splits = _splits(images, path)
    cases = tuple(
        Case(image.path, None, image.owner, splits.get(image.owner), image.mpp, label=image.label)
        for image in images
    )
    return Cohort(cases, str(path), (*found.notes, *scale, *notes_on_patients(images)))


def _refuse_repeated(images: Sequence[RoiImage], path: Path) -> None:
    counts = Counter(image.path.resolve() for image in images)
    if repeated := [file.name for file, count in counts.items() if count > 1]:
        raise CohortError(path, f"names images twice: {enumerated(repeated)}", "Leave each in once")


def _splits(images: Sequence[RoiImage], path: Path) -> dict[str, SplitName]:
    """The split of each patient of whom one is said; in two, what is learnt from one image would be asked on another."""
    splits: dict[str, set[SplitName]] = {}
    for image in images:
        if image.split is not None:
            splits.setdefault(image.owner, set()).add(image.split)
    leaks = [f"{patient} ({', '.join(sorted(of))})" for patient, of in splits.items() if len(of) > 1]
    if leaks:
        remedy = "Put all images of a patient into one split; `histoscout bracs` does so for BRACS"
        raise CohortError(path, f"has patients in two splits: {enumerated(leaks)}", remedy)
    return {patient: next(iter(of)) for patient, of in splits.items()}
