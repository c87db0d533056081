"""Walking through what an object of a Java stream wrote by itself, value by value."""

import struct
from typing import Any

from histoscout.annotations.java_stream import JavaObject
from histoscout.annotations.qupath_roi import Reading


class Cursor:
    """What an object wrote, one value after the other: objects as such, numbers as bytes between them."""

    def __init__(self, written: JavaObject, reading: Reading) -> None:
        self.written, self.reading = written, reading
        self._next, self._numbers = 0, b""

    @property
    def at_number(self) -> bool:
        return bool(self._numbers) or isinstance(self._peek(), bytes)

    def _peek(self) -> Any:
        if self._next >= len(self.written.content):
            self.reading.refuse("holds an object of which a part is missing", self.written.offset)
        return self.written.content[self._next]

    def object(self) -> Any:
        if self.at_number:
            self.reading.refuse("holds an object whose parts are in an unknown order", self.written.offset)
        self._next += 1
        return self.written.content[self._next - 1]

    def objects(self, count: int) -> list[Any]:
        if not 0 <= count <= len(self.written.content) - self._next:
            self.reading.refuse(f"holds an object that should hold {count} others", self.written.offset)
        return [self.object() for _ in range(count)]

    def number(self, form: str) -> Any:
        if not self._numbers:
            self._numbers = self._peek()
            if not isinstance(self._numbers, bytes):
                self._numbers = b""
                self.reading.refuse("holds an object that lacks a number", self.written.offset)
            self._next += 1
        size = struct.calcsize(form)
        taken, self._numbers = self._numbers[:size], self._numbers[size:]
        if len(taken) < size:
            self.reading.refuse("holds an object of which a number is missing", self.written.offset)
        return struct.unpack(form, taken)[0]
