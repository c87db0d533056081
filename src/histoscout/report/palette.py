"""The colours of every page and figure, for light and dark: told apart by people with any kind of colour vision.

The strong colours follow Okabe and Ito (2008), darkened on light paper and lightened on dark until each has a contrast
of at least 4.5 to 1 with what is behind it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Shade:
    """One colour as it stands on light paper and on dark."""

    light: str
    dark: str


PALETTE: Mapping[str, Shade] = MappingProxyType(
    {
        "paper": Shade("#fffefc", "#16181b"),
        "card": Shade("#f6f4ef", "#1f2226"),
        "ink": Shade("#1d2024", "#e7e4dd"),
        "muted": Shade("#5c6168", "#a4a8ae"),
        "line": Shade("#d8d5cc", "#3b3f45"),
        "ours": Shade("#00609f", "#6bb4ee"),
        "warm": Shade("#b84500", "#f2995c"),
        "green": Shade("#00735a", "#4cc7a2"),
        "plum": Shade("#85407f", "#d39acd"),
        "ochre": Shade("#7d6000", "#d8b54a"),
    }
)

SERIES = ("ours", "warm", "green", "plum", "ochre")
"""The order in which curves and bars take their colours; each also has a line style of its own."""


def light(name: str) -> str:
    """A colour as figures are drawn in: pages swap it for the shade that fits."""
    return PALETTE[name].light
