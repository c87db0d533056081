"""The paper's tables with this study's results beside them."""

from collections.abc import Mapping
from typing import Any

from histoscout.report.blocks import Block, Cell, Table, Text
from histoscout.report.formatting import NOT_ESTIMABLE, format_fraction, format_number
from histoscout.report.page import Section
from histoscout.study import protocol
from histoscout.study.metrics import confusion_metrics, macro_average, read_confusion
from histoscout.study.protocol import MODELS, PaperRow

Results = dict[str, Any]
"""What study.json holds, or the result of one run."""

METRICS = ("accuracy", "precision", "recall", "f1")
METRIC_TITLES = ("accuracy", "precision", "recall", "F1")

COLUMNS = (
    ("as run", "as it was run: with every fault that this run had"),
    ("as stated", "as the paper states it: faults of the code off, its tiles, patients and start kept"),
    ("repaired", "all faults off: wider tiles, split by patient, normalization, a sane learning rate"),
    ("as run but one sigmoid", "as it was run, with the second sigmoid alone removed"),
)
"""Variants of each network's run, and what they are."""

PAPER_ROWS: dict[str, PaperRow | None] = {
    "unet": protocol.TABLE_1[(100, "test")],
    "resnet50-unet": protocol.TABLE_2[(100, "test")],
    "densenet121": protocol.TABLE_3,
    "densenet121-unet": None,
}
"""The paper's metrics on its test set; it prints none for the last network."""


def evaluation_at(result: Results, epochs: int | None = None) -> Results:
    """Return the evaluation of a run at some epochs of the paper, or at its end.

    Args:
        result: A result file of a run.
        epochs: Number of epochs.
    """
    evaluation: Results = result["epochs"][str(epochs)] if epochs else list(result["epochs"].values())[-1]
    return evaluation


def metrics_on_test_set(result: Results) -> Results:
    """Return the metrics that the run would call "test", at its end.

    Args:
        result: A result file of a run.
    """
    metrics: Results = evaluation_at(result)["test"]
    return metrics


def main_section(results: Results) -> Section:
    """Return the main table: each network in the paper and in our runs; then our recipe.

    Args:
        results: Results of the study.
    """
    rows: list[tuple[Cell, ...]] = []
    for model, paper_row in PAPER_ROWS.items():
        title = MODELS[model].title
        rows.append((f"{title}: paper", *_paper_cells(paper_row), "", "", "", ""))
        for column, _ in COLUMNS:
            result = results["runs"].get(f"{model}, {column}")
            if result is not None:
                rows.append(_run_row(f"{title}: {column}", result))
    # our recipe, evaluated on patients that it was not trained on
    ours = results["ours"]
    whole = ours["whole"].get("referee") or ours["whole"]["left out"]
    pixel = [_cell(ours["pixel"][name]["value"], 3) for name in ("recall", "precision", "ap")]
    rows.append(("our recipe, test patients", "", "", "", "", *pixel, _cell(whole["ap"], 3)))
    head = ("test set", *METRIC_TITLES, "recall, truth", "precision, truth", "AP, truth", "AP, whole slides")
    caption = (
        "Accuracy to F1 are against the masks that the run itself was given, the next three against the correct masks. The last "
        "column is over all tissue of the slides outside the study, the same for every run. The test set is not the same in "
        "every row: with metrics-on-all it contains the training tiles too."
    )
    explanation = " ".join(f"{name.capitalize()}: {meaning}." for name, meaning in COLUMNS)
    table = Table(head=head, rows=tuple(rows), caption=caption, highlighted=(len(rows) - 1,))
    return Section(
        title="All results in one table",
        sentence="Every network beside the paper's printed metrics.",
        blocks=(table, Text(explanation)),
    )


