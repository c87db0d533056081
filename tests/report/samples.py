"""One of each block, with a given text in every place that takes one."""

import io

from PIL import Image

from histoscout.report.blocks import (
    Block,
    BulletList,
    Card,
    Columns,
    Facts,
    Gallery,
    Heading,
    Link,
    Note,
    Picture,
    Pictures,
    Table,
    Text,
    VerdictList,
)
from histoscout.report.formatting import Estimate
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
    picture = Picture(data=png(), caption=text, alt=text, anchor="here")
    points = BulletList((text, text), text)
    verdict = Verdict(name=text, state="warning", message=text, remedy=text)
    blocks: tuple[Block, ...] = (
        Heading(text),
        Text(text),
        points,
        Columns((points, points)),
        Facts(((text, text), (text, Estimate(text, text)))),
        Table(
            head=(text, text),
            rows=((text, Estimate(text, text)), (Link(text, "here"), "")),
            caption=text,
            highlighted=(0,),
            best=((0, 1),),
        ),
        picture,
        Pictures((Picture(data=SVG, caption=text, alt=text), Picture(data=SVG, caption=text, alt=text))),
        Gallery(text, text, (Card(picture=png(), title=text, alt=text, facts=(text,)),)),
        VerdictList((verdict,)),
        Note(text),
    )
    return {type(block): block for block in blocks}


def page_of(text: str) -> Page:
    blocks = tuple(one_of_each(text).values())
    return Page(
        title=text,
        lead=text,
        sections=(Section(title=text, sentence=text, blocks=blocks), Section(title=text, sentence=text)),
        kind=text,
        footer=text,
    )
