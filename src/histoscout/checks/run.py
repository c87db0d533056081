"""Check a cohort before training, and write corrected annotations.

Corrections go to a separate folder; original annotations are never modified.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from histoscout.annotations.write import write_annotations
from histoscout.checks.alignment.cohort import check_cohort_alignment, confirm_suspicions
from histoscout.checks.alignment.patches import check_cohort_patches
from histoscout.checks.alignment.slides import (
    ALIGNMENT,
    Alignment,
    check_slide_alignment,
    prepare_subject,
)
from histoscout.checks.integrity import (
    ClassCount,
    LoadedCase,
    check_annotations,
    check_classes,
    check_readable,
    count_classes,
    load_case,
)
from histoscout.cohort.annotated_slide import REVIEWED, drawn_only
from histoscout.cohort.case import Case, open_case
from histoscout.cohort.cohort import Cohort, read_cohort
from histoscout.cohort.discovery import unique_slide_names
from histoscout.cohort.duplicates import Fingerprint, Landmarks, find_landmarks
from histoscout.cohort.leakage import check_duplicate_slides, check_patient_splits, check_shared_tissue
from histoscout.errors import HistoscoutError, OutputError
from histoscout.geometry.regions import Regions
from histoscout.hardware import usable_cores
from histoscout.io.files import StrPath
from histoscout.io.inputs import real_path
from histoscout.progress import NoProgress, Progress
from histoscout.recipe import Recipe
from histoscout.slides.files import image_name
from histoscout.tissue.mask import find_tissue
from histoscout.verdict import Verdict


@dataclass(frozen=True)
class CheckOptions:
    """Options of a check that are not part of the recipe.

    Attributes:
        class_named: Whether the user chose the positive class, so that it must occur.
        progress: Where progress is shown.

    Example:
        >>> from histoscout import CheckOptions
        >>> CheckOptions(class_named=True).class_named
        True
    """

    class_named: bool = False
    progress: Progress = field(default_factory=NoProgress)


@dataclass(frozen=True, kw_only=True)
class CheckedSlide:
    """One checked slide of a cohort.

    Attributes:
        loaded: Its annotations and scale, or why it cannot be read.
        alignment: Whether its annotations fit the tissue.
        landmarks: Places that are recognized in a copy; None for a slide that cannot be read.
        fingerprint: The slide seen from far away; None for a slide that cannot be read.
        tissue_mm2: Area of its tissue.
    """

    loaded: LoadedCase
    alignment: Alignment
    landmarks: Landmarks | None = None
    fingerprint: Fingerprint | None = None
    tissue_mm2: float = 0.0

    @property
    def name(self) -> str:
        """Name of the case."""
        return self.loaded.case.name


@dataclass(frozen=True, kw_only=True)
class Checks:
    """The result of checking a cohort.

    Attributes:
        where: The cohort.
        verdicts: Verdicts on the cohort as a whole.
        slides: The slides one by one.
        classes: Number and area of annotations by class, patient and slide.
        notes: Notes from reading the cohort.

    Example:
        >>> from histoscout import Checks
        >>> Checks(where="cohort.csv", verdicts=(), slides=(), classes=()).failed
        False
    """

    where: str
    verdicts: tuple[Verdict, ...]
    slides: tuple[CheckedSlide, ...]
    classes: tuple[ClassCount, ...]
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether a check found something that would make results wrong."""
        return any(verdict.state == "failed" for verdict in self.verdicts)


def check_cohort(
    cohort: Cohort | StrPath, recipe: Recipe | None = None, options: CheckOptions | None = None
) -> Checks:
    r"""Check a cohort before training: readable files, alignment of annotations, leakage.

    Slides are read at 1 to 2 um/px, a few seconds each. A broken slide does not stop the others.

    Args:
        cohort: The cohort, or its table, folder or QuPath project.
        recipe: Class names and tissue settings; None for the defaults.
        options: Further options.

    Returns:
        Verdicts on the cohort, and every slide.

    Raises:
        CohortError: If there is no such cohort.

    Example:
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from histoscout import check_cohort
        >>> from histoscout.slides.pyramid import write_pyramid
        >>> write_pyramid(Path("a.tif"), np.full((64, 64, 3), 240, np.uint8), 1.0)
        >>> _ = Path("cohort.csv").write_text("slide,patient\na.tif,p1\n")
        >>> [slide.name for slide in check_cohort(Path("cohort.csv")).slides]
        ['a']
    """
    recipe, options = recipe or Recipe(), options or CheckOptions()
    cohort = cohort if isinstance(cohort, Cohort) else read_cohort(cohort)
    cases = [load_case(case, recipe.classes) for case in cohort.cases]
    options.progress.start("checking slides", len(cases))

    def check(loaded: LoadedCase) -> CheckedSlide:
        # annotations of other slides are tried only where a slide's own do not fit
        result = check_slide(
            loaded,
            recipe,
            lambda: [
                (other.case.name, other.regions)
                for other in cases
                if other is not loaded and len(other.regions)
            ],
        )
        options.progress.advance()
        return result

    with ThreadPoolExecutor(usable_cores()) as pool:
        slides = tuple(pool.map(check, cases))
    options.progress.done()
    confirmed = confirm_suspicions([slide.alignment for slide in slides])
    slides = tuple(replace(slide, alignment=one) for slide, one in zip(slides, confirmed, strict=True))
    # a slide that breaks further in is known as broken only now
    cases = [slide.loaded for slide in slides]
    seen = [slide for slide in slides if slide.landmarks is not None and slide.fingerprint is not None]
    fingerprints = [slide.fingerprint for slide in seen if slide.fingerprint is not None]
    splits = [slide.loaded.case.split or "" for slide in seen]
    verdicts = (
        check_readable(cases),
        check_classes(cases, recipe.classes, options.class_named),
        check_annotations(cases),
        check_cohort_alignment([slide.alignment for slide in slides]),
        check_cohort_patches(cases, recipe),
        check_patient_splits(cohort.cases, cohort.spellings),
        check_duplicate_slides(fingerprints, splits),
        check_shared_tissue([slide.landmarks for slide in seen if slide.landmarks is not None]),
    )
    return Checks(
        where=cohort.where,
        verdicts=verdicts,
        slides=slides,
        classes=tuple(count_classes(cases)),
        notes=cohort.notes,
    )


