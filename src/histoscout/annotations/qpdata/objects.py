"""The objects of QuPath's data files, versions 0.1 to 0.7, in the words of QuPath's own GeoJSON.

After `writeExternal` of QuPath's PathObject, PathROIObject, PathCellObject, TMACoreObject and MetadataMap: each
object wrote a list of values without names, whose order tells what they are and differs between versions.
"""

import math
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from histoscout.annotations.qpdata.java import JavaObject
from histoscout.annotations.qpdata.rois import Cursor, Reading, plane_of
from histoscout.annotations.qupath_properties import LEGACY_TYPES

ROOT = "PathRootObject"
ID_KEY = "Object ID"  # since 0.4 the id is kept among the metadata
LONGEST_NAME = 2000  # letters of the full name of a class
DEEPEST_CLASS = 50  # classes that a class is derived from, each from the next
_LISTS = ("list", "c", "a")  # where Java's wrappers of lists keep the list


@dataclass(frozen=True)
class PathObject:
    """One object: its kind as QuPath's GeoJSON names it, its Feature without coordinates, and its ROI."""

    kind: str
    name: str  # what to call it in a message
    offset: int
    said: dict[str, Any]
    roi: JavaObject | None


@dataclass
class Objects:
    """All objects of a hierarchy, parents before the objects in them; `unknown` gathers kinds not known."""

    hierarchy: JavaObject
    reading: Reading
    unknown: list[str] = field(default_factory=list)
    _classes: dict[int, dict[str, Any]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[PathObject]:
        root, grid = (self.hierarchy.fields.get(name) for name in ("rootObject", "tmaGrid"))
        seen: set[int] = set()
        number = 0
        to_do = [root] if root is not None else []
        for late in (False, True):
            if late and isinstance(grid, JavaObject):  # cores are children of the root too, as a rule
                to_do = [core for core in self._list(grid.fields.get("cores"), grid) if id(core) not in seen]
            while to_do:
                written = to_do.pop()
                if not isinstance(written, JavaObject):
                    self.reading.refuse(
                        "holds something else where an object should be", self.hierarchy.offset
                    )
                if id(written) in seen:
                    self.reading.refuse("holds an object twice, or within itself", written.offset)
                seen.add(id(written))
                kind = written.class_name.rsplit(".", 1)[-1]
                if kind not in LEGACY_TYPES:
                    self.unknown.append(kind)
                    continue
                number += kind != ROOT
                found, children = self._object(Cursor(written, self.reading), kind, number)
                if found is not None:
                    yield found
                to_do += reversed(children)

    def _object(self, cursor: Cursor, kind: str, number: int) -> tuple[PathObject | None, list[Any]]:
        """One object, None for the root, and the objects in it."""
        name, color = cursor.object(), cursor.object()
        identity, metadata, measured = self._described(cursor)
        children = cursor.objects(cursor.number(">i"))
        if kind == ROOT:
            return None, children
        locked = cursor.object()
        is_locked = isinstance(locked, JavaObject) and locked.class_name == "java.lang.Boolean"
        path_class = cursor.object() if is_locked else locked  # files of before 0.1 do not know of locks
        roi, probability = cursor.object(), cursor.number(">d")
        own_id = metadata.pop(ID_KEY, None)
        properties: dict[str, Any] = {
            "objectType": LEGACY_TYPES[kind],
            "name": name if isinstance(name, str) else None,
            "color": _integer(color),
            "classification": self._class(path_class),
            "isLocked": is_locked and locked.fields.get("value") is True,
            "measurements": measured,
            "metadata": metadata,
        }
        said: dict[str, Any] = {"id": identity or own_id, "geometry": {}, "properties": properties}
        if not math.isnan(probability):
            properties["classProbability"] = probability
        if kind == "PathCellObject" and cursor.object() is not None:
            said["nucleusGeometry"] = {}
        if kind == "TMACoreObject":
            properties["isMissing"] = cursor.number(">?")
        if isinstance(roi, JavaObject):
            said["geometry"] = {"plane": plane_of(roi)}
        known = f"object {number}" + (f" {name[:40]!r}" if isinstance(name, str) else "")
        drawn = roi if isinstance(roi, JavaObject) else None
        return PathObject(LEGACY_TYPES[kind], known, cursor.written.offset, said, drawn), children

    def _described(self, cursor: Cursor) -> tuple[str | None, dict[str, str], dict[str, float]]:
        """Id, metadata and measurements, in whichever of the three layouts they were written."""
        first = cursor.object()
        if _is(first, "java.util.UUID"):
            identity = _uuid(first)
            cursor.number(">i")  # a count that QuPath itself gets wrong
            rest = []
            while not cursor.at_number:
                rest.append(cursor.object())
        else:
            identity = None
            rest = [first, cursor.object()] if _is(first, "MetadataMap") else [first]
        metadata, measured = {}, {}
        for item in rest:
            if _is(item, "MetadataMap"):
                metadata = self._metadata(item)
            elif isinstance(item, JavaObject):
                measured = self._measurements(item)
        return identity, metadata, measured

    def _metadata(self, written: JavaObject) -> dict[str, str]:
        keys, values = ([*written.content[1:3], None, None])[:2]
        if not isinstance(keys, list) or not isinstance(values, list):
            self.reading.refuse("holds metadata that cannot be understood", written.offset)
        self.reading.spend(len(keys), written.offset)
        pairs = zip(keys, values, strict=False)
        return {key: value for key, value in pairs if isinstance(key, str) and isinstance(value, str)}

    def _measurements(self, written: JavaObject) -> dict[str, float]:
        """Measurements by name, whether they are kept one by one or as names and an array of numbers."""
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
        """What a Java list holds, out of whatever it is wrapped in."""
        for _ in range(5):
            if isinstance(value, list):
                items = value
                break
            if not isinstance(value, JavaObject):
                return []
            inner = next((value.fields[name] for name in _LISTS if name in value.fields), None)
            items = [item for item in value.content if not isinstance(item, bytes)]
            if inner is None:
                break
            value = inner
        else:
            self.reading.refuse("holds a list that cannot be understood", holder.offset)
        self.reading.spend(len(items), holder.offset)
        return items

    def _class(self, written: object) -> dict[str, Any] | None:
        """The full name and colour of a class; None for no class, and for one without a name."""
        if not isinstance(written, JavaObject):
            return None
        if id(written) not in self._classes:
            names = self._names(written)
            color = _integer(written.fields.get("colorRGB"))
            self._classes[id(written)] = {"name": ": ".join(names), "colorRGB": color} if names else {}
        return self._classes[id(written)] or None

    def _names(self, written: JavaObject) -> list[str]:
        """The parts of a class's name: those of the classes it is derived from, then its own."""
        names: list[str] = []
        inner: object = written
        for _ in range(DEEPEST_CLASS):
            if not isinstance(inner, JavaObject):
                break
            own = inner.fields.get("name")
            names = [own, *names] if isinstance(own, str) else names
            inner = inner.fields.get("parentClass")
        if isinstance(inner, JavaObject) or sum(map(len, names)) > LONGEST_NAME:
            self.reading.refuse("holds a class whose name does not end", written.offset)
        return names


def _is(value: object, class_name: str) -> bool:
    return (
        isinstance(value, JavaObject) and value.class_name.rsplit(".", 1)[-1] == class_name.rsplit(".", 1)[-1]
    )


def _integer(value: object) -> int | None:
    """A Java Integer, boxed or not."""
    inner = value.fields.get("value") if isinstance(value, JavaObject) else value
    return inner if isinstance(inner, int) and not isinstance(inner, bool) else None


def _uuid(value: JavaObject) -> str | None:
    halves = [value.fields.get(name) for name in ("mostSigBits", "leastSigBits")]
    if not all(isinstance(half, int) for half in halves):
        return None
    return str(uuid.UUID(bytes=struct.pack(">qq", *halves)))
