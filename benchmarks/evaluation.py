"""How long judging takes: many slides with many outlines, from files on disk to scores.json.

Each slide is 10 x 10 mm with 1,000 lesions drawn and as many outlines found, and a heatmap of 2 um/px in a file
(25 million cells). Detection itself and reading the slides' pixels are not in it. Prints
processor seconds of one core, so that other work on the machine does not count, and the peak of memory.
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
from histoscout.detection.postprocess import outline
from histoscout.evaluation.lesions.compare import compare_lesions
from histoscout.evaluation.protocol import Exam
from histoscout.evaluation.reference import Ground
from histoscout.evaluation.scores import Scores
from histoscout.evaluation.scores_io import write_scores
from histoscout.evaluation.slide_metrics import judge_heatmap, judge_regions
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import label_map
from histoscout.geometry.regions import Region, Regions
from histoscout.recipe import Recipe
from histoscout.tissue.mask import Tissue

SIDE_UM, MPP, HEAT_MPP = 10_000, 0.25, 2.0
SIDE = SIDE_UM / MPP
THRESHOLD = 0.5
STAGES = (
    "reading outlines and heatmap",
    "lesions against findings",
    "the same with pixels and baselines, outlines alone",
    "a heatmap: also tiles, look-alikes and fainter findings",
)
RECIPE = Recipe.from_dict({"patches": {"mpp": HEAT_MPP, "size_um": 512.0}, "classes": {"other": ["ADH"]}})


def drawn(random: np.random.Generator, count: int) -> Regions:
    """Wobbly discs of 80 to 250 um on a jittered grid, some of another class."""
    across = int(np.ceil(np.sqrt(count * 1.2)))
    places = random.permutation(across**2)[: int(count * 1.2)]
    step = SIDE / across
    turns = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    regions = []
    for number, place in enumerate(places):
        x, y = (place % across + 0.5) * step, (place // across + 0.5) * step
        radius = random.uniform(40, 125) / MPP * (1 + 0.1 * np.sin(3 * turns + random.uniform(0, 6)))
        points = np.stack([x + radius * np.cos(turns), y + radius * np.sin(turns)], axis=1)
        regions.append(Region(shapely.Polygon(points), "UDH" if number < count else "ADH"))
    return Regions.of(regions)


def tissue(random: np.random.Generator) -> Tissue:
    cells = int(SIDE_UM / RECIPE.tissue.mpp)
    mask: NDArray[np.bool_] = gaussian_filter(random.normal(size=(cells, cells)), 40) > -0.006
    area = float(mask.sum()) * RECIPE.tissue.mpp**2 * 1e-6
    return Tissue(mask, np.zeros_like(mask), Box(0, 0, SIDE, SIDE), RECIPE.tissue.mpp / MPP, area, {})


def heatmap(random: np.random.Generator, truth: Regions, name: str) -> Heatmap:
    """High where lesions are, of each to its own degree, and in 200 other places; faint clouds elsewhere."""
    box = Box(0, 0, SIDE, SIDE)
    rows = int(SIDE_UM / HEAT_MPP)
    alarms = [
        shapely.Point(x, y).buffer(random.uniform(100, 400)) for x, y in random.uniform(0, SIDE, (200, 2))
    ]
    shifted = truth.moved(random.uniform(-80, 80), random.uniform(-80, 80))
    shown = Regions.of([*shifted, *(Region(alarm, "UDH") for alarm in alarms)])
    inside = label_map(((shown, 1),), box, HEAT_MPP / MPP).astype(np.float32)
    degree = np.kron(random.uniform(30, 230, (20, 20)), np.ones((rows // 20, rows // 20))).astype(np.float32)
    clouds = gaussian_filter(random.normal(0, 1, (rows, rows)).astype(np.float32), 4)
    levels = np.clip(gaussian_filter(inside, 2) * degree + clouds / clouds.std() * 6, 0, 255).astype(np.uint8)
    return Heatmap(box, HEAT_MPP, MPP, name, ("UDH", "ADH"), np.stack([levels, 255 - levels]), 400)


def make(folder: Path, number: int, count: int) -> None:
    random = np.random.default_rng(number)
    name = f"slide_{number}"
    truth = drawn(random, count)
    heat = heatmap(random, truth, name)
    write_geojson(truth, folder / "drawn" / f"{name}.geojson")
    write_heatmap(heat, folder / "heatmaps" / f"{name}.ome.tiff")
    found = outline(heat, "UDH", THRESHOLD, RECIPE.detection)
    write_geojson(found, folder / "found" / f"{name}.geojson")


def peak_memory() -> float:
    """GB held at most by this process (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slides", type=int, default=10, help="different slides made and judged")
    parser.add_argument("--outlines", type=int, default=1000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(chosen.slides):
            make(folder, number, chosen.outlines)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak from here on
        seconds, judged = [], []
        for number in range(chosen.slides):
            here = tissue(np.random.default_rng(number))
            slide, times = f"slide_{number}", [time.process_time()]
            truth = read_geojson(folder / "drawn" / f"{slide}.geojson").regions
            ground = Ground(slide, f"patient {number}", truth, here, MPP, RECIPE)
            heat = read_heatmap(folder / "heatmaps" / f"{slide}.ome.tiff")
            found = read_geojson(folder / "found" / f"{slide}.geojson").regions
            times.append(time.process_time())
            compare_lesions(ground, found, THRESHOLD)
            times.append(time.process_time())
            judge_regions(ground, found)
            times.append(time.process_time())
            judged.append(judge_heatmap(ground, heat, found, THRESHOLD))
            times.append(time.process_time())
            seconds.append(np.diff(times))
        begun = time.process_time()
        hundred = [replace(judged[n % len(judged)], name=f"{n}", patient=f"patient {n}") for n in range(100)]
        scores = Scores(Exam("model", "test", "UDH", THRESHOLD), tuple(hundred))
        write_scores(scores, folder / "scores")
        figures = time.process_time() - begun
        lesions, findings = len(judged[0].lesions.lesions), len(judged[0].lesions.findings)
        print(f"{platform.machine()}, {platform.processor()}, Python {platform.python_version()}")
        print(
            f"{chosen.slides} slides, about {lesions} lesions and {findings} findings each, fainter ones included"
        )
        stages = np.median(seconds, axis=0)
        for stage, spent in zip(STAGES, stages.tolist(), strict=True):
            print(f"{stage}: {spent:.2f} s a slide (median), {100 * spent:.0f} s for 100")
        print(f"all figures with intervals of 100 slides and patients: {figures:.0f} s")
        print(f"peak memory {peak_memory():.2f} GB")


if __name__ == "__main__":
    main()
