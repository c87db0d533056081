"""One of each block, with a hostile text in every place that takes one."""

import io

from PIL import Image

from histoscout.report.blocks import (
    Block,
    Card,
    Columns,
    Facts,
    Figure,
    Gallery,
    Heading,
    Link,
    Note,
    Picture,
    Pictures,
    Points,
    Table,
    Text,
    Verdicts,
)
from histoscout.report.page import Page, Section
from histoscout.verdict import Verdict

SVG = b"""<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 50">
<defs><clipPath id="a"><rect width="9" height="9"/></clipPath></defs>
<path id="b" d="M0 0L9 9" clip-path="url(#a)" style="stroke: #00609f"/><text x="1" y="9">words</text></svg>"""


def png(color: str = "plum") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (12, 9), color).save(file, format="PNG")
    return file.getvalue()


def one_of_each(text: str) -> dict[type[Block], Block]:
    """A block of each kind in which every text is `text`."""
    picture = Picture(png(), caption=text, alt=text, anchor="here")
    points = Points((text, text), text)
    verdict = Verdict(name=text, state="warning", message=text, remedy=text)
    blocks: tuple[Block, ...] = (
        Heading(text),
        Text(text),
        points,
        Columns((points, points)),
        Facts(((text, text), (text, Figure(text, text)))),
        Table((text, text), ((text, Figure(text, text)), (Link(text, "here"), "")), text, (0,), ((0, 1),)),
        picture,
        Pictures((Picture(SVG, text, text), Picture(SVG, text, text))),
        Gallery(text, text, (Card(png(), text, text, (text,)),)),
        Verdicts((verdict,)),
        Note(text),
    )
    return {type(block): block for block in blocks}


def page_of(text: str) -> Page:
    blocks = tuple(one_of_each(text).values())
    return Page(text, text, (Section(text, text, blocks), Section(text, text)), text, text)
