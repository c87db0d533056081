"""How often the alignment check of `histoscout check` detects misplaced annotations, and how often it is wrong.

    python benchmarks/alignment.py DATA              slides and cohorts (about 20 minutes on 2 cores)
    python benchmarks/alignment.py DATA --patches    training patches (about 5 minutes)
    python benchmarks/alignment.py DATA --sound      untouched annotations on whole slides (about 5 minutes)

DATA holds `glas/` and `bcss/`; without it only synthetic slides are tested. No parameter was chosen on these slides: GlaS
patients 1, 5, 8, 12, 13 and 16, each field of view by itself; BCSS region 1019, whole and in quarters; synthetic patients 0
to 39. Left out are slides whose annotations, displaced by a tile, are on tissue with less than 80 % of their area.
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

from histoscout.annotations.masks import read_mask
from histoscout.annotations.read import read_annotations
from histoscout.checks.alignment.cohort import check_cohort_alignment
from histoscout.checks.alignment.corrections import mirror_by_tile
from histoscout.checks.alignment.patches import PAIRS, check_patch_alignment, check_training_patches
from histoscout.checks.alignment.scoring import annotation_zones
from histoscout.checks.alignment.slides import (
    Alignment,
    AlignmentSubject,
    check_slide_alignment,
    prepare_subject,
    simplify_regions,
)
from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions, valid_outline
from histoscout.recipe import Recipe
from histoscout.recipe_sections import PatchConfig, TissueConfig
from histoscout.sampling.datasets import SampledExamples
from histoscout.sampling.sampler import PatchSampler
from histoscout.slides.image_reader import slide_from_array
from histoscout.slides.open import open_slide
from histoscout.slides.slide import Slide
from histoscout.synthetic.slide import draw_slide
from histoscout.tissue.mask import find_tissue

GLAS_PATIENTS = ("01", "05", "08", "12", "13", "16")
SYNTHETIC_COUNT = 40
SOUND_COUNT = 12
SQUARE_UM = 200.0
MIN_ON_TISSUE = 0.8
GROUPS = ("built-in", "GlaS fields", "BCSS")
TILE_UM = {"built-in": 256.0, "GlaS fields": 128.0, "BCSS": 128.0}
POSITIVE = {"built-in": "UDH", "GlaS fields": "malignant gland", "BCSS": "tumour"}
RECTANGLE_SCALE = 1.3

Fault = Callable[[Regions], Regions]


@dataclass(frozen=True)
class SlideSource:
    """A slide of a group, read or drawn when it is needed."""

    group: str
    name: str
    load: Callable[[], tuple[Slide, Regions]]


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """The result of the check on one slide with one fault injected."""

    group: str
    slide: str
    shape: str
    fault: str
    alignment: Alignment


# ---------------------------------------------------------------- slides


def list_sources(data: Path | None) -> Iterator[SlideSource]:
    """All slides that are tested; without data only the synthetic ones."""
    for number in range(SYNTHETIC_COUNT):
        yield SlideSource("built-in", f"P{number:04d}", partial(synthetic_slide, number))
    if data is None:
        return
    for patient in GLAS_PATIENTS:
        with open_slide(data / "glas" / "slides" / f"patient_{patient}.tif") as slide:
            count = len(find_fields(slide))
        for number in range(count):
            load = partial(glas_field, data / "glas", patient, number)
            yield SlideSource("GlaS fields", f"{patient}-{number}", load)
    for quarter in (None, 0, 1, 2, 3):
        yield SlideSource("BCSS", f"1019-{quarter}", partial(bcss_region, data / "bcss", "1019", quarter))


def synthetic_slide(patient: int) -> tuple[Slide, Regions]:
    synthetic = draw_slide(0, patient, (3072, 3072))
    return slide_from_array(synthetic.pixels, synthetic.mpp), synthetic.regions


def glas_field(folder: Path, patient: str, number: int) -> tuple[Slide, Regions]:
    """A field of view of GlaS as a slide of its own."""
    slide = open_slide(folder / "slides" / f"patient_{patient}.tif")
    regions = read_annotations(folder / "annotations" / f"patient_{patient}.geojson").regions
    return crop(slide, regions, find_fields(slide)[number])


def find_fields(slide: Slide) -> list[Box]:
    """The fields of view on the white slide."""
    pixels = slide.read(slide.box, 16.0)
    stained = ndimage.binary_closing(np.ptp(pixels, axis=-1) > 25, iterations=3)
    pieces, _ = ndimage.label(stained)
    step = 16.0 / slide.mpp
    fields = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(pieces), 1):
        if (pieces[rows, columns] == number).sum() >= 200:
            left, top = (round(part.start * step) + 10 for part in (columns, rows))
            right, bottom = (round(part.stop * step) - 10 for part in (columns, rows))
            fields.append(Box(left, top, right - left, bottom - top))
    return fields


def bcss_region(folder: Path, name: str, quarter: int | None) -> tuple[Slide, Regions]:
    """A region of BCSS, or an overlapping quarter of it."""
    slide = open_slide(folder / "images" / f"{name}.jpg", 0.25)
    regions = read_mask(folder / "masks" / f"{name}.jpg", {1: "tumour"}, 128, 1.0).regions
    regions = regions.where(lambda region: region.outline.area * slide.mpp**2 > 50)
    if quarter is None:
        return slide, regions
    width, height = slide.box.width * 0.6, slide.box.height * 0.6
    x, y = (quarter % 2) * slide.box.width * 0.4, (quarter // 2) * slide.box.height * 0.4
    return crop(slide, regions, Box(*(float(round(value)) for value in (x, y, width, height))))


def crop(slide: Slide, regions: Regions, box: Box) -> tuple[Slide, Regions]:
    """A part of a slide as a slide of its own, with the parts of annotations on it."""
    frame = shapely.box(*box.bounds)
    clipped = [
        (region, valid_outline(region.outline.intersection(frame))) for region in regions.intersecting(box)
    ]
    kept = [replace(region, outline=part) for region, part in clipped if part is not None and part.area > 100]
    return slide_from_array(slide.read(box, slide.mpp), slide.mpp), Regions.of(kept).translate(-box.x, -box.y)


def list_sound_sources(data: Path | None) -> Iterator[SlideSource]:
    """Whole slides whose annotations are sound: nothing is done to them."""
    for number in range(SOUND_COUNT):
        yield SlideSource("built-in", f"P{number:04d}", partial(synthetic_slide, number))
        yield SlideSource("built-in, squares", f"P{number:04d}", partial(blocky_slide, number))
    if data is None:
        return
    folders = {"GlaS": data / "glas", "breast, squares": data / "idc"}
    for group, folder in folders.items():
        for path in sorted((folder / "slides").glob("*.tif")):
            yield SlideSource(group, path.stem, partial(whole_slide, folder, path.stem))
    for region in sorted((data / "bcss" / "images").glob("*.jpg")):
        yield SlideSource("BCSS", region.stem, partial(bcss_region, data / "bcss", region.stem, None))


def whole_slide(folder: Path, name: str) -> tuple[Slide, Regions]:
    slide = open_slide(folder / "slides" / f"{name}.tif")
    return slide, read_annotations(folder / "annotations" / f"{name}.geojson").regions


def blocky_slide(patient: int) -> tuple[Slide, Regions]:
    """A synthetic slide with outlines as coarse as those of public patch data."""
    slide, regions = synthetic_slide(patient)
    return slide, to_squares(regions, slide)


def to_squares(regions: Regions, slide: Slide) -> Regions:
    """Every square of 200 um that is annotated by a third, neighbors joined."""
    side = SQUARE_UM / slide.mpp
    squares = [
        shapely.box(x, y, x + side, y + side)
        for x in np.arange(0, slide.box.width, side)
        for y in np.arange(0, slide.box.height, side)
    ]
    parts = []
    for label in regions.labels:
        lesions = shapely.union_all([region.outline for region in regions.with_labels(label)])
        chosen = [square for square in squares if square.intersection(lesions).area >= square.area / 3]
        parts += [Region(part, label) for part in shapely.get_parts(shapely.union_all(chosen)).tolist()]
    return Regions.of(parts)


# ---------------------------------------------------------------- faults


def to_rectangles(regions: Regions) -> Regions:
    """Rectangles around the outlines, 30 % too wide and too high."""
    return Regions.of(
        replace(region, outline=scale(shapely.box(*region.outline.bounds), RECTANGLE_SCALE, RECTANGLE_SCALE))
        for region in regions
    )


SHAPES: dict[str, Fault] = {"tight": lambda regions: regions, "rectangles": to_rectangles}


def transform_regions(regions: Regions, matrix: tuple[float, ...]) -> Regions:
    return Regions.of(replace(region, outline=affine_transform(region.outline, matrix)) for region in regions)


def make_faults(subject: AlignmentSubject) -> dict[str, Fault]:
    """The mistakes that are injected, by name."""
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
    mirrored = partial(mirror_by_tile, tile=tile, mirror=(1.0, -1.0))
    return {
        **{name: partial(transform_regions, matrix=matrix) for name, matrix in matrices.items()},
        "of the tile above, mirrored": partial(mirrored, rows=1),
        "mirrored within each tile, top to bottom": partial(mirrored, rows=0),
    }


# ---------------------------------------------------------------- slides and cohorts


def make_subject(source: SlideSource) -> AlignmentSubject:
    slide, regions = source.load()
    tissue = find_tissue(slide, TissueConfig(artifacts=False), PatchConfig())
    subject = prepare_subject(slide, regions, tissue, tile_um=TILE_UM[source.group])
    # as if the scanner had left a margin: the offset is no multiple of a tile
    corner = (round(0.31 * slide.box.width), round(0.23 * slide.box.height))
    return replace(subject, name=source.name, frame=replace(subject.frame, corner=corner))


def share_on_tissue(subject: AlignmentSubject) -> float:
    """The share of tissue under annotations displaced by a tile, of what stays on the slide; mean of four ways."""
    cells = subject.cells
    shares = []
    for name, fault in make_faults(subject).items():
        if name.startswith("a tile "):
            outlines = [region.outline for region in fault(subject.regions)]
            inside = annotation_zones(outlines, cells.shape, cells.side, cells.side_um)[:-1].any(0)
            shares.append(float(cells.tissue[inside].mean()) if inside.any() else 1.0)
    return float(np.mean(shares))


def check_slide(pair: tuple[SlideSource, SlideSource]) -> list[ResultRow]:
    """The results on one slide with each fault; the other slide's annotations are swapped in."""
    source, other = pair
    subject = make_subject(source)
    if not len(subject.regions) or share_on_tissue(subject) < MIN_ON_TISSUE:
        return []
    other_regions = simplify_regions(other.load()[1], subject.cells.side * 0.2)
    rows = []
    for shape, change in SHAPES.items():
        own = change(subject.regions)
        results = {"none": check_slide_alignment(replace(subject, regions=own))}
        for name, fault in make_faults(subject).items():
            results[name] = check_slide_alignment(replace(subject, regions=fault(own)))
        swapped = replace(subject, regions=change(other_regions))
        results["swapped"] = check_slide_alignment(swapped, partial(only_candidate, source.name, own))
        # mistakes do not all pickle; those that other slides must confirm do
        rows += [
            ResultRow(
                group=source.group,
                slide=source.name,
                shape=shape,
                fault=name,
                alignment=replace(alignment, mistake=None),
            )
            for name, alignment in results.items()
        ]
    return rows