def check_slide(
    loaded: LoadedCase, recipe: Recipe, others: Callable[[], Sequence[tuple[str, Regions]]] = tuple
) -> CheckedSlide:
    """Check one slide: tissue, alignment of its annotations, landmarks and fingerprint.

    Args:
        loaded: The slide's annotations.
        recipe: Class names and tissue settings.
        others: Gives annotations of other slides by name, tried where the slide's own do not fit.

    Returns:
        The checked slide; one that cannot be read has a fault and no landmarks.
    """
    if loaded.fault:
        return CheckedSlide(loaded=loaded, alignment=_cannot_tell(loaded, "the slide cannot be read"))
    try:
        with open_case(loaded.case) as slide:
            tissue = find_tissue(slide, recipe.tissue, recipe.patches)
            alignment = _cannot_tell(loaded, "no annotations")
            # reviewed areas say nothing about where lesions are
            drawn = drawn_only(loaded.regions)
            if any(recipe.classes.canonical(label) != REVIEWED for label in drawn.labels):
                subject = prepare_subject(slide, drawn, tissue, tile_um=recipe.patches.size_um)
                alignment = check_slide_alignment(replace(subject, classes=recipe.classes), others)
            case = loaded.case
            return CheckedSlide(
                loaded=loaded,
                alignment=alignment,
                landmarks=find_landmarks(slide, tissue, case.patient, case.split or ""),
                fingerprint=Fingerprint.of(slide, case.patient),
                tissue_mm2=tissue.area_mm2,
            )
    except HistoscoutError as error:
        # some files open, and break further in
        broken = replace(loaded, fault=str(error))
        return CheckedSlide(loaded=broken, alignment=_cannot_tell(broken, "the slide cannot be read"))


def _cannot_tell(loaded: LoadedCase, why: str) -> Alignment:
    verdict = Verdict(name=ALIGNMENT, state="cannot tell", message=why)
    return Alignment(slide=loaded.case.name, verdict=verdict)


def refuse_output_folder(folder: Path, cases: Sequence[Case]) -> None:
    """Refuse a folder for corrected annotations that holds the originals or any other file.

    Args:
        folder: The folder.
        cases: The cases whose annotations are corrected.

    Raises:
        OutputError: If the folder cannot be used.
    """
    _refuse_originals(folder, cases)
    if folder.exists() and not folder.is_dir():
        raise OutputError(folder, "this is not a folder", "Give an empty folder")
    if existing := sorted(path.name for path in folder.glob("[!.]*")):
        raise OutputError(folder, f"the folder already holds files ({existing[0]})", "Give an empty folder")


def _refuse_originals(folder: Path, cases: Sequence[Case]) -> None:
    if real_path(folder) in {real_path(case.annotations.parent) for case in cases if case.annotations}:
        raise OutputError(
            folder, "the folder holds the original annotations", "Give another folder for the corrected ones"
        )


def apply_corrections(slides: Sequence[CheckedSlide], folder: Path) -> list[Path]:
    """Write corrected annotations of the slides on which a mistake was found.

    Slides of one file name are distinguished by their folders, and in one folder by their suffixes.

    Args:
        slides: Checked slides; those without a mistake are left out.
        folder: The folder for `SLIDE.geojson` files.

    Returns:
        The files that were written.

    Raises:
        OutputError: If a file already exists, or if the folder holds the original annotations.
    """
    _refuse_originals(folder, [slide.loaded.case for slide in slides])
    # names that differ only in case are one file on some systems
    names = unique_slide_names([slide.loaded.case.slide for slide in slides])
    counts = Counter(name.casefold() for name in names.values())
    corrected = {}
    for slide in slides:
        if slide.alignment.mistake is None:
            continue
        path = slide.loaded.case.slide
        name = names[path] if counts[names[path].casefold()] == 1 else f"{names[path]}{path.suffix}"
        name = image_name(name, slide.loaded.case.series)
        corrected[folder / f"{name}.geojson"] = slide.alignment.mistake.correct(slide.loaded.regions)
    if existing := [target for target in corrected if target.exists()]:
        raise OutputError(existing[0], "the file already exists", "Give an empty folder")
    for target, regions in corrected.items():
        write_annotations(regions, target)
    return list(corrected)
