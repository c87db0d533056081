"""Write small QuPath data files of every version for tests, after QuPath's sources."""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from tests.annotations.java_writer import Array, Enum, Java, Stream

ROI, OBJECTS = "qupath.lib.roi.", "qupath.lib.objects."


# ---------------------------------------------------------------- small Java objects


def boxed(kind: str, value: Any) -> Java:
    return Java(f"java.lang.{kind}", [({"Integer": "I", "Boolean": "Z"}[kind], "value", value)])


def array_list(items: Sequence[Any]) -> Java:
    return Java("java.util.ArrayList", [("I", "size", len(items))], [struct.pack(">i", len(items)), *items])


def uuid(most: int, least: int) -> Java:
    return Java("java.util.UUID", [("J", "leastSigBits", least), ("J", "mostSigBits", most)])


def metadata_map(pairs: dict[str, str]) -> Java:
    kind = "[Ljava.lang.Object;"
    content = [boxed("Integer", 1), Array(kind, list(pairs)), Array(kind, list(pairs.values()))]
    return Java(f"{OBJECTS}MetadataMap", content=content, externalizable=True)


def path_class(name: str | None, rgb: int | None = None, parent: Java | None = None) -> Java:
    color = None if rgb is None else boxed("Integer", rgb)
    fields = [
        ("Ljava/lang/Integer;", "colorRGB", color),
        ("Ljava/lang/String;", "name", name),
        (f"L{OBJECTS.replace('.', '/')}classes/PathClass;", "parentClass", parent),
    ]
    return Java(f"{OBJECTS}classes.PathClass", fields)


def measurements(pairs: dict[str, float], compact: bool) -> Java:
    """A list of measurements in one of QuPath's two forms; the compact one has unused entries at its end."""
    prefix = "qupath.lib.measurements."
    if compact:
        names = Java(
            "java.util.Collections$UnmodifiableRandomAccessList", [("L", "list", array_list(list(pairs)))]
        )
        values = Array("[F", [*pairs.values(), 0.0, 0.0])
        fields = [
            ("Z", "isClosed", False),
            ("L", "map", None),
            ("L", "names", names),
            ("[F", "values", values),
        ]
        return Java(f"{prefix}NumericMeasurementList$FloatList", fields)
    items = [
        Java(f"{prefix}DoubleMeasurement", [("D", "value", v), ("L", "name", n)]) for n, v in pairs.items()
    ]
    return Java(f"{prefix}DefaultMeasurementList", [("L", "list", array_list(items))])


# ---------------------------------------------------------------- ROIs

Points = Sequence[Sequence[float]] | NDArray[np.float64]


def _roi(kind: str, fields: list[tuple[str, str, Any]], plane: tuple[int, int] = (0, 0)) -> Java:
    z, t = plane
    return Java(f"{ROI}{kind}", [("I", "c", -1), ("I", "t", t), ("I", "z", z), *fields])


def points_roi(kind: str, points: Points) -> Java:
    """A PolygonROI, PolylineROI or PointsROI."""
    x, y = np.asarray(points, np.float64).reshape(-1, 2).T
    fields = [("L", "stats", None), ("[F", "x", Array("[F", x)), ("[F", "y", Array("[F", y))]
    return _roi(f"{kind}$SerializationProxy", fields)


def area_roi(rings: Sequence[Points]) -> Java:
    points = [np.asarray(ring, np.float64).T for ring in rings]
    x, y = (Array("[[F", [Array("[F", ring[axis]) for ring in points]) for axis in (0, 1))
    return _roi("AreaROI$SerializationProxy", [("[[F", "x", x), ("[[F", "y", y)])


def geometry_roi(geometry: shapely.Geometry | bytes, plane: tuple[int, int] = (0, 0)) -> Java:
    wkb_bytes = geometry if isinstance(geometry, bytes) else shapely.to_wkb(geometry, byte_order=0)
    wkb = Array("[B", np.frombuffer(wkb_bytes, np.uint8))
    return _roi("GeometryROI$WKBSerializationProxy", [("L", "stats", None), ("[B", "wkb", wkb)], plane)


def corners_roi(kind: str, x: float, y: float, x2: float, y2: float) -> Java:
    """A RectangleROI, EllipseROI or LineROI."""
    fields = [("D", name, value) for name, value in (("x", x), ("x2", x2), ("y", y), ("y2", y2))]
    return _roi(f"{kind}$SerializationProxy", fields)


# ---------------------------------------------------------------- objects and files


