"""Numbers and units of length as programs write them: one parser and one table for every reader.

Decimal commas come from programs that follow the language of the system. "Âµm" is a micro sign that was saved as UTF-8
and read as Windows-1252; the two micro signs of Unicode (U+00B5 and the Greek letter U+03BC) look alike.
"""

import html
import math
import re
import sys
import unicodedata
from collections.abc import Mapping
from types import MappingProxyType

_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
# a micro sign or the letter mu in UTF-8, read as Windows-1252 once or twice
_MOJIBAKE: Mapping[str, str] = MappingProxyType(
    {"Ã‚Âµ": "µ", "ÃŽÂ¼": "µ", "Âµ": "µ", "Î¼": "µ", "ï¿½": "µ", "\ufffd": "µ"}
)

UM_PER_UNIT: Mapping[str, float] = MappingProxyType(
    {
        "km": 1e9,
        "m": 1e6,
        "dm": 1e5,
        "cm": 1e4,
        "mm": 1e3,
        "um": 1.0,
        "micron": 1.0,
        "nm": 1e-3,
        "pm": 1e-6,
        "fm": 1e-9,
        "å": 1e-4,
        "angstrom": 1e-4,
        "ångström": 1e-4,
        "in": 25_400.0,
        "inch": 25_400.0,
        "inche": 25_400.0,
        '"': 25_400.0,
        "thou": 25.4,
        "mil": 25.4,
        "ft": 304_800.0,
        "foot": 304_800.0,
        "pt": 25_400.0 / 72,
    }
)
"""um in a unit, by its name in lower case, in the singular and with "u" for micro."""

_PREFIXES: Mapping[str, str] = MappingProxyType(
    {
        "kilo": "k",
        "deci": "d",
        "centi": "c",
        "milli": "m",
        "micro": "u",
        "nano": "n",
        "pico": "p",
        "femto": "f",
        "": "",
    }
)


def parse_number(value: object) -> float | None:
    """The number that a file or cell states, with a decimal point or a decimal comma.

    Args:
        value: A number, or its text.

    Returns:
        The number; None if it is none, not finite, or could be read in two ways ("1,000.5").

    Example:
        >>> parse_number("0,2527"), parse_number(" 0.5 "), parse_number("20x")
        (0.2527, 0.5, None)
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        # whole numbers of any size are numbers in JSON; NaN compares with nothing
        return float(value) if abs(value) <= sys.float_info.max else None
    text = value.strip() if isinstance(value, str) else ""
    if _NUMBER.fullmatch(text) is None:
        return None
    number = float(text.replace(",", "."))
    return number if math.isfinite(number) else None


def um_per(unit: object) -> float | None:
    """The um in a unit of length, however it is spelled.

    Args:
        unit: The unit's name or sign: "µm", "μm", "um", "Âµm", "microns", "Micrometer", "mm", "inch", ...

    Returns:
        um in one of it; None if it is no unit of length, such as "pixel".

    Example:
        >>> um_per("microns"), um_per("Âµm"), um_per("MM"), um_per("pixel")
        (1.0, 1.0, 1000.0, None)
    """
    if not isinstance(unit, str):
        return None
    text = html.unescape(_ESCAPE.sub(lambda match: chr(int(match[1], 16)), unit))
    for wrong, right in _MOJIBAKE.items():
        text = text.replace(wrong, right)
    # both micro signs become the Greek letter, which is written as "u" here
    text = unicodedata.normalize("NFKC", text).strip().casefold().rstrip(".").replace("μ", "u")
    for name in (text, text.removesuffix("s"), text.removesuffix("es")):
        if name in UM_PER_UNIT:
            return UM_PER_UNIT[name]
        root = re.fullmatch(r"(\w*?)(?:metre|meter)", name)
        if root is not None and root[1] in _PREFIXES:
            return UM_PER_UNIT[f"{_PREFIXES[root[1]]}m"]
    return None


def parse_um(value: object, unit: object) -> float | None:
    """A length in um.

    Args:
        value: The number, or its text.
        unit: Its unit.

    Returns:
        The length in um; None if number or unit cannot be read.

    Example:
        >>> parse_um("500", "nm")
        0.5
    """
    number, factor = parse_number(value), um_per(unit)
    return None if number is None or factor is None else number * factor