def table_sections(results: Results) -> tuple[Section, ...]:
    """Return the sections of the paper's Tables 1, 2 and 3.

    Args:
        results: Results of the study.
    """
    return (
        Section(
            title="The paper's Table 1: U-Net, learning rate 1e-6",
            sentence="In the paper hardly a lesion pixel is found; accuracy is high because most pixels are not lesion.",
            blocks=(_epochs_table(results, "unet", protocol.TABLE_1), _unet_text(results)),
        ),
        Section(
            title="The paper's Table 2: U-Net with a ResNet50 encoder, learning rate 1e-6",
            sentence="In the paper nearly everything is called lesion: recall is near 1, precision near the prevalence.",
            blocks=(_epochs_table(results, "resnet50-unet", protocol.TABLE_2), _resnet_text(results)),
        ),
        Section(
            title="The paper's Table 3: DenseNet121, does the tile have UDH",
            sentence="Averaged over the classes, as printed, and for UDH alone, which is the question.",
            blocks=_classifier_blocks(results),
        ),
    )


def variant_section(results: Results) -> Section:
    """Return the section on variants of the U-Net: grayscale, one slide, learning rates, rerun.

    Args:
        results: Results of the study.
    """
    rows: list[tuple[Cell, ...]] = []
    for name, result in results["runs"].items():
        if name.startswith(("unet in", "unet on", "unet at", "unet-rerun")):
            # the names of the variants start alike
            evaluation = evaluation_at(result)
            test = evaluation["test"]
            losses = _training_losses(result)
            rows.append(
                (
                    name,
                    f"{result['learning_rate']:.2e}",
                    f"{evaluation['steps']:,}",
                    *(_cell(test["own"][key], 4) for key in ("precision", "recall", "f1")),
                    _cell(test["truth"]["ap"], 3),
                    evaluation["stopped"] or (format_number(losses[-1]) if losses else ""),
                )
            )
    head = (
        "U-Net",
        "learning rate here",
        "steps",
        "precision",
        "recall",
        "F1",
        "AP, truth",
        "training loss at the end",
    )
    text = (
        "The paper states that in grayscale and on one slide the loss did not fall below 0.5, and that at rates above 1e-6 the test "
        "loss did not settle; 1e-2 was interrupted. Rates here keep learning rate times steps, so the larger ones are very large "
        "steps."
    )
    table = Table(head=head, rows=tuple(rows), caption="At 50 or 100 epochs of the paper.")
    return Section(
        title="Variants",
        sentence="Grayscale, one slide, other learning rates, the rerun.",
        blocks=(table, Text(text)),
    )


def _cell(value: float | None, digits: int = 2) -> str:
    """Format a fraction; empty where the denominator is 0, as the precision without predictions."""
    text = format_fraction(value, digits)
    return "" if text == NOT_ESTIMABLE else text


def _paper_cells(row: PaperRow | None) -> tuple[str, ...]:
    if row is None:
        return ("not printed", "", "about 0", "")
    return tuple(_cell(getattr(row, name), 4) for name in METRICS)


def _run_row(title: str, result: Results) -> tuple[Cell, ...]:
    test = metrics_on_test_set(result)
    whole = result["whole"].get("referee") or result["whole"].get("left out") or {}
    return (
        title,
        *(_cell(test["own"][name], 4) for name in METRICS),
        *(_cell(test["truth"][name], 3) for name in ("recall", "precision", "ap")),
        _cell(whole["ap"], 3) if whole else "",
    )


def _epochs_table(results: Results, model: str, paper_table: Mapping[tuple[int, str], PaperRow]) -> Table:
    """Return the metrics of training and test set at each of the paper's epochs."""
    rows: list[tuple[Cell, ...]] = []
    for epochs in protocol.EPOCHS:
        for set_name in ("train", "test"):
            title = f"{epochs} epochs, {set_name}"
            # the paper first, then our runs that reached these epochs
            if (epochs, set_name) in paper_table:
                rows.append((f"{title}: paper", *_paper_cells(paper_table[(epochs, set_name)]), ""))
            for column, _ in COLUMNS:
                result = results["runs"].get(f"{model}, {column}")
                if result is not None and str(epochs) in result["epochs"]:
                    own = evaluation_at(result, epochs)[set_name]["own"]
                    cells = (_cell(own[name], 4) for name in METRICS)
                    rows.append((f"{title}: {column}", *cells, _cell(own["prevalence"], 3)))
    return Table(
        head=("", *METRIC_TITLES, "prevalence"),
        rows=tuple(rows),
        caption="Over pixels, against the run's own masks, at 0.5. There is no precision where nothing was called lesion.",
    )


