"""The paper's Figures 7 to 16 from our runs: losses by epoch and confusion matrices."""

import math
from typing import Any

from histoscout.report.blocks import Block, Heading, Picture, Pictures
from histoscout.report.page import Section
from histoscout.report.plots import plot_confusion
from histoscout.report.svg import light_color, svg_figure
from histoscout.study import protocol
from histoscout.study.metrics import read_confusion
from histoscout.study.report.tables import Results, evaluation_at

LABELS = ("UDH", "rest")

LOG_SCALE_LOSS = 5.0
"""Curves with a loss beyond this have a logarithmic scale: the training diverges."""


def curve_section(results: Results) -> Section:
    """Return the section with the paper's Figures 7 to 16.

    Args:
        results: Results of the study.
    """
    runs = results["runs"]
    blocks: list[Block] = []
    for title, model in (
        ("The paper's Figures 7 and 8: U-Net, 1e-6", "unet"),
        ("The paper's Figures 9, 10 and 16: U-Net + ResNet50, 1e-6", "resnet50-unet"),
    ):
        # each network as it was run and as it is stated, one below the other
        blocks += [
            Heading(title),
            *_unet_blocks(runs[f"{model}, as run"], "as run", stale=True),
            *_unet_blocks(runs[f"{model}, as stated"], "as stated", stale=False),
        ]
    blocks += [
        Heading("The paper's Figures 11 and 12: DenseNet121 classifier"),
        _classifier_pictures(runs["densenet121, as run"]),
        Heading("The paper's Figure 13: U-Net + DenseNet121"),
        _densenet_unet_pictures(runs),
        Heading("The paper's Figures 14 and 15: U-Net at other learning rates, as run"),
        _rate_pictures(runs),
    ]
    sentence = "Losses by epoch and confusion matrices: the paper's Figures 7 to 16. Epochs are the paper's; the steps here are fewer."
    return Section(title="Curves and matrices", sentence=sentence, blocks=tuple(blocks))


def plot_losses(result: Results, *, until: int | None = None, accuracy: bool = False) -> bytes:
    """Plot the loss of training and test by the paper's epochs; dotted is guessing the base rate.

    Args:
        result: The result of a run.
        until: Last epoch of the paper to plot; None for all.
        accuracy: Whether the accuracy at each validation is plotted too.

    Returns:
        An SVG.
    """
    # the axis shows epochs of the paper, whatever the number of steps here
    epochs_per_step = max(int(epochs) for epochs in result["epochs"]) / result["steps"][-1]
    rows = [row for row in result["curve"] if until is None or row["step"] * epochs_per_step <= until + 1e-9]
    base = base_rate_loss(result)
    with svg_figure() as figure:
        axes = figure.axes
        # losses that are not finite are left out, as for a training that diverges
        for column, label in (("train_loss", "training"), ("tune_loss", "test, as the run computed it")):
            finite = [row for row in rows if math.isfinite(row.get(column, math.nan))]
            points = [(row["step"] * epochs_per_step, row[column]) for row in finite]
            if points:
                axes.plot(*zip(*points, strict=True), label=label)
        if base is not None:
            color = light_color("muted")
            axes.axhline(base, color=color, linestyle=":", linewidth=1, label=f"guessing: {base:.3f}")
        if accuracy:
            points = [(int(step) * epochs_per_step, value) for step, value in result["accuracies"].items()]
            axes.plot(*zip(*sorted(points), strict=True), label="accuracy, test")
        # from 0 on, unless a divergence would hide everything else
        if axes.get_ylim()[1] > LOG_SCALE_LOSS:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.set_xlabel("epochs of the paper")
        axes.set_ylabel("loss")
    return figure.svg


def base_rate_loss(result: Results) -> float | None:
    """Return the loss of predicting the base rate everywhere: the entropy of the prevalence.

    Args:
        result: A result file of a run.
    """
    # the classifier is trained on as many tiles of one kind as of the other
    if "all tiles" in result:
        return math.log(2)
    prevalence: float | None = next(iter(result["epochs"].values()))["train"]["own"]["prevalence"]
    if not prevalence or prevalence == 1:
        return None
    return -prevalence * math.log(prevalence) - (1 - prevalence) * math.log(1 - prevalence)


