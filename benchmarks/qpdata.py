"""QuPath's data files against what QuPath itself says of them: areas, classes, ids, masks, counts, speed.

    python -m benchmarks.qpdata DATA

DATA is a folder with `qupath/versions` (one hierarchy written by several versions of QuPath, with their own GeoJSON;
a text dump for 0.1.2), `qupath/ttcs` (a project with exported masks), `qupath/orion`, `qupath/empty_hierarchy`.
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
from tests.annotations.qpdata_writer import Drawn, Saved

from histoscout.annotations.geojson import read_geojson
from histoscout.annotations.qpdata.reader import read_qpdata, read_whole_qpdata
from histoscout.annotations.read import Annotations
from histoscout.cohort.qupath_project import read_project
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import mask_of

VERSIONS = ("0.2.3", "0.4.4", "0.6.0")


def versions(folder: Path) -> Iterator[str]:
    for version in VERSIONS:
        ours = read_whole_qpdata(folder / f"qupath-v{version}.qpdata").regions
        theirs = read_geojson(folder / f"qupath-v{version}.geojson").regions
        pairs = list(zip(ours, theirs, strict=True))
        area = max(abs(a.outline.area / b.outline.area - 1) for a, b in pairs)
        apart = max(a.outline.symmetric_difference(b.outline).area / b.outline.area for a, b in pairs)
        same = {
            "class": sum(a.label == b.label for a, b in pairs),
            "properties": sum(a.properties == b.properties for a, b in pairs),
            "id": sum(a.id == b.id for a, b in pairs),
        }
        said = ", ".join(f"{name} of {count}" for name, count in same.items())
        yield f"{version}: {len(pairs)} outlines; areas within {area:.1e}, apart by {apart:.1e}; same {said}"
    ours = read_whole_qpdata(folder / "qupath-v0.1.2.qpdata").regions
    lines = (folder / "qupath-v0.1.2.dump.txt").read_text("utf-8").splitlines()
    rows = [line.split("\t") for line in lines if "area=" in line]
    off = [abs(a.outline.area / float(row[-1][5:]) - 1) for a, row in zip(ours, rows, strict=True)]
    classes = sum((a.label or "null") == row[3] for a, row in zip(ours, rows, strict=True))
    yield f"0.1.2: {len(rows)} outlines; areas within {max(off):.1e}; same class of {classes}"


def masks(folder: Path) -> Iterator[str]:
    overlaps = []
    for entry in read_project(folder / "project.qpproj").entries:
        assert entry.annotations is not None
        truth = tifffile.imread(folder / f"masks/{entry.name}.tif") > 0
        box = Box(0, 0, truth.shape[1], truth.shape[0])
        ours = np.any([mask_of(r.outline, box, 1) for r in read_qpdata(entry.annotations).regions], axis=0)
        overlaps.append(float(np.sum(ours & truth) / np.sum(ours | truth)))
    yield f"{len(overlaps)} exported masks: mean IoU {np.mean(overlaps):.4f}, least {min(overlaps):.4f}"


def counts(folder: Path) -> Iterator[str]:
    """Objects of each file against QuPath's summary of it: those read and those named as without area."""
    for project in ("orion", "ttcs", "empty_hierarchy"):
        agreeing = objects = files = 0
        for summary in sorted((folder / project / "data").glob("*/summary.json")):
            said = json.loads(summary.read_text("utf-8"))["hierarchy"]
            found = read_qpdata(summary.with_name("data.qpdata"))
            files, objects = files + 1, objects + said["nObjects"] - 1
            agreeing += len(found.regions) + without_area(found) == said["nObjects"] - 1
        yield f"{project}: {agreeing} of {files} files agree with QuPath's counts ({objects} objects)"


def without_area(found: Annotations) -> int:
    told = [n for n in found.notes if "as they have no area" in n or "encloses no area" in n]
    return sum(int(note.split(": ")[1].split(" ")[0]) for note in told)


def speed(folder: Path) -> Iterator[str]:
    turns = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    ring = 50 * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    label = write.path_class("UDH", -3670016)
    drawn = [Drawn(write.geometry_roi(Polygon(ring + 200 * number)), label) for number in range(1000)]
    with tempfile.TemporaryDirectory() as place:
        made = Path(place) / "made.qpdata"
        made.write_bytes(bytes(Saved(drawn)))
        yield f"1,000 outlines of 60 points: {seconds(made):.3f} s (median of 7)"
    for path in sorted(folder.glob("orion/data/*/data.qpdata"), key=lambda file: -file.stat().st_size)[:2]:
        count = len(read_qpdata(path).regions)
        yield f"{path.parent.parent.parent.name} {path.parent.name}, {count} outlines: {seconds(path):.3f} s"


def seconds(path: Path) -> float:
    taken = []
    for _ in range(7):
        start = time.perf_counter()
        read_qpdata(path)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def main() -> None:
    folder = Path(sys.argv[1]) / "qupath"
    for name, figures in {
        "against QuPath's own GeoJSON": versions(folder / "versions"),
        "against QuPath's exported masks": masks(folder / "ttcs"),
        "against QuPath's summaries": counts(folder),
        "speed": speed(folder),
    }.items():
        sys.stdout.write(f"{name}\n")
        sys.stdout.writelines(f"  {line}\n" for line in figures)


if __name__ == "__main__":
    main()
