"""Notes on slides, each told once however many slides it is about."""

from dataclasses import dataclass, field

NAMED = 3


@dataclass
class Told:
    """What was noted, and of which slides."""

    about: dict[str, list[str]] = field(default_factory=dict)

    def add(self, slide: str, *notes: str) -> None:
        """Note something of a slide."""
        for note in notes:
            slides = self.about.setdefault(note, [])
            if slide not in slides:
                slides.append(slide)

    def add_all(self, other: "Told") -> None:
        """Note what somebody else noted."""
        for note, slides in other.about.items():
            for slide in slides:
                self.add(slide, note)

    @property
    def notes(self) -> list[str]:
        """One line for each note, the slides first: at most three by name."""
        return [f"{_named(slides)}: {note}" for note, slides in self.about.items()]


def _named(slides: list[str]) -> str:
    more = len(slides) - NAMED
    return ", ".join(slides[:NAMED]) + (f" and {more} more" if more > 0 else "")
