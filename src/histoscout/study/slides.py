"""The slides of the study: the three of BRACS, or synthetic ones shaped like them.

The synthetic ones are mosaics: several fragments of one patient's tissue on a slide, as biopsies are mounted; three
slides of two patients, and one of a third patient, the referee, who is for evaluation only. Lesions are as rare as in
the paper and are outlined as in BRACS: many rectangles, loose outlines. `Scale` is how large the study is made.
"""

import json
from collections.abc import Callable, Mapping
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
from shapely.affinity import scale as scale_outline

from histoscout.annotations.geojson import write_geojson
from histoscout.cohort.case import BUILT_IN, Case, SplitName
from histoscout.cohort.cohort import Cohort, write_cohort
from histoscout.errors import CohortError, OutputError, RecipeError
from histoscout.geometry.regions import Outline, Region, Regions, valid_outline
from histoscout.hardware import usable_cores
from histoscout.io.files import write_text
from histoscout.io.processes import process_pool
from histoscout.slides.pyramid import write_pyramid
from histoscout.study import protocol
from histoscout.synthetic.patient import DIFFICULTY, MPP, Patient, make_patient
from histoscout.synthetic.slide import draw_slide_of

FIRST_PATIENT = 4_000_000
"""Number of the first patient; no synthetic cohort uses such numbers for its own patients."""

RECTANGLE_SHARE = 0.6
HOLED_SHARE = 0.3
PARTED_SHARE = 0.3
"""Share of annotations that are rectangles; of the others, with a hole; of the others, in two parts."""


