"""What a reader had to mend or leave out, gathered for the notes that the user sees."""

from collections.abc import Sequence
from dataclasses import dataclass, field

SHOWN = 10  # names listed of each kind; the count is of all


@dataclass
class Findings:
    """What was found by kind, each with the names of the objects it was found in."""

    by_kind: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, name: str) -> None:
        self.by_kind.setdefault(kind, []).append(name)

    def notes(self) -> list[str]:
        """One line a kind: how many there are, and the names of the first."""
        return [f"{kind}: {enumerated(names)}" for kind, names in self.by_kind.items()]


def enumerated(names: Sequence[str]) -> str:
    """How many names there are, and the first ten of them."""
    shown = ", ".join(names[:SHOWN])
    return f"{len(names)} ({shown}{', ...' if len(names) > SHOWN else ''})"
