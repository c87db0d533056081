"""The page in Chromium: looks, verdicts by keyboard, brush, undo, two tabs, no request to elsewhere."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from histoscout.review.review import Review
from histoscout.viewer.library import Library, open_library
from histoscout.viewer.serve import Site, open_site, page_folder
from tests.viewer.results import NAMES, write_results

pytest.importorskip("playwright")

from playwright.sync_api import BrowserContext, expect, sync_playwright

pytestmark = pytest.mark.viewer


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return open_library([write_results(tmp_path)])


@pytest.fixture
def site(library: Library) -> Iterator[Site]:
    with open_site(library, page_folder()) as site:
        thread = threading.Thread(target=site.server.run, kwargs={"sockets": [site.listener]})
        thread.start()
        yield site
        site.server.should_exit = True
        thread.join()


class Tab:
    """A tab of the browser that notes faults and requests to other hosts."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.page = context.new_page()
        self.faults: list[str] = []
        self.elsewhere: list[str] = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on(
            "console",
            lambda line: (
                self.faults.append(line.text)
                if line.type == "error" and "inline style" not in line.text
                else None
            ),
        )
        host = address.split("/?", maxsplit=1)[0]
        self.page.on(
            "request",
            lambda request: (
                self.elsewhere.append(request.url)
                if request.url.startswith("http") and not request.url.startswith(host)
                else None
            ),
        )
        self.page.goto(address)
        self.page.wait_for_selector("#findings button")

    def sign(self, initials: str) -> None:
        self.page.fill("#reader", initials)
        self.page.locator("#reader").blur()

    def count(self, text: str) -> int:
        return int(self.page.locator("#findings button", has_text=text).count())

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        box = self.page.locator("#view").bounding_box()
        assert box is not None
        mouse = self.page.mouse
        mouse.move(box["x"] + start[0] * box["width"], box["y"] + start[1] * box["height"])
        mouse.down()
        mouse.move(box["x"] + end[0] * box["width"], box["y"] + end[1] * box["height"], steps=6)
        mouse.up()


@pytest.fixture
def context() -> Iterator[BrowserContext]:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs Chromium")
    with sync_playwright() as run:
        browser = run.chromium.launch(executable_path=path, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(20_000)
        yield context
        browser.close()


def test_a_reader_judges_by_keyboard_and_everything_is_saved(
    context: BrowserContext, site: Site, library: Library
) -> None:
    tab = Tab(context, site.address)
    tab.sign("AB")
    tab.page.keyboard.press("y")
    expect(tab.page.locator("#findings button", has_text="accept")).to_have_count(1)
    tab.page.keyboard.press("n")
    expect(tab.page.locator("#findings button", has_text="reject")).to_have_count(1)
    tab.page.keyboard.press("Control+z")
    expect(tab.page.locator("#findings button", has_text="reject")).to_have_count(0)
    tab.page.reload()
    tab.page.wait_for_selector("#findings button")
    assert tab.count("accept") == 1
    assert library.review is not None
    outcomes = [region.outcome for region in Review(library.review.folder).slide("A1").regions.values()]
    assert outcomes == ["accept"]
    assert tab.faults == []
    assert tab.elsewhere == []


def test_a_brush_stroke_becomes_a_region_where_it_was_drawn(
    context: BrowserContext, site: Site, library: Library
) -> None:
    tab = Tab(context, site.address)
    tab.sign("AB")
    tab.page.keyboard.press("0")
    tab.page.wait_for_timeout(800)
    box = tab.page.locator("#view").bounding_box()
    assert box is not None
    ends = [(0.6, 0.3), (0.7, 0.35)]
    places = [
        tab.page.evaluate(
            "([x, y]) => window.histoscoutOutlines.place(x, y)", [x * box["width"], y * box["height"]]
        )
        for x, y in ends
    ]
    per_px = 1 / tab.page.evaluate("window.histoscoutOutlines.scale")
    tab.page.keyboard.press("b")
    tab.drag(*ends)
    expect(tab.page.locator("#findings button")).to_have_count(3)
    assert library.review is not None
    drawn = [region for region in library.review.slide("A1").regions.values() if region.origin == "drawn"]
    left, top, right, bottom = drawn[0].region.outline.bounds
    expected = (
        places[0][0] - 12 * per_px,
        places[0][1] - 12 * per_px,
        places[1][0] + 12 * per_px,
        places[1][1] + 12 * per_px,
    )
    assert (left, top, right, bottom) == pytest.approx(expected, abs=1.5 * per_px)
    assert tab.faults == []


def test_the_threshold_and_the_heatmap(context: BrowserContext, site: Site) -> None:
    tab = Tab(context, site.address)
    tab.page.keyboard.press("h")
    tab.page.locator("#threshold").fill("0.8")
    expect(tab.page.locator("#findings button")).to_have_count(1)
    expect(tab.page.locator("#counts")).to_contain_text("1 regions")
    tab.page.click("#asfound")
    expect(tab.page.locator("#findings button")).to_have_count(2)
    assert tab.faults == []


def test_findings_of_a_low_score_are_hidden(context: BrowserContext, site: Site) -> None:
    tab = Tab(context, site.address)
    expect(tab.page.locator("#findings button")).to_have_count(2)
    tab.page.locator("#score").fill("0.8")
    expect(tab.page.locator("#findings button")).to_have_count(1)
    expect(tab.page.locator("#atscore")).to_have_text("0.80")
    expect(tab.page.locator("#pointrow")).to_be_hidden()
    assert tab.faults == []


def test_names_are_text_and_a_broken_slide_says_why(context: BrowserContext, site: Site) -> None:
    tab = Tab(context, site.address)
    expect(tab.page.locator("#slides button", has_text=NAMES[1])).to_have_count(1)
    assert tab.page.locator("#slides b").count() == 0
    tab.page.locator("#slides button", has_text=NAMES[1]).click()
    expect(tab.page.locator("#where")).to_contain_text(NAMES[1])
    tab.page.locator("#slides button", has_text="broken").click()
    expect(tab.page.locator("#message")).to_contain_text("damaged")
    assert tab.faults == []


def test_a_second_tab_is_told_of_a_conflict(context: BrowserContext, site: Site, library: Library) -> None:
    first, second = Tab(context, site.address), Tab(context, site.address)
    first.sign("AB")
    second.sign("CD")
    first.page.keyboard.press("Delete")
    expect(first.page.locator("#findings button", has_text="reject")).to_have_count(1)
    second.page.keyboard.press("y")
    expect(second.page.locator("#message")).to_contain_text("Somebody else")
    assert library.review is not None
    assert len(library.review.slide("A1").conflicts) == 1


@pytest.mark.parametrize(("width", "scheme"), [(1920, "light"), (1280, "dark"), (420, "light")])
def test_everything_fits(
    context: BrowserContext, site: Site, width: int, scheme: str, tmp_path: Path
) -> None:
    tab = Tab(context, site.address)
    tab.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    tab.page.set_viewport_size({"width": width, "height": 900})
    tab.page.wait_for_timeout(500)
    tab.page.screenshot(path=tmp_path / f"{width} {scheme}.png")
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
    unnamed = tab.page.evaluate(
        "[...document.querySelectorAll('button, input, select')]"
        ".filter((one) => !(one.textContent.trim() || one.labels?.length || one.ariaLabel)).length"
    )
    assert unnamed == 0
