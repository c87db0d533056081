"""How long large annotations take: a polygon of a million points in each format, and a mask of a whole slide.

python benchmarks/annotations.py
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import shapely
from shapely.geometry import Polygon

from histoscout.annotations.read import read_annotations
from histoscout.annotations.write import MaskCanvas, write_annotations
from histoscout.geometry.regions import Region, Regions

POINTS = 1_000_000
WIDTH, HEIGHT, REGIONS = 100_000, 80_000, 400


def peak_mb() -> int:
    """Peak memory of the process so far, MB; the steps below are in ascending order."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) >> 10


def make_lesions() -> Regions:
    random = np.random.default_rng(0)
    centers, radii = random.uniform(2000, 78_000, (REGIONS, 2)), random.uniform(200, 1500, REGIONS)
    outlines = [shapely.Point(x, y).buffer(r, quad_segs=50) for (x, y), r in zip(centers, radii, strict=True)]
    return Regions.of(Region(outline, ("UDH", "ADH")[i % 2]) for i, outline in enumerate(outlines))


def make_circle() -> Regions:
    angles = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)
    return Regions.of([Region(Polygon(5e4 + 4e4 * np.stack([np.cos(angles), np.sin(angles)], 1)), "UDH")])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        path = Path(folder) / "slide.tif"
        write_annotations(make_lesions(), path, MaskCanvas(width=WIDTH, height=HEIGHT, scale=2.0, mpp=0.5))
        seconds = time.process_time() - started
        print(
            f"mask TIFF of {WIDTH // 2} x {HEIGHT // 2} px: {seconds:.1f} s of processor time, {peak_mb()} MB"
        )
        regions = make_circle()
        for suffix in (".geojson", ".xml"):
            path = Path(folder) / f"slide{suffix}"
            write_annotations(regions, path)
            start = time.process_time()
            read_annotations(path)
            size = path.stat().st_size >> 20
            print(
                f"{suffix}, {POINTS} points, {size} MB: read in {time.process_time() - start:.1f} s, {peak_mb()} MB"
            )


if __name__ == "__main__":
    main()