def only_candidate(name: str, regions: Regions) -> list[tuple[str, Regions]]:
    return [(name, regions)]


def check_sound(pair: tuple[SlideSource, list[SlideSource]]) -> tuple[str, Alignment] | None:
    """The result on a slide as it is; annotations of others of its group are tried where its own do not fit."""
    source, others = pair
    slide, regions = source.load()
    if not len(regions):
        return None
    tissue = find_tissue(slide, TissueConfig(), PatchConfig())
    subject = prepare_subject(slide, regions, tissue, tile_um=PatchConfig().size_um)
    found = check_slide_alignment(
        replace(subject, name=source.name), lambda: [(other.name, other.load()[1]) for other in others]
    )
    return source.group, replace(found, mistake=None, suspected=None)


def print_sound_table(data: Path | None, workers: int) -> None:
    sources = list(list_sound_sources(data))
    pairs = [
        (source, [other for other in sources if other.group == source.group and other is not source])
        for source in sources
    ]
    with ProcessPoolExecutor(workers) as pool:
        results = [result for result in pool.map(check_sound, pairs) if result is not None]
    print("| slides | count | failed | cannot tell | good | all together |\n|---|--:|--:|--:|--:|---|")
    for group in dict.fromkeys(group for group, _ in results):
        alignments = [alignment for other, alignment in results if other == group]
        states = Counter(alignment.verdict.state for alignment in alignments)
        counts = " | ".join(str(states[state]) for state in ("failed", "cannot tell", "good"))
        together = check_cohort_alignment(alignments).state
        print(f"| {group} | {len(alignments)} | {counts} | {together} |")
    for group, alignment in results:
        if alignment.verdict.state == "failed":
            print(f"{group}: {alignment.slide}: {alignment.verdict.message}", file=sys.stderr)


