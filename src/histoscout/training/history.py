"""The curves of a training: a CSV to compute with, a picture to look at, TensorBoard to follow."""

import csv
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from histoscout.io.files import replacing, write_text

FIELDS = ("step", "train_loss", "tune_loss", "tune_ap", "learning_rate", "seconds")


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Add one validation's figures to the CSV."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS)
        if new:
            writer.writeheader()
        writer.writerow(row)


def read_rows(path: Path) -> list[dict[str, float]]:
    """All rows of the CSV; a figure that could not be computed is left out of its row."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def forget_after(path: Path, step: int) -> None:
    """Drop the rows of steps that a killed run had not saved: they will be done again."""
    rows = [row for row in read_rows(path) if row["step"] <= step]
    lines = [",".join(FIELDS), *(",".join(str(row.get(name, "")) for name in FIELDS) for row in rows)]
    if path.exists():
        write_text(path, "\n".join(lines) + "\n")


def draw_curves(rows: list[dict[str, float]], path: Path, title: str) -> None:
    """Losses and tuning figure by step, as a PNG."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    losses, figures = figure.subplots(1, 2)
    _draw(losses, rows, ("train_loss", "tune_loss"), "loss")
    _draw(figures, rows, ("tune_ap",), "pixel AP on tuning windows")
    figure.suptitle(title, fontsize=10)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _draw(axes: Axes, rows: list[dict[str, float]], names: tuple[str, ...], what: str) -> None:
    for name in names:
        points = [(row["step"], row[name]) for row in rows if name in row]
        if points:  # without a lesion on the tuning slides there is no AP
            axes.plot(*zip(*points, strict=True), label=name.replace("_", " "))
            axes.legend(frameon=False)
    axes.set_xlabel("step")
    axes.set_ylabel(what)
    axes.grid(alpha=0.2)