@dataclass(eq=False)
class QupathObject:
    """An object of QuPath's hierarchy, which can be written in the layout of any version."""

    roi: Java | None = None
    path_class: Java | None = None
    kind: str = "PathAnnotationObject"
    name: str | None = None
    color: int | None = None
    locked: bool | None = False
    measurements: Java | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    id: str | None = None
    probability: float = float("nan")
    children: Sequence["QupathObject"] = ()
    nucleus: Java | None = None
    missing: bool = False
    _java: dict[str, Java] = field(default_factory=dict)

    def to_java(self, version: str) -> Java:
        """The object as QuPath of this version writes it; "uuid" is a layout that no release wrote."""
        if version not in self._java:
            self._java[version] = self._build(version)
        return self._java[version]

    def _build(self, version: str) -> Java:
        content: list[Any] = [self.name, None if self.color is None else boxed("Integer", self.color)]
        content += self._described(version)
        content += [
            struct.pack(">i", len(self.children)),
            *(child.to_java(version) for child in self.children),
        ]
        if self.kind != "PathRootObject":
            content += [] if self.locked is None else [boxed("Boolean", self.locked)]
            last = struct.pack(">d", self.probability)
            last += struct.pack(">?", self.missing) if self.kind == "TMACoreObject" else b""
            content += [self.path_class, self.roi, last]
            content += [self.nucleus] if self.kind == "PathCellObject" else []
        return Java(
            f"{OBJECTS}{self.kind}", content=content, externalizable=True, extends=f"{OBJECTS}PathObject"
        )

    def _described(self, version: str) -> list[Any]:
        if version == "uuid":
            entries = [metadata_map(self.metadata)] if self.metadata else []
            entries += [self.measurements] if self.measurements else []
            return [uuid(1, -2), struct.pack(">i", len(entries) + (not self.metadata)), *entries]
        metadata = dict(self.metadata)
        if version >= "0.4":
            metadata["Object ID"] = self.id or "00000000-0000-0000-0000-000000000000"
        return [metadata_map(metadata), self.measurements] if metadata else [self.measurements]


@dataclass(frozen=True)
class DataFile:
    """A data file.

    Attributes:
        objects: Its objects.
        version: QuPath's version.
        server: Its image: JSON of the image server, or before 0.3 a path.
        grid: Indices of the objects that are the cores of a TMA grid.
        end: Whether it has QuPath's end mark.
        data_version: Version of the data, if it is not that of QuPath's version.
    """

    objects: Sequence[QupathObject] = ()
    version: str = "0.5"
    server: dict[str, Any] | str | None = None
    grid: Sequence[int] = ()
    end: bool = True
    data_version: str | None = None

    def __bytes__(self) -> bytes:
        stream = Stream()
        old = self.version in ("0.1", "0.2")
        number = ("2" if old else "3") if self.data_version is None else self.data_version
        stream.value(_utf(f"Data file version {number}"))
        description = {"dataVersion": 3, "qupathVersion": f"{self.version}.0", "server": self.server}
        stream.value(f"Image path: {self.server}" if old else json.dumps(description))
        stream.value(Java("java.util.Locale", [("I", "hashcode", -1), ("L", "language", "en")], []))
        stream.value(Enum("qupath.lib.images.ImageData$ImageType", "BRIGHTFIELD_H_E"))
        stream.value(None)
        stream.value(self._hierarchy())
        stream.value(Java("java.util.HashMap", [("F", "loadFactor", 0.75)], [struct.pack(">ii", 16, 0)]))
        if self.end:
            stream.value("EOF")
        return bytes(stream.out)

    def _hierarchy(self) -> Java:
        root = QupathObject(kind="PathRootObject", children=self.objects).to_java(self.version)
        first = next(
            i for i, item in enumerate(root.content or ()) if isinstance(item, bytes) and len(item) >= 4
        )
        children = (root.content or [])[first + 1 :]
        grid = None
        if self.grid:
            cores = array_list([children[i] for i in self.grid])
            fields = [("I", "gridWidth", 1), ("I", "gridHeight", len(self.grid)), ("L", "cores", cores)]
            grid = Java(f"{OBJECTS}hierarchy.DefaultTMAGrid", fields)
        fields = [("L", "rootObject", root), ("L", "tmaGrid", grid)]
        return Java(f"{OBJECTS}hierarchy.PathObjectHierarchy", fields)


def _utf(text: str) -> bytes:
    written = text.encode()
    return struct.pack(">H", len(written)) + written


def write_data_file(folder: Path, objects: Sequence[QupathObject] = (), **options: Any) -> Path:
    """Write a data file of these objects into a folder."""
    path = folder / "slide.qpdata"
    path.write_bytes(bytes(DataFile(objects, **options)))
    return path
