"""Names of slides and ids of patients: the two functions that decide when two of them are the same.

Scanners, QuPath, spreadsheets and three operating systems write one name in several ways. Whoever compares names or
ids compares `slide_key` or `patient_key`, never the text itself.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath

NAME_SUFFIXES = (
    *(".svs", ".tif", ".tiff", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".svslide", ".bif", ".czi", ".dcm"),
    *(".png", ".jpg", ".jpeg", ".bmp", ".jp2", ".j2k", ".gif", ".webp"),
    # formats that QuPath shows, so that its images and exports are named after them
    *(
        ".qptiff",
        ".vsi",
        ".ets",
        ".isyntax",
        ".i2syntax",
        ".lif",
        ".nd2",
        ".zvi",
        ".oir",
        ".afi",
        ".zarr",
        ".btf",
    ),
    *(".ome.tif", ".ome.tiff", ".ome.btf", ".ome.tf2", ".ome.tf8", ".ome.zarr", ".ome"),
)
"""Suffixes that are not part of a slide's name. Anything else behind a dot is: "T24.100", "scan1.vsi - 20x_02"."""

_SEPARATORS = re.compile(r"[\s_\-\u00ad\u200b\u2010-\u2015\u2212\ufeff]+")
"""Blanks, hyphens, dashes and underscores, the invisible ones too."""

_WHOLE_NUMBER = re.compile(r"(\d+)[.,]0+")
"""A whole number that a spreadsheet wrote as a fraction."""


# ---------------------------------------------------------------- slides


def slide_name(file: PurePath | str) -> str:
    """The name of a slide: its file's name without the suffix of the format.

    Args:
        file: The slide file, or the name of an image.

    Returns:
        The name, in the Unicode form NFC (macOS stores accents in another form).

    Example:
        >>> from histoscout.io.names import slide_name
        >>> slide_name("S1.ome.tif"), slide_name("S1.TIFF"), slide_name("scan1.vsi - 20x_02")
        ('S1', 'S1', 'scan1.vsi - 20x_02')
    """
    name = unicodedata.normalize("NFC", file.name if isinstance(file, PurePath) else file)
    folded = name.casefold()
    fitting = [suffix for suffix in NAME_SUFFIXES if folded.endswith(suffix)]
    # a name that is a suffix and nothing else stays
    return name[: -len(max(fitting, key=len))] or name if fitting else name


def slide_key(file: PurePath | str) -> str:
    """What is equal for two names of the same slide, and for nothing else.

    Args:
        file: A slide file, or the name of a slide or image, with or without a suffix.

    Returns:
        The name without suffix and case.

    Example:
        >>> from histoscout.io.names import slide_key
        >>> slide_key("S1.ome.tif") == slide_key("s1.NDPI") == slide_key("S1")
        True
        >>> slide_key("scan1.vsi - 20x_01") == slide_key("scan1.vsi - 20x_02")
        False
    """
    return unicodedata.normalize("NFC", slide_name(file).strip().casefold())


def name_rank(slide: PurePath | str, name: str) -> int | None:
    """How well a name fits a slide; where several slides could be meant, the lowest rank decides.

    Args:
        slide: The slide file, or its name with the suffix.
        name: The name of something that belongs to a slide, such as an annotation file without its own suffix.

    Returns:
        0 for the slide's name or its file's name; 1 if they differ in case; 2 if they are the same slide by
        `slide_key`, such as a copy in another format; None for another slide.
    """
    full = unicodedata.normalize("NFC", slide.name if isinstance(slide, PurePath) else slide)
    given = unicodedata.normalize("NFC", name)
    own = (full, slide_name(full))
    if given in own:
        return 0
    if given.casefold() in {spelling.casefold() for spelling in own}:
        return 1
    return 2 if slide_key(full) == slide_key(given) else None


def number_names(names: Sequence[str]) -> list[str]:
    """Make names different by numbers, so that files named after them do not replace one another.

    Args:
        names: Names, some of which may be equal in case-blind file systems.

    Returns:
        The names; the second and further ones of a kind end in " (2)", " (3)", ...

    Example:
        >>> from histoscout.io.names import number_names
        >>> number_names(["A1", "B1", "a1"])
        ['A1', 'B1', 'a1 (2)']
    """
    taken = {name.casefold() for name in names}
    used: set[str] = set()
    numbered = []
    for name in names:
        number, unique = 1, name
        while unique.casefold() in used or (number > 1 and unique.casefold() in taken):
            number += 1
            unique = f"{name} ({number})"
        used.add(unique.casefold())
        numbered.append(unique)
    return numbered


# ---------------------------------------------------------------- patients


def patient_key(patient: str) -> str:
    """What is equal for two spellings of one patient id.

    Spreadsheets drop leading zeros and add ".0"; people vary case, blanks, hyphens and underscores. A separator between
    two digits counts, since 1-12 and 11-2 are two patients.

    Args:
        patient: The id as somebody typed it.

    Returns:
        The id without these differences.

    Example:
        >>> from histoscout.io.names import patient_key
        >>> {patient_key(text) for text in ("001", "1", "1.0")}
        {'1'}
        >>> {patient_key(text) for text in ("P-01", "p_1", "P 01")}
        {'p1'}
        >>> patient_key("1-12") == patient_key("11-2")
        False
    """
    text = unicodedata.normalize("NFC", patient).casefold().strip()
    if whole := _WHOLE_NUMBER.fullmatch(text):
        text = whole[1]

    def joined(match: re.Match[str]) -> str:
        before, after = text[: match.start()][-1:], text[match.end() :][:1]
        return "-" if before.isdigit() and after.isdigit() else ""

    text = _SEPARATORS.sub(joined, text)
    # ids of separators alone stay different from one another
    text = re.sub(r"\d+", lambda digits: digits[0].lstrip("0") or "0", text) or patient
    return unicodedata.normalize("NFC", text)


def patient_spellings(patients: Iterable[str]) -> list[tuple[str, ...]]:
    """Find ids that differ only as `patient_key` ignores: probably one patient each.

    Args:
        patients: Patient ids.

    Returns:
        Groups of two or more spellings, each in the order of occurrence.

    Example:
        >>> from histoscout.io.names import patient_spellings
        >>> patient_spellings(["P-01", "P-02", "p-01"])
        [('P-01', 'p-01')]
    """
    groups: dict[str, list[str]] = {}
    for patient in dict.fromkeys(patients):
        groups.setdefault(patient_key(patient), []).append(patient)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def spellings_note(spellings: Iterable[Sequence[str]]) -> str:
    """The note on ids that `patient_spellings` found.

    Args:
        spellings: The groups.

    Returns:
        One sentence for the user.
    """
    listed = "; ".join(" = ".join(group) for group in spellings)
    return f"patient ids that differ only in case, blanks, leading zeros or .0 are taken as one patient: {listed}"


def patients_in_both(patients: Iterable[str], others: Iterable[str]) -> list[str]:
    """Find the patients of one set that are in another set, however their ids are spelled.

    Args:
        patients: Patient ids.
        others: Patient ids of the other set.

    Returns:
        Those of `patients`, sorted; with the spelling of the other set where it differs: "1 (001)".
    """
    by_key: Mapping[str, str] = {patient_key(other): other for other in others}
    exact = set(by_key.values())
    return sorted(
        patient if patient in exact or by_key[key] == patient else f"{patient} ({by_key[key]})"
        for patient in set(patients)
        if (key := patient_key(patient)) in by_key
    )
