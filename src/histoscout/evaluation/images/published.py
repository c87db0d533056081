"""What others have published on the regions of interest of BRACS, to stand beside one's own figures.

Each figure is given as its source gives it: other weights, other training and in part other images than one's own, so a
difference to one's own figure has no interval and proves nothing by itself.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from histoscout.cohort.bracs import CLASSES

OFFICIAL = "570 test images"
EARLIER = "previous version, its test images"
CAVEAT = (
    "Published figures are of other networks, weights and training, some of other images; they compare only with figures "
    "on BRACS's own test images, and a difference has no interval"
)


@dataclass(frozen=True)
class Published:
    """A row of a published table: who or what, on which images, the figures by our names, and where it is said.

    A figure that is called "f1" is an F1 over the classes of which the source does not say how they were averaged.
    """

    what: str
    on: str
    figures: Mapping[str, float]
    source: str

    def to_dict(self) -> dict[str, object]:
        """As scores.json holds it."""
        return {"what": self.what, "on": self.on, "figures": dict(self.figures), "source": self.source}


_README = (
    "frozen encoder with a linear head, whole image at 224 px (eva, 5 runs): README of kaiko-ai/Midnight"
)
_HACT = "README of histocartography/hact-net (Pati 2022)"
_THESIS = "thesis, University of Granada, juancarlosmoradiaz/TFG-BRACS"
_PATCHES = f"frozen encoder with a linear head, patches averaged: {_THESIS}, table 5.35"


def _eva(encoder: str, balanced_accuracy: float) -> Published:
    return Published(
        encoder,
        OFFICIAL,
        MappingProxyType({"balanced_accuracy": balanced_accuracy}),
        _README,
    )


SEVEN: tuple[Published, ...] = (
    Published(
        "BRACS authors (Brancati 2022)",
        OFFICIAL,
        MappingProxyType({"accuracy": 0.559, "f1": 0.543, "f1 of UDH": 0.343}),
        f"{_THESIS}, table 3.5, which quotes it",
    ),
    Published(
        "HACT-Net",
        EARLIER,
        MappingProxyType({"accuracy": 0.617, "weighted_f1": 0.615}),
        _HACT,
    ),
    Published(
        "HACT-Net (cells alone)", EARLIER, MappingProxyType({"accuracy": 0.581, "weighted_f1": 0.567}), _HACT
    ),
    Published(
        "HACT-Net (tissue alone)", EARLIER, MappingProxyType({"accuracy": 0.586, "weighted_f1": 0.578}), _HACT
    ),
    _eva("UNI-2 (680 M)", 0.651),
    _eva("Lunit ViT-S (22 M)", 0.627),
    _eva("DINOv2 (photographs)", 0.578),
    _eva("random weights", 0.413),
    Published(
        "H-optimus-1",
        OFFICIAL,
        MappingProxyType({"accuracy": 0.590, "f1": 0.573, "recall of UDH": 0.195}),
        _PATCHES,
    ),
    Published(
        "Virchow2",
        OFFICIAL,
        MappingProxyType({"accuracy": 0.609, "f1": 0.567, "recall of UDH": 0.293}),
        _PATCHES,
    ),
)
"""Seven classes."""

THREE: tuple[Published, ...] = (
    Published(
        "Virchow2",
        OFFICIAL,
        MappingProxyType({"accuracy": 0.779, "macro_f1": 0.767}),
        f"{_THESIS}, table 6.2",
    ),
)
"""Benign, atypical, malignant."""


def published_for(classes: Iterable[str]) -> tuple[Published, ...]:
    """What there is to compare with: the rows for seven classes if images are of these seven, else none."""
    return SEVEN if set(classes) == set(CLASSES) else ()


def columns_of(rows: Iterable[Published]) -> tuple[str, ...]:
    """Every figure that one of the rows has, in the order in which they first occur, and macro F1 for one's own."""
    return tuple(dict.fromkeys((*(name for row in rows for name in row.figures), "macro_f1")))


def sources_of(rows: Iterable[Published]) -> tuple[str, ...]:
    """Where the rows are from, rows of one source together: who; on which images; how, and where it is said."""
    together: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        together.setdefault((row.on, row.source), []).append(row.what)
    return tuple(f"{', '.join(who)}: {on}; {source}" for (on, source), who in together.items())
