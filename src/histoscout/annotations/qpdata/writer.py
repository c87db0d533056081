"""Write QuPath's own data files, `.qpdata`, in the version that QuPath 0.4 to 0.7 write and read.

Classes and fields are those of files that QuPath wrote; a test compares them.
"""

import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry import Polygon

from histoscout.annotations.polygons import writable_outline
from histoscout.annotations.qpdata.java_output import (
    JavaArray,
    JavaConstant,
    JavaInstance,
    JavaType,
    JavaWriter,
    enumeration,
    externalizable,
    serializable,
)
from histoscout.annotations.qupath_properties import SCORE, class_color, is_rgb, is_uuid, stable_id
from histoscout.geometry.regions import Outline, Region
from histoscout.io.files import atomic_write

QUPATH = "0.5.1"
"""Version of QuPath whose format is written."""

_TEXT = "Ljava/lang/String;"
_PATH_OBJECT = externalizable("qupath.lib.objects.PathObject")
_ROI_OBJECT = externalizable("qupath.lib.objects.PathROIObject", _PATH_OBJECT)
_ANNOTATION = externalizable("qupath.lib.objects.PathAnnotationObject", _ROI_OBJECT)
_ROOT = externalizable("qupath.lib.objects.PathRootObject", _PATH_OBJECT)
_METADATA = externalizable("qupath.lib.objects.MetadataMap")
_HIERARCHY = serializable(
    "qupath.lib.objects.hierarchy.PathObjectHierarchy",
    ("Lqupath/lib/objects/PathObject;", "rootObject"),
    ("Lqupath/lib/objects/hierarchy/TMAGrid;", "tmaGrid"),
)
_CLASS = serializable(
    "qupath.lib.objects.classes.PathClass",
    ("Ljava/lang/Integer;", "colorRGB"),
    (_TEXT, "name"),
    ("Lqupath/lib/objects/classes/PathClass;", "parentClass"),
)
_MEASUREMENTS = serializable(
    "qupath.lib.measurements.DefaultMeasurementList", ("Ljava/util/ArrayList;", "list")
)
_MEASUREMENT = serializable("qupath.lib.measurements.DoubleMeasurement", ("D", "value"), (_TEXT, "name"))
_POLYGON = serializable(
    "qupath.lib.roi.PolygonROI$SerializationProxy",
    ("I", "c"),
    ("I", "t"),
    ("I", "z"),
    (_TEXT, "name"),
    ("Lqupath/lib/roi/ClosedShapeStatistics;", "stats"),
    ("[F", "x"),
    ("[F", "y"),
)
_GEOMETRY = serializable(
    "qupath.lib.roi.GeometryROI$WKBSerializationProxy",
    ("I", "c"),
    ("I", "t"),
    ("I", "z"),
    ("Lqupath/lib/roi/GeometryROI$GeometryStats;", "stats"),
    ("[B", "wkb"),
)
_BOOLEAN = serializable("java.lang.Boolean", ("Z", "value"))
_INTEGER = serializable("java.lang.Integer", ("I", "value"), parent=serializable("java.lang.Number"))
_LIST = serializable("java.util.ArrayList", ("I", "size"), writes_content=True)
_MAP = serializable("java.util.HashMap", ("F", "loadFactor"), ("I", "threshold"), writes_content=True)
_IMAGE_TYPE = enumeration("qupath.lib.images.ImageData$ImageType")
_FLOATS, _BYTES = JavaType(name="[F"), JavaType(name="[B")
_OBJECTS = JavaType(name="[Ljava.lang.Object;")


