"""XML annotation files: which program wrote one, and its elements as a tree.

Document types, and with them entities, references to other files and the "billion laughs" attack, are
refused.
"""

import re
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from histoscout.annotations.files import read_content
from histoscout.annotations.read import Annotations, ImageMetadata, load_function
from histoscout.errors import AnnotationError
from histoscout.io.files import decode_text, encoding_note, text_encoding

ROOTS: Mapping[str, str] = MappingProxyType(
    {
        "Annotations": "histoscout.annotations.imagescope:imagescope_annotations",
        "ASAP_Annotations": "histoscout.annotations.asap:asap_annotations",
        # NDP.view; its coordinates are nm from the center of the glass slide
        "annotations": "histoscout.annotations.ndpview:ndpview_annotations",
    }
)
"""Name of the root element -> the function from an element and a path to `Annotations`
("module:function")."""
MAX_DEPTH = 64
"""Nested elements allowed; annotations need eight."""
VERTICES = frozenset({"Vertex", "V", "Coordinate"})
"""Elements that are points, in files of ImageScope, HALO and ASAP."""
POINT = "point"
"""Element that is a point in files of NDP.view, with x and y as elements of their own."""
MAX_TEXT = 10_000
"""Characters of an element's text that are kept."""
_EXPORT_AGAIN = "Save or export the annotations again"
NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""Characters that XML cannot hold."""
_UTF16_STARTS = (b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<")


def read_xml(path: Path) -> Annotations:
    """Read annotations of ImageScope, HALO, ASAP or NDP.view; the root element decides which.

    Args:
        path: The XML file.

    Returns:
        Regions in level-0 px of the whole scan, as these programs show it (`read.to_slide_frame` converts
        them); those of NDP.view in nm from the center of the glass slide (`read.from_slide_center`).

    Raises:
        AnnotationError: The file comes from none of these programs, or is invalid; it names the line.
    """
    root = read_xml_tree(path)
    if root.name not in ROOTS:
        fault = f"the root element {root.name[:40]!r} is neither of ImageScope, of ASAP nor of NDP.view"
        raise AnnotationError(path, fault, f"Give a file with one of these root elements: {', '.join(ROOTS)}")
    annotations: Annotations = load_function(ROOTS[root.name])(root, path)
    return replace(annotations, notes=(*annotations.notes, *root.notes))


def read_xml_image(path: Path) -> ImageMetadata | None:
    """Read the image that an XML annotation file was drawn on: ImageScope states its um/px.

    Args:
        path: The XML file.

    Returns:
        The image; None if the file does not describe it.

    Raises:
        AnnotationError: The file is invalid; it names the line.
    """
    root = read_xml_tree(path)
    if root.name != "Annotations":
        return None
    image: ImageMetadata | None = load_function("histoscout.annotations.imagescope:read_image")(root)
    return image


@dataclass(slots=True, kw_only=True)
class XmlElement:
    """An XML element.

    Attributes:
        name: Name without a namespace.
        attributes: Its attributes.
        line: Line in the file.
        children: The elements in it, without points.
        vertices: The points in it as (order, x, y), one after another.
        notes: Of the root element: notes on the file.
        text: The text in it.
    """

    name: str
    attributes: dict[str, str]
    line: int
    children: list["XmlElement"] = field(default_factory=list)
    vertices: "array[float]" = field(default_factory=lambda: array("d"))
    notes: tuple[str, ...] = ()
    text: str = ""

    def get(self, name: str) -> str:
        """An attribute without surrounding blanks; "" if it is missing."""
        return self.attributes.get(name, "").strip()

    def text_of(self, name: str) -> str:
        """The text of the first element of a name, without surrounding blanks; "" if there is none."""
        return next((child.text.strip() for child in self.children if child.name == name), "")

    def find(self, *path: str) -> Iterator["XmlElement"]:
        """Find the elements that a path of names leads to: `find("Regions", "Region")`."""
        for child in self.children:
            if child.name == path[0]:
                yield from child.find(*path[1:]) if len(path) > 1 else (child,)

    @property
    def points(self) -> NDArray[np.float64]:
        """The points in this element in their order: (N, 2) float64."""
        rows = np.frombuffer(self.vertices, np.float64).reshape(-1, 3)
        return rows[np.argsort(rows[:, 0], kind="stable"), 1:]


class _Builder:
    """Builds the tree from the parser's events; points become numbers at once.

    A file may have millions of points, which as elements would take a hundred times the memory.
    """

    def __init__(self, path: Path, parser: expat.XMLParserType) -> None:
        self.path = path
        self.parser = parser
        self.root: XmlElement | None = None
        self.open: list[XmlElement] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        # drop the namespace
        local_name = name.rpartition(":")[2]
        element = XmlElement(name=local_name, attributes=attributes, line=self.parser.CurrentLineNumber)
        if self.open and local_name in VERTICES:
            self._add_point(self.open[-1], element)
        elif self.open:
            self.open[-1].children.append(element)
        else:
            self.root = element
        self.open.append(element)
        if len(self.open) > MAX_DEPTH:
            fault = f"more than {MAX_DEPTH} elements are nested"
            raise AnnotationError(f"{self.path}, line {element.line}", fault, _EXPORT_AGAIN)

    def end(self, name: str) -> None:
        element = self.open.pop()
        # a point with x and y as elements becomes numbers, and its elements are dropped
        if self.open and element.name == POINT:
            parent = self.open[-1]
            parent.children.pop()
            x, y = (number_of_text(element, name, self.path) for name in ("x", "y"))
            parent.vertices.extend((float(len(parent.vertices)), x, y))

    def add_text(self, text: str) -> None:
        if self.open and len(self.open[-1].text) < MAX_TEXT:
            self.open[-1].text += text[:MAX_TEXT]

    def refuse(self, *_: object) -> None:
        fault = "the file has a document type (DOCTYPE), which annotations do not need and which can do harm"
        remedy = "Remove the lines with <!DOCTYPE if you trust the file"
        raise AnnotationError(f"{self.path}, line {self.parser.CurrentLineNumber}", fault, remedy)

    def _add_point(self, parent: XmlElement, point: XmlElement) -> None:
        order = self._number(point, "Order") if "Order" in point.attributes else float(len(parent.vertices))
        parent.vertices.extend((order, self._number(point, "X"), self._number(point, "Y")))

    def _number(self, element: XmlElement, name: str) -> float:
        return _parse_number(element.attributes.get(name), element, name, self.path)


def number_of_text(element: XmlElement, name: str, path: Path) -> float:
    """Read a number that is the text of an element's child.

    Args:
        element: The element.
        name: Name of the child.
        path: The file, for the error.

    Returns:
        The number.

    Raises:
        AnnotationError: There is no such child, or its text is not a number; it names the line.
    """
    return _parse_number(element.text_of(name) or None, element, name, path)


def _parse_number(text: str | None, element: XmlElement, name: str, path: Path) -> float:
    try:
        # Python accepts 1_0; a decimal comma is common in files from Europe
        if text is not None and "_" not in text:
            return float(text.replace(",", "."))
    except ValueError:
        pass
    if text is None:
        fault = f"the element {element.name} has no number {name}"
    else:
        fault = f"{name} is {text[:40]!r}, which is not a number"
    raise AnnotationError(f"{path}, line {element.line}", fault, "Correct this coordinate")


def xml_text(text: str) -> str:
    """A text with those characters replaced that XML cannot hold.

    Args:
        text: Any text.
    """
    return NOT_IN_XML.sub("\ufffd", text)


def quoted(text: str) -> str:
    """Quote a text as the value of an attribute; characters that XML cannot hold are replaced.

    Args:
        text: Any text.

    Returns:
        The text in quotes.
    """
    return quoteattr(xml_text(text))


def read_xml_tree(path: Path) -> XmlElement:
    """Parse an XML file.

    Args:
        path: The file, plain or gzipped, in the declared encoding or another.

    Returns:
        Its root element.

    Raises:
        AnnotationError: The file is damaged, has a document type or is nested too deeply; it names the line.
    """
    content = read_content(path)
    if not content.strip(b"\xef\xbb\xbf \t\r\n\x00"):
        raise AnnotationError(path, "the file is empty", _EXPORT_AGAIN)
    # entities and document types are refused as soon as they are declared
    note = encoding_note(content)
    if (text_encoding(content) or "").startswith(("utf-16", "utf-32")):
        # whatever the file declares
        content = (decode_text(content) or "").encode()
        encoding: str | None = "utf-8"
    else:
        encoding = _encoding(content)
    parser = expat.ParserCreate(encoding)
    builder = _Builder(path, parser)
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.add_text
    parser.StartDoctypeDeclHandler = builder.refuse
    parser.EntityDeclHandler = builder.refuse
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        fault = f"the file is not valid XML ({expat.ErrorString(error.code)})"
        raise AnnotationError(f"{path}, line {error.lineno}", fault, _EXPORT_AGAIN) from error
    except (LookupError, ValueError) as error:
        # the declared encoding does not exist, or is not one of text
        fault = f"the encoding of the file is unknown ({error})"
        raise AnnotationError(path, fault, "Save it as UTF-8") from error
    if builder.root is None:
        raise AnnotationError(path, "the file is not valid XML (no elements)", _EXPORT_AGAIN)
    # a declared code page is no news, one that contradicts the declaration is
    if encoding is not None and note:
        builder.root.notes = (note,)
    return builder.root


def _encoding(content: bytes) -> str | None:
    """The encoding to use instead of the declared one; None to trust the declaration.

    Programs on Windows write UTF-8 and declare UTF-16, or declare UTF-8 and write their own code page.
    """
    if content[:2] in _UTF16_STARTS:
        return None
    declared = re.match(rb"(?:\xef\xbb\xbf)?\s*<\?xml[^>]*?encoding\s*=\s*[\"']([^\"']*)", content[:200])
    if declared and not declared[1].lower().startswith((b"utf", b"ucs", b"unicode")):
        return None
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "windows-1252"
    return "utf-8"
