"""What a check or a guard found, in words that say what to do."""

from dataclasses import dataclass
from typing import Literal

State = Literal["good", "warning", "failed", "cannot tell"]


@dataclass(frozen=True)
class Verdict:
    """One thing that was looked into: its `name`, how it stands, what was seen, and the remedy if there is a need.

    "failed" means that results would be wrong; "warning" that they may be; "cannot tell" that too little is there
    to judge by, which is never counted as good.
    """

    name: str
    state: State
    says: str
    remedy: str = ""
