"""The curves of a report, as SVG: axes have names and units, and what a coin or a trivial finder gives is shown.

Functions take numbers and give bytes; they know nothing of where the numbers come from.

Shares as bars, and what things are taken for as a table of shaded cells; as SVG, from plain numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from histoscout.report.numbers import share
from histoscout.report.svg import SERIES, drawing, light, printable

FROC_MARKS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positives at which sensitivity is read, as in the LUNA16 and CAMELYON16 challenges."""

MOST_FALSE = 1024.0
"""As far as the scale of false positives goes, however late a curve rises."""

LEAST_PROBABILITY = 1e-4
"""Where logarithmic scales of probability begin."""


@dataclass(frozen=True)
class Line:
    """A named curve; `low` and `high` bound a band around it, `point` marks where the model's threshold lies on it."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    point: tuple[float, float] | None = None


def roc(lines: Sequence[Line], what: str) -> bytes:
    """Sensitivity against false-positive rate; the diagonal is what guessing gives. `what` is counted: "pixels"."""
    with drawing() as made:
        axes = made.axes
        axes.plot([0, 1], [0, 1], color=light("muted"), linestyle=":", linewidth=1, label="guessing")
        _lines(axes, lines)
        _unit_square(axes, f"false positives among all negative {what}", f"share of positive {what} found")
    return made.svg


def precision_recall(lines: Sequence[Line], prevalence: float | None, what: str) -> bytes:
    """Precision against recall; the level line is what guessing gives: the prevalence."""
    with drawing() as made:
        axes = made.axes
        if prevalence is not None:
            name = f"guessing (prevalence {share(prevalence, 3)})"
            axes.axhline(prevalence, color=light("muted"), linestyle=":", linewidth=1, label=name)
        _lines(axes, lines)
        _unit_square(
            axes, f"recall: share of positive {what} found", f"precision: share of found {what} right"
        )
    return made.svg


def froc(lines: Sequence[Line], unit: str) -> bytes:
    """Sensitivity against false positives per `unit`, on a scale of doublings; dots where sensitivity is read.

    `low` and `high` are given at `FROC_MARKS`. The scale goes on beyond them as long as a curve rises. A curve that ends
    early, as nothing is left to add, goes on as a thin line.
    """
    with drawing() as made:
        axes, ticks = made.axes, _froc_ticks(lines)
        for number, line in enumerate(lines):
            _froc_line(axes, line, light(SERIES[number % len(SERIES)]), ticks[-1] * 1.25)
        axes.set_xscale("log", base=2)
        axes.set_xlim(0.2, ticks[-1] * 1.25)
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, place: _halves(value, len(ticks) > 9)))
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel(f"false positives per {unit} (doubling scale)")
        axes.set_ylabel("sensitivity: share of lesions found")
    return made.svg


def reliability(predicted: Sequence[float], observed: Sequence[float]) -> bytes:
    """How often pixels are positive against how probable they were said to be, in bins of equally many pixels.

    On the diagonal, a probability means what it says. Where most pixels are all but certainly negative both axes are
    logarithmic, so that those bins can be told apart.
    """
    with drawing() as made:
        axes = made.axes
        axes.plot(
            [1e-9, 1], [1e-9, 1], color=light("muted"), linestyle=":", linewidth=1, label="as it should be"
        )
        if len(predicted) and np.median(predicted) < 0.05:
            known = [value for value in (*predicted, *observed) if value > 0]
            least = 10.0 ** np.floor(np.log10(max(LEAST_PROBABILITY, min(known, default=0.01))))
            _logarithmic(axes)
            points = np.maximum(np.asarray([predicted, observed], float), least)
            scale = " (logarithmic)"
        else:
            least, points, scale = 0.0, np.asarray([predicted, observed], float), ""
        axes.plot(*points, color=light("ours"), marker="o", markersize=4, label="model", clip_on=False)
        axes.set_xlim(least, 1)
        axes.set_ylim(least, 1)
        axes.set_xlabel(f"mean probability said{scale}")
        axes.set_ylabel(f"share really positive{scale}")
    return made.svg


def by_step(
    rows: Sequence[Mapping[str, float]], names: Mapping[str, str], what: str, *, is_share: bool = False
) -> bytes:
    """Figures of a training by step: `names` gives each column of the rows its name in words.

    A share is shown between 0 and 1.
    """
    with drawing() as made:
        for column, name in names.items():
            points = [(row["step"], row[column]) for row in rows if column in row]
            if points:
                made.axes.plot(*zip(*points, strict=True), label=printable(name))
        if is_share:
            made.axes.set_ylim(-0.01, 1.01)
        made.axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        made.axes.set_xlabel("training step")
        made.axes.set_ylabel(what)
    return made.svg


def _lines(axes: Axes, lines: Sequence[Line]) -> None:
    for line in lines:
        (drawn,) = axes.plot(line.x, line.y, label=printable(line.name), drawstyle="default")
        _band(axes, line, drawn.get_color())
        if line.point is not None:
            axes.plot(*line.point, marker="o", markersize=5, color=drawn.get_color(), linestyle="none")


def _band(axes: Axes, line: Line, color: object) -> None:
    if line.low is not None and line.high is not None:
        axes.fill_between(line.x, line.low, line.high, color=str(color), alpha=0.16, linewidth=0)


def _froc_ticks(lines: Sequence[Line]) -> list[float]:
    """Doublings from 1/4 to 8, and on to where the last curve stops rising."""
    rising = [x for line in lines for x, y in zip(line.x, line.y, strict=True) if y < max(line.y)]
    ticks = list(FROC_MARKS)
    while ticks[-1] < min(MOST_FALSE, max(rising, default=0.0)):
        ticks.append(2 * ticks[-1])
    return ticks


def _halves(value: float, sparse: bool) -> str:
    """A tick's name; of many ticks every second one has none, so that no two names touch."""
    if sparse and round(np.log2(value)) % 2:
        return ""
    return f"{value:g}" if value >= 1 else f"1/{1 / value:g}"


def _froc_line(axes: Axes, line: Line, color: str, end: float) -> None:
    axes.plot(line.x, line.y, label=printable(line.name), color=color, drawstyle="steps-post")
    if len(line.x) and line.x[-1] < end:
        axes.plot([line.x[-1], end], [line.y[-1]] * 2, color=color, linewidth=0.8, linestyle=(0, (1, 2)))
    marks = [(mark, _at(line, mark)) for mark in FROC_MARKS]
    axes.plot(*zip(*marks, strict=True), color=color, marker="o", markersize=3.5, linestyle="none")
    if line.low is not None and line.high is not None:
        axes.fill_between(FROC_MARKS, line.low, line.high, color=color, alpha=0.16, linewidth=0)


def _at(line: Line, mark: float) -> float:
    """The sensitivity at no more than this many false positives."""
    reached = [y for x, y in zip(line.x, line.y, strict=True) if x <= mark]
    return max(reached, default=0.0)


def _logarithmic(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
        axis.set_minor_locator(NullLocator())


def _unit_square(axes: Axes, across: str, up: str) -> None:
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set_xlabel(across)
    axes.set_ylabel(up)


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
