"""Operations: what a reader did with a region or a slide, as one line of the log."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal, get_args

from histoscout.annotations.polygons import outline_to_geojson, parse_geometry
from histoscout.errors import ReviewError
from histoscout.geometry.regions import Region

Kind = Literal[
    "accept",
    "reject",
    "unclear",
    "reclass",
    "edit",
    "add",
    "delete",
    "split",
    "merge",
    "area",
    "no lesion",
    "undo",
]

KINDS: frozenset[str] = frozenset(get_args(Kind))

VERDICTS: frozenset[Kind] = frozenset({"accept", "reject", "unclear", "reclass"})
"""Operations that judge a region and leave its outline as it is."""

MAX_TEXT = 1000
"""Characters of a comment, a class or a name."""

_SEND_AGAIN = "Send a complete operation"

# how many regions an operation brings, and on how many it acts: (fewest, most)
_MANY = 10_000
_COUNTS: Mapping[str, tuple[tuple[int, int], tuple[int, int]]] = MappingProxyType(
    {
        **dict.fromkeys(("accept", "reject", "unclear", "reclass", "delete"), ((0, 1), (1, 1))),
        "edit": ((1, 1), (1, 1)),
        "add": ((1, 1), (0, 0)),
        "split": ((2, _MANY), (1, 1)),
        "merge": ((1, 1), (2, _MANY)),
        "area": ((1, 1), (0, 0)),
        "no lesion": ((0, 0), (0, 0)),
        "undo": ((0, 0), (0, 0)),
    }
)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One act of a reader.

    | kind | `sources` | `regions` |
    |---|---|---|
    | accept, reject, unclear, reclass | the region that is judged | empty, or the region as the reader saw it |
    | delete | the region | empty, or the region as the reader saw it |
    | edit | the region | the region with its new outline and the same id |
    | add | | the new region |
    | split | the region | the new regions, with new ids |
    | merge | the regions | the new region, with a new id |
    | area | | an area that was looked through: what is not outlined in it is no lesion |
    | no lesion | | |
    | undo | | `undoes` is the id of the operation; undoing an undo does it again |

    Attributes:
        kind: What was done.
        reader: Initials of the reader.
        slide: Name of the slide.
        sources: Ids of the regions that are acted on.
        regions: The regions that result.
        label: The new class, for "reclass".
        versions: The version of each source that the reader saw (`ReviewedRegion.version`, "" for a detection that
            nobody changed). If a source was changed since, the operation is kept as a conflict and changes nothing.
            A source that is not in here is acted on whatever its version.
        undoes: Id of the operation that is undone.
        comment: What the reader remarks.
        id: Unique id.
        time: When it was done: ISO 8601 in UTC.

    Example:
        >>> operation = Operation(kind="accept", reader="AB", slide="A1", sources=("r1",), versions={"r1": ""})
        >>> read_operation(write_operation(operation)) == operation
        True
    """

    kind: Kind
    reader: str
    slide: str
    sources: tuple[str, ...] = ()
    regions: tuple[Region, ...] = ()
    label: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    undoes: str = ""
    comment: str = ""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    time: str = field(default_factory=_now)


def check_operation(operation: Operation) -> None:
    """Refuse an operation that says too little, or contradicts itself.

    Args:
        operation: The operation.

    Raises:
        ReviewError: Reader, slide, class or regions are missing, too long or too many.
    """
    where = f"operation {operation.id or '?'}"
    for name, text in (
        ("slide", operation.slide),
        ("reader", operation.reader),
        ("id", operation.id),
        *((("class", operation.label),) if operation.kind == "reclass" else ()),
        *((("operation to undo", operation.undoes),) if operation.kind == "undo" else ()),
    ):
        if not text.strip():
            raise ReviewError(where, f"the {name} is missing", _SEND_AGAIN)
    if operation.slide in (".", "..") or set(operation.slide) & set("/\\\0"):
        raise ReviewError(where, "the slide's name is a path", "Send the name of the slide")
    texts = (operation.slide, operation.reader, operation.id, operation.label, operation.comment)
    if any(len(text) > MAX_TEXT for text in (*texts, operation.undoes, *operation.sources)):
        raise ReviewError(where, f"a text has more than {MAX_TEXT:,} characters", "Shorten it")
    for name, given, (fewest, most) in zip(
        ("resulting", "source"),
        (len(operation.regions), len(set(operation.sources))),
        _COUNTS[operation.kind],
        strict=True,
    ):
        if not fewest <= given <= most:
            fault = f"{operation.kind} does not fit {given} {name} regions"
            raise ReviewError(where, fault, _SEND_AGAIN)
    same = {region.id for region in operation.regions} & set(operation.sources)
    if operation.kind in ("split", "merge") and same:
        raise ReviewError(where, f"the id {min(same)} is used again", "Give regions that are new a new id")
    if operation.kind in (*VERDICTS, "delete", "edit") and operation.regions and not same:
        raise ReviewError(where, "the region has another id than its source", _SEND_AGAIN)


