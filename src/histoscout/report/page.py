"""From a page's content to one HTML file that needs nothing else: no network, no script, no other file.

It reads in light and dark, on a phone and on paper. The look is in templates/, the content is `blocks`.
"""

import base64
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from histoscout.io.files import write_text
from histoscout.report.blocks import BLOCKS, SYMBOLS, Block, Figure, Link
from histoscout.report.svg import PALETTE, inline

MAGIC = ((b"\x89PNG", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"RIFF", "image/webp"))


@dataclass(frozen=True)
class Section:
    """A part of a page: its title, one sentence that says what it tells, and its blocks.

    `anchor` is what links lead to; without one it is made from the title.
    """

    title: str
    sentence: str
    blocks: tuple[Block, ...] = ()
    anchor: str = ""


@dataclass(frozen=True)
class Page:
    """A whole page: `lead` is its answer in a paragraph, said first; `kind` stands small above the title."""

    title: str
    lead: str
    sections: tuple[Section, ...]
    kind: str = "Report"
    footer: str = "For research use only: not a medical device, not for diagnosis."


def write_page(page: Page, path: Path) -> None:
    """Write the page as one HTML file, whole or not at all; OutputError where that cannot be."""
    write_text(path, render(page))


def render(page: Page) -> str:
    """The page as HTML. Whatever is in its texts (slide names, labels) is shown and never obeyed."""
    html = (
        _environment()
        .get_template("page.html")
        .render(
            page=page,
            sections=list(zip(_anchors(page.sections), page.sections, strict=True)),
            palette=PALETTE,
            symbols=SYMBOLS,
            macro=lambda block: BLOCKS[type(block)],
            drawings=iter(range(1, 1_000_000)),
        )
    )
    return _speakable(html)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("histoscout.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": _cell, "image": _image, "prose": _prose}
    return environment


def _anchors(sections: tuple[Section, ...]) -> list[str]:
    """One for each section, never twice the same."""
    wanted = [section.anchor or slug(section.title) for section in sections]
    seen: Counter[str] = Counter()
    anchors = []
    for anchor in wanted:
        seen[anchor] += 1
        anchors.append(anchor if seen[anchor] == 1 else f"{anchor}-{seen[anchor]}")
    return anchors


def slug(text: str) -> str:
    """Words as the name of a place in a page: letters, digits and hyphens."""
    return re.sub(r"[\W_]+", "-", text.lower()).strip("-") or "part"


def _cell(value: object) -> Markup:
    if isinstance(value, Figure):
        shown = Markup('<span class="value">{}</span>').format(value.value)
        interval = Markup(' <span class="interval">{}</span>').format(value.interval)
        return shown + interval if value.interval else shown
    if isinstance(value, Link):
        return Markup('<a href="#{}">{}</a>').format(value.anchor, value.text)
    return _prose(str(value)) if value != "" else Markup("\u2013")


def _prose(text: str) -> Markup:
    """Sentences, in which what stands between backticks is something to type."""
    return Markup(re.sub(r"`([^`\n]+)`", r"<code>\1</code>", str(escape(text))))


@pass_context
def _image(context: Context, data: bytes, alt: str) -> Markup:
    """The element that shows a picture, which lies inside the file."""
    for magic, kind in MAGIC:
        if data.startswith(magic):
            text = base64.b64encode(data).decode("ascii")
            return Markup('<img src="data:{};base64,{}" alt="{}">').format(kind, text, alt)
    return inline(data, f"d{next(context['drawings'])}-", alt)


def _speakable(html: str) -> str:
    """Without what no HTML may hold: control characters, and halves of characters from file names."""
    html = html.encode("utf-8", "replace").decode("utf-8")
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]", "\ufffd", html)
