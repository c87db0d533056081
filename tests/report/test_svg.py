import pytest

from histoscout.report.svg import inline_svg
from tests.report.samples import SVG

HOSTILE = b"""<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" onload="x()">
<script>x()</script><style>*{color:red}</style><foreignObject><p>x</p></foreignObject><image href="http://e.org/a.png"/>
<a href="javascript:x()"><path d="M0 0"/></a><use xlink:href="http://e.org/#a"/><use xlink:href="#a"/>
<path onclick="x()" style="fill: url(http://e.org/a)"/><text>&lt;script&gt;</text></svg>"""


def test_only_shapes_and_text_are_kept() -> None:
    html = inline_svg(HOSTILE, "d1-", "a drawing")
    for word in ("<script", "<style", "foreignObject", "image", "http", "javascript", "onload", "onclick"):
        assert word not in html
    assert "&lt;script&gt;" in html
    assert 'href="#d1-a"' in html


def test_ids_and_references_take_the_prefix() -> None:
    html = inline_svg(SVG, "d7-", "a drawing")
    assert 'id="d7-a"' in html
    assert "url(#d7-a)" in html


def test_colors_of_the_palette_become_variables_of_the_page() -> None:
    assert "var(--blue)" in inline_svg(SVG, "d", "a")


def test_the_alternative_text_is_escaped() -> None:
    assert "&quot;" in inline_svg(SVG, "d", '" onload="x')


def test_a_file_that_is_not_an_svg_is_refused() -> None:
    with pytest.raises(ValueError, match="html"):
        inline_svg(b"<html/>", "d", "a")
