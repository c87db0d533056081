"""How often `check` finds outlines that do not fit the tissue, and how often it is wrong about ones that do.

python benchmarks/alignment.py DATA          slides and cohorts (about 20 minutes on 2 cores)
python benchmarks/alignment.py DATA --door   windows as training receives them (about 5 minutes)

DATA holds `glas/` and `bcss/` (without it, built-in slides only). Judged are slides that nothing was chosen on: GlaS
patients 1, 5, 8, 12, 13 and 16, each field of view by itself, BCSS region 1019, whole and in quarters, built-in patients 0 to 39;
of these, the slides whose outlines, displaced by a tile, stay on tissue with 80 % or more of what stays on the slide.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from shapely.affinity import affine_transform, scale

from histoscout.annotations.masks import read_label_image
from histoscout.annotations.read import read_annotations
from histoscout.checks.alignment.corrections import mirrored_by_tile
from histoscout.checks.alignment.slides import (
    Alignment,
    Subject,
    aligned,
    cohort_verdict,
    simplified,
    subject_of,
)
from histoscout.checks.alignment.windows import PAIRS, fits_at_the_door, fits_in_training
from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Regions, polygonal
from histoscout.recipe import PatchConfig, Recipe, TissueConfig
from histoscout.sampling.datasets import SampledExamples
from histoscout.sampling.sampler import WindowSampler
from histoscout.slides.image_reader import in_memory
from histoscout.slides.open import open_slide
from histoscout.slides.slide import Slide
from histoscout.synthetic.slide import draw
from histoscout.tissue.mask import find_tissue

JUDGED = ("01", "05", "08", "12", "13", "16")
PHANTOMS = 40
ON_TISSUE = 0.8
GROUPS = ("built-in", "GlaS fields", "BCSS")
TILE_UM = {"built-in": 256.0, "GlaS fields": 128.0, "BCSS": 128.0}
LARGER = 1.3

Fault = Callable[[Regions], Regions]


@dataclass(frozen=True)
class Subjects:
    """What slides there are of a group, each made when its number is asked for."""

    group: str
    name: str
    make: Callable[[], tuple[Slide, Regions]]


@dataclass(frozen=True)
class Row:
    group: str
    slide: str
    shape: str
    fault: str
    alignment: Alignment


# ---------------------------------------------------------------- slides


def phantom(patient: int) -> tuple[Slide, Regions]:
    drawn = draw(0, patient, (3072, 3072))
    return in_memory(drawn.pixels, drawn.mpp), drawn.regions


def cut(slide: Slide, regions: Regions, box: Box) -> tuple[Slide, Regions]:
    """A part of a slide as a slide of its own, with the parts of outlines that lie on it."""
    frame = shapely.box(*box.bounds)
    inside = [(region, polygonal(region.outline.intersection(frame))) for region in regions.touching(box)]
    kept = [replace(region, outline=part) for region, part in inside if part is not None and part.area > 100]
    return in_memory(slide.read(box, slide.mpp), slide.mpp), Regions.of(kept).moved(-box.x, -box.y)


def field(folder: Path, patient: str, number: int) -> tuple[Slide, Regions]:
    slide = open_slide(folder / "slides" / f"patient_{patient}.tif")
    regions = read_annotations(folder / "annotations" / f"patient_{patient}.geojson").regions
    return cut(slide, regions, fields(slide)[number])


def fields(slide: Slide) -> list[Box]:
    """Where the fields of view lie on the white slide."""
    pixels = slide.read(slide.box, 16.0)
    stained = ndimage.binary_closing(np.ptp(pixels, axis=-1) > 25, iterations=3)
    pieces, _ = ndimage.label(stained)
    step = 16.0 / slide.mpp
    found = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(pieces), 1):
        if (pieces[rows, columns] == number).sum() >= 200:
            left, top = (round(part.start * step) + 10 for part in (columns, rows))
            right, bottom = (round(part.stop * step) - 10 for part in (columns, rows))
            found.append(Box(left, top, right - left, bottom - top))
    return found


def bcss(folder: Path, name: str, quarter: int | None) -> tuple[Slide, Regions]:
    slide = open_slide(folder / "images" / f"{name}.jpg", 0.25)
    regions = read_label_image(folder / "masks" / f"{name}.jpg", {1: "tumour"}, 128, 1.0).regions
    regions = regions.where(lambda region: region.outline.area * slide.mpp**2 > 50)
    if quarter is None:
        return slide, regions
    width, height = slide.box.width * 0.6, slide.box.height * 0.6
    x, y = (quarter % 2) * slide.box.width * 0.4, (quarter // 2) * slide.box.height * 0.4
    return cut(slide, regions, Box(*(float(round(one)) for one in (x, y, width, height))))


def judged(data: Path | None) -> Iterator[Subjects]:
    for number in range(PHANTOMS):
        yield Subjects("built-in", f"P{number:04d}", partial(phantom, number))
    if data is None:
        return
    for patient in JUDGED:
        with open_slide(data / "glas" / "slides" / f"patient_{patient}.tif") as slide:
            count = len(fields(slide))
        for number in range(count):
            yield Subjects(
                "GlaS fields", f"{patient}-{number}", partial(field, data / "glas", patient, number)
            )
    for quarter in (None, 0, 1, 2, 3):
        yield Subjects("BCSS", f"1019-{quarter}", partial(bcss, data / "bcss", "1019", quarter))


# ---------------------------------------------------------------- faults


def loosely(regions: Regions) -> Regions:
    """Rectangles round the outlines, 30 % too wide and too high."""
    return Regions.of(
        replace(region, outline=scale(shapely.box(*region.outline.bounds), LARGER, LARGER))
        for region in regions
    )


def laid(regions: Regions, matrix: tuple[float, ...]) -> Regions:
    return Regions.of(replace(region, outline=affine_transform(region.outline, matrix)) for region in regions)


def faults(subject: Subject) -> dict[str, Fault]:
    """The mistakes by their names in `check`, and how each is made."""
    box, tile = subject.frame.box, subject.frame.tile
    matrices = {
        "a tile down": (1, 0, 0, 1, 0, tile),
        "a tile up": (1, 0, 0, 1, 0, -tile),
        "a tile right": (1, 0, 0, 1, tile, 0),
        "a tile left": (1, 0, 0, 1, -tile, 0),
        "mirrored top to bottom": (1, 0, 0, -1, 0, box.height),
        "mirrored left to right": (-1, 0, 0, 1, box.width, 0),
        "2 times too large": (2, 0, 0, 2, 0, 0),
        "4 times too large": (4, 0, 0, 4, 0, 0),
        "2 times too small": (0.5, 0, 0, 0.5, 0, 0),
        "4 times too small": (0.25, 0, 0, 0.25, 0, 0),
        "offset by the scanned part": (1, 0, 0, 1, *subject.frame.corner),
    }
    made: dict[str, Fault] = {name: partial(laid, matrix=matrix) for name, matrix in matrices.items()}
    made["of the tile above, mirrored"] = partial(mirrored_by_tile, tile=tile, mirror=(1.0, -1.0), rows=1)
    made["mirrored within each tile, top to bottom"] = partial(
        mirrored_by_tile, tile=tile, mirror=(1.0, -1.0), rows=0
    )
    return made


SHAPES: dict[str, Fault] = {"tight": lambda regions: regions, "rectangles": loosely}


# ---------------------------------------------------------------- judging


def subject(one: Subjects) -> Subject:
    slide, regions = one.make()
    tissue = find_tissue(slide, TissueConfig(artifacts=False), PatchConfig())
    made = subject_of(slide, regions, tissue, TILE_UM[one.group])
    # as if the scanner had left a rim of its own width: the offset is no multiple of a tile
    corner = (round(0.31 * slide.box.width), round(0.23 * slide.box.height))
    return replace(made, name=one.name, frame=replace(made.frame, corner=corner))


def displaced_on_tissue(one: Subject) -> float:
    """The share of tissue under outlines displaced by a tile, of what stays on the slide, mean of four ways."""
    ways = [fault(one.regions) for name, fault in faults(one).items() if name.startswith("a tile ")]
    return float(np.mean([_share(one, regions) for regions in ways]))


def _share(one: Subject, regions: Regions) -> float:
    from histoscout.checks.alignment.scoring import zones_of

    cells = one.cells
    zones = zones_of([region.outline for region in regions], cells.shape, cells.side, cells.side_um)
    inside = zones[:-1].any(0)
    return float(cells.tissue[inside].mean()) if inside.any() else 1.0


def judge(pair: tuple[Subjects, Subjects]) -> list[Row]:
    """Everything about one slide; the other of the pair lends its outlines to be swapped."""
    one, other = pair
    made = subject(one)
    if not len(made.regions) or displaced_on_tissue(made) < ON_TISSUE:
        return []
    strange = simplified(other.make()[1], made.cells.side * 0.2)
    rows = []
    for shape in SHAPES:
        change = SHAPES[shape]
        own, others = change(made.regions), change(strange)
        rows.append(Row(one.group, one.name, shape, "none", aligned(replace(made, regions=own))))
        for name, fault in faults(made).items():
            rows.append(Row(one.group, one.name, shape, name, aligned(replace(made, regions=fault(own)))))
        swapped = aligned(replace(made, regions=others), partial(_alone, one.name, own))
        rows.append(Row(one.group, one.name, shape, "swapped", swapped))
    return [
        replace(row, alignment=replace(row.alignment, mistake=None)) for row in rows
    ]  # mistakes do not pickle


def _alone(name: str, regions: Regions) -> list[tuple[str, Regions]]:
    return [(name, regions)]


def tables(rows: list[Row]) -> None:
    names = list(dict.fromkeys(row.fault for row in rows))
    for group in (*GROUPS, "all"):
        for shape in SHAPES:
            mine = [row for row in rows if row.shape == shape and group in (row.group, "all")]
            count = len({(row.group, row.slide) for row in mine})
            print(f"\n{group}, {shape}: {count} slides\n")
            print("| injected | failed | cannot tell | good | found of those that could be told |")
            print("|---|--:|--:|--:|--:|")
            for name in names:
                states = Counter(row.alignment.verdict.state for row in mine if row.fault == name)
                told = states["failed"] + states["good"]
                share = f"{states['failed'] / told:.3f}" if told else "-"
                print(
                    f"| {name} | {states['failed']} | {states['cannot tell']} | {states['good']} | {share} |"
                )
    print(
        "\ncohorts: the same mistake on all slides of a group\n\n| group | outlines | wrong |\n|---|---|---|"
    )
    for group in GROUPS:
        for shape in SHAPES:
            mine = [row for row in rows if row.shape == shape and row.group == group]
            wrong = [
                name for name in names if not _right(name, [r.alignment for r in mine if r.fault == name])
            ]
            print(f"| {group} | {shape} | {', '.join(wrong) or 'none'} |")


def _right(name: str, alignments: list[Alignment]) -> bool:
    state = cohort_verdict(alignments).state if alignments else "good"
    return (state != "failed") if name == "none" else (state == "failed" or not alignments)


# ---------------------------------------------------------------- the network's door


@dataclass(frozen=True)
class Faulty:
    """A labelled slide whose masks are read wrongly."""

    whole: LabeledSlide
    fault: str

    def __getattr__(self, name: str) -> object:
        return getattr(object.__getattribute__(self, "whole"), name)

    def mask(self, box: Box, mpp: float) -> NDArray[np.uint8]:
        if self.fault == "tile above, mirrored":
            return np.flipud(self.whole.mask(box.moved(0, -box.height), mpp)).copy()
        mask = self.whole.mask(box, mpp)
        changes: dict[str, Callable[..., NDArray[np.uint8]]] = {
            "top to bottom": np.flipud,
            "left to right": np.fliplr,
            "rows and columns": np.transpose,
        }
        return changes[self.fault](mask).copy() if self.fault in changes else mask


DOOR = ("none", "tile above, mirrored", "top to bottom", "left to right", "rows and columns", "other window")
POSITIVE = {"built-in": "UDH", "GlaS fields": "malignant gland", "BCSS": "tumour"}


def door(data: Path | None) -> None:
    print("| windows | turned | outlines | fault | with slides | by themselves |\n|---|---|---|---|---|---|")
    for group in GROUPS:
        for turned in (True, False):
            recipe = door_recipe(group, turned)
            slides = [(one.make()) for one in judged(data) if one.group == group][:24]
            for shape in SHAPES:
                drawn = [labeled(one, shape, recipe, f"{n}") for n, one in enumerate(slides)]
                for fault in DOOR if drawn else ():
                    known, alone = door_states(drawn, recipe, fault)
                    print(
                        f"| {group} | {'yes' if turned else 'no'} | {shape} | {fault} | {known} | {alone} |",
                        flush=True,
                    )


def door_recipe(group: str, turned: bool) -> Recipe:
    choices = {
        "classes": {"positive": POSITIVE[group]},
        "patches": {"mpp": 1.0, "size_um": TILE_UM[group]},
        "tissue": {"artifacts": False},
    }
    return Recipe.from_dict(
        choices if turned else {**choices, "augment": {"rotate": False, "flip": False, "scale": 0.0}}
    )


def labeled(one: tuple[Slide, Regions], shape: str, recipe: Recipe, patient: str) -> LabeledSlide:
    slide, regions = one
    drawn = loosely(regions) if shape == "rectangles" else regions
    named = drawn.relabeled(lambda label: recipe.classes.canonical(label) or label)
    tissue = find_tissue(slide, recipe.tissue, recipe.patches)
    return LabeledSlide(slide, patient, named, tissue, recipe)


def door_states(drawn: list[LabeledSlide], recipe: Recipe, fault: str) -> tuple[str, str]:
    faulty = [Faulty(one, fault) for one in drawn]
    examples = SampledExamples(faulty, WindowSampler(drawn, recipe, {}), recipe)  # type: ignore[arg-type]
    pairs = [examples[number] for number in range(PAIRS)]
    if fault == "other window":
        pairs = [(picture, pairs[(number + 7) % PAIRS][1]) for number, (picture, _) in enumerate(pairs)]
        return "-", fits_at_the_door(pairs, recipe.patches.mpp).state
    return fits_in_training(examples).state, fits_at_the_door(pairs, recipe.patches.mpp).state


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--door", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--group", choices=GROUPS, action="append", help="only this group; may be given again"
    )
    given = parser.parse_args()
    if given.door:
        door(given.data)
        return
    slides = list(judged(given.data))
    pairs = []
    for group in GROUPS:
        mine = [one for one in slides if one.group == group and group in (given.group or GROUPS)]
        pairs += [(one, mine[(number + 3) % len(mine)]) for number, one in enumerate(mine)]
    judged_rows: list[Row] = []
    with ProcessPoolExecutor(given.workers) as pool:
        for done, rows in enumerate(pool.map(judge, pairs), 1):
            judged_rows += rows
            print(f"{done} of {len(pairs)}", file=sys.stderr, flush=True)
    tables(judged_rows)


if __name__ == "__main__":
    main()
