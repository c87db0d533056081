"""Renders a page to one HTML file that needs no network, no script and no other file.

It reads well in light and dark, on a phone and on paper. The layout is in templates/, the content in
`blocks`.
"""

import base64
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from histoscout.io.files import write_text
from histoscout.report.blocks import BLOCKS, SYMBOLS, Block, Link
from histoscout.report.formatting import Estimate
from histoscout.report.svg import PALETTE, inline_svg
from histoscout.report.terms import to_html

MAGIC = ((b"\x89PNG", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"RIFF", "image/webp"))
"""How files of pixels start; anything else is taken for SVG."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a page.

    Attributes:
        title: Its heading.
        sentence: What it answers, in one sentence.
        blocks: Its content.
        anchor: What links lead to; by default made from the title.
        folded: Whether it is opened with a click; folded sections stand together at the end.
    """

    title: str
    sentence: str
    blocks: tuple[Block, ...] = ()
    anchor: str = ""
    folded: bool = False


@dataclass(frozen=True, kw_only=True)
class Page:
    """A whole page.

    Attributes:
        title: Its main heading.
        lead: The result in a paragraph, above everything else.
        sections: Its parts.
        kind: The kind of report, in small print above the title.
        footer: Text at the end.
    """

    title: str
    lead: str
    sections: tuple[Section, ...]
    kind: str = "Report"
    footer: str = "For research use only: not a medical device, not for diagnosis."


def write_page(page: Page, path: Path) -> None:
    """Write a page as one HTML file, completely or not at all.

    Args:
        page: The content.
        path: The file; an existing one is replaced.

    Raises:
        OutputError: If the file cannot be written.
    """
    write_text(path, render(page))


def render(page: Page) -> str:
    """Render a page as HTML; markup in its texts (slide names, labels) is shown as text.

    Args:
        page: The content.

    Returns:
        A complete HTML document.
    """
    template = _environment().get_template("page.html")
    html = template.render(
        page=page,
        sections=list(zip(_anchors(page.sections), page.sections, strict=True)),
        palette=PALETTE,
        symbols=SYMBOLS,
        macro=lambda block: BLOCKS[type(block)],
        drawings=iter(range(1, 1_000_000)),
    )
    # HTML allows no control characters, and no halves of characters, which file names may hold
    html = html.encode("utf-8", "replace").decode("utf-8")
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]", "\ufffd", html)


def slug(text: str) -> str:
    """Text as an anchor in a page: letters, digits and hyphens.

    Args:
        text: Any text; without letters and digits the anchor is "part".
    """
    return re.sub(r"[\W_]+", "-", text.lower()).strip("-") or "part"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("histoscout.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": _cell, "image": _image, "prose": to_html}
    return environment


def _anchors(sections: tuple[Section, ...]) -> list[str]:
    """One unique anchor for each section."""
    used: Counter[str] = Counter()
    anchors = []
    for section in sections:
        anchor = section.anchor or slug(section.title)
        used[anchor] += 1
        anchors.append(anchor if used[anchor] == 1 else f"{anchor}-{used[anchor]}")
    return anchors


def _cell(value: object) -> Markup:
    if isinstance(value, Estimate):
        shown = Markup('<span class="value">{}</span>').format(value.value)
        interval = Markup(' <span class="interval">{}</span>').format(value.interval)
        return shown + interval if value.interval else shown
    if isinstance(value, Link):
        return Markup('<a href="#{}">{}</a>').format(value.anchor, value.text)
    return to_html(str(value)) if value != "" else Markup("\u2013")


@pass_context
def _image(context: Context, data: bytes, alt: str) -> Markup:
    """The element for a picture, which is stored inside the page."""
    for magic, kind in MAGIC:
        if data.startswith(magic):
            text = base64.b64encode(data).decode("ascii")
            return Markup('<img src="data:{};base64,{}" alt="{}">').format(kind, text, alt)
    return inline_svg(data, f"d{next(context['drawings'])}-", alt)
