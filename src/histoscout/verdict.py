"""The result of a check, in words that say what to do."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

VerdictState = Literal["good", "warning", "failed", "cannot tell"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result of one check: its name, its state, what was seen, and what to do about it.

    Attributes:
        name: What was checked.
        state: "failed" means that results would be wrong, "warning" that they may be, "cannot tell" that there is
            too little data to decide, which never counts as good.
        message: What was seen.
        remedy: What the user can do; empty if nothing needs to be done.
    """

    name: str
    state: VerdictState
    message: str
    remedy: str = ""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read a verdict as `to_dict` gives it, or as histoscout 0.1.0 wrote it ("says" for "message")."""
        message = values["message"] if "message" in values else values["says"]
        return cls(name=values["name"], state=values["state"], message=message, remedy=values["remedy"])

    def to_dict(self) -> dict[str, str]:
        """The verdict as plain values for JSON."""
        return asdict(self)