def _unet_text(results: Results) -> Text:
    as_run, stated, repaired = (
        results["runs"][f"unet, {name}"] for name in ("as run", "as stated", "repaired")
    )
    # the loss shows whether the network moved at all
    stated_truth = metrics_on_test_set(stated)["truth"]
    repaired_truth = metrics_on_test_set(repaired)["truth"]
    losses = _training_losses(stated)
    progress = (
        f"changes from a loss of {losses[0]:.3f} to {losses[-1]:.3f} and no further"
        if losses
        else "does not train"
    )
    return Text(
        f"With displaced masks or with masks in place, at this learning rate the U-Net {progress}: as stated its recall of lesion "
        f"pixels is {_cell(stated_truth['recall'], 4)}, as run {_cell(metrics_on_test_set(as_run)['own']['recall'], 4)}. Its AP against "
        f"the correct masks is {_cell(stated_truth['ap'])} as stated and {_cell(repaired_truth['ap'])} with all faults repaired, on "
        f"test tiles with a prevalence of {_cell(stated_truth['prevalence'])} and {_cell(repaired_truth['prevalence'])}. The "
        "repaired runs are trained on one patient and keep the weights of the lowest loss on the other, as the study kept those "
        f"of the lowest test loss. With {repaired['train_tiles']} training tiles that loss jumps from one validation to the next, "
        "and what is called lesion at 0.5 is a matter of luck. Of their metrics, read AP."
    )


def _resnet_text(results: Results) -> Text:
    as_run, one_sigmoid = (
        metrics_on_test_set(results["runs"][f"resnet50-unet, {name}"])["own"]
        for name in ("as run", "as run but one sigmoid")
    )
    # everything called lesion: recall 1, precision the prevalence
    near_prevalence = abs((as_run["precision"] or 0) - as_run["prevalence"]) < 0.02
    is_signature = near_prevalence and (as_run["recall"] or 0) > 0.98
    answer = "This is the signature of Table 2" if is_signature else "This is not the signature of Table 2"
    return Text(
        f"As run, recall is {_cell(as_run['recall'], 4)} and precision {_cell(as_run['precision'], 3)} at a prevalence of "
        f"{_cell(as_run['prevalence'], 3)}. {answer}: a sigmoid of a sigmoid is above 0.5 whatever the network has learned, except "
        f"where float32 rounds it to exactly 0.5. With the second sigmoid alone removed, recall is "
        f"{_cell(one_sigmoid['recall'], 4)} and precision {_cell(one_sigmoid['precision'], 3)}."
    )


def _classifier_blocks(results: Results) -> tuple[Block, ...]:
    paper_prevalence = _cell(1 / protocol.KEPT_RATIO, 4)
    rows: list[tuple[Cell, ...]] = [
        ("averaged: paper", *_paper_cells(protocol.TABLE_3), ""),
        ("UDH alone: paper", *_paper_cells(protocol.TABLE_3_UDH), paper_prevalence),
    ]
    for column in ("as run", "as stated"):
        own = results["runs"][f"densenet121, {column}"]["all tiles"]["own"]
        confusion = read_confusion(own["confusion"])
        # as printed, and for the class that matters
        averaged = macro_average(confusion)
        udh = confusion_metrics(confusion)
        rows.append((f"averaged: {column}", *(_cell(averaged[name], 4) for name in METRICS), ""))
        udh_cells = (_cell(udh[name], 4) for name in METRICS)
        rows.append((f"UDH alone: {column}", *udh_cells, _cell(udh["prevalence"], 4)))
    text = (
        "The paper's averages follow exactly from a recall of 0.776 for UDH, a specificity of 0.868 and one tile with UDH in 46; "
        "its text attributes the 78 % to the other class. For UDH alone that is a precision of 0.116: of nine tiles that are called "
        "UDH, one is."
    )
    caption = "Over every tile that the filter kept, including training tiles."
    return Table(head=("", *METRIC_TITLES, "prevalence"), rows=tuple(rows), caption=caption), Text(text)


def _training_losses(result: Results) -> list[float]:
    return [row["train_loss"] for row in result["curve"] if "train_loss" in row]
