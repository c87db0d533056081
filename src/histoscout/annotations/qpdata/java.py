"""Java object streams as plain data: no object is created, called or executed.

After the Java Object Serialization Specification, version 2 of the protocol, chapter 6. What is not a number,
a text or an array becomes a `JavaObject`: the name of its class, its fields, and what it wrote by itself. No
class needs to be defined here.
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
MAX_DEPTH = 150
"""Nested objects allowed; annotations drawn within annotations are a handful deep."""
MAX_ANCESTORS = 32
"""Classes that a class may extend, directly and indirectly."""
_FIRST_HANDLE = 0x7E0000

# type codes (section 6.4.2)
_END = 0x78
_BLOCK = 0x77
_LONG_BLOCK = 0x7A
_RESET = 0x79

# flags of a class (section 6.4.2)
_WRITE_METHOD = 1
_SERIALIZABLE = 2
_EXTERNALIZABLE = 4
_BLOCK_DATA = 8

_NUMBERS: Mapping[str, struct.Struct] = MappingProxyType(
    {code: struct.Struct(f">{form}") for code, form in zip("BCDFIJSZ", "bHdfiqh?", strict=True)}
)
"""Type code of a Java number -> how to unpack it."""
_ARRAYS: Mapping[str, str] = MappingProxyType(
    {"B": "u1", "C": ">u2", "D": ">f8", "F": ">f4", "I": ">i4", "J": ">i8", "S": ">i2", "Z": "u1"}
)
"""Type code of the elements of an array -> numpy dtype."""
_REMEDY = "Copy the file again, or open it in QuPath and use File > Export objects as GeoJSON"


@dataclass(frozen=True, slots=True, kw_only=True)
class JavaClass:
    """A class as a stream describes it.

    Attributes:
        name: Its full name.
        flags: How its objects are written.
        fields: Type code and name of each field.
        ancestors: The classes that it extends, eldest first.
    """

    name: str
    flags: int
    fields: tuple[tuple[str, str], ...]
    ancestors: tuple["JavaClass", ...]


@dataclass(slots=True, eq=False)
class JavaObject:
    """One object of a stream.

    Attributes:
        class_name: Full name of its class.
        offset: Its first byte in the file.
        fields: Its fields by name; an enum's constant is the field "".
        content: What it wrote by itself, in order: objects and, as `bytes`, the numbers between them.
    """

    class_name: str
    offset: int
    fields: dict[str, Any] = field(default_factory=dict)
    content: list[Any] = field(default_factory=list)


class JavaStream:
    """The contents of a file of Java objects; iterate over it to read them one by one.

    Numbers between objects are `bytes`, texts `str`, arrays of numbers numpy arrays (big-endian, read-only),
    other arrays lists, everything else a `JavaObject` or None. Time and memory grow with the file's size
    alone.

    Args:
        data: The bytes of the file.
        path: The file, for errors.

    Raises:
        AnnotationError: While iterating, if the file is damaged; it names the byte.
    """

    def __init__(self, data: bytes, path: Path) -> None:
        self.data = data
        self.path = path
        self.position = 0
        self._handles: list[Any] = []
        self._depth = 0
        self._readers: Mapping[int, Callable[[], Any]] = {
            0x70: lambda: None,
            0x71: self._reference,
            0x72: self._new_class,
            0x73: self._object,
            0x74: lambda: self._remember(self._text("H")),
            0x75: self._array,
            0x76: lambda: self._remember(self._class()),
            _BLOCK: lambda: self._take(self._number("B") & 0xFF),
            _LONG_BLOCK: lambda: self._take(self._number("I")),
            0x7C: lambda: self._remember(self._text("Q")),
            0x7E: self._enum,
        }

    def __iter__(self) -> Iterator[Any]:
        if self._take(4) != MAGIC:
            self.position = 0
            self.refuse("the file does not start like QuPath's data files")
        while self.position < len(self.data):
            if self.data[self.position] == _RESET:
                self.position += 1
                self._handles.clear()
            else:
                yield self._value()

    def refuse(self, fault: str, offset: int | None = None) -> NoReturn:
        """Raise an AnnotationError that names the file and the byte (by default, the current one)."""
        place = self.position if offset is None else offset
        raise AnnotationError(f"{self.path}, byte {place}", fault, _REMEDY)

    # ------------------------------------------------------------ numbers and texts

    def _take(self, count: int) -> bytes:
        if not 0 <= count <= len(self.data) - self.position:
            self.refuse(f"the file is cut short or damaged: {count} bytes should follow")
        self.position += count
        return self.data[self.position - count : self.position]

    def _number(self, code: str) -> Any:
        unpacker = _NUMBERS[code]
        return unpacker.unpack(self._take(unpacker.size))[0]

    def _text(self, length_code: str) -> str:
        """A text in Java's modified UTF-8, after its length."""
        unpacker = struct.Struct(f">{length_code}")
        (length,) = unpacker.unpack(self._take(unpacker.size))
        start = self.position
        encoded = self._take(length)
        try:
            return encoded.decode("utf-8")
        except UnicodeDecodeError:
            # a zero byte or a character beyond the first 65,536, which Java writes in its own way
            pass
        try:
            surrogates = encoded.replace(b"\xc0\x80", b"\0").decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            self.refuse("a text cannot be decoded", start)
        return surrogates.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _remember(self, value: Any) -> Any:
        """Keep something that later parts of the stream may refer to."""
        self._handles.append(value)
        return value

    def _reference(self) -> Any:
        number = self._number("I") - _FIRST_HANDLE
        if not 0 <= number < len(self._handles):
            self.refuse("a reference leads to an object that has not been read", self.position - 4)
        return self._handles[number]

    # ------------------------------------------------------------ objects

    def _value(self) -> Any:
        code = self._take(1)[0]
        read = self._readers.get(code)
        if read is None:
            self.refuse(f"the file is damaged: no object starts with {code:#04x}", self.position - 1)
        # deeper streams would exceed Python's recursion limit
        if self._depth >= MAX_DEPTH:
            self.refuse(f"objects are nested more than {MAX_DEPTH} deep")
        self._depth += 1
        value = read()
        self._depth -= 1
        return value

    def _class(self) -> JavaClass:
        value = self._value()
        if not isinstance(value, JavaClass):
            self.refuse("the file is damaged: a class should be described here")
        return value

    def _new_class(self) -> JavaClass:
        name = self._text("H")
        handle = len(self._handles)
        # a class gets its handle before its fields are read; its version does not matter here
        self._take(8)
        self._remember(None)
        flags = self._take(1)[0]
        fields = tuple(self._field() for _ in range(max(0, self._number("S"))))
        # what the class loader wrote is skipped
        self._content()
        parent = self._value()
        ancestors = (*parent.ancestors, parent) if isinstance(parent, JavaClass) else ()
        if len(ancestors) >= MAX_ANCESTORS:
            self.refuse(f"a class extends more than {MAX_ANCESTORS} others")
        described = JavaClass(name=name, flags=flags, fields=fields, ancestors=ancestors)
        self._handles[handle] = described
        return described

    def _field(self) -> tuple[str, str]:
        code = chr(self._take(1)[0])
        name = self._text("H")
        if code in "L[":
            # the name of the field's class is skipped
            self._value()
        elif code not in _NUMBERS:
            self.refuse(f"the file is damaged: no field has the type {code!r}")
        return code, name

    def _object(self) -> JavaObject:
        offset = self.position - 1
        java_class = self._class()
        instance = JavaObject(java_class.name, offset)
        self._remember(instance)
        if java_class.flags & _EXTERNALIZABLE:
            if not java_class.flags & _BLOCK_DATA:
                self.refuse("an object is written in the format before Java 1.2", offset)
            instance.content = self._content()
            return instance
        # each class of the line wrote its own fields, eldest first
        for ancestor in (*java_class.ancestors, java_class):
            if ancestor.flags & _SERIALIZABLE:
                instance.fields |= {
                    name: self._value() if code in "L[" else self._number(code)
                    for code, name in ancestor.fields
                }
                if ancestor.flags & _WRITE_METHOD:
                    instance.content += self._content()
        return instance

    def _content(self) -> list[Any]:
        """Objects, and numbers as bytes, until the end mark; bytes that follow bytes are joined."""
        content: list[Any] = []
        numbers: list[bytes] = []
        while (code := self._peek()) != _END:
            # long runs of numbers are written as several blocks
            value = self._value()
            if code in (_BLOCK, _LONG_BLOCK):
                numbers.append(value)
                continue
            if numbers:
                content.append(b"".join(numbers))
                numbers = []
            content.append(value)
        self.position += 1
        return [*content, b"".join(numbers)] if numbers else content

    def _peek(self) -> int:
        if self.position >= len(self.data):
            self.refuse("the file is cut short")
        return self.data[self.position]

    def _array(self) -> Any:
        offset = self.position - 1
        code = self._class().name[1:2]
        handle = len(self._handles)
        self._remember(None)
        length = self._number("I")
        dtype = _ARRAYS.get(code)
        size = np.dtype(dtype).itemsize if dtype else 1
        # checked before memory is allocated; an object takes at least one byte
        if not 0 <= length * size <= len(self.data) - self.position:
            self.refuse(f"the file is cut short or damaged: an array of {length} should follow", offset)
        if dtype:
            self._handles[handle] = values = np.frombuffer(self.data, dtype, length, self.position)
            self.position += length * size
            return values
        # an array of objects may hold itself, so that it gets its handle first
        items: list[Any] = []
        self._handles[handle] = items
        for _ in range(length):
            items.append(self._value())
        return items

    def _enum(self) -> JavaObject:
        offset = self.position - 1
        instance = JavaObject(self._class().name, offset)
        self._remember(instance)
        instance.fields[""] = self._value()
        return instance
