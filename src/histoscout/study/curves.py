"""The paper's figures of training and result, drawn from a run: losses by epoch, confusion matrices."""

import math
from typing import Any

from histoscout.report.bars import confusion
from histoscout.report.drawing import drawing
from histoscout.report.palette import light

LABELS = ("UDH", "rest")
LARGE = 5.0  # losses beyond this are shown on a logarithmic scale: a training that bursts


def losses(result: dict[str, Any], *, until: int | None = None, accuracy: bool = False) -> bytes:
    """Loss of training and test by the paper's epochs; the dotted line is what guessing the base rate gives.

    `until` an epoch of the paper only; with `accuracy` also the accuracy at each validation.
    """
    epochs = max(int(one) for one in result["epochs"])
    each = epochs / result["steps"][-1]
    rows = [row for row in result["curve"] if until is None or row["step"] * each <= until + 1e-9]
    base = base_loss(result)
    with drawing() as made:
        axes = made.axes
        for column, name in (("train_loss", "training"), ("tune_loss", "test, as the run computed it")):
            points = [
                (row["step"] * each, row[column]) for row in rows if math.isfinite(row.get(column, math.nan))
            ]
            if points:
                axes.plot(*zip(*points, strict=True), label=name)
        if base is not None:
            axes.axhline(
                base, color=light("muted"), linestyle=":", linewidth=1, label=f"guessing: {base:.3f}"
            )
        if accuracy:
            points = [(int(step) * each, value) for step, value in result["accuracies"].items()]
            axes.plot(*zip(*sorted(points), strict=True), label="accuracy, test")
        if axes.get_ylim()[1] > LARGE:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.set_xlabel("epochs of the paper")
        axes.set_ylabel("loss")
    return made.svg


def base_loss(result: dict[str, Any]) -> float | None:
    """The loss of answering the base rate everywhere: the entropy of the share of positives, own labels."""
    if "all tiles" in result:  # the classifier learns from as many tiles of one kind as of the other
        return math.log(2)
    prevalence: float | None = next(iter(result["epochs"].values()))["train"]["own"]["prevalence"]
    if not prevalence or prevalence == 1:
        return None
    return -prevalence * math.log(prevalence) - (1 - prevalence) * math.log(1 - prevalence)


def matrix(judged: dict[str, Any], set_name: str, kind: str = "own", *, normalised: bool = True) -> bytes:
    """A confusion matrix: of rows what is there, of columns what was found; as shares of the row or as numbers."""
    seen = judged[set_name][kind]["confusion"]
    return matrix_of(seen, normalised=normalised)


def matrix_of(seen: dict[str, float], *, normalised: bool) -> bytes:
    """The same of counts by name."""
    counts = [[int(seen["hits"]), int(seen["misses"])], [int(seen["alarms"]), int(seen["rests"])]]
    return confusion(LABELS, counts, of_row=normalised)
