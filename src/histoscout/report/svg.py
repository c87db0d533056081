"""Putting an SVG into a page so that it takes part in the page's colours and fonts, and can do nothing else.

The look of every figure: drawn as SVG, with words as words, in colours that a page may swap for its own.

The colours of every page and figure, for light and dark: told apart by people with any kind of colour vision.

The strong colours follow Okabe and Ito (2008), darkened on light paper and lightened on dark until each has a contrast
of at least 4.5 to 1 with what is behind it.
"""

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, cast
from xml.etree import ElementTree

import matplotlib as mpl
from cycler import cycler
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure


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


SVG = "http://www.w3.org/2000/svg"
XLINK = "{http://www.w3.org/1999/xlink}href"
KEPT = frozenset(
    {"svg", "g", "defs", "path", "rect", "circle", "line", "polyline", "polygon", "text", "tspan", "use"}
    | {"clipPath"}
)
ATTRIBUTES = frozenset(
    {"d", "x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "r", "rx", "ry", "width", "height", "points"}
    | {"viewBox", "transform", "style", "id", "clip-path", "href"}
)


def inline(svg: bytes, prefix: str, alt: str) -> Markup:
    """The drawing as an element of an HTML page.

    Only shapes and words are kept: no scripts, styles, links or pictures. Its ids begin with `prefix`, so that several
    drawings live in one page. Colours of the palette become the page's own, so a figure follows light and dark.
    Raises ValueError for what is no SVG.
    """
    try:
        root = ElementTree.fromstring(svg)
    except ElementTree.ParseError as error:
        raise ValueError(f"not an SVG: {error}") from error
    if root.tag != f"{{{SVG}}}svg":
        raise ValueError(f"not an SVG: its root is {root.tag}")
    drawing = _kept(root, prefix)
    width = float(root.get("viewBox", "0 0 400 300").split()[2])
    for name in ("width", "height"):
        drawing.attrib.pop(name, None)
    drawing.attrib |= {"role": "img", "aria-label": alt, "style": f"--natural: {width:.0f}px"}
    return Markup(ElementTree.tostring(drawing, encoding="unicode", method="html"))


def _kept(node: ElementTree.Element, prefix: str) -> ElementTree.Element:
    new = ElementTree.Element(_local(node.tag), _attributes(node, prefix))
    new.text, new.tail = node.text, node.tail
    for child in node:
        if isinstance(child.tag, str) and _local(child.tag) in KEPT:
            new.append(_kept(child, prefix))
    return new


def _attributes(node: ElementTree.Element, prefix: str) -> dict[str, str]:
    kept: dict[str, str] = {}
    for key, value in node.attrib.items():
        name = "href" if key == XLINK else key
        if name not in ATTRIBUTES or (name == "href" and not value.startswith("#")):
            continue
        if name == "id":
            value = prefix + value
        elif name == "href":
            value = f"#{prefix}{value[1:]}"
        kept[name] = _themed(value.replace("url(#", f"url(#{prefix}")) if name in _STYLED else value
    if "url(" in kept.get("style", "").replace("url(#", ""):
        del kept["style"]
    return kept


_STYLED = frozenset({"style", "clip-path"})


def _themed(style: str) -> str:
    for name, shade in PALETTE.items():
        style = style.replace(shade.light, f"var(--{name})")
    return style


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


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
