"""Finding slides again that are not where a table or project says."""

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from histoscout.cohort.folder import SLIDE_SUFFIXES
from histoscout.errors import CohortError


@dataclass(frozen=True)
class Moved:
    """A folder, with all folders in it, where slides are looked for by their names."""

    folder: Path
    found: set[str] = field(default_factory=set, compare=False)

    @cached_property
    def _slides(self) -> dict[str, list[Path]]:
        """Every slide file of the folder by its name, case aside."""
        if not self.folder.is_dir():
            raise CohortError(self.folder, "is not a folder", "Give the folder that the slides lie in now")
        slides: dict[str, list[Path]] = {}
        for place, folders, files in os.walk(self.folder):
            folders.sort()
            for name in sorted(files):
                if Path(name).suffix.casefold() in SLIDE_SUFFIXES and not name.startswith("."):
                    slides.setdefault(name.casefold(), []).append(Path(place) / name)
        return slides

    def find(self, name: str) -> Path | None:
        """The slide of this name; if there is none, the one that differs by its suffix alone, as copies do.

        CohortError if there are several.
        """
        wanted = name.casefold()
        there = self._slides.get(wanted, [])
        for stem in (wanted, Path(wanted).stem):
            there = there or [
                path for n, paths in self._slides.items() if Path(n).stem == stem for path in paths
            ]
        if len(there) > 1:
            fault = f"holds {len(there)} slides called {name} ({there[0]}, {there[1]})"
            raise CohortError(self.folder, fault, "Give a folder that holds one of them")
        self.found.update(map(str, there))
        return there[0] if there else None

    @property
    def told(self) -> str:
        """What was found, in words for the user."""
        return f"{len(self.found)} slides were found again by their names under {self.folder}"
