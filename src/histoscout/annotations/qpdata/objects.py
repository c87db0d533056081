"""The objects of QuPath's data files, as Features of QuPath's own GeoJSON.

Versions 0.1 to 0.7, after `writeExternal` of QuPath's PathObject, PathROIObject, PathCellObject,
TMACoreObject and MetadataMap: each object wrote a list of values without names; their order gives their
meaning and differs between versions.
"""

import math
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from histoscout.annotations.qpdata.java import JavaObject
from histoscout.annotations.qpdata.rois import Cursor, ReadContext, plane_of
from histoscout.annotations.qupath_properties import LEGACY_TYPES

ROOT = "PathRootObject"
ID_KEY = "Object ID"
"""Since 0.4 the id is kept among the metadata, under this key."""
MAX_CLASS_NAME = 2000
"""Characters in the full name of a class."""
MAX_PARENT_CLASSES = 50
"""Classes that a class is derived from, each from the next."""
_LIST_FIELDS = ("list", "c", "a")
"""Fields in which Java's wrappers of lists keep the list."""
_MAX_LIST_WRAPPERS = 5


@dataclass(frozen=True, kw_only=True)
class PathObject:
    """One object of QuPath's hierarchy.

    Attributes:
        kind: Its type, as QuPath's GeoJSON names it ("annotation", "cell", ...).
        name: Its name in messages.
        offset: Its first byte in the file.
        feature: Its GeoJSON Feature, without coordinates.
        roi: Its ROI; None if it has none.
    """

    kind: str
    name: str
    offset: int
    feature: dict[str, Any]
    roi: JavaObject | None


