"""Figures as plain tables."""

from collections.abc import Sequence

from histoscout.detection.detect import LedgerRow
from histoscout.evaluation.evaluate import BASELINES, Scores
from histoscout.network.model_folder import ModelFolder


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as their widest cell; numbers to three places, a dash for what could not be computed."""
    cells = [list(head), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def score_table(scores: Scores) -> str:
    """Pixel figures of the model beside the baselines, then what became of the lesions."""
    head = ("on tissue pixels of the test patients", "AP", "Dice", "precision", "recall", "prevalence")
    rows = [("model", *scores.pixels.row(scores.threshold).values())]
    rows += [(name, *scores.baseline(name).row(1.0).values()) for name in BASELINES]
    lesions = scores.lesions
    false = "-" if lesions.false_per_cm2 is None else f"{lesions.false_per_cm2 / 25:.2f}"
    return "\n".join(
        [
            table(head, rows),
            "",
            f"{lesions.found} of {lesions.lesions} lesions found (one to one, IoU >= .3), {lesions.false} false regions "
            f"on {lesions.tissue_mm2:.1f} mm2 of tissue ({false} for each 4 mm2)",
            f"{len(scores.slides)} slides of {len(scores.patients)} patients, threshold {scores.threshold:.3f} "
            "chosen on the tuning patients",
        ]
    )


def training_table(model: ModelFolder) -> str:
    """The figures on the tuning set, which chose the threshold."""
    tune = model.metrics["tune"]
    set_name = "tuning blocks (optimistic)" if tune["optimistic"] else "tuning patients"
    head = (f"on tissue pixels of the {set_name}", "AP", "Dice", "precision", "recall", "prevalence")
    names = ("ap", "dice", "precision", "recall", "prevalence")
    return table(head, [("model", *(tune["pixel"][name] for name in names))])


def ledger_table(rows: Sequence[LedgerRow]) -> str:
    """One line a slide, failures last."""
    head = ("slide", "state", "regions", "windows", "seconds", "um/px", "from", "reason")
    ordered = sorted(rows, key=lambda row: row.state == "failed")
    return table(
        head,
        [
            (row.slide, row.state, row.regions, row.windows, row.seconds, row.mpp, row.mpp_source, row.reason)
            for row in ordered
        ],
    )
