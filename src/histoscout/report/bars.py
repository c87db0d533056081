"""Shares as bars, and what things are taken for as a table of shaded cells; as SVG, from plain numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.patches import Rectangle

from histoscout.report.drawing import drawing, printable
from histoscout.report.numbers import share
from histoscout.report.palette import light


@dataclass(frozen=True)
class Bar:
    """A share of `total` things, with its interval where there is one."""

    name: str
    value: float | None
    total: int
    low: float | None = None
    high: float | None = None


def bars(items: Sequence[Bar], across: str, up: str) -> bytes:
    """Shares side by side, how many of how many written above each; whiskers are intervals."""
    with drawing(height=2.6) as made:
        axes = made.axes
        for place, bar in enumerate(items):
            value = bar.value or 0.0
            axes.bar(place, value, width=0.62, color=light("ours"), alpha=0.75)
            top = value
            if bar.low is not None and bar.high is not None and bar.low < bar.high:
                axes.plot([place, place], [bar.low, bar.high], color=light("ink"), linestyle="-", linewidth=1)
                top = max(value, bar.high)
            said = "none" if not bar.total else f"{round(value * bar.total)} of {bar.total}"
            axes.annotate(said, (place, top), (0, 3), textcoords="offset points", ha="center", fontsize=7.5)
        axes.set_xticks(range(len(items)), [printable(bar.name) for bar in items])
        axes.set_xlim(-0.6, len(items) - 0.4)
        axes.set_ylim(0, 1.12)
        axes.set_yticks(np.linspace(0, 1, 6))
        axes.grid(visible=False, axis="x")
        axes.set_xlabel(across)
        axes.set_ylabel(up)
    return made.svg


def confusion(labels: Sequence[str], counts: Sequence[Sequence[int]], *, of_row: bool) -> bytes:
    """What things are (rows) against what they were taken for (columns): as counts, or as shares of their row."""
    table = np.asarray(counts, float)
    totals = table.sum(axis=1, keepdims=True)
    shares = np.divide(table, totals, out=np.zeros_like(table), where=totals > 0)
    side = max(2.0, 0.42 * len(labels) + 1.2)
    with drawing(side + 0.5, side) as made:
        axes = made.axes
        for (row, column), value in np.ndenumerate(shares):
            place = (column - 0.5, row - 0.5)
            axes.add_patch(_cell(place, value))
            said = share(value) if of_row else f"{int(table[row, column]):,}"
            said = "\u2013" if of_row and not totals[row, 0] else said
            axes.text(column, row, said, ha="center", va="center", fontsize=7.5)
        names = [printable(label) for label in labels]
        if len(names) > 3:
            axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
        else:
            axes.set_xticks(range(len(names)), names)
        axes.set_yticks(range(len(names)), names)
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_aspect("equal")
        axes.grid(visible=False)
        axes.set_xlabel("taken for")
        axes.set_ylabel("really")
    return made.svg


def _cell(place: tuple[float, float], value: float) -> Rectangle:
    """A cell as dark as its share; never so dark that its number cannot be read."""
    return Rectangle(
        place, 1, 1, facecolor=light("ours"), alpha=0.04 + 0.36 * value, edgecolor="none", linewidth=0
    )
