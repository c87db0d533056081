"""Reading Java's object streams as plain data: nothing is made, called or executed.

After the Java Object Serialization Specification, version 2 of the protocol, chapter 6. What is not a number, a
text or an array becomes a `JavaObject`: the name of its class, its fields, and what it wrote by itself. No
class needs to be known.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np

from histoscout.errors import AnnotationError

MAGIC = b"\xac\xed\x00\x05"
DEEPEST = 150  # objects within objects; outlines drawn within outlines are a handful deep
LONGEST_LINE = 32  # classes from a class to the last of those it extends
_FIRST_HANDLE = 0x7E0000
_END, _BLOCK, _LONG_BLOCK, _RESET = 0x78, 0x77, 0x7A, 0x79
_WRITE_METHOD, _SERIALIZABLE, _EXTERNALIZABLE, _BLOCK_DATA = 1, 2, 4, 8
_NUMBERS: Mapping[str, struct.Struct] = MappingProxyType(
    {code: struct.Struct(f">{form}") for code, form in zip("BCDFIJSZ", "bHdfiqh?", strict=True)}
)
_ARRAYS: Mapping[str, str] = MappingProxyType(
    {"B": "u1", "C": ">u2", "D": ">f8", "F": ">f4", "I": ">i4", "J": ">i8", "S": ">i2", "Z": "u1"}
)
_REMEDY = "Copy the file again, or open it in QuPath and use File > Export objects as GeoJSON"


@dataclass(frozen=True, slots=True)
class JavaClass:
    """What a stream says of a class: its name, and how its objects are written, and the classes it extends, eldest first."""

    name: str
    flags: int
    fields: tuple[tuple[str, str], ...]  # type code and name
    line: tuple["JavaClass", ...]


@dataclass(slots=True, eq=False)
class JavaObject:
    """One object of a stream: its fields by name, what it wrote by itself in order, and its first byte.

    `content` holds objects and, as `bytes`, the numbers between them. An enum's constant is the field "".
    """

    class_name: str
    offset: int
    fields: dict[str, Any] = field(default_factory=dict)
    content: list[Any] = field(default_factory=list)


class JavaStream:
    """The contents of a file of Java objects, read one after the other.

    Numbers between objects are `bytes`, texts `str`, arrays of numbers numpy arrays (big-endian, read-only),
    other arrays lists, everything else a `JavaObject` or None. Time and memory grow with the file's size alone.
    AnnotationError names the byte where the file is damaged.
    """

    def __init__(self, data: bytes, path: Path) -> None:
        self.data, self.path = data, path
        self.at = 0
        self._handles: list[Any] = []
        self._depth = 0
        self._readers: Mapping[int, Callable[[], Any]] = {
            0x70: lambda: None,
            0x71: self._reference,
            0x72: self._new_class,
            0x73: self._object,
            0x74: lambda: self._kept(self._text("H")),
            0x75: self._array,
            0x76: lambda: self._kept(self._class()),
            _BLOCK: lambda: self._take(self._number("B") & 0xFF),
            _LONG_BLOCK: lambda: self._take(self._number("I")),
            0x7C: lambda: self._kept(self._text("Q")),
            0x7E: self._enum,
        }

    def __iter__(self) -> Iterator[Any]:
        if self._take(4) != MAGIC:
            self.at = 0
            self.refuse("does not begin as QuPath's data files do")
        while self.at < len(self.data):
            if self.data[self.at] == _RESET:
                self.at += 1
                self._handles.clear()
            else:
                yield self._value()

    def refuse(self, fault: str, offset: int | None = None) -> NoReturn:
        """AnnotationError that names the file and the byte."""
        raise AnnotationError(f"{self.path}, byte {self.at if offset is None else offset}", fault, _REMEDY)

    # ------------------------------------------------------------ numbers and texts

    def _take(self, count: int) -> bytes:
        if not 0 <= count <= len(self.data) - self.at:
            self.refuse(f"is cut short or damaged: {count} bytes should follow")
        self.at += count
        return self.data[self.at - count : self.at]

    def _number(self, code: str) -> Any:
        form = _NUMBERS[code]
        return form.unpack(self._take(form.size))[0]

    def _text(self, length_code: str) -> str:
        """A text in Java's modified UTF-8, after its length."""
        form = struct.Struct(f">{length_code}")
        (length,) = form.unpack(self._take(form.size))
        start, written = self.at, self._take(length)
        try:
            return written.decode("utf-8")
        except UnicodeDecodeError:
            pass  # a zero byte or a character beyond the first 65,536, which Java writes in its own way
        try:
            halves = written.replace(b"\xc0\x80", b"\0").decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            self.refuse("holds a text that cannot be read", start)
        return halves.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _kept(self, value: Any) -> Any:
        """Remember something that later parts of the stream may refer to."""
        self._handles.append(value)
        return value

    def _reference(self) -> Any:
        number = self._number("I") - _FIRST_HANDLE
        if not 0 <= number < len(self._handles):
            self.refuse("refers to an object that has not been read", self.at - 4)
        return self._handles[number]

    # ------------------------------------------------------------ objects

    def _value(self) -> Any:
        code = self._take(1)[0]
        read = self._readers.get(code)
        if read is None:
            self.refuse(f"is damaged: no object begins with {code:#04x}", self.at - 1)
        if self._depth >= DEEPEST:
            self.refuse(f"holds objects nested more than {DEEPEST} deep")
        self._depth += 1
        value = read()
        self._depth -= 1
        return value

    def _class(self) -> JavaClass:
        value = self._value()
        if not isinstance(value, JavaClass):
            self.refuse("is damaged: a class should be described here")
        return value

    def _new_class(self) -> JavaClass:
        name, handle = self._text("H"), len(self._handles)
        self._take(8)  # the version of the class, which does not matter here
        self._kept(None)
        flags = self._take(1)[0]
        fields = tuple(self._field() for _ in range(max(0, self._number("S"))))
        self._content()  # of the class loader
        extended = self._value()
        line = (*extended.line, extended) if isinstance(extended, JavaClass) else ()
        if len(line) >= LONGEST_LINE:
            self.refuse(f"holds a class that extends more than {LONGEST_LINE} others")
        described = JavaClass(name, flags, fields, line)
        self._handles[handle] = described
        return described

    def _field(self) -> tuple[str, str]:
        code, name = chr(self._take(1)[0]), self._text("H")
        if code in "L[":
            self._value()  # the name of its class
        elif code not in _NUMBERS:
            self.refuse(f"is damaged: there are no fields of the kind {code!r}")
        return code, name

    def _object(self) -> JavaObject:
        offset = self.at - 1
        described = self._class()
        made = JavaObject(described.name, offset)
        self._kept(made)
        if described.flags & _EXTERNALIZABLE:
            if not described.flags & _BLOCK_DATA:
                self.refuse("holds an object written as before Java 1.2", offset)
            made.content = self._content()
            return made
        for ancestor in (*described.line, described):
            if ancestor.flags & _SERIALIZABLE:
                made.fields |= {name: self._field_value(code) for code, name in ancestor.fields}
                if ancestor.flags & _WRITE_METHOD:
                    made.content += self._content()
        return made

    def _field_value(self, code: str) -> Any:
        return self._value() if code in "L[" else self._number(code)

    def _content(self) -> list[Any]:
        """Objects, and numbers as bytes, until the end mark; bytes that follow bytes are joined."""
        content: list[Any] = []
        numbers: list[bytes] = []
        while (code := self._peek()) != _END:
            value = self._value()
            if code in (_BLOCK, _LONG_BLOCK):
                numbers.append(value)
                continue
            if numbers:
                content.append(b"".join(numbers))
                numbers = []
            content.append(value)
        self.at += 1
        return [*content, b"".join(numbers)] if numbers else content

    def _peek(self) -> int:
        if self.at >= len(self.data):
            self.refuse("is cut short")
        return self.data[self.at]

    def _array(self) -> Any:
        offset = self.at - 1
        code = self._class().name[1:2]
        handle = len(self._handles)
        self._kept(None)
        length = self._number("I")
        form = _ARRAYS.get(code)
        size = np.dtype(form).itemsize if form else 1
        if not 0 <= length * size <= len(self.data) - self.at:
            self.refuse(f"is cut short or damaged: an array of {length} should follow", offset)
        if form:
            self._handles[handle] = values = np.frombuffer(self.data, form, length, self.at)
            self.at += length * size
            return values
        listed: list[Any] = []
        self._handles[handle] = listed
        for _ in range(length):
            listed.append(self._value())
        return listed

    def _enum(self) -> JavaObject:
        offset = self.at - 1
        made = JavaObject(self._class().name, offset)
        self._kept(made)
        made.fields[""] = self._value()
        return made
