"""The look of every figure: drawn as SVG, with words as words, in colours that a page may swap for its own."""

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, cast

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from histoscout.report.palette import SERIES, light

WIDTH, HEIGHT = 3.5, 2.9  # inches, of a figure that stands two abreast
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (3, 1)))
STYLE: Mapping[str, Any] = MappingProxyType(
    {
        "svg.fonttype": "none",  # the page's own font; words can be found and copied
        "svg.hashsalt": "histoscout",  # the same figure is the same file
        "text.parse_math": False,  # a $ in a label is a $
        "font.size": 8,
        "axes.titlesize": 8,
        "axes.labelsize": 8,
        "xtick.labelsize": 7.5,
        "ytick.labelsize": 7.5,
        "legend.fontsize": 7.5,
        "legend.frameon": False,
        "legend.handlelength": 2.4,
        "text.color": light("ink"),
        "axes.labelcolor": light("ink"),
        "axes.edgecolor": light("muted"),
        "xtick.color": light("muted"),
        "ytick.color": light("muted"),
        "xtick.labelcolor": light("ink"),
        "ytick.labelcolor": light("ink"),
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "savefig.facecolor": "none",
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": light("line"),
        "grid.linewidth": 0.5,
        "lines.linewidth": 1.4,
        "axes.prop_cycle": cycler(color=[light(name) for name in SERIES]) + cycler(linestyle=DASHES),
    }
)


@dataclass
class Drawing:
    """A figure with one pair of axes while it is drawn; `svg` is what came of it."""

    figure: Figure
    axes: Axes
    svg: bytes = field(default=b"", init=False)


@contextmanager
def drawing(width: float = WIDTH, height: float = HEIGHT) -> Iterator[Drawing]:
    """Draw inside the block; afterwards `svg` holds the file. The legend stands above the axes."""
    with mpl.rc_context(cast(Any, dict(STYLE))), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Gg]lyph")  # the page's fonts draw what ours cannot
        figure = Figure(figsize=(width, height), layout="constrained")
        made = Drawing(figure, figure.subplots())
        yield made
        handles, _ = made.axes.get_legend_handles_labels()
        if handles:
            figure.legend(loc="outside upper left", ncols=1, borderpad=0.1, labelspacing=0.25)
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        made.svg = file.getvalue()


def printable(label: str) -> str:
    """A label as a figure can hold it: on one line, without characters that no file of XML may have."""
    safe = label.encode("utf-8", "replace").decode("utf-8")
    return "".join(character if character.isprintable() else "\ufffd" for character in safe)
