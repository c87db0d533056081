"""XML files of outlines as a tree of tags; what an XML file could do besides holding outlines is refused.

Document types, and with them entities, references to other files and the "billion laughs", are not read at all.
"""

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from histoscout.annotations.files import read_content
from histoscout.errors import AnnotationError

DEEPEST = 64  # tags within one another; outlines need eight
VERTICES = frozenset({"Vertex", "V", "Coordinate"})  # of ImageScope, HALO and ASAP
_AGAIN = "Save or export the annotations again"
_WIDE = (b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<")


@dataclass(slots=True)
class Tag:
    """An XML tag, the line it stands in, the tags in it, and the points in it as (order, x, y) one after another."""

    name: str
    attributes: dict[str, str]
    line: int
    children: list["Tag"] = field(default_factory=list)
    vertices: "array[float]" = field(default_factory=lambda: array("d"))

    def get(self, name: str) -> str:
        """An attribute without surrounding blanks; "" if it is not there."""
        return self.attributes.get(name, "").strip()

    def named(self, *path: str) -> Iterator["Tag"]:
        """The tags that a path of names leads to: `named("Regions", "Region")`."""
        for child in self.children:
            if child.name == path[0]:
                yield from child.named(*path[1:]) if len(path) > 1 else (child,)

    @property
    def points(self) -> NDArray[np.float64]:
        """The points in this tag in their order: float64 (N, 2)."""
        rows = np.frombuffer(self.vertices, np.float64).reshape(-1, 3)
        return rows[np.argsort(rows[:, 0], kind="stable"), 1:]


class _Builder:
    """Makes tags of what the parser reports; points become numbers at once, as a file may have millions."""

    def __init__(self, path: Path, parser: expat.XMLParserType) -> None:
        self.path, self.parser = path, parser
        self.root: Tag | None = None
        self.open: list[Tag] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        plain = name.rpartition(":")[2]
        tag = Tag(plain, attributes, self.parser.CurrentLineNumber)
        if self.open and plain in VERTICES:
            self._point(self.open[-1], tag)
        elif self.open:
            self.open[-1].children.append(tag)
        else:
            self.root = tag
        self.open.append(tag)
        if len(self.open) > DEEPEST:
            fault = f"has more than {DEEPEST} tags within one another"
            raise AnnotationError(f"{self.path}, line {tag.line}", fault, _AGAIN)

    def end(self, name: str) -> None:
        self.open.pop()

    def refuse(self, *_: object) -> None:
        fault = "has a document type (DOCTYPE), which no annotations need and which can do harm"
        remedy = "Take the lines with <!DOCTYPE out if you trust the file"
        raise AnnotationError(f"{self.path}, line {self.parser.CurrentLineNumber}", fault, remedy)

    def _point(self, parent: Tag, tag: Tag) -> None:
        order = self._number(tag, "Order") if "Order" in tag.attributes else float(len(parent.vertices))
        parent.vertices.extend((order, self._number(tag, "X"), self._number(tag, "Y")))

    def _number(self, tag: Tag, name: str) -> float:
        said = tag.attributes.get(name)
        try:
            if said is not None and "_" not in said:
                return float(said.replace(",", "."))
        except ValueError:
            pass
        fault = f"{tag.name} has no number {name}" if said is None else f"{name} is {said[:40]!r}, no number"
        raise AnnotationError(f"{self.path}, line {tag.line}", fault, "Correct this coordinate")


def read_tags(path: Path) -> Tag:
    """The root of an XML file; AnnotationError, with the line, for one that is damaged or does more than it should."""
    content = read_content(path)
    if not content.strip(b"\xef\xbb\xbf \t\r\n\x00"):
        raise AnnotationError(path, "is empty", _AGAIN)
    parser = expat.ParserCreate(_encoding(content))
    builder = _Builder(path, parser)
    parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
    parser.StartDoctypeDeclHandler = builder.refuse
    parser.EntityDeclHandler = builder.refuse
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        fault = f"is not valid XML ({expat.ErrorString(error.code)})"
        raise AnnotationError(f"{path}, line {error.lineno}", fault, _AGAIN) from error
    except (LookupError, ValueError) as error:  # names of encodings that are none, or not of text
        raise AnnotationError(
            path, f"is in an encoding that is not known ({error})", "Save it as UTF-8"
        ) from error
    if builder.root is None:
        raise AnnotationError(path, "is not valid XML (no tags)", _AGAIN)
    return builder.root


def _encoding(content: bytes) -> str | None:
    """The encoding to take instead of the declared one; None where that can be believed.

    Programs on Windows write UTF-8 and declare UTF-16, or declare UTF-8 and write their own code page.
    """
    if content[:2] in _WIDE:
        return None
    declared = re.match(rb"(?:\xef\xbb\xbf)?\s*<\?xml[^>]*?encoding\s*=\s*[\"']([^\"']*)", content[:200])
    if declared and not declared[1].lower().startswith((b"utf", b"ucs", b"unicode")):
        return None
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "windows-1252"
    return "utf-8"
