"""What a slide is, told without showing anything that could name a patient."""

from dataclasses import dataclass
from pathlib import Path

from histoscout.slides.open import open_source, scale_of


@dataclass(frozen=True)
class SlideInfo:
    """A choice of facts about a slide; `mpp` is None where nobody says it. Label and macro are never read."""

    path: Path
    format: str
    size: tuple[int, int]
    levels: tuple[tuple[int, int], ...]
    mpp: float | None
    mpp_source: str
    power: float | None
    file_bytes: int
    notes: tuple[str, ...]

    def rows(self) -> list[tuple[str, str]]:
        """Names and values to print."""
        width, height = self.size
        scale = "unknown: give it with --mpp or in the cohort table"
        extent = "unknown"
        if self.mpp is not None:
            scale = f"{self.mpp:.4f} ({self.mpp_source})"
            extent = f"{width * self.mpp / 1000:.2f} x {height * self.mpp / 1000:.2f} mm"
        rows = [
            ("slide", str(self.path)),
            ("format", self.format),
            ("size", f"{width} x {height} px"),
            ("extent", extent),
            ("um/px", scale),
            ("levels", ", ".join(f"{w} x {h}" for w, h in self.levels)),
            ("objective", f"{self.power:g}x" if self.power else "not stated"),
            ("file", f"{self.file_bytes / 1e6:.1f} MB"),
        ]
        return rows + [("note", note) for note in self.notes]


def info(path: Path, mpp: float | None = None) -> SlideInfo:
    """Say what a slide is: size, um/px and where it came from, levels, vendor. Raises SlideError."""
    found = open_source(path)
    try:
        scale, source, notes = scale_of(found, mpp)
        levels = tuple((int(w), int(h)) for w, h in found.source.level_sizes)
        size = levels[0] if found.bounds is None else (round(found.bounds.width), round(found.bounds.height))
        named = source if source == "metadata" else "given"
        return SlideInfo(
            path, found.format, size, levels, scale, named, found.power, path.stat().st_size, notes
        )
    finally:
        found.source.close()
