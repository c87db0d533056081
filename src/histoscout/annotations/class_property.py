"""Classes that a file keeps in another property than QuPath's: suggested to the user, and read where the user says so.

A property is named by its path: `type_str`, or `label.value` for one inside another.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from histoscout.annotations.read import Annotations
from histoscout.geometry.regions import Region
from histoscout.io.notes import count_and_list

MAX_CLASSES = 64
"""A property with more values than this is no class."""
_NOT_CLASSES = frozenset(
    {"objectType", "measurements", "plane", "color", "classColor", "isLocked", "document"}
)
_LIKELY = ("class", "type", "label", "category", "group", "name", "title")
"""Words in the name of a property that holds a class, the likeliest first."""
_SURE = 5
"""So many words of the list mean a class; a name may also be that of one region."""
_MAX_DEPTH = 3
UNCLASSIFIED = "annotations without a class"
"""How the note of the readers on such annotations begins."""


def with_class_property(annotations: Annotations, name: str) -> Annotations:
    """Take the class of each region from a property.

    Args:
        annotations: Annotations as they were read.
        name: The property, such as "type_str" or "label.value".

    Returns:
        The annotations; regions that lack the property keep their class, with a note.
    """
    values = [_values(region).get(name) for region in annotations.regions]
    regions = annotations.regions.of(
        region if value is None else replace(region, label=value)
        for region, value in zip(annotations.regions, values, strict=True)
    )
    notes = [note for note in annotations.notes if not note.startswith(UNCLASSIFIED)]
    missing = [region for region, value in zip(regions, values, strict=True) if value is None]
    if missing:
        known = sorted({key for region in missing for key in _values(region)})
        note = f"annotations without the property {name}, which keep their class: {count_and_list([r.id for r in missing])}"
        notes.append(f"{note}; properties in the file: {', '.join(known[:10]) or 'none'}")
    if unclassified := [region.id for region in regions if not region.label]:
        notes.append(f"{UNCLASSIFIED}: {count_and_list(unclassified)}")
    return replace(annotations, regions=regions, notes=tuple(notes))


def suggest_class_property(annotations: Annotations) -> list[str]:
    """Name the properties that may hold the classes of regions without a class.

    Args:
        annotations: Annotations as they were read.

    Returns:
        A note with the likeliest properties, their values and how to choose one; none if no property can be a class.
    """
    unclassified = [region for region in annotations.regions if not region.label]
    counts: dict[str, Counter[str]] = {}
    for region in unclassified:
        for name, value in _values(region).items():
            counts.setdefault(name, Counter())[value] += 1
    # a class is shared by several regions; of few regions, each may have its own
    likely = sorted(
        (name for name, values in counts.items() if _may_be_class(name, values, len(unclassified))),
        key=lambda name: (_rank(name), all(map(str.isdecimal, counts[name])), -counts[name].total(), name),
    )
    if not likely:
        return []
    described = []
    for name in likely[:4]:
        examples = [f"{value[:30]}: {times}" for value, times in counts[name].most_common(3)]
        described.append(f"{name} ({', '.join(examples)})")
    choose = f"--class-property {likely[0]}, or the key classes.class_property of the recipe"
    return [f"the class may be in another property: {'; '.join(described)}; to read it: {choose}"]


def _may_be_class(name: str, values: Counter[str], count: int) -> bool:
    # most regions have it, and regions share its values; of a few regions each may be of another class
    is_shared = values.total() >= 4 and 2 * len(values) <= values.total()
    is_common = 2 * values.total() >= count
    # one that is called a class is named, however few regions have it
    return len(values) <= MAX_CLASSES and (_rank(name) < _SURE or (is_common and is_shared))


def _rank(name: str) -> int:
    lower = name.casefold()
    return next((rank for rank, word in enumerate(_LIKELY) if word in lower), len(_LIKELY))


def _values(region: Region) -> dict[str, str]:
    """The properties of a region that can be classes, by path."""
    return dict(_walk(region.properties, "", 1))


def _walk(properties: Mapping[str, object], prefix: str, depth: int) -> Iterator[tuple[str, str]]:
    for key, value in properties.items():
        if not prefix and key in _NOT_CLASSES:
            continue
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and depth < _MAX_DEPTH:
            # the texts of QuPath's metadata and of other readers are properties like any other
            yield from _walk(value, "" if path == "metadata" else f"{path}.", depth + 1)
        elif isinstance(value, str) and value.strip():
            yield path, value.strip()
        elif isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer():
            yield path, str(int(value))
