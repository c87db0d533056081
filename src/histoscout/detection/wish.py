"""What a user may wish of a detection, in the words in which it is asked for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from histoscout.errors import ModelError

Kind = Literal["false alarms", "sensitivity", "precision", "miss"]

_NUMBER = r"(?P<amount>\d+(?:\.\d*)?|\.\d+)\s*(?P<percent>%?)"
_FORMS: Mapping[Kind, str] = MappingProxyType(
    {
        "false alarms": rf"{_NUMBER}\s*(?:fp|false alarms?)\s*(?:/|per)\s*cm(?:2|\u00b2)",
        "sensitivity": rf"sensitivity\s*=?\s*{_NUMBER}",
        "precision": rf"precision\s*=?\s*{_NUMBER}",
        "miss": rf"miss\s*=?\s*{_NUMBER}",
    }
)
EXAMPLES = '"1 FP/cm2", "sensitivity 0.9", "precision 0.8" or "miss 0.1"'


@dataclass(frozen=True)
class Wish:
    """At most so many false alarms a cm2, at least this sensitivity or precision, or at most this share of patients missed.

    A patient is missed if any of his lesions is.
    """

    kind: Kind
    amount: float

    @classmethod
    def parse(cls, text: str) -> "Wish":
        """Read a wish as it is typed; ModelError with examples if it is none."""
        for kind, form in _FORMS.items():
            if said := re.fullmatch(form, text.strip(), re.IGNORECASE):
                amount = float(said["amount"]) / (100 if said["percent"] else 1)
                if _possible(kind, amount, bool(said["percent"])):
                    return cls(kind, amount)
        raise ModelError(f'--at "{text}"', "is no wish that is understood", f"Write {EXAMPLES}")

    def __str__(self) -> str:
        if self.kind == "false alarms":
            return f"{self.amount:g} FP/cm2"
        return f"{self.kind} {self.amount:g}"


def _possible(kind: Kind, amount: float, percent: bool) -> bool:
    if kind == "false alarms":
        return amount > 0 and not percent
    return 0 < amount < 1 if kind == "miss" else 0 < amount <= 1
