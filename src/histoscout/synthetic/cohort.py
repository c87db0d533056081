"""Write the built-in cohort: slides, outlines and the table that lists them."""

import json
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from histoscout.annotations.geojson import write_geojson
from histoscout.cohort.case import BUILT_IN, Case, SplitName
from histoscout.cohort.cohort import Cohort, write_cohort
from histoscout.errors import CohortError, OutputError
from histoscout.hardware import usable_cores
from histoscout.io.files import write_text
from histoscout.slides.pyramid import write_pyramid
from histoscout.synthetic.patient import DIFFICULTY, MPP
from histoscout.synthetic.slide import draw

# In step with `patient.MIXES`: each split has patients with usual hyperplasia beside look-alikes, from three
# patients on.
SPLITS: tuple[SplitName, ...] = ("train", "test", "tune", "train", "train", "train", "test", "train")

MARKER = "phantom.json"


@dataclass(frozen=True)
class _Made:
    """What decides every byte of a cohort."""

    difficulty: str
    seed: int
    patients: int
    slides_per_patient: int
    size: tuple[int, int]


@dataclass(frozen=True)
class _Slide:
    """One slide to be written: the numbers it is drawn from, and its line in the table."""

    patient: int
    number: int
    case: Case


def write(
    folder: Path,
    patients: int = 8,
    slides_per_patient: int = 1,
    size: tuple[int, int] = (4096, 4096),
    seed: int = 0,
    on_slide: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the built-in cohort to a folder and return its table, `cohort.csv`.

    `slides/*.tif` are pyramids of `size` (height, width in px) at 0.5 um/px, `annotations/*.geojson` the
    outlines as a pathologist would draw them. Patients keep their split (train, tune, test) whatever their
    number; from three on, each split has usual hyperplasia and look-alikes. Another `seed` gives other
    patients.

    A second call with the same numbers does only what is missing, so one that was interrupted can be called
    again. `on_slide` is told how many slides are done, of how many. CohortError for numbers that make no
    cohort; OutputError if the folder holds something else.
    """
    made = _Made(DIFFICULTY, seed, patients, slides_per_patient, size)
    _check(made, folder)
    _claim(folder, made)
    slides = _slides(folder, made)
    workers = min(len(slides), usable_cores())
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done, _ in enumerate(pool.map(_write_slide, slides, [made] * len(slides)), 1):
            if on_slide is not None:
                on_slide(done, len(slides))
    table = folder / "cohort.csv"
    if not table.exists():
        write_cohort(Cohort(tuple(slide.case for slide in slides), str(table)), table)
    return table


def _check(made: _Made, folder: Path) -> None:
    if made.patients < 3 or made.slides_per_patient < 1:
        fault = f"{made.patients} patients with {made.slides_per_patient} slides each make no cohort"
        raise CohortError(
            folder, fault, "Ask for three patients or more: one to train on, one to tune, one to test"
        )
    if min(made.size) < 512 or made.seed < 0:
        fault = f"slides of {made.size[0]} x {made.size[1]} px with seed {made.seed} cannot be drawn"
        raise CohortError(folder, fault, "Ask for 512 px or more on each side, and a seed of 0 or more")


def _claim(folder: Path, made: _Made) -> None:
    """Note in the folder what is being made there, or find that it is the same."""
    marker = folder / MARKER
    text = json.dumps(asdict(made), indent=1) + "\n"
    if not marker.exists():
        if folder.is_dir() and any(folder.iterdir()):
            raise OutputError(folder, "is not empty and holds no built-in cohort", "Give a new folder")
        write_text(marker, text)
    elif marker.read_text(encoding="utf-8") != text:
        fault = "holds another built-in cohort (other version, seed, size or number of slides)"
        raise OutputError(folder, fault, "Give another folder, or delete this one")


def _slides(folder: Path, made: _Made) -> list[_Slide]:
    slides = []
    for index in range(made.patients):
        patient = made.seed * 100_000 + index
        for number in range(made.slides_per_patient):
            name = f"P{patient:04d}-{number + 1}"
            where = folder / "slides" / f"{name}.tif"
            outlines = folder / "annotations" / f"{name}.geojson"
            split = SPLITS[index % len(SPLITS)]
            case = Case(where, outlines, f"P{patient:04d}", split, MPP, BUILT_IN)
            slides.append(_Slide(patient, number, case))
    return slides


def _write_slide(slide: _Slide, made: _Made) -> None:
    """Draw and write a slide and its outlines, each as a whole or not at all; what is there already stays."""
    outlines = slide.case.annotations
    if outlines is None or (slide.case.slide.exists() and outlines.exists()):
        return
    drawn = draw(slide.number, slide.patient, made.size)
    about = f"histoscout phantom, difficulty {DIFFICULTY}, patient {slide.patient}, slide {slide.number + 1}"
    write_geojson(drawn.regions, outlines)
    write_pyramid(slide.case.slide, drawn.pixels, drawn.mpp, description=about)
