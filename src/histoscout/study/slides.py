"""The slides of the study: the three of BRACS where the user has them, else three built-in ones shaped like them.

The built-in ones are mosaics of phantoms: several fragments of one patient's tissue on a slide, as biopsies are
mounted; three slides of two patients, and one of a third patient who is the referee: never part of the study, only
of its judgement. Lesions are as rare as in the paper and are outlined as in BRACS: many rectangles, loose outlines.

How large the study is made, and what is held to the paper's values when it is made smaller.
"""

import json
import multiprocessing
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import shapely
from numpy.random import Generator
from numpy.typing import NDArray
from shapely.affinity import scale as scaled

from histoscout.annotations.geojson import write_geojson
from histoscout.cohort.case import BUILT_IN, Case, SplitName
from histoscout.cohort.cohort import Cohort, write_cohort
from histoscout.errors import CohortError, OutputError, RecipeError
from histoscout.geometry.regions import Outline, Region, Regions, polygonal
from histoscout.hardware import usable_cores
from histoscout.io.files import write_text
from histoscout.slides.pyramid import write_pyramid
from histoscout.study import protocol
from histoscout.synthetic.patient import DIFFICULTY, MPP, Counts, Patient, patient_of
from histoscout.synthetic.slide import draw_patient

FIRST_PATIENT = 4_000_000  # numbers that no cohort of the phantoms uses for its own patients
RECTANGLES, HOLED, PARTED = (
    0.6,
    0.3,
    0.3,
)  # share of all outlines; of those drawn by hand, with a hole; in two parts


@dataclass(frozen=True)
class Mosaic:
    """How large the built-in slides are: fragments in a column, in a row, px of a fragment; UDH ducts on each slide.

    The referee's slide has half as many rows.
    """

    rows: int = 4
    columns: int = 4
    fragment: int = 4096
    lesions: tuple[int, ...] = (12, 6, 6, 6)

    @property
    def mm2(self) -> float:
        """Area of a fragment."""
        return float((self.fragment * MPP * 1e-3) ** 2)


@dataclass(frozen=True)
class _Slide:
    name: str
    patient: int
    number: int
    split: SplitName | None
    lesions: int


