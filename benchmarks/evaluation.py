"""How long evaluation takes: many slides with many annotations, from files on disk to scores.json.

    python benchmarks/evaluation.py [--slides 10] [--lesions 1000]

Each slide is 10 x 10 mm with 1,000 annotated lesions and as many detections, and a heatmap of 2 um/px in a file (25 million
cells). Detection itself and reading the slides' pixels are not included. Prints processor seconds of one core, so that other work
on the machine does not count, and peak memory.
"""

import argparse
import platform
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.detection.heatmap import Heatmap, read_heatmap, write_heatmap
from histoscout.detection.postprocess import find_regions
from histoscout.evaluation.lesions.compare import compare_lesions
from histoscout.evaluation.protocol import EvaluationProtocol
from histoscout.evaluation.reference import Reference
from histoscout.evaluation.scores import Scores
from histoscout.evaluation.scores_io import write_scores
from histoscout.evaluation.slide_metrics import score_slide_heatmap, score_slide_regions
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import label_map
from histoscout.geometry.regions import Region, Regions
from histoscout.recipe import Recipe
from histoscout.tissue.mask import Tissue

SIDE_UM, MPP, HEAT_MPP = 10_000, 0.25, 2.0
SIDE = SIDE_UM / MPP
THRESHOLD = 0.5
STAGES = (
    "reading annotations, detections and heatmap",
    "lesions against detections",
    "the same with pixels and baselines, without a heatmap",
    "with a heatmap: also tiles, look-alikes and fainter detections",
)
RECIPE = Recipe.from_dict({"patches": {"mpp": HEAT_MPP, "size_um": 512.0}, "classes": {"other": ["ADH"]}})


def make_lesions(random: np.random.Generator, count: int) -> Regions:
    """Wobbly discs of 80 to 250 um on a jittered grid, some of another class."""
    across = int(np.ceil(np.sqrt(count * 1.2)))
    cells = random.permutation(across**2)[: int(count * 1.2)]
    step = SIDE / across
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    regions = []
    for number, cell in enumerate(cells):
        x, y = (cell % across + 0.5) * step, (cell // across + 0.5) * step
        radius = random.uniform(40, 125) / MPP * (1 + 0.1 * np.sin(3 * angles + random.uniform(0, 6)))
        points = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)
        regions.append(Region(shapely.Polygon(points), "UDH" if number < count else "ADH"))
    return Regions.of(regions)


def make_tissue(random: np.random.Generator) -> Tissue:
    cells = int(SIDE_UM / RECIPE.tissue.mpp)
    mask: NDArray[np.bool_] = gaussian_filter(random.normal(size=(cells, cells)), 40) > -0.006
    area = float(mask.sum()) * RECIPE.tissue.mpp**2 * 1e-6
    return Tissue(
        mask=mask,
        artifact_mask=np.zeros_like(mask),
        box=Box(0, 0, SIDE, SIDE),
        scale=RECIPE.tissue.mpp / MPP,
        area_mm2=area,
        artifact_mm2={},
    )


def make_heatmap(random: np.random.Generator, truth: Regions, name: str) -> Heatmap:
    """High on lesions, each to its own degree, and in 200 other places; faint clouds elsewhere."""
    box = Box(0, 0, SIDE, SIDE)
    rows = int(SIDE_UM / HEAT_MPP)
    false_positives = [
        shapely.Point(x, y).buffer(random.uniform(100, 400)) for x, y in random.uniform(0, SIDE, (200, 2))
    ]
    shifted = truth.translate(random.uniform(-80, 80), random.uniform(-80, 80))
    high = Regions.of([*shifted, *(Region(outline, "UDH") for outline in false_positives)])
    inside = label_map(((high, 1),), box, HEAT_MPP / MPP).astype(np.float32)
    degree = np.kron(random.uniform(30, 230, (20, 20)), np.ones((rows // 20, rows // 20))).astype(np.float32)
    clouds = gaussian_filter(random.normal(0, 1, (rows, rows)).astype(np.float32), 4)
    levels = np.clip(gaussian_filter(inside, 2) * degree + clouds / clouds.std() * 6, 0, 255).astype(np.uint8)
    return Heatmap(
        box=box,
        mpp=HEAT_MPP,
        slide_mpp=MPP,
        slide_name=name,
        labels=("UDH", "ADH"),
        values=np.stack([levels, 255 - levels]),
        windows=400,
    )


def write_slide_files(folder: Path, number: int, count: int) -> None:
    random = np.random.default_rng(number)
    name = f"slide_{number}"
    truth = make_lesions(random, count)
    heatmap = make_heatmap(random, truth, name)
    write_geojson(truth, folder / "annotations" / f"{name}.geojson")
    write_heatmap(heatmap, folder / "heatmaps" / f"{name}.ome.tiff")
    detections = find_regions(heatmap, "UDH", THRESHOLD, RECIPE.detection)
    write_geojson(detections, folder / "detections" / f"{name}.geojson")


def peak_memory() -> float:
    """Peak memory of this process, GB (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slides", type=int, default=10, help="number of different slides")
    parser.add_argument("--lesions", type=int, default=1000, help="lesions per slide")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for number in range(options.slides):
            write_slide_files(folder, number, options.lesions)
        # peak memory from here on
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        seconds = []
        slide_scores = []
        for number in range(options.slides):
            tissue = make_tissue(np.random.default_rng(number))
            slide = f"slide_{number}"
            times = [time.process_time()]
            truth = read_geojson(folder / "annotations" / f"{slide}.geojson").regions
            reference = Reference(
                name=slide, patient=f"patient {number}", regions=truth, tissue=tissue, mpp=MPP, recipe=RECIPE
            )
            heatmap = read_heatmap(folder / "heatmaps" / f"{slide}.ome.tiff")
            detections = read_geojson(folder / "detections" / f"{slide}.geojson").regions
            times.append(time.process_time())
            compare_lesions(reference, detections, THRESHOLD)
            times.append(time.process_time())
            score_slide_regions(reference, detections)
            times.append(time.process_time())
            slide_scores.append(score_slide_heatmap(reference, heatmap, detections, threshold=THRESHOLD))
            times.append(time.process_time())
            seconds.append(np.diff(times))
        started = time.process_time()
        hundred = [
            replace(slide_scores[n % len(slide_scores)], name=f"{n}", patient=f"patient {n}")
            for n in range(100)
        ]
        scores = Scores(
            protocol=EvaluationProtocol(method="model", set_name="test", positive="UDH", threshold=THRESHOLD),
            slides=tuple(hundred),
        )
        write_scores(scores, folder / "scores")
        seconds_for_all = time.process_time() - started
        lesions = len(slide_scores[0].lesions.lesions)
        detection_count = len(slide_scores[0].lesions.detections)
        print(f"{platform.machine()}, {platform.processor()}, Python {platform.python_version()}")
        print(
            f"{options.slides} slides, about {lesions} lesions and {detection_count} detections each, fainter ones included"
        )
        stages = np.median(seconds, axis=0)
        for stage, spent in zip(STAGES, stages.tolist(), strict=True):
            print(f"{stage}: {spent:.2f} s per slide (median), {100 * spent:.0f} s for 100")
        print(f"all metrics with confidence intervals of 100 slides and patients: {seconds_for_all:.0f} s")
        print(f"peak memory {peak_memory():.2f} GB")


if __name__ == "__main__":
    main()
