"""A reader of pages that is strict where browsers forgive: every element closed, every id once, no way out."""

from html.parser import HTMLParser
from typing import Self

VOID = {"meta", "img", "br", "link", "input", "hr"}
FROM_OUTSIDE = {"src", "srcset", "data", "action", "poster", "background", "formaction", "ping"}


class Reading(HTMLParser):
    """What is in a page: its tags in order, headings, ids, links, alternative texts, words; `faults` in it."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.styles = ""

    @classmethod
    def of(cls, page: str) -> Self:
        reading = cls()
        reading.feed(page)
        reading.close()
        reading.faults += [f"<{tag}> is never closed" for tag in reading.open]
        twice = {name for name in reading.ids if reading.ids.count(name) > 1}
        reading.faults += [f"id {name} stands twice" for name in twice]
        lost = {link for link in reading.links if link.removeprefix("#") not in reading.ids}
        reading.faults += [f"{link} leads nowhere" for link in lost]
        return reading

    @property
    def headings(self) -> list[int]:
        return [int(tag[1]) for tag in self.tags if tag in {"h1", "h2", "h3", "h4"}]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if len(values) != len(attrs):
            self.faults.append(f"<{tag}> has an attribute twice")
        self.ids += [values["id"] or ""] if "id" in values else []
        self.links += [values["href"] or ""] if "href" in values else []
        for name, value in values.items():
            if name in FROM_OUTSIDE and not (value or "").startswith("data:image/"):
                self.faults.append(f"<{tag} {name}={value}> loads something")
            if name.startswith("on"):
                self.faults.append(f"<{tag} {name}> runs something")
        if tag == "img" and "alt" not in values:
            self.faults.append("a picture without a text for who cannot see it")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes what is not open")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.styles += data
        else:
            self.words.append(data)