# ---------------------------------------------------------------- JSON


def write_operation(operation: Operation) -> dict[str, Any]:
    """Convert an operation to plain values for JSON.

    Args:
        operation: The operation.

    Returns:
        The values; what is empty is left out.
    """
    values: dict[str, Any] = {
        "id": operation.id,
        "time": operation.time,
        "reader": operation.reader,
        "slide": operation.slide,
        "kind": operation.kind,
        "sources": list(operation.sources),
        "regions": [_write_region(region) for region in operation.regions],
        "label": operation.label,
        "versions": dict(operation.versions),
        "undoes": operation.undoes,
        "comment": operation.comment,
    }
    return {key: value for key, value in values.items() if value not in ("", [], {})}


def _write_region(region: Region) -> dict[str, Any]:
    score = {} if region.score is None else {"score": float(region.score)}
    outline = outline_to_geojson(region.outline)
    return {"id": region.id, "label": region.label, **score, "outline": outline}


def read_operation(values: object, where: str = "operation") -> Operation:
    """Read an operation from JSON values, such as a line of the log or what a page sends.

    Args:
        values: The values; `id` and `time` are made if they are missing. Outlines that cross themselves are repaired.
        where: The place in the file, for errors.

    Returns:
        The operation.

    Raises:
        ReviewError: The values are no operation.
        AnnotationError: A coordinate is no number, or outside any slide.
    """
    if not isinstance(values, dict) or values.get("kind") not in KINDS:
        raise ReviewError(where, "this is no operation of a review", _SEND_AGAIN)
    texts = {name: values.get(name, "") for name in ("reader", "slide", "label", "undoes", "comment")}
    made = {name: values[name] for name in ("id", "time") if name in values}
    lists = [values.get(name, []) for name in ("sources", "regions")]
    versions = values.get("versions", {})
    whole = (
        all(isinstance(text, str) for text in (*texts.values(), *made.values()))
        and all(isinstance(items, list) for items in lists)
        and all(isinstance(source, str) for source in lists[0])
        and isinstance(versions, dict)
        and all(isinstance(version, str) for version in versions.values())
    )
    if not whole:
        raise ReviewError(where, "a value of the operation is of the wrong type", _SEND_AGAIN)
    return Operation(
        kind=values["kind"],
        sources=tuple(lists[0]),
        regions=tuple(_read_region(region, where) for region in lists[1]),
        versions=versions,
        **texts,
        **made,
    )


def _read_region(values: object, where: str) -> Region:
    if not isinstance(values, dict):
        raise ReviewError(where, "a region is no JSON object", _SEND_AGAIN)
    label, score, identity = values.get("label", ""), values.get("score"), values.get("id", str(uuid.uuid4()))
    numeric = score is None or (isinstance(score, int | float) and not isinstance(score, bool))
    if not (isinstance(label, str) and isinstance(identity, str) and identity and numeric):
        raise ReviewError(where, "a value of a region is of the wrong type", _SEND_AGAIN)
    if max(len(label), len(identity)) > MAX_TEXT:
        raise ReviewError(where, f"a text has more than {MAX_TEXT:,} characters", "Shorten it")
    outline = parse_geometry(values.get("outline"), where).outline
    if outline is None:
        raise ReviewError(where, f"region {identity} has no area", "Draw an outline that encloses something")
    return Region(outline, label, score, id=identity)


def dump_operation(operation: Operation) -> bytes:
    """Convert an operation to its line of the log, in ASCII, so that a torn line never decodes to another text.

    Args:
        operation: The operation.

    Returns:
        One line, with its newline.
    """
    return json.dumps(write_operation(operation), allow_nan=False).encode("ascii") + b"\n"