def print_slide_tables(rows: list[ResultRow]) -> None:
    faults = list(dict.fromkeys(row.fault for row in rows))
    for group in (*GROUPS, "all"):
        for shape in SHAPES:
            selected = [row for row in rows if row.shape == shape and group in (row.group, "all")]
            count = len({(row.group, row.slide) for row in selected})
            print(f"\n{group}, {shape}: {count} slides\n")
            print("| injected | failed | cannot tell | good | detected of those decided |")
            print("|---|--:|--:|--:|--:|")
            for fault in faults:
                states = Counter(row.alignment.verdict.state for row in selected if row.fault == fault)
                decided = states["failed"] + states["good"]
                share = f"{states['failed'] / decided:.3f}" if decided else "-"
                counts = " | ".join(str(states[state]) for state in ("failed", "cannot tell", "good"))
                print(f"| {fault} | {counts} | {share} |")


def print_cohort_table(rows: list[ResultRow]) -> None:
    faults = list(dict.fromkeys(row.fault for row in rows))
    print("\ncohorts: the same mistake on all slides of a group\n")
    print("| group | outlines | wrong |\n|---|---|---|")
    for group in GROUPS:
        for shape in SHAPES:
            selected = [row for row in rows if row.shape == shape and row.group == group]
            wrong = [
                fault
                for fault in faults
                if not is_correct(fault, [row.alignment for row in selected if row.fault == fault])
            ]
            print(f"| {group} | {shape} | {', '.join(wrong) or 'none'} |")


