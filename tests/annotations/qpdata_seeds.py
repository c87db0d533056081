"""Small QuPath data files of every version, with an example of everything that the reader reads."""

import json
from typing import Any

from shapely.geometry import MultiPolygon, Polygon, box

from tests.annotations import qpdata_writer as write
from tests.annotations.qpdata_writer import DataFile, QupathObject

VERSIONS = ("0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "uuid")
SERVER: dict[str, Any] = {
    "builderType": "uri",
    "uri": "file:/C:/slides/BRACS%201494.svs",
    "args": ["--series", "0"],
    "metadata": {
        "name": "BRACS 1494.svs",
        "width": 4000,
        "height": 3000,
        "pixelCalibration": {
            "pixelWidth": {"value": 0.25, "unit": "µm"},
            "pixelHeight": {"value": 0.25, "unit": "µm"},
        },
    },
}
RING = [[100, 100], [300, 100], [300, 250], [100, 250]]
HOLE = [[150, 150], [200, 150], [200, 200], [150, 200]]


def rich(version: str) -> list[QupathObject]:
    """Nested annotations, every kind of ROI, derived classes, a cell, a tile, a core."""
    tumor = write.path_class("Tumor", -3670016)
    invasive = write.path_class("Invasive", -15584170, tumor)
    nothing = write.path_class(None)
    identity = "00000000-0000-0000-0000-0000000000{:02x}"
    area = write.area_roi([RING, HOLE]) if version < "0.2" else write.geometry_roi(Polygon(RING, [HOLE]))
    several = write.geometry_roi(MultiPolygon([box(0, 0, 9, 9), box(20, 20, 30, 30)]), plane=(2, 1))
    cell = QupathObject(
        write.points_roi("PolygonROI", RING),
        kind="PathCellObject",
        nucleus=write.points_roi("PolygonROI", HOLE),
        measurements=write.measurements(
            {"Nucleus: Area": 42.25, "Cell: Missing": float("nan")}, compact=True
        ),
        id=identity.format(1),
    )
    child = QupathObject(
        write.points_roi("PolygonROI", RING),
        invasive,
        name="naïve 乳 \N{MICROSCOPE}\0",
        color=-16711681,
        locked=True,
        measurements=write.measurements({"Area": 12.5, "histoscout score": 0.5}, compact=False),
        metadata={"ANNOTATION_DESCRIPTION": "sure"},
        id=identity.format(2),
        probability=0.75,
        children=[cell, QupathObject(write.points_roi("PolygonROI", HOLE), nothing, "PathDetectionObject")],
    )
    kinds = [
        QupathObject(write.corners_roi("RectangleROI", 0, 0, 4000, 3000), write.path_class("Region*", 180)),
        QupathObject(write.corners_roi("EllipseROI", 10, 20, 110, 70), tumor, children=[child]),
        QupathObject(area, invasive),
        QupathObject(several, tumor),
        QupathObject(write.corners_roi("LineROI", 0, 0, 5, 5)),
        QupathObject(write.points_roi("PolylineROI", RING), name="a line"),
        QupathObject(write.points_roi("PointsROI", RING)),
        QupathObject(write.corners_roi("RectangleROI", 5, 5, 5, 9), tumor, name="flat"),
        QupathObject(
            write.points_roi("PolygonROI", [[0, 0], [10, 10], [10, 0], [0, 10]]), tumor, name="bow tie"
        ),
        QupathObject(
            write.corners_roi("EllipseROI", 0, 0, 99, 99), kind="TMACoreObject", name="A-1", missing=True
        ),
        QupathObject(write.corners_roi("RectangleROI", 0, 0, 8, 8), kind="PathTileObject"),
    ]
    for number, path_object in enumerate(kinds, 16):
        path_object.id = identity.format(number)
    return kinds


def rich_file(version: str) -> bytes:
    old = version in ("0.1", "0.2")
    server = "file:/C:/slides/BRACS%201494.svs" if old else SERVER
    return bytes(DataFile(rich(version), version, server, grid=(9,)))


def qpdata() -> dict[str, bytes]:
    """Valid files by name, for fuzzing."""
    files = {f"v{version}": rich_file(version) for version in VERSIONS}
    rotated = {
        "builderType": "rotated",
        "rotation": "ROTATE_90",
        "builder": SERVER,
        "metadata": SERVER["metadata"],
    }
    cropped = {"builderType": "cropped", "region": {"x": 10, "y": 20}, "builder": SERVER}
    flat = [QupathObject(write.points_roi("PolygonROI", RING), write.path_class("UDH"))]
    return files | {
        "rotated": bytes(DataFile(flat, "0.5", rotated)),
        "cropped": bytes(DataFile(flat, "0.4", cropped)),
        "nothing": bytes(DataFile((), "0.6", SERVER)),
    }


def projects() -> dict[str, bytes]:
    """Project files of QuPath 0.1 and 0.5; their slides do not exist."""
    rotated = {"builderType": "rotated", "rotation": "ROTATE_90", "builder": SERVER}
    images = [
        {
            "serverBuilder": SERVER,
            "entryID": 1,
            "imageName": "BRACS 1494.svs",
            "metadata": {"Patient ID": "P7"},
        },
        {"serverBuilder": rotated, "entryID": 2, "imageName": "rotated", "metadata": {}},
    ]
    new = {"version": "0.5.1", "uri": "file:/C:/slides/project/project.qpproj", "lastID": 2, "images": images}
    old = {
        "images": [{"path": "{$PROJECT_DIR}/a.svs", "name": "a.svs"}, {"path": "C:\\x\\b.svs", "name": "b"}]
    }
    return {name: json.dumps(content).encode() for name, content in (("new", new), ("old", old))}