@dataclass
class ObjectTree:
    """All objects of a hierarchy; iterate over it to get parents before the objects in them.

    Attributes:
        hierarchy: QuPath's PathObjectHierarchy.
        context: The file that is read.
        unknown: Classes of objects of an unknown type, which are left out.
    """

    hierarchy: JavaObject
    context: ReadContext
    unknown: list[str] = field(default_factory=list)
    _classes: dict[int, dict[str, Any]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[PathObject]:
        root = self.hierarchy.fields.get("rootObject")
        grid = self.hierarchy.fields.get("tmaGrid")
        visited: set[int] = set()
        numbers = count(1)
        yield from self._walk([] if root is None else [root], visited, numbers)
        # TMA cores are usually children of the root too, and then visited already
        if isinstance(grid, JavaObject):
            cores = self._list(grid.fields.get("cores"), grid)
            yield from self._walk([core for core in cores if id(core) not in visited], visited, numbers)

    def _walk(self, stack: list[Any], visited: set[int], numbers: Iterator[int]) -> Iterator[PathObject]:
        """The objects on a stack and all objects in them; `visited` holds Java objects by id."""
        while stack:
            written = stack.pop()
            if not isinstance(written, JavaObject):
                self.context.refuse("something else is in the place of an object", self.hierarchy.offset)
            if id(written) in visited:
                self.context.refuse("an object occurs twice, or within itself", written.offset)
            visited.add(id(written))
            # objects of newer versions of QuPath are counted and left out
            kind = written.class_name.rsplit(".", 1)[-1]
            if kind not in LEGACY_TYPES:
                self.unknown.append(kind)
                continue
            number = 0 if kind == ROOT else next(numbers)
            path_object, children = self._object(Cursor(written, self.context), kind, number)
            if path_object is not None:
                yield path_object
            stack += reversed(children)

    def _object(self, cursor: Cursor, kind: str, number: int) -> tuple[PathObject | None, list[Any]]:
        """One object, None for the root, and the objects in it."""
        # name, color, description and children come first in every version
        name = cursor.object()
        color = cursor.object()
        identity, metadata, measurements = self._described(cursor)
        children = cursor.objects(cursor.number(">i"))
        if kind == ROOT:
            return None, children
        # files from before 0.1 have no lock, but the class in its place
        locked = cursor.object()
        is_lock = isinstance(locked, JavaObject) and locked.class_name == "java.lang.Boolean"
        path_class = cursor.object() if is_lock else locked
        roi = cursor.object()
        probability = cursor.number(">d")
        # the same properties as in QuPath's GeoJSON
        own_id = metadata.pop(ID_KEY, None)
        properties: dict[str, Any] = {
            "objectType": LEGACY_TYPES[kind],
            "name": name if isinstance(name, str) else None,
            "color": _unbox_integer(color),
            "classification": self._classification(path_class),
            "isLocked": is_lock and locked.fields.get("value") is True,
            "measurements": measurements,
            "metadata": metadata,
        }
        feature: dict[str, Any] = {"id": identity or own_id, "geometry": {}, "properties": properties}
        if not math.isnan(probability):
            properties["classProbability"] = probability
        # some types of objects write more values
        if kind == "PathCellObject" and cursor.object() is not None:
            feature["nucleusGeometry"] = {}
        if kind == "TMACoreObject":
            properties["isMissing"] = cursor.number(">?")
        if isinstance(roi, JavaObject):
            feature["geometry"] = {"plane": plane_of(roi)}
        path_object = PathObject(
            kind=LEGACY_TYPES[kind],
            name=f"object {number}" + (f" {name[:40]!r}" if isinstance(name, str) else ""),
            offset=cursor.written.offset,
            feature=feature,
            roi=roi if isinstance(roi, JavaObject) else None,
        )
        return path_object, children

    def _described(self, cursor: Cursor) -> tuple[str | None, dict[str, str], dict[str, float]]:
        """Id, metadata and measurements, in any of the three layouts in which they are written."""
        first = cursor.object()
        if _is_instance(first, "java.util.UUID"):
            identity = _uuid(first)
            # a number of entries follows, which QuPath itself gets wrong: they end at the next number
            cursor.number(">i")
            entries = []
            while not cursor.at_number:
                entries.append(cursor.object())
        else:
            identity = None
            entries = [first, cursor.object()] if _is_instance(first, "MetadataMap") else [first]
        metadata: dict[str, str] = {}
        measurements: dict[str, float] = {}
        for entry in entries:
            if _is_instance(entry, "MetadataMap"):
                metadata = self._metadata(entry)
            elif isinstance(entry, JavaObject):
                measurements = self._measurements(entry)
        return identity, metadata, measurements

    def _metadata(self, written: JavaObject) -> dict[str, str]:
        keys, values = ([*written.content[1:3], None, None])[:2]
        if not isinstance(keys, list) or not isinstance(values, list):
            self.context.refuse("the metadata of an object cannot be read", written.offset)
        self.context.spend(len(keys), written.offset)
        pairs = zip(keys, values, strict=False)
        return {key: value for key, value in pairs if isinstance(key, str) and isinstance(value, str)}

    def _measurements(self, written: JavaObject) -> dict[str, float]:
        """Measurements by name, stored one by one or as names and an array of numbers."""
        if "values" in written.fields:
            names = self._list(written.fields.get("names"), written)
            values = written.fields["values"]
            pairs = zip(names, values.tolist() if isinstance(values, np.ndarray) else (), strict=False)
        else:
            items = self._list(written.fields.get("list"), written)
            fields = [item.fields for item in items if isinstance(item, JavaObject)]
            pairs = zip([f.get("name") for f in fields], [f.get("value") for f in fields], strict=True)
        return {n: v for n, v in pairs if isinstance(n, str) and isinstance(v, int | float)}

    def _list(self, value: object, holder: JavaObject) -> list[Any]:
        """The items of a Java list, inside any wrappers."""
        for _ in range(_MAX_LIST_WRAPPERS):
            if isinstance(value, list):
                items = value
                break
            if not isinstance(value, JavaObject):
                return []
            inner = next((value.fields[name] for name in _LIST_FIELDS if name in value.fields), None)
            items = [item for item in value.content if not isinstance(item, bytes)]
            if inner is None:
                break
            value = inner
        else:
            self.context.refuse("a list cannot be read", holder.offset)
        self.context.spend(len(items), holder.offset)
        return items

    def _classification(self, written: object) -> dict[str, Any] | None:
        """Full name and color of a class; None for no class, and for one without a name."""
        if not isinstance(written, JavaObject):
            return None
        # many objects share one class, which is read once
        if id(written) not in self._classes:
            names = self._class_names(written)
            color = _unbox_integer(written.fields.get("colorRGB"))
            self._classes[id(written)] = {"name": ": ".join(names), "colorRGB": color} if names else {}
        return self._classes[id(written)] or None

    def _class_names(self, written: JavaObject) -> list[str]:
        """The parts of a class's name: those of the classes it is derived from, then its own."""
        names: list[str] = []
        inner: object = written
        for _ in range(MAX_PARENT_CLASSES):
            if not isinstance(inner, JavaObject):
                break
            own = inner.fields.get("name")
            names = [own, *names] if isinstance(own, str) else names
            inner = inner.fields.get("parentClass")
        if isinstance(inner, JavaObject) or sum(map(len, names)) > MAX_CLASS_NAME:
            self.context.refuse("the name of a class does not end", written.offset)
        return names


def _is_instance(value: object, class_name: str) -> bool:
    """Whether a value is an object of a Java class, whatever the package."""
    if not isinstance(value, JavaObject):
        return False
    return value.class_name.rsplit(".", 1)[-1] == class_name.rsplit(".", 1)[-1]


def _unbox_integer(value: object) -> int | None:
    """A Java Integer, boxed or not."""
    inner = value.fields.get("value") if isinstance(value, JavaObject) else value
    return inner if isinstance(inner, int) and not isinstance(inner, bool) else None


def _uuid(value: JavaObject) -> str | None:
    halves = [value.fields.get(name) for name in ("mostSigBits", "leastSigBits")]
    if not all(isinstance(half, int) for half in halves):
        return None
    return str(uuid.UUID(bytes=struct.pack(">qq", *halves)))
