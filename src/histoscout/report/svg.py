"""Figures as SVG in one style, and their embedding in a page.

- `PALETTE`: the colors of pages and figures, for light and dark.
- `svg_figure`: draws a matplotlib figure as SVG, with text as text.
- `inline_svg`: embeds an SVG so that it follows the page's colors and fonts and can run nothing.

The strong colors follow Okabe and Ito (2008), which people with any kind of color vision can distinguish,
darkened on light paper and lightened on dark until each has a contrast of at least 4.5 to 1.
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
    """One color on light paper and on dark."""

    light: str
    dark: str


PALETTE: Mapping[str, Shade] = MappingProxyType(
    {
        "paper": Shade("#fffefc", "#16181b"),
        "card": Shade("#f6f4ef", "#1f2226"),
        "ink": Shade("#1d2024", "#e7e4dd"),
        "muted": Shade("#5c6168", "#a4a8ae"),
        "line": Shade("#d8d5cc", "#3b3f45"),
        "blue": Shade("#00609f", "#6bb4ee"),
        "warm": Shade("#b84500", "#f2995c"),
        "green": Shade("#00735a", "#4cc7a2"),
        "plum": Shade("#85407f", "#d39acd"),
        "ochre": Shade("#7d6000", "#d8b54a"),
    }
)
"""Colors by name; pages have a CSS variable of the same name."""

SERIES = ("blue", "warm", "green", "plum", "ochre")
"""The order in which curves take their colors; each also has a line style of its own."""


def light_color(name: str) -> str:
    """The color that figures are drawn in; a page replaces it by the shade that fits.

    Args:
        name: A name from `PALETTE`.
    """
    return PALETTE[name].light


FIGURE_WIDTH = 3.5
FIGURE_HEIGHT = 2.9
"""Size in inches of a figure that stands beside another."""

DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (3, 1)))
"""Line styles, in the order of `SERIES`."""

STYLE: Mapping[str, Any] = MappingProxyType(
    {
        # text stays text in the page's own font, so that it can be searched and copied
        "svg.fonttype": "none",
        # the same figure gives the same file
        "svg.hashsalt": "histoscout",
        # a $ in a label is a $
        "text.parse_math": False,
        "font.size": 8,
        "axes.titlesize": 8,
        "axes.labelsize": 8,
        "xtick.labelsize": 7.5,
        "ytick.labelsize": 7.5,
        "legend.fontsize": 7.5,
        "legend.frameon": False,
        "legend.handlelength": 2.4,
        "text.color": light_color("ink"),
        "axes.labelcolor": light_color("ink"),
        "axes.edgecolor": light_color("muted"),
        "xtick.color": light_color("muted"),
        "ytick.color": light_color("muted"),
        "xtick.labelcolor": light_color("ink"),
        "ytick.labelcolor": light_color("ink"),
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
        "grid.color": light_color("line"),
        "grid.linewidth": 0.5,
        "lines.linewidth": 1.4,
        "axes.prop_cycle": cycler(color=[light_color(name) for name in SERIES]) + cycler(linestyle=DASHES),
    }
)
"""Settings of matplotlib for every figure."""


@dataclass
class SvgFigure:
    """A figure with one pair of axes.

    Attributes:
        figure: The matplotlib figure.
        axes: Where to draw.
        svg: The SVG file, once the block of `svg_figure` has ended.
    """

    figure: Figure
    axes: Axes
    svg: bytes = field(default=b"", init=False)


@contextmanager
def svg_figure(width: float = FIGURE_WIDTH, height: float = FIGURE_HEIGHT) -> Iterator[SvgFigure]:
    """Draw a figure inside a `with` block; the legend stands above the axes.

    Args:
        width: In inches.
        height: In inches.

    Yields:
        The figure, whose `svg` is filled in at the end of the block.
    """
    with mpl.rc_context(cast(Any, dict(STYLE))), warnings.catch_warnings():
        # the page's fonts draw characters that ours lack
        warnings.filterwarnings("ignore", message=".*[Gg]lyph")
        figure = Figure(figsize=(width, height), layout="constrained")
        plot = SvgFigure(figure, figure.subplots())
        yield plot
        handles, _ = plot.axes.get_legend_handles_labels()
        if handles:
            figure.legend(loc="outside upper left", ncols=1, borderpad=0.1, labelspacing=0.25)
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        plot.svg = file.getvalue()


def printable(label: str) -> str:
    """A label on one line, without characters that XML does not allow.

    Args:
        label: Any text.
    """
    safe = label.encode("utf-8", "replace").decode("utf-8")
    return "".join(character if character.isprintable() else "\ufffd" for character in safe)


SVG_NAMESPACE = "http://www.w3.org/2000/svg"
XLINK_HREF = "{http://www.w3.org/1999/xlink}href"

ALLOWED_ELEMENTS = frozenset(
    {"svg", "g", "defs", "path", "rect", "circle", "line", "polyline", "polygon", "text", "tspan", "use"}
    | {"clipPath"}
)
ALLOWED_ATTRIBUTES = frozenset(
    {"d", "x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "r", "rx", "ry", "width", "height", "points"}
    | {"viewBox", "transform", "style", "id", "clip-path", "href"}
)
STYLED_ATTRIBUTES = frozenset({"style", "clip-path"})
"""Attributes that may hold colors and references."""


def inline_svg(svg: bytes, prefix: str, alt: str) -> Markup:
    """Turn an SVG file into an element of an HTML page.

    Only shapes and text are kept: no scripts, style sheets, links or images. Colors of the palette become
    variables of the page, so that the figure follows light and dark.

    Args:
        svg: The file.
        prefix: Stands before every id, so that several figures fit in one page.
        alt: What the figure shows, for readers who cannot see it.

    Returns:
        An `<svg>` element.

    Raises:
        ValueError: If the file is not an SVG.
    """
    try:
        root = ElementTree.fromstring(svg)
    except ElementTree.ParseError as error:
        raise ValueError(f"not an SVG: {error}") from error
    if root.tag != f"{{{SVG_NAMESPACE}}}svg":
        raise ValueError(f"not an SVG: its root is {root.tag}")
    element = _allowed_copy(root, prefix)
    width = float(root.get("viewBox", "0 0 400 300").split()[2])
    for name in ("width", "height"):
        element.attrib.pop(name, None)
    element.attrib |= {"role": "img", "aria-label": alt, "style": f"--natural: {width:.0f}px"}
    return Markup(ElementTree.tostring(element, encoding="unicode", method="html"))


def _allowed_copy(node: ElementTree.Element, prefix: str) -> ElementTree.Element:
    """An element without its namespace, with the children and attributes that are allowed."""
    copy = ElementTree.Element(_local_name(node.tag), _allowed_attributes(node, prefix))
    copy.text, copy.tail = node.text, node.tail
    for child in node:
        if isinstance(child.tag, str) and _local_name(child.tag) in ALLOWED_ELEMENTS:
            copy.append(_allowed_copy(child, prefix))
    return copy


def _allowed_attributes(node: ElementTree.Element, prefix: str) -> dict[str, str]:
    attributes: dict[str, str] = {}
    for key, value in node.attrib.items():
        name = "href" if key == XLINK_HREF else key
        # references must stay inside the figure
        if name not in ALLOWED_ATTRIBUTES or (name == "href" and not value.startswith("#")):
            continue
        if name == "id":
            value = prefix + value
        elif name == "href":
            value = f"#{prefix}{value[1:]}"
        elif name in STYLED_ATTRIBUTES:
            value = value.replace("url(#", f"url(#{prefix}")
            for color, shade in PALETTE.items():
                value = value.replace(shade.light, f"var(--{color})")
        attributes[name] = value
    if "url(" in attributes.get("style", "").replace("url(#", ""):
        del attributes["style"]
    return attributes


def _local_name(tag: str) -> str:
    return tag.rpartition("}")[2]
