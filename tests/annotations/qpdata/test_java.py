"""Java's object streams: what was written comes back as plain data, and what is broken is named by its byte."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout.annotations.qpdata.java import DEEPEST, MAGIC, JavaObject, JavaStream
from histoscout.errors import AnnotationError
from tests.annotations.java_writer import Array, Enum, Java, Stream, modified_utf8

PATH = Path("a.qpdata")


def written(*values: Any) -> bytes:
    stream = Stream()
    for value in values:
        stream.value(value)
    return bytes(stream.out)


def read(data: bytes) -> list[Any]:
    return list(JavaStream(data, PATH))


@given(st.lists(st.text(st.characters(codec="utf-8")) | st.binary(max_size=600) | st.none()))
def test_texts_and_numbers_come_back(values: list[str | bytes | None]) -> None:
    assert read(written(*values)) == values


def test_a_lone_half_of_a_character_becomes_a_mark() -> None:
    assert read(written("a\ud800b")) == ["a\N{REPLACEMENT CHARACTER}b"]


def test_a_text_of_more_than_64_kb_comes_back() -> None:
    text = "乳" * 30_000
    assert len(modified_utf8(text)) > 65_536
    assert read(written(text, text)) == [text, text]


def test_fields_of_every_kind_come_back() -> None:
    numbers = {"B": -3, "D": 0.1, "F": 0.5, "I": -(2**31), "J": 2**62, "S": -2, "Z": True}
    fields = [(code, f"field {code}", value) for code, value in numbers.items()]
    inner = Java("Inner", [("L", "text", "x")])
    made = Java("Outer", [*fields, ("L", "a", inner), ("L", "b", inner)], [b"1234", "text", b"5"])
    (found,) = read(written(made))
    assert found.class_name == "Outer"
    assert {name: found.fields[name] for _, name, _ in fields} == {name: value for _, name, value in fields}
    assert found.fields["a"] is found.fields["b"]
    assert found.content == [b"1234", "text", b"5"]


def test_numbers_next_to_each_other_are_one_piece() -> None:
    made = Java("A", content=[b"12", b"3" * 300, "x", b"4"], externalizable=True, extends="B")
    assert read(written(made))[0].content == [b"12" + b"3" * 300, "x", b"4"]


@pytest.mark.parametrize(("kind", "form"), [("[F", ">f4"), ("[D", ">f8"), ("[B", "u1")])
def test_arrays_of_numbers_come_back(kind: str, form: str) -> None:
    values = np.array([1, 2, 250], form)
    (found,) = read(written(Array(kind, values)))
    assert found.dtype == np.dtype(form)
    assert found.tolist() == values.tolist()


def test_arrays_of_arrays_and_enums_come_back() -> None:
    found = read(written(Array("[[F", [Array("[F", [1.5]), None]), Enum("Kind", "ONE"), Enum("Kind", "TWO")))
    assert [found[0][0].tolist(), found[0][1]] == [[1.5], None]
    assert [value.fields[""] for value in found[1:]] == ["ONE", "TWO"]


def test_a_reset_forgets_what_was_read() -> None:
    again = written("x", "x")[len(MAGIC) :]
    assert read(MAGIC + again + b"\x79" + again) == ["x"] * 4
    with pytest.raises(AnnotationError, match=f"byte {len(MAGIC) + len(again) + 2}.*not been read"):
        read(MAGIC + again + b"\x79" + written("x", "x")[-5:])


# ---------------------------------------------------------------- broken streams

RICH = written(Java("A", [("L", "a", Array("[F", [1, 2])), ("I", "b", 3)], [b"12", "text"]), Enum("E", "e"))


def test_a_stream_cut_short_is_refused_or_ends_between_objects() -> None:
    whole = [end for end in range(len(MAGIC), len(RICH)) if RICH[end:].startswith(b"\x7e")]
    for length in range(len(RICH)):
        if length == len(MAGIC) or (length in whole and length == whole[-1]):
            assert len(read(RICH[:length])) < 2
        else:
            with pytest.raises(AnnotationError, match=r"a\.qpdata, byte"):
                read(RICH[:length])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PK\x03\x04", "byte 0.*does not begin"),
        (MAGIC + b"\x00", "byte 4.*no object begins with 0x00"),
        (MAGIC + b"\x7b", "byte 4.*no object begins with 0x7b"),
        (MAGIC + b"\x71" + struct.pack(">I", 0x7E0000), "byte 5.*not been read"),
        (MAGIC + b"\x71" + struct.pack(">i", -1), "byte 5.*not been read"),
        (MAGIC + b"\x7a" + struct.pack(">i", -1), "byte 9.*-1 bytes"),
        (MAGIC + b"\x7c" + struct.pack(">Q", 2**63), f"byte 13.*{2**63} bytes"),
        (MAGIC + b"\x74\x00\x01\xff", "byte 7.*text that cannot be read"),
        (MAGIC + b"\x73\x70", "byte 6.*class should be described"),
        (written(Array("[F", [1.0]))[:-8] + struct.pack(">i", 2**31 - 1), f"byte 4.*array of {2**31 - 1}"),
        (written(Array("[L", []))[:-4] + struct.pack(">i", 2**31 - 1), f"byte 4.*array of {2**31 - 1}"),
        (written(Array("[F", []))[:-4] + struct.pack(">i", -1), "byte 4.*array of -1"),
    ],
)
def test_what_is_wrong_is_said_with_its_byte(data: bytes, said: str) -> None:
    with pytest.raises(AnnotationError, match=f"a.qpdata, {said}"):
        read(data)


def test_objects_nested_too_deep_are_refused() -> None:
    start = written(Array("[L", []))[:-4]  # an array, and from then on arrays of its class
    data = start + b"\x00\x00\x00\x01" + b"\x75\x71\x00\x7e\x00\x00\x00\x00\x00\x01" * 100_000
    with pytest.raises(AnnotationError, match=f"nested more than {DEEPEST} deep"):
        read(data)


def test_classes_that_extend_each_other_without_end_are_refused() -> None:
    line = b"".join(b"\x72\x00\x01A" + bytes(8) + b"\x02\x00\x00\x78" for _ in range(1000))
    with pytest.raises(AnnotationError, match=r"(nested|extends) more than"):
        read(MAGIC + b"\x73" + line + b"\x70")


def test_a_class_may_not_be_an_ancestor_of_ever_more_classes() -> None:
    """Each object of the last of N classes would take N steps: each class after the first refers to the one before."""
    data = bytearray(MAGIC)
    for number in range(1000):
        data += b"\x76\x72\x00\x01A" + bytes(8) + b"\x02\x00\x00\x78"
        data += b"\x71" + struct.pack(">I", 0x7E0000 + 2 * (number - 1)) if number else b"\x70"
    with pytest.raises(AnnotationError, match="extends more than 32"):
        read(bytes(data))


def test_an_object_that_holds_itself_is_read() -> None:
    made = Java("A", content=["x"])
    made.content = ["x", made]
    (found,) = read(written(made))
    assert found.content[1] is found


@given(st.binary(max_size=300))
def test_no_content_gives_a_foreign_error(content: bytes) -> None:
    try:
        for value in JavaStream(MAGIC + content, PATH):
            assert (
                value is None or isinstance(value, str | bytes | list | np.ndarray | JavaObject) or value.name
            )
    except AnnotationError:
        pass
