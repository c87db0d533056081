"""How well QuPath data files are read, against QuPath's own exports: areas, classes, ids, masks, counts, speed.

    python -m benchmarks.qpdata DATA

DATA is a folder with `qupath/versions` (one hierarchy written by several versions of QuPath, with their own GeoJSON; a text dump
for 0.1.2), `qupath/ttcs` (a project with exported masks), `qupath/orion` and `qupath/empty_hierarchy`.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from shapely.geometry import Polygon
from tests.annotations import qpdata_writer as write
from tests.annotations.qpdata_writer import DataFile, QupathObject

from histoscout.annotations.geojson import read_geojson
from histoscout.annotations.qpdata.reader import read_qpdata, read_whole_qpdata
from histoscout.annotations.read import Annotations
from histoscout.cohort.qupath_project import read_project
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import polygon_to_mask

VERSIONS = ("0.2.3", "0.4.4", "0.6.0")


def compare_versions(folder: Path) -> Iterator[str]:
    for version in VERSIONS:
        ours = read_whole_qpdata(folder / f"qupath-v{version}.qpdata").regions
        theirs = read_geojson(folder / f"qupath-v{version}.geojson").regions
        pairs = list(zip(ours, theirs, strict=True))
        area = max(abs(a.outline.area / b.outline.area - 1) for a, b in pairs)
        difference = max(a.outline.symmetric_difference(b.outline).area / b.outline.area for a, b in pairs)
        same = {
            "class": sum(a.label == b.label for a, b in pairs),
            "properties": sum(a.properties == b.properties for a, b in pairs),
            "id": sum(a.id == b.id for a, b in pairs),
        }
        agreeing = ", ".join(f"{name} of {count}" for name, count in same.items())
        yield f"{version}: {len(pairs)} polygons; areas within {area:.1e}, difference {difference:.1e}; same {agreeing}"
    ours = read_whole_qpdata(folder / "qupath-v0.1.2.qpdata").regions
    lines = (folder / "qupath-v0.1.2.dump.txt").read_text("utf-8").splitlines()
    rows = [line.split("\t") for line in lines if "area=" in line]
    errors = [abs(a.outline.area / float(row[-1][5:]) - 1) for a, row in zip(ours, rows, strict=True)]
    classes = sum((a.label or "null") == row[3] for a, row in zip(ours, rows, strict=True))
    yield f"0.1.2: {len(rows)} polygons; areas within {max(errors):.1e}; same class of {classes}"


def compare_masks(folder: Path) -> Iterator[str]:
    overlaps = []
    for entry in read_project(folder / "project.qpproj").entries:
        assert entry.annotations is not None
        truth = tifffile.imread(folder / f"masks/{entry.name}.tif") > 0
        box = Box(0, 0, truth.shape[1], truth.shape[0])
        ours = np.any(
            [polygon_to_mask(r.outline, box, 1) for r in read_qpdata(entry.annotations).regions], axis=0
        )
        overlaps.append(float(np.sum(ours & truth) / np.sum(ours | truth)))
    yield f"{len(overlaps)} exported masks: mean IoU {np.mean(overlaps):.4f}, lowest {min(overlaps):.4f}"


def compare_counts(folder: Path) -> Iterator[str]:
    """Objects of each file against QuPath's summary: those read and those reported as without area."""
    for project in ("orion", "ttcs", "empty_hierarchy"):
        agreeing = objects = files = 0
        for summary in sorted((folder / project / "data").glob("*/summary.json")):
            expected = json.loads(summary.read_text("utf-8"))["hierarchy"]["nObjects"] - 1
            annotations = read_qpdata(summary.with_name("data.qpdata"))
            files += 1
            objects += expected
            agreeing += len(annotations.regions) + count_without_area(annotations) == expected
        yield f"{project}: {agreeing} of {files} files agree with QuPath's counts ({objects} objects)"


def count_without_area(annotations: Annotations) -> int:
    notes = [
        note for note in annotations.notes if "as they have no area" in note or "encloses no area" in note
    ]
    return sum(int(note.split(": ")[1].split(" ")[0]) for note in notes)


def time_reading(folder: Path) -> Iterator[str]:
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    ring = 50 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    label = write.path_class("UDH", -3670016)
    objects = [
        QupathObject(write.geometry_roi(Polygon(ring + 200 * number)), label) for number in range(1000)
    ]
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "made.qpdata"
        path.write_bytes(bytes(DataFile(objects)))
        yield f"1,000 polygons of 60 points: {median_seconds(path):.3f} s (median of 7)"
    for path in sorted(folder.glob("orion/data/*/data.qpdata"), key=lambda file: -file.stat().st_size)[:2]:
        count = len(read_qpdata(path).regions)
        yield f"{path.parent.parent.parent.name} {path.parent.name}, {count} polygons: {median_seconds(path):.3f} s"


def median_seconds(path: Path) -> float:
    seconds = []
    for _ in range(7):
        start = time.perf_counter()
        read_qpdata(path)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main() -> None:
    folder = Path(sys.argv[1]) / "qupath"
    for name, lines in {
        "against QuPath's own GeoJSON": compare_versions(folder / "versions"),
        "against QuPath's exported masks": compare_masks(folder / "ttcs"),
        "against QuPath's summaries": compare_counts(folder),
        "speed": time_reading(folder),
    }.items():
        sys.stdout.write(f"{name}\n")
        sys.stdout.writelines(f"  {line}\n" for line in lines)


if __name__ == "__main__":
    main()
