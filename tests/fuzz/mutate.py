"""Mutations that corrupt a file: for any format, for text, for JSON and for XML."""

import json
import re
import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

Mutation = Callable[[bytes, Random], bytes]

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
TEXTS = (
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"-0",
    b"1e-320",
    b'"12"',
    b"12,5",
    b"9" * 400,
    b"null",
    b"true",
    b"",
    b"[]",
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    1e308,
    10**30,
    "",
    "NaN",
    "\x00\ud800",
    [],
    {},
    [[]],
    {"type": "Feature"},
)
DOCTYPE = (
    b'<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;&x;&x;&x;&x;&x;">]>',
    b'<!DOCTYPE a SYSTEM "file:///etc/hostname">',
    b'<!DOCTYPE a [<!ENTITY f SYSTEM "file:///etc/hostname">]>',
)
ENCODINGS = (b"utf-16", b"windows-1252", b"ascii", b"utf-7", b"idna", b"zlib", b"iso-8859-15", b"x" * 50)


# ---------------------------------------------------------------- any file


def _flip(content: bytes, random: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 8, 64))):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _truncate(content: bytes, random: Random) -> bytes:
    return content[: random.randrange(len(content))]


def _drop(content: bytes, random: Random) -> bytes:
    start, end = sorted(random.randrange(len(content) + 1) for _ in range(2))
    return content[:start] + content[min(end, start + 400) :]


def _repeat(content: bytes, random: Random) -> bytes:
    start, end = sorted(random.randrange(len(content) + 1) for _ in range(2))
    return content[:end] + content[start:end] * random.choice((1, 2, 20)) + content[end:]


def _insert(content: bytes, random: Random) -> bytes:
    place = random.randrange(len(content) + 1)
    return content[:place] + random.randbytes(random.choice((1, 2, 8, 64))) + content[place:]


def _number(content: bytes, random: Random) -> bytes:
    """Write an extreme number somewhere, of any width and byte order."""
    width = random.choice("BHIQ")
    number = random.choice(NUMBERS) & (1 << 8 * struct.calcsize(width)) - 1
    replacement = struct.pack(random.choice("<>") + width, number)
    place = random.randrange(len(content))
    return content[:place] + replacement + content[place + len(replacement) :]


def _zero(content: bytes, random: Random) -> bytes:
    place, length = random.randrange(len(content)), random.choice((1, 4, 16, 200))
    return content[:place] + bytes(min(length, len(content) - place)) + content[place + length :]


ANY: tuple[Mutation, ...] = (_flip, _flip, _truncate, _drop, _repeat, _insert, _number, _zero)


# ---------------------------------------------------------------- text


def _swap_number(content: bytes, random: Random) -> bytes:
    matches = list(re.finditer(rb"-?\d+(\.\d+)?", content))
    if not matches:
        return content
    match = random.choice(matches)
    return content[: match.start()] + random.choice(TEXTS) + content[match.end() :]


def _swap_words(content: bytes, random: Random) -> bytes:
    """Replace a word of the file by another."""
    words = list(re.finditer(rb"[A-Za-z_]{2,}", content))
    if not words:
        return content
    match, other = random.choice(words), random.choice(words)
    return content[: match.start()] + other.group() + content[match.end() :]


# ---------------------------------------------------------------- JSON


