"""Write the built-in synthetic cohort: slides, annotations and the table that lists them."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from histoscout.annotations.geojson import write_geojson
from histoscout.cohort.case import BUILT_IN, Case, SplitName
from histoscout.cohort.cohort import Cohort, write_cohort
from histoscout.errors import CohortError, OutputError
from histoscout.hardware import usable_cores
from histoscout.io.files import holds_nothing, remove_leftovers, write_text
from histoscout.io.locks import claim_folder
from histoscout.io.processes import process_pool
from histoscout.slides.pyramid import write_pyramid
from histoscout.synthetic.patient import DIFFICULTY, MPP
from histoscout.synthetic.slide import draw_slide

SPLITS: tuple[SplitName, ...] = ("train", "test", "tune", "train", "train", "train", "test", "train")
"""Split of patient `number % 8`, in step with `patient.MIXES`: each split has UDH and look-alikes."""

MARKER = "synthetic.json"
"""File in the folder that states what is written there."""

OLD_MARKERS = ("phantom.json",)
"""Names of the marker in histoscout 0.1.0; still read."""


@dataclass(frozen=True, kw_only=True)
class _CohortSpec:
    """The values that decide every byte of a cohort; the marker file holds them."""

    difficulty: str
    seed: int
    patients: int
    slides_per_patient: int
    size: tuple[int, int]


@dataclass(frozen=True)
class _SlideTask:
    """One slide to write: the numbers it is drawn from, and its row of the table."""

    patient: int
    number: int
    case: Case


def write_synthetic_cohort(
    folder: Path,
    patients: int = 8,
    slides_per_patient: int = 1,
    *,
    size: tuple[int, int] = (4096, 4096),
    seed: int = 0,
    on_slide: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the built-in synthetic cohort to a folder and return its table, `cohort.csv`.

    `slides/*.tif` are pyramids at 0.5 um/px, `annotations/*.geojson` hold outlines as a pathologist would draw them.
    Patients keep their split whatever the number of patients; from three patients on, each split has UDH and
    look-alikes. A second call with the same numbers writes only what is missing, so an interrupted call can be
    repeated.

    Args:
        folder: A new folder, or one that this function has written to before.
        patients: Number of patients, at least 3.
        slides_per_patient: Slides of each patient, at least 1.
        size: Height and width of each slide, px; at least 512.
        seed: Another seed gives other patients.
        on_slide: Called after each slide with the number of finished slides and of all slides.

    Returns:
        Path of the cohort table.

    Raises:
        CohortError: The numbers do not make a cohort.
        OutputError: The folder holds something else.
    """
    spec = _CohortSpec(
        difficulty=DIFFICULTY, seed=seed, patients=patients, slides_per_patient=slides_per_patient, size=size
    )
    _check_spec(spec, folder)
    with claim_folder(folder):
        remove_leftovers(folder, folder / "slides", folder / "annotations", alone=True)
        _mark_folder(folder, spec)
        # draw the slides in parallel; each worker skips what is there already
        tasks = _plan_slides(folder, spec)
        with process_pool(min(len(tasks), usable_cores())) as pool:
            for done, _ in enumerate(pool.map(_write_slide, tasks, [size] * len(tasks)), 1):
                if on_slide is not None:
                    on_slide(done, len(tasks))
        # the table comes last: where it exists, the cohort is complete
        table = folder / "cohort.csv"
        if not table.exists():
            write_cohort(Cohort(tuple(task.case for task in tasks), str(table)), table)
        return table


def _check_spec(spec: _CohortSpec, folder: Path) -> None:
    if spec.patients < 3 or spec.slides_per_patient < 1:
        fault = (
            f"a cohort cannot have {spec.patients} patients with {spec.slides_per_patient} slides per patient"
        )
        remedy = (
            "Use three patients or more (one each for training, tuning and testing) and one slide or more"
        )
        raise CohortError(folder, fault, remedy)
    if min(spec.size) < 512 or spec.seed < 0:
        fault = f"slides of {spec.size[0]} x {spec.size[1]} px with seed {spec.seed} cannot be drawn"
        raise CohortError(folder, fault, "Use 512 px or more for each side, and a seed of 0 or more")


def _mark_folder(folder: Path, spec: _CohortSpec) -> None:
    """Write the marker file, or check that the folder's marker states the same."""
    text = json.dumps(asdict(spec), indent=1) + "\n"
    existing = [folder / name for name in (MARKER, *OLD_MARKERS) if (folder / name).exists()]
    if existing:
        if existing[0].read_text(encoding="utf-8") != text:
            fault = "the folder holds another built-in cohort (other version, seed, size or number of slides)"
            raise OutputError(folder, fault, "Choose another folder, or delete this one")
        return
    # a run that was killed in its first moment leaves nothing but temporary files
    if not holds_nothing(folder):
        fault = "the folder is not empty and holds no built-in cohort"
        raise OutputError(folder, fault, "Choose a new folder")
    write_text(folder / MARKER, text)


def _plan_slides(folder: Path, spec: _CohortSpec) -> list[_SlideTask]:
    tasks = []
    for index in range(spec.patients):
        patient = spec.seed * 100_000 + index
        for number in range(spec.slides_per_patient):
            name = f"P{patient:04d}-{number + 1}"
            case = Case(
                slide=folder / "slides" / f"{name}.tif",
                annotations=folder / "annotations" / f"{name}.geojson",
                patient=f"P{patient:04d}",
                split=SPLITS[index % len(SPLITS)],
                mpp=MPP,
                site=BUILT_IN,
            )
            tasks.append(_SlideTask(patient, number, case))
    return tasks


def _write_slide(task: _SlideTask, size: tuple[int, int]) -> None:
    """Draw and write a slide and its annotations, unless both files exist."""
    annotations = task.case.annotations
    if annotations is None or (task.case.slide.exists() and annotations.exists()):
        return
    slide = draw_slide(task.number, task.patient, size)
    description = f"histoscout synthetic slide, difficulty {DIFFICULTY}, patient {task.patient}, slide {task.number + 1}"
    write_geojson(slide.regions, annotations)
    write_pyramid(task.case.slide, slide.pixels, slide.mpp, description=description)
