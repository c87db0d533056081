"""Java object streams: what is written comes back as plain data, and damage is refused with its byte."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout.annotations.qpdata.java import MAGIC, MAX_ANCESTORS, MAX_DEPTH, JavaObject, JavaStream
from histoscout.errors import AnnotationError
from tests.annotations.java_writer import Array, Enum, Java, Stream, modified_utf8

PATH = Path("a.qpdata")


def write(*values: Any) -> bytes:
    stream = Stream()
    for value in values:
        stream.value(value)
    return bytes(stream.out)


def read(data: bytes) -> list[Any]:
    return list(JavaStream(data, PATH))


@given(st.lists(st.text(st.characters(codec="utf-8")) | st.binary(max_size=600) | st.none()))
def test_texts_and_numbers_come_back(values: list[str | bytes | None]) -> None:
    assert read(write(*values)) == values


def test_a_lone_surrogate_becomes_a_replacement_character() -> None:
    assert read(write("a\ud800b")) == ["a\N{REPLACEMENT CHARACTER}b"]


def test_a_text_of_more_than_64_kb_comes_back() -> None:
    text = "乳" * 30_000
    assert len(modified_utf8(text)) > 65_536
    assert read(write(text, text)) == [text, text]


def test_fields_of_every_type_come_back() -> None:
    numbers = {"B": -3, "D": 0.1, "F": 0.5, "I": -(2**31), "J": 2**62, "S": -2, "Z": True}
    fields = [(code, f"field {code}", value) for code, value in numbers.items()]
    inner = Java("Inner", [("L", "text", "x")])
    instance = Java("Outer", [*fields, ("L", "a", inner), ("L", "b", inner)], [b"1234", "text", b"5"])
    (value,) = read(write(instance))
    assert value.class_name == "Outer"
    assert {name: value.fields[name] for _, name, _ in fields} == {name: value for _, name, value in fields}
    assert value.fields["a"] is value.fields["b"]
    assert value.content == [b"1234", "text", b"5"]


def test_numbers_next_to_each_other_are_joined() -> None:
    instance = Java("A", content=[b"12", b"3" * 300, "x", b"4"], externalizable=True, extends="B")
    assert read(write(instance))[0].content == [b"12" + b"3" * 300, "x", b"4"]


@pytest.mark.parametrize(("kind", "form"), [("[F", ">f4"), ("[D", ">f8"), ("[B", "u1")])
def test_arrays_of_numbers_come_back(kind: str, form: str) -> None:
    values = np.array([1, 2, 250], form)
    (value,) = read(write(Array(kind, values)))
    assert value.dtype == np.dtype(form)
    assert value.tolist() == values.tolist()


def test_arrays_of_arrays_and_enums_come_back() -> None:
    value = read(write(Array("[[F", [Array("[F", [1.5]), None]), Enum("Kind", "ONE"), Enum("Kind", "TWO")))
    assert [value[0][0].tolist(), value[0][1]] == [[1.5], None]
    assert [value.fields[""] for value in value[1:]] == ["ONE", "TWO"]


def test_a_reset_forgets_what_was_read() -> None:
    repeated = write("x", "x")[len(MAGIC) :]
    assert read(MAGIC + repeated + b"\x79" + repeated) == ["x"] * 4
    with pytest.raises(AnnotationError, match=f"byte {len(MAGIC) + len(repeated) + 2}"):
        read(MAGIC + repeated + b"\x79" + write("x", "x")[-5:])


# ---------------------------------------------------------------- damaged streams

RICH = write(Java("A", [("L", "a", Array("[F", [1, 2])), ("I", "b", 3)], [b"12", "text"]), Enum("E", "e"))


def test_a_truncated_stream_is_refused_or_ends_between_objects() -> None:
    whole = [end for end in range(len(MAGIC), len(RICH)) if RICH[end:].startswith(b"\x7e")]
    for length in range(len(RICH)):
        if length == len(MAGIC) or (length in whole and length == whole[-1]):
            assert len(read(RICH[:length])) < 2
        else:
            with pytest.raises(AnnotationError, match=r"a\.qpdata, byte"):
                read(RICH[:length])


@pytest.mark.parametrize(
    ("data", "keyword"),
    [
        (b"PK\x03\x04", "byte 0: "),
        (MAGIC + b"\x00", "byte 4: .*0x00"),
        (MAGIC + b"\x7b", "byte 4: .*0x7b"),
        (MAGIC + b"\x71" + struct.pack(">I", 0x7E0000), "byte 5: "),
        (MAGIC + b"\x71" + struct.pack(">i", -1), "byte 5: "),
        (MAGIC + b"\x7a" + struct.pack(">i", -1), "byte 9: .*-1 "),
        (MAGIC + b"\x7c" + struct.pack(">Q", 2**63), f"byte 13: .*{2**63} "),
        (MAGIC + b"\x74\x00\x01\xff", "byte 7: "),
        (MAGIC + b"\x73\x70", "byte 6: .*class"),
        (write(Array("[F", [1.0]))[:-8] + struct.pack(">i", 2**31 - 1), f"byte 4: .*array.* {2**31 - 1} "),
        (write(Array("[L", []))[:-4] + struct.pack(">i", 2**31 - 1), f"byte 4: .*array.* {2**31 - 1} "),
        (write(Array("[F", []))[:-4] + struct.pack(">i", -1), "byte 4: .*array.* -1 "),
    ],
)
def test_damage_is_refused_with_its_byte(data: bytes, keyword: str) -> None:
    with pytest.raises(AnnotationError, match=f"a.qpdata, {keyword}"):
        read(data)


def test_objects_nested_too_deep_are_refused() -> None:
    start = write(Array("[L", []))[:-4]  # an array, and from then on arrays of its class
    data = start + b"\x00\x00\x00\x01" + b"\x75\x71\x00\x7e\x00\x00\x00\x00\x00\x01" * 100_000
    with pytest.raises(AnnotationError, match=rf"a\.qpdata, byte \d+: .*{MAX_DEPTH}"):
        read(data)


def test_classes_that_extend_each_other_endlessly_are_refused() -> None:
    classes = b"".join(b"\x72\x00\x01A" + bytes(8) + b"\x02\x00\x00\x78" for _ in range(1000))
    with pytest.raises(AnnotationError, match=rf"a\.qpdata, byte \d+: .*({MAX_DEPTH}|{MAX_ANCESTORS})"):
        read(MAGIC + b"\x73" + classes + b"\x70")


def test_the_line_of_ancestors_is_limited() -> None:
    """Every class extends the class before it, so that an object of the last of N classes would take N
    steps."""
    data = bytearray(MAGIC)
    for number in range(1000):
        data += b"\x76\x72\x00\x01A" + bytes(8) + b"\x02\x00\x00\x78"
        data += b"\x71" + struct.pack(">I", 0x7E0000 + 2 * (number - 1)) if number else b"\x70"
    with pytest.raises(AnnotationError, match=f"{MAX_ANCESTORS}"):
        read(bytes(data))


def test_an_object_that_holds_itself_is_read() -> None:
    instance = Java("A", content=["x"])
    instance.content = ["x", instance]
    (value,) = read(write(instance))
    assert value.content[1] is value


@given(st.binary(max_size=300))
def test_any_content_is_read_or_refused(content: bytes) -> None:
    try:
        for value in JavaStream(MAGIC + content, PATH):
            assert (
                value is None or isinstance(value, str | bytes | list | np.ndarray | JavaObject) or value.name
            )
    except AnnotationError:
        pass