def is_correct(fault: str, alignments: list[Alignment]) -> bool:
    if not alignments:
        return True
    state = check_cohort_alignment(alignments).state
    return state != "failed" if fault == "none" else state == "failed"


# ---------------------------------------------------------------- training patches


@dataclass(frozen=True)
class FaultySlide:
    """A labeled slide whose masks are read wrongly."""

    slide: LabeledSlide
    fault: str

    def __getattr__(self, name: str) -> object:
        return getattr(object.__getattribute__(self, "slide"), name)

    def mask(self, box: Box, mpp: float) -> NDArray[np.uint8]:
        labeled: LabeledSlide = object.__getattribute__(self, "slide")
        if self.fault == "tile above, mirrored":
            return np.flipud(labeled.mask(box.translate(0, -box.height), mpp)).copy()
        mask = labeled.mask(box, mpp)
        changes: dict[str, Callable[..., NDArray[np.uint8]]] = {
            "top to bottom": np.flipud,
            "left to right": np.fliplr,
            "rows and columns": np.transpose,
        }
        return changes[self.fault](mask).copy() if self.fault in changes else mask


PATCH_FAULTS = (
    "none",
    "tile above, mirrored",
    "top to bottom",
    "left to right",
    "rows and columns",
    "other patch",
)


def print_patch_table(data: Path | None) -> None:
    print("| patches | rotated | outlines | fault | with slides | alone |\n|---|---|---|---|---|---|")
    for group in GROUPS:
        for rotated in (True, False):
            recipe = make_patch_recipe(group, rotated)
            slides = [source.load() for source in list_sources(data) if source.group == group][:24]
            for shape in SHAPES:
                labeled = [
                    label_slide(slide, SHAPES[shape](regions), recipe, patient=str(number))
                    for number, (slide, regions) in enumerate(slides)
                ]
                for fault in PATCH_FAULTS if labeled else ():
                    with_slides, alone = check_patches(labeled, recipe, fault)
                    cells = (group, "yes" if rotated else "no", shape, fault, with_slides, alone)
                    print(f"| {' | '.join(cells)} |", flush=True)


