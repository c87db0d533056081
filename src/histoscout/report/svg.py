"""Putting an SVG into a page so that it takes part in the page's colours and fonts, and can do nothing else."""

from xml.etree import ElementTree

from markupsafe import Markup

from histoscout.report.palette import PALETTE

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
