"""The learning curves of a training: a CSV file, a picture, and TensorBoard events if `tensorboard` is installed."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from histoscout.io.files import atomic_write, read_text, write_text

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FIELDS = ("step", "train_loss", "tune_loss", "tune_ap", "learning_rate", "seconds")
"""Columns of curves.csv; the rates and losses are those since the validation before."""


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Append the values of one validation to the CSV file.

    Args:
        path: The file; written with a header if it does not exist.
        row: A value for each of `FIELDS`; None for what could not be computed.
    """
    # a run that was killed right here leaves an empty file
    is_new = not path.exists() or not path.stat().st_size
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def read_rows(path: Path) -> list[dict[str, float]]:
    """Read all rows of the CSV file.

    Args:
        path: The file; it may be missing.

    Returns:
        One dictionary per validation, without the values that could not be computed.
    """
    if not path.exists():
        return []
    with io.StringIO(read_text(path), newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def drop_rows_after(path: Path, step: int) -> None:
    """Drop the rows after a step, which a killed run had not saved and which will be computed again.

    Args:
        path: The file; it may be missing.
        step: The step from which the training resumes.
    """
    if not path.exists():
        return
    # the text stays as it was written, so that a resumed training leaves the same file; a line that a kill has cut
    # has no end
    head, *lines = read_text(path).splitlines(keepends=True) or [""]
    kept = [line for line in lines if line.endswith("\n") and float(line.partition(",")[0]) <= step]
    write_text(path, "".join([head, *kept]))


def plot_curves(rows: list[dict[str, float]], path: Path, title: str) -> None:
    """Plot losses and tuning AP by step as a PNG.

    Args:
        rows: The rows of `read_rows`.
        path: The picture, which is replaced.
        title: What stands above it.
    """
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    loss_axes, ap_axes = figure.subplots(1, 2)
    _plot(loss_axes, rows, names=("train_loss", "tune_loss"), label="loss")
    _plot(ap_axes, rows, names=("tune_ap",), label="pixel AP on tuning patches")
    figure.suptitle(title, fontsize=10)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _plot(axes: Axes, rows: list[dict[str, float]], *, names: tuple[str, ...], label: str) -> None:
    for name in names:
        points = [(row["step"], row[name]) for row in rows if name in row]
        # no AP without a lesion on the tuning slides
        if points:
            axes.plot(*zip(*points, strict=True), label=name.replace("_", " "))
            axes.legend(frameon=False)
    axes.set_xlabel("step")
    axes.set_ylabel(label)
    axes.grid(alpha=0.2)


def open_tensorboard(folder: Path, step: int) -> "SummaryWriter | None":
    """Open a TensorBoard log.

    Args:
        folder: Where its event files are kept.
        step: The step from which the training starts or resumes; later events of a killed run are hidden.

    Returns:
        The writer, or None if the package `tensorboard` is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step)
