"""Writing Java object streams, for tests: from the specification, not from the reader that they try."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(eq=False)
class Java:
    """An object: fields as (type, name, value); `content` what it writes by itself (bytes are numbers)."""

    name: str
    fields: list[tuple[str, str, Any]] = field(default_factory=list)
    content: list[Any] | None = None
    externalizable: bool = False
    extends: str | None = None  # a class without fields or data of its own


@dataclass(frozen=True)
class Array:
    """A Java array of this type, "[F" or "[Ljava.lang.Object;"."""

    type: str
    values: Any


@dataclass(frozen=True)
class Enum:
    name: str
    constant: str


class Stream:
    """A Java object stream, version 2 of the protocol."""

    def __init__(self) -> None:
        self.out = bytearray(b"\xac\xed\x00\x05")
        self._handles: dict[object, int] = {}
        self._count = 0
        self._kept: list[object] = []  # ids must not be used again

    def value(self, value: Any) -> None:
        if value is None:
            self.out += b"\x70"
        elif isinstance(value, bytes):
            self._block(value)
        elif isinstance(value, str):
            if not self._known(value):
                self._string(value)
        elif isinstance(value, Java):
            if not self._known(id(value)):
                self._object(value)
        elif isinstance(value, Array):
            if not self._known(id(value)):
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

    def _known(self, key: object) -> bool:
        if key in self._handles:
            self.out += b"\x71" + struct.pack(">I", 0x7E0000 + self._handles[key])
        return key in self._handles

    def _block(self, numbers: bytes) -> None:
        short = len(numbers) < 256
        self.out += (
            b"\x77" + bytes([len(numbers)]) if short else b"\x7a" + struct.pack(">I", len(numbers))
        ) + numbers

    def _string(self, text: str) -> None:
        written = modified_utf8(text)
        short = len(written) < 65536
        self.out += (
            b"\x74" + struct.pack(">H", len(written)) if short else b"\x7c" + struct.pack(">Q", len(written))
        )
        self.out += written
        self._handle(text)

    def _utf(self, text: str) -> None:
        written = modified_utf8(text)
        self.out += struct.pack(">H", len(written)) + written

    def _class(
        self, name: str, flags: int, fields: Sequence[tuple[str, str]], extends: str | None = None
    ) -> None:
        if self._known(("class", name)):
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

    def _object(self, made: Java) -> None:
        self.out += b"\x73"
        flags = 0x0C if made.externalizable else 0x02 | (made.content is not None)
        self._class(made.name, flags, [(kind, name) for kind, name, _ in made.fields], made.extends)
        self._handle(id(made))
        self._kept.append(made)
        for kind, _, value in made.fields:
            if kind[0] in "L[":
                self.value(value)
            else:
                self.out += struct.pack(">" + dict(zip("BCDFIJSZ", "bHdfiqh?", strict=True))[kind], value)
        if made.content is not None:
            for value in made.content:
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
    """Java's own UTF-8: two bytes for zero, two halves of three bytes for what lies beyond 65,535."""
    units = np.frombuffer(text.encode("utf-16-be", "surrogatepass"), ">u2")
    halves = "".join(map(chr, units)).encode("utf-8", "surrogatepass")
    return halves.replace(b"\0", b"\xc0\x80")
