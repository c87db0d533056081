"""Write Java object streams (version 5 of the protocol), as far as QuPath's data files need them.

Java itself recognizes a class by its name and a number that its author or compiler chose: `CLASS_VERSIONS`.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histoscout.annotations.qpdata.java import MAGIC

FIRST_HANDLE = 0x7E0000
"""Number of the first thing that a stream refers to."""

CLASS_VERSIONS: Mapping[str, int] = MappingProxyType(
    {
        "[B": -5984413125824719648,
        "[F": 836686056779680834,
        "[Ljava.lang.Object;": -8012369246846506644,
        "java.lang.Boolean": -3665804199014368530,
        "java.lang.Integer": 1360826667806852920,
        "java.lang.Number": -8742448824652078965,
        "java.util.ArrayList": 8683452581122892189,
        "java.util.HashMap": 362498820763181265,
    }
)
"""Version of each class of Java itself; all classes of QuPath have version 1."""

_SERIALIZABLE, _EXTERNALIZABLE, _ENUM = 0x02, 0x0C, 0x12
_WRITES_CONTENT = 0x01
_MOST_SHORT_BLOCK = 255
_MOST_SHORT_TEXT = 65535


@dataclass(frozen=True, eq=False, kw_only=True)
class JavaType:
    """A class: its name, its own fields, and its parent.

    Attributes:
        name: Full name.
        flags: How its objects are written.
        fields: Type ("I", "D", "Ljava/lang/String;", "[F") and name of each field, in the order they are written.
        parent: The class it extends; None for one that is not written.
    """

    name: str
    flags: int = _SERIALIZABLE
    fields: tuple[tuple[str, str], ...] = ()
    parent: "JavaType | None" = None


@dataclass(frozen=True, eq=False)
class JavaInstance:
    """An object.

    Attributes:
        type: Its class.
        values: The value of each field, fields of its parents first.
        content: What it writes by itself, in order: objects, and numbers as bytes.
    """

    type: JavaType
    values: Sequence[Any] = ()
    content: Sequence[Any] = ()


@dataclass(frozen=True, eq=False)
class JavaArray:
    """An array of numbers or of objects.

    Attributes:
        type: Its class, such as "[F".
        items: Big-endian numbers, or objects.
    """

    type: JavaType
    items: NDArray[Any] | Sequence[Any]


@dataclass(frozen=True, eq=False)
class JavaConstant:
    """A constant of an enum.

    Attributes:
        type: The enum.
        name: Name of the constant.
    """

    type: JavaType
    name: str


def serializable(
    name: str,
    *fields: tuple[str, str],
    parent: JavaType | None = None,
    writes_content: bool = False,
) -> JavaType:
    """A class whose fields Java writes.

    Args:
        name: Full name.
        fields: Type and name of each field.
        parent: The class it extends.
        writes_content: Whether it writes more than its fields.
    """
    flags = _SERIALIZABLE | (_WRITES_CONTENT if writes_content else 0)
    return JavaType(name=name, flags=flags, fields=fields, parent=parent)


def externalizable(name: str, parent: JavaType | None = None) -> JavaType:
    """A class that writes its objects by itself.

    Args:
        name: Full name.
        parent: The class it extends.
    """
    return JavaType(name=name, flags=_EXTERNALIZABLE, parent=parent)


def enumeration(name: str) -> JavaType:
    """An enum.

    Args:
        name: Full name.
    """
    return JavaType(name=name, flags=_ENUM, parent=JavaType(name="java.lang.Enum", flags=_ENUM))


class JavaWriter:
    """Writes values one after the other; what was written before is referred to.

    Example:
        >>> writer = JavaWriter()
        >>> writer.write("a text")
        >>> bytes(writer.data[:4]).hex(), writer.data[-6:]
        ('aced0005', bytearray(b'a text'))
    """

    def __init__(self) -> None:
        self.data = bytearray(MAGIC)
        self._handles: dict[object, int] = {}
        # objects are told apart by their address, so that they have to live as long as the stream
        self._kept: list[object] = []

    def write(self, value: Any) -> None:
        """Write a value: a text, an object, an array, a constant, numbers as bytes, or None."""
        if value is None:
            self.data += b"\x70"
        elif isinstance(value, bytes):
            self._block(value)
        elif self._refer(value if isinstance(value, str) else id(value)):
            pass
        elif isinstance(value, str):
            self._text(value)
        elif isinstance(value, JavaInstance):
            self._instance(value)
        elif isinstance(value, JavaArray):
            self._array(value)
        elif isinstance(value, JavaConstant):
            self.data += b"\x7e"
            self._type(value.type)
            self._remember(id(value), value)
            self.write(value.name)
        else:
            raise TypeError(f"{type(value).__name__} has no form in a stream of Java objects")

    def _refer(self, key: object) -> bool:
        if key not in self._handles:
            return False
        self.data += b"\x71" + struct.pack(">I", FIRST_HANDLE + self._handles[key])
        return True

    def _remember(self, key: object, value: object) -> None:
        self._handles[key] = len(self._kept)
        self._kept.append(value)

    def _block(self, numbers: bytes) -> None:
        if len(numbers) <= _MOST_SHORT_BLOCK:
            self.data += b"\x77" + bytes([len(numbers)]) + numbers
        else:
            self.data += b"\x7a" + struct.pack(">I", len(numbers)) + numbers

    def _text(self, text: str) -> None:
        encoded = encode_text(text)
        if len(encoded) <= _MOST_SHORT_TEXT:
            self.data += b"\x74" + struct.pack(">H", len(encoded)) + encoded
        else:
            self.data += b"\x7c" + struct.pack(">Q", len(encoded)) + encoded
        self._remember(text, text)

    def _name(self, name: str) -> None:
        encoded = encode_text(name)
        self.data += struct.pack(">H", len(encoded)) + encoded

    def _type(self, kind: JavaType | None) -> None:
        if kind is None:
            self.data += b"\x70"
            return
        if self._refer(("class", kind.name)):
            return
        self.data += b"\x72"
        self._name(kind.name)
        version = 0 if kind.flags == _ENUM else CLASS_VERSIONS.get(kind.name, 1)
        self.data += struct.pack(">q", version)
        self._remember(("class", kind.name), kind)
        self.data += struct.pack(">BH", kind.flags, len(kind.fields))
        for code, name in kind.fields:
            self.data += code[0].encode()
            self._name(name)
            if code[0] in "L[":
                self.write(code)
        self.data += b"\x78"
        self._type(kind.parent)

    def _instance(self, instance: JavaInstance) -> None:
        self.data += b"\x73"
        self._type(instance.type)
        self._remember(id(instance), instance)
        line = [instance.type]
        while line[0].parent is not None:
            line.insert(0, line[0].parent)
        fields = [field for kind in line for field in kind.fields]
        for (code, _), value in zip(fields, instance.values, strict=True):
            if code[0] in "L[":
                self.write(value)
            else:
                self.data += struct.pack(f">{_NUMBERS[code]}", value)
        if instance.type.flags != _SERIALIZABLE:
            for item in instance.content:
                self.write(item)
            self.data += b"\x78"

    def _array(self, array: JavaArray) -> None:
        self.data += b"\x75"
        self._type(array.type)
        self._remember(id(array), array)
        self.data += struct.pack(">I", len(array.items))
        if isinstance(array.items, np.ndarray):
            self.data += array.items.tobytes()
        else:
            for item in array.items:
                self.write(item)


_NUMBERS: Mapping[str, str] = MappingProxyType({"D": "d", "F": "f", "I": "i", "Z": "?"})


def encode_text(text: str) -> bytes:
    """Encode a text in Java's modified UTF-8: zero as two bytes, what lies beyond 65,535 as two surrogates.

    Args:
        text: The text.
    """
    units = np.frombuffer(text.encode("utf-16-be", "surrogatepass"), ">u2")
    return "".join(map(chr, units)).encode("utf-8", "surrogatepass").replace(b"\0", b"\xc0\x80")