def built_in(folder: Path, mosaic: Mosaic, on_slide: Callable[[], None] = lambda: None) -> Cohort:
    """Draw the built-in cohort into a folder; what is there already stays. OutputError if it holds something else."""
    _claim(folder, mosaic)
    plan = (
        _Slide("A-1", 0, 0, None, mosaic.lesions[0]),
        _Slide("A-2", 0, 1, None, mosaic.lesions[1]),
        _Slide("B-1", 1, 0, None, mosaic.lesions[2]),
        _Slide("referee", 2, 0, "test", mosaic.lesions[3]),
    )
    cases = []
    for slide in plan:
        picture, outlines = (
            folder / "slides" / f"{slide.name}.tif",
            folder / "annotations" / f"{slide.name}.geojson",
        )
        if not (picture.exists() and outlines.exists()):
            shape = replace(mosaic, rows=max(1, mosaic.rows // 2)) if slide.split == "test" else mosaic
            pixels, regions = draw_mosaic(slide.patient, slide.number, slide.lesions, shape)
            write_geojson(regions, outlines)
            write_pyramid(
                picture, pixels, MPP, description=f"histoscout phantom, difficulty {DIFFICULTY}, study"
            )
        cases.append(Case(picture, outlines, slide.name.split("-")[0], slide.split, MPP, BUILT_IN))
        on_slide()
    cohort = Cohort(tuple(cases), str(folder / "cohort.csv"))
    write_cohort(cohort, folder / "cohort.csv")
    return cohort


def _claim(folder: Path, mosaic: Mosaic) -> None:
    marker, text = (
        folder / "study-cohort.json",
        json.dumps({"difficulty": DIFFICULTY, **asdict(mosaic)}) + "\n",
    )
    if marker.exists() and marker.read_text(encoding="utf-8") != text:
        raise OutputError(
            folder, "holds a built-in cohort of another version or size", "Give another folder with -o"
        )
    write_text(marker, text)


def draw_mosaic(patient: int, number: int, lesions: int, mosaic: Mosaic) -> tuple[NDArray[np.uint8], Regions]:
    """Pixels (H, W, 3) at 0.5 um/px of one slide, and its outlines as they are drawn in BRACS."""
    who, count = patient_of(FIRST_PATIENT + patient), mosaic.rows * mosaic.columns
    random = np.random.default_rng([FIRST_PATIENT, patient, number])
    in_each = np.bincount(random.integers(0, count, lesions), minlength=count)
    draw = partial(_fragment, who, number * count, mosaic)
    workers = min(count, usable_cores())
    side = mosaic.fragment
    pixels = np.empty((mosaic.rows * side, mosaic.columns * side, 3), np.uint8)
    found: list[Region] = []
    with ExitStack() as stack:
        several = map  # one fragment is not worth a process of its own
        if count > 1:
            spawn = multiprocessing.get_context("spawn")
            several = stack.enter_context(ProcessPoolExecutor(workers, mp_context=spawn)).map  # type: ignore[assignment]
        for index, (part, regions) in enumerate(several(draw, range(count), in_each.tolist())):
            row, column = divmod(index, mosaic.columns)
            pixels[row * side : (row + 1) * side, column * side : (column + 1) * side] = part
            found += regions.moved(column * side, row * side)
    return pixels, as_in_bracs(Regions.of(found), random)


def _fragment(
    who: Patient, first: int, mosaic: Mosaic, index: int, lesions: int
) -> tuple[NDArray[np.uint8], Regions]:
    rare = replace(who, counts=_rare(who.counts, lesions, mosaic.mm2))
    drawn = draw_patient(rare, first + index, (mosaic.fragment, mosaic.fragment))
    return drawn.pixels, drawn.regions


def _rare(counts: Counts, lesions: int, mm2: float) -> Counts:
    """So many UDH ducts and about one look-alike on a fragment: the phantoms' own are ten times as dense as BRACS."""
    return replace(counts, udh=lesions / mm2, adh=1 / mm2, unclear=0.0)


def as_in_bracs(regions: Regions, random: Generator) -> Regions:
    """UDH and look-alikes outlined as in BRACS: mostly rectangles, the rest by hand, some in two parts or with a hole."""
    names = {"UDH": "UDH-sure", "UDH-unsure": "UDH-sure", "ADH": "ADH-sure"}
    drawn: list[Region] = []
    for region in regions:
        if region.label in names:
            drawn += [
                replace(region, outline=outline, label=names[region.label], id=f"{region.id[:-2]}{part:02d}")
                for part, outline in enumerate(_outlines(region.outline, random))
            ]
    return Regions.of(drawn)


def _outlines(outline: Outline, random: Generator) -> list[Outline]:
    rectangle, holed, parted = random.random(3) < (RECTANGLES, HOLED, PARTED)
    if rectangle:
        left, top, right, bottom = outline.bounds
        margins = random.uniform(0, 24, 4)  # px: nobody draws a rectangle to the rim
        return [shapely.box(left - margins[0], top - margins[1], right + margins[2], bottom + margins[3])]
    if holed:
        inside = polygonal(outline.difference(scaled(outline, 0.4, 0.4)))
        return [outline if inside is None else inside]
    if parted:
        middle, (left, top, right, bottom) = outline.centroid.x, outline.bounds
        halves = (shapely.box(left, top, middle - 8, bottom), shapely.box(middle + 8, top, right, bottom))
        parts = [polygonal(outline.intersection(half)) for half in halves]
        return [part for part in parts if part is not None]
    return [outline]


def bracs(folder: Path) -> Cohort:
    """The paper's slides in a BRACS download, each with its outlines (.qpdata or .geojson); CohortError lists what is missing."""
    cases, faults = [], []
    for name, patient in protocol.SLIDES.items():
        slide = next(iter(sorted(folder.rglob(f"{name}.svs"))), None)
        outlines = next(
            (path for kind in ("geojson", "qpdata") for path in sorted(folder.rglob(f"{name}.{kind}"))), None
        )
        faults += [f"{name}.svs"] * (slide is None) + [f"{name}.qpdata"] * (outlines is None)
        if slide is not None and outlines is not None:
            cases.append(Case(slide, outlines, patient))
    if faults:
        raise CohortError(
            folder,
            f"lacks {', '.join(faults)}, which the study was made on",
            "Give the folder of the BRACS download, or leave --data out for the built-in slides",
        )
    return Cohort(tuple(cases), str(folder))


@dataclass(frozen=True)
class Scale:
    """Tile side in px, divisor of the networks' widths, steps that stand for 50 epochs (None: the epochs themselves).

    `points` are the validations in 50 epochs; `most_seconds` the longest single step that is timed rather than worked
    out; `ours` what our recipe does otherwise than it is written; `weights` where the ResNet50 starts.
    """

    name: str
    tile_px: int
    narrower: int
    steps: int | None
    points: int
    most_seconds: float
    ours: Mapping[str, Any]
    weights: str
    mosaic: Mosaic
    resnet: str = "resnet50"

    def widths(self, full: tuple[int, ...]) -> tuple[int, ...]:
        """Channels of a network, a constant factor narrower than published."""
        return tuple(max(4, width // self.narrower) for width in full)

    def steps_for(self, epochs: int, training_tiles: int) -> int:
        """Steps of a training that the paper ran for so many epochs."""
        if self.steps is not None:
            return max(1, round(self.steps * epochs / protocol.EPOCHS[0]))
        return epochs * -(-training_tiles // protocol.BATCH)

    def rate(self, rate: float, epochs: int, steps: int) -> float:
        """The learning rate that keeps rate x steps as it was in the paper."""
        return rate if self.steps is None else protocol.rate_times_steps(rate, epochs) / steps


SCALES: Mapping[str, Scale] = MappingProxyType(
    {
        "quick": Scale("quick", 64, 4, 180, 9, 8.0, MappingProxyType({}), "none", Mosaic()),
        "full": Scale(
            "full",
            protocol.TILE_PX,
            1,
            None,
            50,
            600.0,
            MappingProxyType({"training.epochs": None, "training.minutes": 60.0}),
            "imagenet",
            Mosaic(),
        ),
    }
)


def scale_named(name: str) -> Scale:
    """The scale of this name; RecipeError if there is none."""
    if name not in SCALES:
        raise RecipeError("--scale", f"there is no scale {name!r}", f"Take one of {', '.join(SCALES)}")
    return SCALES[name]