def make_patch_recipe(group: str, rotated: bool) -> Recipe:
    sections = {
        "classes": {"positive": POSITIVE[group]},
        "patches": {"mpp": 1.0, "size_um": TILE_UM[group]},
        "tissue": {"artifacts": False},
    }
    unchanged = {"augment": {"rotate": False, "flip": False, "scale": 0.0}}
    return Recipe.from_dict(sections if rotated else {**sections, **unchanged})


def label_slide(slide: Slide, regions: Regions, recipe: Recipe, *, patient: str) -> LabeledSlide:
    canonical = regions.relabel(lambda label: recipe.classes.canonical(label) or label)
    tissue = find_tissue(slide, recipe.tissue, recipe.patches)
    return LabeledSlide(slide, patient, canonical, tissue, recipe)


def check_patches(slides: list[LabeledSlide], recipe: Recipe, fault: str) -> tuple[str, str]:
    """The states of the patch alignment check with the slides at hand, and with images and masks alone."""
    faulty = [FaultySlide(slide, fault) for slide in slides]
    examples = SampledExamples(faulty, PatchSampler(slides, recipe, {}), recipe)  # type: ignore[arg-type]
    pairs = [examples[number] for number in range(PAIRS)]
    if fault == "other patch":
        pairs = [(image, pairs[(number + 7) % PAIRS][1]) for number, (image, _) in enumerate(pairs)]
        return "-", check_patch_alignment(pairs, recipe.patches.mpp).state
    return check_training_patches(examples).state, check_patch_alignment(pairs, recipe.patches.mpp).state


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="?", help="folder with glas/ and bcss/")
    parser.add_argument("--patches", action="store_true", help="check training patches instead of slides")
    parser.add_argument("--sound", action="store_true", help="check untouched annotations on whole slides")
    parser.add_argument("--workers", type=int, default=2, help="number of processes")
    parser.add_argument("--group", choices=GROUPS, action="append", help="only this group; can be repeated")
    options = parser.parse_args()
    if options.patches:
        print_patch_table(options.data)
        return
    if options.sound:
        print_sound_table(options.data, options.workers)
        return
    # each slide is paired with another one of its group
    sources = list(list_sources(options.data))
    pairs = []
    for group in options.group or GROUPS:
        selected = [source for source in sources if source.group == group]
        pairs += [(source, selected[(number + 3) % len(selected)]) for number, source in enumerate(selected)]
    rows: list[ResultRow] = []
    with ProcessPoolExecutor(options.workers) as pool:
        for done, slide_rows in enumerate(pool.map(check_slide, pairs), 1):
            rows += slide_rows
            print(f"{done} of {len(pairs)}", file=sys.stderr, flush=True)
    print_slide_tables(rows)
    print_cohort_table(rows)


if __name__ == "__main__":
    main()
