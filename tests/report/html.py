"""A parser of pages, strict where browsers forgive: every element is closed, ids are unique, nothing is loaded."""

from html.parser import HTMLParser
from typing import Self

VOID = {"meta", "img", "br", "link", "input", "hr"}
LOADING = {"src", "srcset", "data", "action", "poster", "background", "formaction", "ping"}


class ParsedPage(HTMLParser):
    """What a page holds: its tags in order, headings, ids, links, text; and the `faults` in it."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.titles: list[str] = []
        self.styles = ""

    @classmethod
    def of(cls, page: str) -> Self:
        parsed = cls()
        parsed.feed(page)
        parsed.close()
        parsed.faults += [f"<{tag}> is never closed" for tag in parsed.open]
        repeated = {name for name in parsed.ids if parsed.ids.count(name) > 1}
        parsed.faults += [f"id {name} is used twice" for name in repeated]
        broken = {link for link in parsed.links if link.removeprefix("#") not in parsed.ids}
        parsed.faults += [f"{link} leads nowhere" for link in broken]
        return parsed

    @property
    def heading_levels(self) -> list[int]:
        return [int(tag[1]) for tag in self.tags if tag in {"h1", "h2", "h3", "h4"}]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def after(self, title: str) -> str:
        """The text from the last heading of this title on."""
        assert title in self.titles, self.titles
        return self.text[self.text.rindex(title) :]

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
            if name in LOADING and not (value or "").startswith("data:image/"):
                self.faults.append(f"<{tag} {name}={value}> loads something")
            if name.startswith("on"):
                self.faults.append(f"<{tag} {name}> runs something")
        if tag == "img" and "alt" not in values:
            self.faults.append("a picture has no alternative text")

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
            if self.open and self.open[-1] in {"h1", "h2", "h3"}:
                self.titles.append(" ".join(data.split()))
