"""Figures as plain tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from histoscout.detection.detect import LedgerRow
from histoscout.evaluation.counts import count_lesions_of
from histoscout.evaluation.intervals import Interval
from histoscout.evaluation.matching import PRIMARY
from histoscout.evaluation.matching import words as rule_in_words
from histoscout.evaluation.scores import Scores
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


PIXEL_COLUMNS = {
    "AP": "ap",
    "Dice": "dice",
    "by patient": "dice_per_patient",
    "precision": "precision",
    "recall": "recall",
}
PROBABILITY_COLUMNS = {"AUROC": "auroc", "ECE": "ece", "Brier skill": "brier_skill"}
TILE_COLUMNS = {"AUROC": "auroc", "AP": "ap"}
LESION_COLUMNS = {
    "sensitivity": "sensitivity",
    "precision": "precision",
    "false per cm2": "false_per_cm2",
    "FROC per cm2": "froc_per_cm2",
    "FROC per slide": "froc_per_slide",
}


def score_table(scores: Scores) -> str:
    """Figures with their intervals, beside the baselines: pixels, tiles, lesions; then what they stand on."""
    on = scores.exam.on
    parts = [_figure_table(scores, f"tissue pixels of the {on}", "pixel", PIXEL_COLUMNS)]
    if scores.exam.probabilities:
        parts.append(_figure_table(scores, "their probabilities", "pixel", PROBABILITY_COLUMNS))
        parts.append(_figure_table(scores, f"tiles of the {on}", "tile", TILE_COLUMNS))
    parts += [
        _figure_table(scores, f"lesions of the {on}", "lesion", LESION_COLUMNS),
        _lesions_in_words(scores),
    ]
    if scores.differences:
        columns = {name.replace("_", " "): name for name in scores.differences}
        cells = [interval_cell(scores.differences[name]) for name in columns.values()]
        parts.append(table(("better than the previous model by", *columns), [("", *cells)]))
    return "\n\n".join([*parts, "\n".join((_basis(scores), *scores.claims))])


def _figure_table(scores: Scores, head: str, part: str, columns: Mapping[str, str]) -> str:
    """One row a finder; columns of figures that this evaluation has."""
    figures = {finder: getattr(scores.figures[finder], part) for finder in scores.finders}
    shown = {word: name for word, name in columns.items() if name in figures[scores.exam.finder]}
    rows = [
        (finder, *(interval_cell(having.get(name)) for name in shown.values()))
        for finder, having in figures.items()
        if having
    ]
    return table((head, *shown), rows)


def interval_cell(figure: Interval | None) -> str:
    """A figure to three places with its interval behind it, where there is one."""
    if figure is None or figure.value is None:
        return "-"
    if figure.low is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} ({figure.low:.3f}..{figure.high:.3f})"


def _lesions_in_words(scores: Scores) -> str:
    counts = count_lesions_of(scores.lesions)
    on = ", ".join(f"{number} {place}" for place, number in counts.false_on.items())
    return (
        f"{counts.found} of {counts.lesions} lesions found, {counts.false} false findings on "
        f"{counts.tissue_mm2:.1f} mm2 of tissue{f' ({on})' if on else ''}; {counts.duplicates} duplicates, "
        f"{counts.splits} lesions in pieces, {counts.merges} findings over several lesions\n{rule_in_words(PRIMARY)}"
    )


def _basis(scores: Scores) -> str:
    chosen = "" if scores.exam.set_name == "given" else f", threshold {scores.threshold:.3f}"
    return (
        f"{len(scores.slides)} slides of {len(scores.patients)} patients{chosen}; in brackets 95 % intervals over "
        "patients, where they can be estimated"
    )


def training_table(model: ModelFolder) -> str:
    """The figures on the tuning set, which chose the threshold."""
    tune = model.metrics["tune"]
    if "images" in tune:
        return _tuning_images(tune["images"])
    set_name = "tuning blocks (optimistic)" if tune["optimistic"] else "tuning patients"
    head = (f"on tissue pixels of the {set_name}", "AP", "Dice", "precision", "recall", "prevalence")
    names = ("ap", "dice", "precision", "recall", "prevalence")
    return table(head, [("model", *(tune["pixel"][name] for name in names))])


def _tuning_images(figures: Mapping[str, Any]) -> str:
    overall = figures["overall"]
    head = ("on images of the tuning patients", "images", *(name.replace("_", " ") for name in overall))
    return table(head, [("model", figures["count"], *(figure["value"] for figure in overall.values()))])


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
