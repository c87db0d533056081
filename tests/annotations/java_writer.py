"""Write Java object streams for tests, after the specification and independently of the reader."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(eq=False)
class Java:
    """An object.

    Attributes:
        name: Full name of its class.
        fields: (type, name, value) of each field.
        content: What it writes by itself; bytes are numbers.
        externalizable: Whether it writes everything by itself.
        extends: A parent class without fields or data of its own.
    """

    name: str
    fields: list[tuple[str, str, Any]] = field(default_factory=list)
    content: list[Any] | None = None
    externalizable: bool = False
    extends: str | None = None


@dataclass(frozen=True)
class Array:
    """A Java array of this type, "[F" or "[Ljava.lang.Object;"."""

    type: str
    values: Any


@dataclass(frozen=True)
class Enum:
    """A constant of a Java enum."""

    name: str
    constant: str


class Stream:
    """A Java object stream, version 2 of the protocol."""

    def __init__(self) -> None:
        self.out = bytearray(b"\xac\xed\x00\x05")
        self._handles: dict[object, int] = {}
        self._count = 0
        # keeps objects alive, so that their ids are not used again
        self._kept: list[object] = []

    def value(self, value: Any) -> None:
        if value is None:
            self.out += b"\x70"
        elif isinstance(value, bytes):
            self._block(value)
        elif isinstance(value, str):
            if not self._refer_to(value):
                self._string(value)
        elif isinstance(value, Java):
            if not self._refer_to(id(value)):
                self._object(value)
        elif isinstance(value, Array):
            if not self._refer_to(id(value)):
                self._array(value)
        elif isinstance(value, Enum):
            self.out += b"\x7e"
            self._class(value.name, 0x12, (), "java.lang.Enum")
            self._handle(value)
            self.value(value.constant)
        else:
            raise TypeError(f"{value!r} has no form in Java")

    def _handle(self, key: object) -> None:
        self._handles[key] = self._count
        self._count += 1
        self._kept.append(key)

    def _refer_to(self, key: object) -> bool:
        """Write a reference if the value is in the stream already."""
        if key in self._handles:
            self.out += b"\x71" + struct.pack(">I", 0x7E0000 + self._handles[key])
        return key in self._handles

    def _block(self, numbers: bytes) -> None:
        short = len(numbers) < 256
        self.out += (
            b"\x77" + bytes([len(numbers)]) if short else b"\x7a" + struct.pack(">I", len(numbers))
        ) + numbers

    def _string(self, text: str) -> None:
        encoded = modified_utf8(text)
        short = len(encoded) < 65536
        self.out += (
            b"\x74" + struct.pack(">H", len(encoded)) if short else b"\x7c" + struct.pack(">Q", len(encoded))
        )
        self.out += encoded
        self._handle(text)

    def _utf(self, text: str) -> None:
        encoded = modified_utf8(text)
        self.out += struct.pack(">H", len(encoded)) + encoded

    def _class(
        self, name: str, flags: int, fields: Sequence[tuple[str, str]], extends: str | None = None
    ) -> None:
        if self._refer_to(("class", name)):
            return
        self.out += b"\x72"
        self._utf(name)
        self.out += struct.pack(">Q", 1)
        self._handle(("class", name))
        self.out += struct.pack(">BH", flags, len(fields))
        for kind, field_name in fields:
            self.out += kind[0].encode()
            self._utf(field_name)
            if kind[0] in "L[":
                self.value(kind)
        self.out += b"\x78"
        if extends is None:
            self.out += b"\x70"
        else:
            self._class(extends, flags, ())

    def _object(self, instance: Java) -> None:
        self.out += b"\x73"
        flags = 0x0C if instance.externalizable else 0x02 | (instance.content is not None)
        self._class(
            instance.name, flags, [(kind, name) for kind, name, _ in instance.fields], instance.extends
        )
        self._handle(id(instance))
        self._kept.append(instance)
        for kind, _, value in instance.fields:
            if kind[0] in "L[":
                self.value(value)
            else:
                self.out += struct.pack(">" + dict(zip("BCDFIJSZ", "bHdfiqh?", strict=True))[kind], value)
        if instance.content is not None:
            for value in instance.content:
                self.value(value)
            self.out += b"\x78"

    def _array(self, array: Array) -> None:
        self.out += b"\x75"
        self._class(array.type, 0x02, ())
        self._handle(id(array))
        self._kept.append(array)
        self.out += struct.pack(">I", len(array.values))
        kind = array.type[1]
        if kind in "L[":
            for value in array.values:
                self.value(value)
        else:
            form = {"F": ">f4", "D": ">f8", "B": "u1"}[kind]
            self.out += np.asarray(array.values, form).tobytes()


def modified_utf8(text: str) -> bytes:
    """Encode text in Java's UTF-8: two bytes for zero, two surrogates of three bytes for characters above
    65,535."""
    units = np.frombuffer(text.encode("utf-16-be", "surrogatepass"), ">u2")
    halves = "".join(map(chr, units)).encode("utf-8", "surrogatepass")
    return halves.replace(b"\0", b"\xc0\x80")
