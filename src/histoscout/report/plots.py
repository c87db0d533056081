"""The plots of a report as SVG: curves, bars and confusion matrices, from plain numbers.

Axes have names and units, and what guessing would give is shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from histoscout.evaluation.lesions.froc import FROC_RATES
from histoscout.report.formatting import format_fraction
from histoscout.report.svg import SERIES, light_color, printable, svg_figure

MAX_FALSE_POSITIVES = 1024.0
"""End of the scale of false positives, however late a curve rises."""

MIN_PROBABILITY = 1e-4
"""Start of a logarithmic scale of probability."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A named curve.

    Attributes:
        name: Its name in the legend.
        x: Places on the horizontal axis.
        y: Values, as many as `x`.
        low: Lower bounds of a band around it, if any.
        high: Upper bounds of the band.
        point: A place (x, y) that is marked, such as the model's threshold.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    point: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A fraction of a number of things.

    Attributes:
        name: Its name on the axis.
        value: The fraction; None if there is nothing to divide by.
        total: How many things there are.
        low: Lower bound of the 95 % CI, if any.
        high: Upper bound of the 95 % CI.
    """

    name: str
    value: float | None
    total: int
    low: float | None = None
    high: float | None = None


def plot_roc(lines: Sequence[Line], unit: str) -> bytes:
    """Plot ROC curves: sensitivity against false-positive rate; the diagonal is guessing.

    Args:
        lines: The curves.
        unit: What is counted, such as "pixels".

    Returns:
        An SVG file.
    """
    with svg_figure() as plot:
        axes = plot.axes
        axes.plot([0, 1], [0, 1], color=light_color("muted"), linestyle=":", linewidth=1, label="guessing")
        _draw_lines(axes, lines)
        _unit_square(axes, f"false-positive rate ({unit})", f"sensitivity ({unit})")
    return plot.svg


def plot_precision_recall(lines: Sequence[Line], prevalence: float | None, unit: str) -> bytes:
    """Plot precision against recall; the horizontal line is guessing.

    Args:
        lines: The curves.
        prevalence: The precision of guessing.
        unit: What is counted, such as "pixels".

    Returns:
        An SVG file.
    """
    with svg_figure() as plot:
        axes = plot.axes
        if prevalence is not None:
            name = f"guessing (prevalence {format_fraction(prevalence, 3)})"
            axes.axhline(prevalence, color=light_color("muted"), linestyle=":", linewidth=1, label=name)
        _draw_lines(axes, lines)
        _unit_square(axes, f"recall ({unit})", f"precision ({unit})")
    return plot.svg


def plot_froc(lines: Sequence[Line], unit: str) -> bytes:
    """Plot FROC curves: sensitivity for lesions against false positives, on a log scale.

    The scale is extended as long as a curve rises. A curve that ends early continues as a thin line.

    Args:
        lines: The curves; `low` and `high` are values at `FROC_RATES`.
        unit: What false positives are divided by, such as "cm2".

    Returns:
        An SVG file.
    """
    with svg_figure() as plot:
        axes = plot.axes
        # doublings from 1/4 to 8, and on to where the last curve stops rising
        rising = [x for line in lines for x, y in zip(line.x, line.y, strict=True) if y < max(line.y)]
        ticks = list(FROC_RATES)
        while ticks[-1] < min(MAX_FALSE_POSITIVES, max(rising, default=0.0)):
            ticks.append(2 * ticks[-1])
        for number, line in enumerate(lines):
            _draw_froc(axes, line, light_color(SERIES[number % len(SERIES)]), ticks[-1] * 1.25)

        axes.set_xscale("log", base=2)
        axes.set_xlim(0.2, ticks[-1] * 1.25)
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda value, place: _doubling_name(value, len(ticks) > 9))
        )
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel(f"false positives per {unit} (log scale)")
        axes.set_ylabel("sensitivity for lesions")
    return plot.svg


def plot_reliability(predicted: Sequence[float], observed: Sequence[float]) -> bytes:
    """Plot a reliability diagram: observed frequency against predicted probability.

    Both axes are logarithmic if the median prediction is below 5 %, so that those bins can be distinguished.

    Args:
        predicted: Mean predicted probability of each bin.
        observed: Fraction of positives in each bin.

    Returns:
        An SVG file.
    """
    with svg_figure() as plot:
        axes = plot.axes
        diagonal = [1e-9, 1]
        axes.plot(
            diagonal,
            diagonal,
            color=light_color("muted"),
            linestyle=":",
            linewidth=1,
            label="perfect calibration",
        )
        if len(predicted) and np.median(predicted) < 0.05:
            positive = [value for value in (*predicted, *observed) if value > 0]
            smallest = 10.0 ** np.floor(np.log10(max(MIN_PROBABILITY, min(positive, default=0.01))))
            _log_scales(axes)
            points = np.maximum(np.asarray([predicted, observed], float), smallest)
            scale = " (log scale)"
        else:
            smallest = 0.0
            points = np.asarray([predicted, observed], float)
            scale = ""
        axes.plot(*points, color=light_color("blue"), marker="o", markersize=4, label="model", clip_on=False)
        axes.set_xlim(smallest, 1)
        axes.set_ylim(smallest, 1)
        axes.set_xlabel(f"mean predicted probability{scale}")
        axes.set_ylabel(f"observed fraction of positives{scale}")
    return plot.svg


def plot_training(
    rows: Sequence[Mapping[str, float]], names: Mapping[str, str], quantity: str, *, is_fraction: bool = False
) -> bytes:
    """Plot quantities of a training by step.

    Args:
        rows: Rows of curves.csv; each holds "step" and some of the columns.
        names: The columns to plot, and their names in the legend.
        quantity: The name of the vertical axis.
        is_fraction: Whether the vertical axis is from 0 to 1.

    Returns:
        An SVG file.
    """
    with svg_figure() as plot:
        for column, name in names.items():
            points = [(row["step"], row[column]) for row in rows if column in row]
            if points:
                plot.axes.plot(*zip(*points, strict=True), label=printable(name))
        if is_fraction:
            plot.axes.set_ylim(-0.01, 1.01)
        plot.axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        plot.axes.set_xlabel("training step")
        plot.axes.set_ylabel(quantity)
    return plot.svg


def plot_bars(items: Sequence[Bar], x_label: str, y_label: str) -> bytes:
    """Plot fractions as bars with counts above them; whiskers are confidence intervals.

    Args:
        items: The bars from left to right.
        x_label: The name of the horizontal axis.
        y_label: The name of the vertical axis.

    Returns:
        An SVG file.
    """
    with svg_figure(height=2.6) as plot:
        axes = plot.axes
        for place, bar in enumerate(items):
            value = bar.value or 0.0
            axes.bar(place, value, width=0.62, color=light_color("blue"), alpha=0.75)
            top = value
            if bar.low is not None and bar.high is not None and bar.low < bar.high:
                axes.plot(
                    [place, place], [bar.low, bar.high], color=light_color("ink"), linestyle="-", linewidth=1
                )
                top = max(value, bar.high)
            count = "none" if not bar.total else f"{round(value * bar.total)} of {bar.total}"
            axes.annotate(count, (place, top), (0, 3), textcoords="offset points", ha="center", fontsize=7.5)
        axes.set_xticks(range(len(items)), [printable(bar.name) for bar in items])
        axes.set_xlim(-0.6, len(items) - 0.4)
        axes.set_ylim(0, 1.12)
        axes.set_yticks(np.linspace(0, 1, 6))
        axes.grid(visible=False, axis="x")
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
    return plot.svg


def plot_confusion(labels: Sequence[str], counts: Sequence[Sequence[int]], *, of_row: bool) -> bytes:
    """Plot a confusion matrix: true classes in rows, predicted classes in columns.

    Args:
        labels: The classes.
        counts: A row of counts for each class.
        of_row: Show fractions of each row in place of counts.

    Returns:
        An SVG file.
    """
    table = np.asarray(counts, float)
    totals = table.sum(axis=1, keepdims=True)
    fractions = np.divide(table, totals, out=np.zeros_like(table), where=totals > 0)
    side = max(2.0, 0.42 * len(labels) + 1.2)
    with svg_figure(side + 0.5, side) as plot:
        axes = plot.axes
        # a cell is as dark as its fraction, but never so dark that its number cannot be read
        for (row, column), value in np.ndenumerate(fractions):
            axes.add_patch(
                Rectangle(
                    (column - 0.5, row - 0.5),
                    1,
                    1,
                    facecolor=light_color("blue"),
                    alpha=0.04 + 0.36 * value,
                    edgecolor="none",
                    linewidth=0,
                )
            )
            text = format_fraction(value) if of_row else f"{int(table[row, column]):,}"
            text = "\u2013" if of_row and not totals[row, 0] else text
            axes.text(column, row, text, ha="center", va="center", fontsize=7.5)

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
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
    return plot.svg


def _draw_lines(axes: Axes, lines: Sequence[Line]) -> None:
    for line in lines:
        (artist,) = axes.plot(line.x, line.y, label=printable(line.name), drawstyle="default")
        color = str(artist.get_color())
        if line.low is not None and line.high is not None:
            axes.fill_between(line.x, line.low, line.high, color=color, alpha=0.16, linewidth=0)
        if line.point is not None:
            axes.plot(*line.point, marker="o", markersize=5, color=color, linestyle="none")


def _draw_froc(axes: Axes, line: Line, color: str, end: float) -> None:
    """Draw an FROC curve with dots at `FROC_RATES`, its band, and a thin line on to the end."""
    axes.plot(line.x, line.y, label=printable(line.name), color=color, drawstyle="steps-post")
    if len(line.x) and line.x[-1] < end:
        axes.plot([line.x[-1], end], [line.y[-1]] * 2, color=color, linewidth=0.8, linestyle=(0, (1, 2)))
    marks = [(mark, _sensitivity_at(line, mark)) for mark in FROC_RATES]
    axes.plot(*zip(*marks, strict=True), color=color, marker="o", markersize=3.5, linestyle="none")
    if line.low is not None and line.high is not None:
        axes.fill_between(FROC_RATES, line.low, line.high, color=color, alpha=0.16, linewidth=0)


def _sensitivity_at(line: Line, mark: float) -> float:
    """The highest sensitivity with at most this many false positives."""
    reached = [y for x, y in zip(line.x, line.y, strict=True) if x <= mark]
    return max(reached, default=0.0)


def _doubling_name(value: float, sparse: bool) -> str:
    """The name of a tick; of many ticks every second one has none, so that names do not overlap."""
    if sparse and round(np.log2(value)) % 2:
        return ""
    return f"{value:g}" if value >= 1 else f"1/{1 / value:g}"


def _log_scales(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
        axis.set_minor_locator(NullLocator())


def _unit_square(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