@dataclass(frozen=True, kw_only=True)
class Mosaic:
    """How large the synthetic slides are. The referee's slide has half as many rows.

    Attributes:
        rows: Fragments in a column.
        columns: Fragments in a row.
        fragment: Side of a fragment, px.
        lesions: Number of UDH ducts on each of the four slides.
    """

    rows: int = 4
    columns: int = 4
    fragment: int = 4096
    lesions: tuple[int, ...] = (12, 6, 6, 6)

    @property
    def mm2(self) -> float:
        """Area of a fragment, mm2."""
        return float((self.fragment * MPP * 1e-3) ** 2)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large the study is.

    Attributes:
        name: Name of the scale.
        tile_px: Side of a tile, px.
        narrower: Divisor of the networks' channels.
        steps: Steps that replace 50 epochs; None for the epochs themselves.
        validations: Validations in 50 epochs.
        max_step_seconds: Longest training step that is measured rather than estimated, s.
        working_choices: Choices that change our recipe.
        weights: Initial weights of the ResNet50.
        mosaic: Size of the synthetic slides.
        resnet: Encoder of the ResNet50 U-Net.
    """

    name: str
    tile_px: int
    narrower: int
    steps: int | None
    validations: int
    max_step_seconds: float
    working_choices: Mapping[str, Any]
    weights: str
    mosaic: Mosaic
    resnet: str = "resnet50"

    def channels(self, published: tuple[int, ...]) -> tuple[int, ...]:
        """Return the channels of a network, narrower than published by a constant factor."""
        return tuple(max(4, channels // self.narrower) for channels in published)

    def count_steps(self, epochs: int, training_tiles: int) -> int:
        """Return the steps that replace a training of the paper's with so many epochs."""
        if self.steps is not None:
            return max(1, round(self.steps * epochs / protocol.EPOCHS[0]))
        return epochs * -(-training_tiles // protocol.BATCH)

    def learning_rate(self, rate: float, epochs: int, steps: int) -> float:
        """Return the learning rate that keeps rate times steps as it was in the paper."""
        return rate if self.steps is None else protocol.rate_times_steps(rate, epochs) / steps


SCALES: Mapping[str, Scale] = MappingProxyType(
    {
        "quick": Scale(
            name="quick",
            tile_px=64,
            narrower=4,
            steps=180,
            validations=9,
            max_step_seconds=8.0,
            working_choices=MappingProxyType({}),
            weights="none",
            mosaic=Mosaic(),
        ),
        "full": Scale(
            name="full",
            tile_px=protocol.TILE_PX,
            narrower=1,
            steps=None,
            validations=50,
            max_step_seconds=600.0,
            working_choices=MappingProxyType({"training.epochs": None, "training.minutes": 60.0}),
            weights="imagenet",
            mosaic=Mosaic(),
        ),
    }
)
"""The scales by name."""


@dataclass(frozen=True, kw_only=True)
class _MosaicTask:
    """A synthetic slide to draw."""

    name: str
    patient: int
    number: int
    split: SplitName | None
    lesions: int


def get_scale(name: str) -> Scale:
    """Return the scale of this name; RecipeError if there is none.

    Args:
        name: Its name.
    """
    if name not in SCALES:
        raise RecipeError("--scale", f"the scale {name!r} does not exist", f"Use one of {', '.join(SCALES)}")
    return SCALES[name]


def find_bracs(folder: Path) -> Cohort:
    """Find the paper's slides in a BRACS download.

    Args:
        folder: The download; each slide may be in any folder below, its annotations too (.qpdata or .geojson).

    Returns:
        The three slides with their annotations.

    Raises:
        CohortError: Files are missing; the message lists them.
    """
    cases: list[Case] = []
    missing: list[str] = []
    for name, patient in protocol.SLIDES.items():
        # folders of BRACS downloads differ, names do not
        slide = next(iter(sorted(folder.rglob(f"{name}.svs"))), None)
        candidates = (
            path for kind in ("geojson", "qpdata") for path in sorted(folder.rglob(f"{name}.{kind}"))
        )
        annotations = next(candidates, None)
        missing += [f"{name}.svs"] * (slide is None) + [f"{name}.qpdata"] * (annotations is None)
        if slide is not None and annotations is not None:
            cases.append(Case(slide=slide, annotations=annotations, patient=patient))
    # all missing files at once
    if missing:
        raise CohortError(
            folder,
            f"the folder lacks files of the study: {', '.join(missing)}",
            "Give the folder of the BRACS download, or omit --data to use synthetic slides",
        )
    return Cohort(tuple(cases), str(folder))


def draw_study_cohort(folder: Path, mosaic: Mosaic, on_slide: Callable[[], None] = lambda: None) -> Cohort:
    """Draw the synthetic slides of the study into a folder; existing files stay.

    Args:
        folder: A new folder, or one that this function has written to before.
        mosaic: Size of the slides.
        on_slide: Called after each slide.

    Returns:
        Three slides of two patients, and the referee's in the split "test".

    Raises:
        OutputError: The folder holds slides of another version or size.
    """
    _claim_folder(folder, mosaic)
    a_1, a_2, b_1, referee = mosaic.lesions
    tasks = (
        _MosaicTask(name="A-1", patient=0, number=0, split=None, lesions=a_1),
        _MosaicTask(name="A-2", patient=0, number=1, split=None, lesions=a_2),
        _MosaicTask(name="B-1", patient=1, number=0, split=None, lesions=b_1),
        _MosaicTask(name="referee", patient=2, number=0, split="test", lesions=referee),
    )
    cases = []
    for task in tasks:
        slide = folder / "slides" / f"{task.name}.tif"
        annotations = folder / "annotations" / f"{task.name}.geojson"
        # the referee's slide has half as many rows
        if not (slide.exists() and annotations.exists()):
            shape = replace(mosaic, rows=max(1, mosaic.rows // 2)) if task.split == "test" else mosaic
            pixels, regions = draw_mosaic(task.patient, task.number, task.lesions, mosaic=shape)
            write_geojson(regions, annotations)
            description = f"histoscout synthetic slide, difficulty {DIFFICULTY}, study"
            write_pyramid(slide, pixels, MPP, description=description)
        cases.append(
            Case(
                slide=slide,
                annotations=annotations,
                patient=task.name.split("-")[0],
                split=task.split,
                mpp=MPP,
                site=BUILT_IN,
            )
        )
        on_slide()
    cohort = Cohort(tuple(cases), str(folder / "cohort.csv"))
    write_cohort(cohort, folder / "cohort.csv")
    return cohort


def draw_mosaic(
    patient: int, number: int, lesions: int, *, mosaic: Mosaic
) -> tuple[NDArray[np.uint8], Regions]:
    """Draw one slide of the study.

    Args:
        patient: Number of the patient, from 0.
        number: Number of the slide among the patient's, from 0.
        lesions: Number of UDH ducts on the slide.
        mosaic: Size of the slide.

    Returns:
        Pixels (H, W, 3) uint8 at 0.5 um/px, and annotations as in BRACS, in level-0 px.
    """
    count = mosaic.rows * mosaic.columns
    side = mosaic.fragment
    # the lesions are spread over the fragments at random
    random = np.random.default_rng([FIRST_PATIENT, patient, number])
    lesions_per_fragment = np.bincount(random.integers(0, count, lesions), minlength=count).tolist()
    draw = partial(_draw_fragment, make_patient(FIRST_PATIENT + patient), number * count, mosaic)
    pixels = np.empty((mosaic.rows * side, mosaic.columns * side, 3), np.uint8)
    regions: list[Region] = []
    with ExitStack() as stack:
        # one fragment is not worth a process of its own
        parallel_map = map
        if count > 1:
            pool = stack.enter_context(process_pool(min(count, usable_cores())))
            parallel_map = pool.map  # type: ignore[assignment]
        fragments = parallel_map(draw, range(count), lesions_per_fragment)
        for index, (fragment, fragment_regions) in enumerate(fragments):
            row, column = divmod(index, mosaic.columns)
            pixels[row * side : (row + 1) * side, column * side : (column + 1) * side] = fragment
            regions += fragment_regions.translate(column * side, row * side)
    return pixels, outline_as_in_bracs(Regions.of(regions), random)


def outline_as_in_bracs(regions: Regions, random: Generator) -> Regions:
    """Return UDH and look-alikes outlined as in BRACS.

    Args:
        regions: Annotations of a synthetic slide.
        random: Random generator; advanced by the call.

    Returns:
        The filled ducts, labeled as in BRACS: mostly rectangles, the others by hand, some of them in two parts or with
        a hole.
    """
    labels = {"UDH": "UDH-sure", "UDH-unsure": "UDH-sure", "ADH": "ADH-sure"}
    outlined: list[Region] = []
    for region in regions:
        if region.label in labels:
            outlined += [
                replace(region, outline=outline, label=labels[region.label], id=f"{region.id[:-2]}{part:02d}")
                for part, outline in enumerate(_bracs_outlines(region.outline, random))
            ]
    return Regions.of(outlined)


def _claim_folder(folder: Path, mosaic: Mosaic) -> None:
    """Write the marker file, or check that the folder's marker states the same."""
    marker = folder / "study-cohort.json"
    text = json.dumps({"difficulty": DIFFICULTY, **asdict(mosaic)}) + "\n"
    if marker.exists() and marker.read_text(encoding="utf-8") != text:
        fault = "the folder holds synthetic slides of another version or size"
        raise OutputError(folder, fault, "Choose another folder with -o")
    write_text(marker, text)


def _draw_fragment(
    patient: Patient, first: int, mosaic: Mosaic, index: int, lesions: int
) -> tuple[NDArray[np.uint8], Regions]:
    """Draw a fragment with a number of UDH ducts and about one look-alike."""
    density = replace(patient.density, udh=lesions / mosaic.mm2, adh=1 / mosaic.mm2, unclear=0.0)
    slide = draw_slide_of(
        replace(patient, density=density), first + index, (mosaic.fragment, mosaic.fragment)
    )
    return slide.pixels, slide.regions


def _bracs_outlines(outline: Outline, random: Generator) -> list[Outline]:
    # three draws for every outline, whichever is used
    is_rectangle, is_holed, is_parted = random.random(3) < (RECTANGLE_SHARE, HOLED_SHARE, PARTED_SHARE)
    left, top, right, bottom = outline.bounds
    if is_rectangle:
        # nobody draws a rectangle exactly to the edge
        margins = random.uniform(0, 24, 4)
        return [shapely.box(left - margins[0], top - margins[1], right + margins[2], bottom + margins[3])]
    if is_holed:
        ring = valid_outline(outline.difference(scale_outline(outline, 0.4, 0.4)))
        return [outline if ring is None else ring]
    if is_parted:
        middle = outline.centroid.x
        halves = (shapely.box(left, top, middle - 8, bottom), shapely.box(middle + 8, top, right, bottom))
        parts = [valid_outline(outline.intersection(half)) for half in halves]
        return [part for part in parts if part is not None]
    return [outline]