def write_qpdata(
    regions: Iterable[Region], path: Path, server: Mapping[str, Any], entry: int | None = None
) -> None:
    """Write regions as the annotations of a QuPath data file.

    Each keeps its id if that is a UUID (else a UUID that depends on it alone), its class, name, color, score, measurements
    and metadata, and whether it is locked (the property `isLocked`). A polygon without holes is written in single precision
    with points that can be moved in QuPath; others as geometries, in double precision.

    Args:
        regions: The regions, in level-0 px.
        path: The file; it is replaced.
        server: JSON of QuPath's image server, with the URI of the slide.
        entry: Number of the image in its project.

    Raises:
        OutputError: A region has no area, or the file cannot be written.

    Example:
        >>> from histoscout import read_annotations
        >>> region = Region(shapely.box(0, 0, 9, 9), "UDH: found", 0.75)
        >>> write_qpdata([region], Path("data.qpdata"), {"builderType": "uri", "uri": "file:/A1.svs"})
        >>> read_annotations(Path("data.qpdata")).regions[0].label
        'UDH: found'
    """
    objects = _ObjectMaker(path)
    annotations = [objects.annotation(region) for region in regions]
    root = JavaInstance(
        _ROOT,
        content=[
            None,
            None,
            objects.metadata({"Object ID": stable_id(str(path.name))}),
            None,
            struct.pack(">i", len(annotations)),
            *annotations,
        ],
    )
    writer = JavaWriter()
    version = b"Data file version 3"
    writer.write(struct.pack(">H", len(version)) + version)
    described = {
        "dataVersion": 3,
        "qupathVersion": QUPATH,
        "server": dict(server),
        "id": server.get("uri", ""),
    }
    writer.write(json.dumps(described))
    writer.write(JavaConstant(_IMAGE_TYPE, "BRIGHTFIELD_H_E"))
    writer.write(JavaInstance(_HIERARCHY, [root, None]))
    pairs = [] if entry is None else ["PROJECT_ENTRY_ID", str(entry)]
    buckets = struct.pack(">ii", 16, len(pairs) // 2)
    writer.write(JavaInstance(_MAP, [0.75, 12], [buckets, *pairs]))
    writer.write("EOF")
    with atomic_write(path) as temporary:
        temporary.write_bytes(writer.data)


class _ObjectMaker:
    """Makes QuPath's objects; classes and small objects are shared, as QuPath does."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._classes: dict[str, JavaInstance] = {}
        self._integers: dict[int, JavaInstance] = {}
        self._booleans = {value: JavaInstance(_BOOLEAN, [value]) for value in (False, True)}

    def annotation(self, region: Region) -> JavaInstance:
        """The annotation of a region."""
        properties = region.properties
        identity = region.id if is_uuid(region.id) else stable_id(region.id)
        metadata = properties.get("metadata")
        texts = (
            {str(key): str(value) for key, value in metadata.items()} if isinstance(metadata, Mapping) else {}
        )
        measurements = properties.get("measurements")
        measured = dict(measurements) if isinstance(measurements, Mapping) else {}
        if region.score is not None:
            measured[SCORE] = region.score
        name, color = properties.get("name"), properties.get("color")
        return JavaInstance(
            _ANNOTATION,
            content=[
                name if isinstance(name, str) else None,
                self.integer(pack_color(color)) if is_rgb(color) else None,
                self.metadata({**texts, "Object ID": identity}),
                _measurement_list(measured) if measured else None,
                struct.pack(">i", 0),
                self._booleans[properties.get("isLocked") is True],
                self.path_class(region.label, properties.get("classColor")),
                _roi(writable_outline(region, self._path)),
                struct.pack(">d", float("nan")),
            ],
        )

    def integer(self, value: int) -> JavaInstance:
        """A whole number as an object."""
        return self._integers.setdefault(value, JavaInstance(_INTEGER, [value]))

    def metadata(self, texts: Mapping[str, str]) -> JavaInstance:
        """Texts by their names."""
        columns = [JavaArray(_OBJECTS, list(column)) for column in (texts.keys(), texts.values())]
        return JavaInstance(_METADATA, content=[self.integer(1), *columns])

    def path_class(self, label: str, color: object = None) -> JavaInstance | None:
        """The class of a name; "UDH: found" is derived from "UDH". None for no class."""
        plain = " ".join(label.split())
        if not plain:
            return None
        if plain not in self._classes:
            parent, _, last = plain.rpartition(": ")
            shade = color if is_rgb(color) else class_color(label)
            values = [self.integer(pack_color(shade)), last, self.path_class(parent)]
            self._classes[plain] = JavaInstance(_CLASS, values)
        return self._classes[plain]


def pack_color(color: Any) -> int:
    """A color as Java keeps it: one signed number of 32 bits, without transparency.

    Args:
        color: Red, green and blue (0-255).

    Example:
        >>> pack_color((255, 255, 255)), pack_color((0, 0, 0))
        (-1, -16777216)
    """
    red, green, blue = (int(part) for part in color)
    return (255 << 24 | red << 16 | green << 8 | blue) - 2**32


def _measurement_list(values: Mapping[str, float]) -> JavaInstance:
    items = [JavaInstance(_MEASUREMENT, [float(value), str(name)]) for name, value in values.items()]
    listed = JavaInstance(_LIST, [len(items)], [struct.pack(">i", len(items)), *items])
    return JavaInstance(_MEASUREMENTS, [listed])


def _roi(outline: Outline) -> JavaInstance:
    """The ROI of an outline on the first plane of the image."""
    if isinstance(outline, Polygon) and not outline.interiors:
        # the first point is not repeated
        points = shapely.get_coordinates(outline.exterior)[:-1].astype(">f4")
        x, y = (JavaArray(_FLOATS, np.ascontiguousarray(points[:, axis])) for axis in (0, 1))
        return JavaInstance(_POLYGON, [-1, 0, 0, None, None, x, y])
    wkb = np.frombuffer(shapely.to_wkb(outline, byte_order=0), np.uint8)
    return JavaInstance(_GEOMETRY, [-1, 0, 0, None, JavaArray(_BYTES, wkb)])