def _entries(value: Any, entries: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Collect every container of a document with each of its keys or indices."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        entries.append((value, key))
        _entries(value[key], entries)
    return entries


def _change_json(content: bytes, random: Random) -> bytes:
    document = json.loads(content)
    for _ in range(random.choice((1, 1, 2, 5))):
        container, key = random.choice(_entries(document, []) or [([document], 0)])
        other, other_key = random.choice(_entries(document, []) or [([document], 0)])
        action = random.randrange(5)
        if action == 0:
            container[key] = random.choice(VALUES)
        elif action == 1:
            del container[key]
        elif action == 2:
            container[key] = json.loads(json.dumps(other[other_key]))
        elif action == 3 and isinstance(container, dict):
            container[random.choice(("type", "coordinates", "geometries", "names", "childObjects"))] = (
                container[key]
            )
        else:
            for _ in range(random.choice((1, 3, 300))):
                container[key] = [container[key]]
    return json.dumps(document).encode()


def _double_key(content: bytes, random: Random) -> bytes:
    matches = list(re.finditer(rb'"\w+": ', content))
    if not matches:
        return content
    match = random.choice(matches)
    return content[: match.start()] + match.group() + b"[1e5], " + content[match.start() :]


def _nest_json(content: bytes, random: Random) -> bytes:
    depth = random.choice((10, 500, 20_000))
    opening, closing = random.choice(
        (
            (b"[", b"]"),
            (b'{"type": "GeometryCollection", "geometries": [', b"]}"),
            (b'{"parentClass": ', b"}"),
        )
    )
    place = random.randrange(len(content))
    return content[:place] + opening * depth + content[place:] + closing * depth


# ---------------------------------------------------------------- XML


def _move_element(content: bytes, random: Random) -> bytes:
    """Insert a copy of a piece between two tags somewhere else."""
    marks = [match.start() for match in re.finditer(rb"<", content)] or [0]
    start, end = sorted(random.choice(marks) for _ in range(2))
    place = random.choice(marks)
    return content[:place] + content[start:end] + content[place:]


def _change_attribute(content: bytes, random: Random) -> bytes:
    matches = list(re.finditer(rb'\s\w+="[^"]*"', content))
    if not matches:
        return content
    match, other = random.choice(matches), random.choice(matches)
    replacement = random.choice((b"", match.group() * 2, other.group(), other.group() + b' Type="5"'))
    return content[: match.start()] + replacement + content[match.end() :]


def _declare(content: bytes, random: Random) -> bytes:
    """Add a document type with entities, or declare another encoding than that of the bytes."""
    if random.random() < 0.5:
        entity = random.choice((b"&y;", b"&f;", b"&#0;", b"&lt;", b""))
        place = content.find(b">", random.randrange(len(content))) + 1
        return random.choice(DOCTYPE) + content[:place] + entity + content[place:]
    body = re.sub(rb"^<\?xml.*?\?>", b"", content)
    return b'<?xml version="1.0" encoding="' + random.choice(ENCODINGS) + b'"?>' + body


def _nest_xml(content: bytes, random: Random) -> bytes:
    names = re.findall(rb"<(\w+)", content) or [b"a"]
    name, depth = random.choice(names), random.choice((5, 200, 20_000))
    place = content.find(b">", random.randrange(len(content))) + 1
    return content[:place] + b"<%b>" % name * depth + b"</%b>" % name * depth + content[place:]


TEXT: tuple[Mutation, ...] = (_swap_number, _swap_number, _swap_words)
STRUCTURED: dict[str, tuple[Mutation, ...]] = {
    "binary": (),
    "json": (*TEXT, _change_json, _change_json, _change_json, _double_key, _nest_json),
    "xml": (*TEXT, _move_element, _change_attribute, _change_attribute, _declare, _nest_xml),
}


def mutate(seeds: Sequence[bytes], structure: str, random: Random) -> bytes:
    """Corrupt a valid file.

    Args:
        seeds: Valid files, of which one is chosen.
        structure: "json", "xml" or "binary"; decides which mutations are used.
        random: Decides everything.

    Returns:
        A file with one to four mutations, not empty and at most 256 kB.
    """
    structured = STRUCTURED[structure]
    content = random.choice(seeds)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        if random.random() < 0.05:
            other = random.choice(seeds)
            content = content[: random.randrange(len(content))] + other[random.randrange(len(other)) :]
            continue
        mutation = random.choice(structured if structured and random.random() < 0.6 else ANY)
        try:
            content = mutation(content, random)
        except (ValueError, RecursionError):
            # an earlier mutation made it invalid JSON
            content = _flip(content, random)
        content = content[: 2**18] or b"\0"
    return content