def plot_matrix(metrics: dict[str, Any], *, normalized: bool = True) -> bytes:
    """Plot a confusion matrix: rows are the reference, columns the prediction.

    Args:
        metrics: Metrics with their "confusion", as in result.json.
        normalized: Whether to show shares of the row instead of numbers.

    Returns:
        An SVG.
    """
    confusion = read_confusion(metrics["confusion"])
    counts = [[int(confusion.tp), int(confusion.fn)], [int(confusion.fp), int(confusion.tn)]]
    return plot_confusion(LABELS, counts, of_row=normalized)


def _unet_blocks(result: Results, column: str, *, stale: bool) -> list[Block]:
    note = (
        " The test curve is not of test images: it shows the last training batch beside test masks."
        if stale
        else ""
    )
    # Figures 7 and 9: one curve per number of epochs
    curves = tuple(
        Picture(
            data=plot_losses(result, until=epochs),
            caption=f"Loss, {column}, {epochs} epochs.{note} The loss of a network that learns falls below the dotted line.",
            alt=f"Loss of training and test over {epochs} epochs.",
        )
        for epochs in protocol.EPOCHS
    )
    # Figures 8, 10 and 16: a matrix per number of epochs and set, then the raw numbers
    matrices = tuple(
        Picture(
            data=plot_matrix(evaluation_at(result, epochs)[set_name]["own"]),
            caption=f"{column}, {epochs} epochs, {set_name}: shares of each row. A good model has 1 on the diagonal.",
            alt="A confusion matrix of lesion and rest.",
        )
        for epochs in protocol.EPOCHS
        for set_name in ("train", "test")
    )
    numbers = Picture(
        data=plot_matrix(evaluation_at(result, protocol.EPOCHS[0])["test"]["own"], normalized=False),
        caption=f"{column}, 50 epochs, test: numbers of pixels.",
        alt="A confusion matrix in numbers of pixels.",
    )
    return [Pictures(curves), Pictures((*matrices, numbers))]


def _classifier_pictures(result: Results) -> Pictures:
    own = result["all tiles"]["own"]
    return Pictures(
        (
            Picture(
                data=plot_losses(result, accuracy=True),
                caption="Loss and validation accuracy. The paper's accuracy is high at once and hardly changes.",
                alt="Loss and accuracy of the classifier by epoch.",
            ),
            Picture(
                data=plot_matrix(own, normalized=False),
                caption="All tiles, as run: numbers of tiles.",
                alt="A confusion matrix in tiles.",
            ),
            Picture(
                data=plot_matrix(own),
                caption="All tiles, as run: shares of each row.",
                alt="A confusion matrix in shares.",
            ),
        )
    )


def _densenet_unet_pictures(runs: Results) -> Pictures:
    pictures = []
    for column in ("as run", "as stated"):
        result = runs[f"densenet121-unet, {column}"]
        # loss and matrix beside each other
        pictures += [
            Picture(
                data=plot_losses(result),
                caption=f"Loss, {column}. The paper's two curves are close together.",
                alt="Loss by epoch.",
            ),
            Picture(
                data=plot_matrix(evaluation_at(result)["test"]["own"]),
                caption=f"{column}, test: shares of each row.",
                alt="A confusion matrix.",
            ),
        ]
    return Pictures(tuple(pictures))


def _rate_pictures(runs: Results) -> Pictures:
    pictures = []
    for rate in sorted(protocol.OTHER_RATES):
        result = runs[f"unet at {rate:g}, as run"]
        stopped = evaluation_at(result).get("stopped")
        # a training that diverges before its first validation has no curve
        no_curve = f" No curve at {rate:g}: {stopped}." if stopped and not result["curve"] else ""
        if not no_curve:
            curve = Picture(
                data=plot_losses(result),
                caption=f"Loss at the paper's {rate:g}.",
                alt=f"Loss by epoch at {rate:g}.",
            )
            pictures.append(curve)
        matrix = Picture(
            data=plot_matrix(evaluation_at(result)["test"]["own"]),
            caption=f"{rate:g}, test: shares of each row.{no_curve}",
            alt="A confusion matrix.",
        )
        pictures.append(matrix)
    return Pictures(tuple(pictures))
