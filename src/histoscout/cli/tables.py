"""Scores, ledgers and other results as plain text tables for the terminal."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from types import MappingProxyType

from histoscout.cli.console import format_duration
from histoscout.detection.results import LedgerRow
from histoscout.evaluation.bootstrap import MIN_PATIENTS, ConfidenceInterval
from histoscout.evaluation.images.scores import (
    BRACS_GROUPS,
    CLASS_METRICS,
    OVERALL_METRICS,
    ImageScores,
    group_classes,
)
from histoscout.evaluation.lesions.froc import sensitivity_metric
from histoscout.evaluation.lesions.matching import PRIMARY_RULE, describe_rule
from histoscout.evaluation.lesions.summary import count_lesions
from histoscout.evaluation.out_of_fold import Crossval
from histoscout.evaluation.scores import Scores
from histoscout.io.notes import list_some, pluralize, visible
from histoscout.network.model_folder import ModelFolder
from histoscout.report.evaluation.answer import answer
from histoscout.report.formatting import estimate_text, format_estimate, format_fraction, format_number

TERMINAL_WIDTH = 80
"""Characters of a line, unless --verbose is given."""

MAX_NAME = 36
"""Characters of a slide's name in a table."""

MAX_ROWS = 20
"""Slides of a detection that are listed on the screen."""

# Columns of `score_table`: what stands above a column, and the name of its metric in scores.json.
PIXEL_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "AP": "ap",
        "Dice": "dice",
        "Dice by patient": "dice_per_patient",
        "precision": "precision",
        "recall": "recall",
    }
)
PROBABILITY_COLUMNS: Mapping[str, str] = MappingProxyType(
    {"AUROC": "auroc", "ECE": "ece", "Brier skill": "brier_skill"}
)
TILE_COLUMNS: Mapping[str, str] = MappingProxyType({"AUROC": "auroc", "AP": "ap"})
TILE_SET_COLUMNS: Mapping[str, str] = MappingProxyType(
    {"F1": "f1", "balanced accuracy": "balanced_accuracy", "AUROC": "auroc"}
)
LESION_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "sensitivity": "sensitivity",
        "precision": "precision",
        "FP per cm2": "fp_per_cm2",
        "FROC per cm2": "froc_per_cm2",
        "FROC per slide": "froc_per_slide",
    }
)

# Columns of `crossval_table`.
CROSSVAL_PIXEL_COLUMNS: Mapping[str, str] = MappingProxyType(
    {"AP": "ap", "Dice": "dice", "Dice by patient": "dice_per_patient", "ECE": "ece"}
)
CROSSVAL_LESION_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "sensitivity": "sensitivity",
        "FP per cm2": "fp_per_cm2",
        "FROC per cm2": "froc_per_cm2",
        "at 5 FP per cm2": sensitivity_metric(5.0, "cm2"),
        "at 10 FP per cm2": sensitivity_metric(10.0, "cm2"),
    }
)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Format rows in columns as wide as their widest cell.

    Args:
        head: One name for each column.
        rows: Cells of any type; floats get three decimals, None and "" a dash.

    Returns:
        Lines of text without trailing spaces.
    """
    cells = [list(head), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def interval_cell(metric: ConfidenceInterval | None) -> str:
    """Format a metric with its 95 % CI in brackets if there is one, as the report does: .88 [.81, .93]."""
    if metric is None or metric.value is None:
        return "-"
    if metric.low is None:
        return format_fraction(metric.value) if abs(metric.value) <= 1 else format_number(metric.value)
    return estimate_text(format_estimate(metric, is_fraction=abs(metric.value) <= 1))


def score_table(scores: Scores) -> str:
    """Format the scores of a model and of the baselines: pixels, tiles, lesions.

    Args:
        scores: The result of `evaluate` or `score_regions`.

    Returns:
        Tables, then how many patients they are based on and what may be concluded.
    """
    evaluated_on = scores.protocol.set_label
    parts = [_score_rows(scores, f"tissue pixels of the {evaluated_on}", "pixel", PIXEL_COLUMNS)]
    if scores.protocol.has_probabilities:
        parts.append(_score_rows(scores, "pixel probabilities", "pixel", PROBABILITY_COLUMNS))
        parts.append(_score_rows(scores, f"tiles of the {evaluated_on}", "tile", TILE_COLUMNS))
    parts += [
        _score_rows(scores, f"lesions of the {evaluated_on}", "lesion", LESION_COLUMNS),
        _lesion_counts(scores),
    ]
    if scores.tile_set:
        head = f"tiles of {scores.protocol.tile_um:g} um ({scores.protocol.tile_source})"
        cells = [interval_cell(scores.tile_set[name]) for name in TILE_SET_COLUMNS.values()]
        parts.append(table((head, *TILE_SET_COLUMNS), [(scores.protocol.method, *cells)]))
    if scores.differences:
        columns = [name.replace("_", " ") for name in scores.differences]
        cells = [interval_cell(difference) for difference in scores.differences.values()]
        parts.append(table(("difference to the previous model", *columns), [("", *cells)]))

    # what the metrics are based on
    threshold = "" if scores.protocol.set_name == "given" else f", threshold {scores.threshold:.3f}"
    basis = f"{_basis(len(scores.slides), 'slide', len(scores.patients))}{threshold}"
    return "\n\n".join([*parts, "\n".join((basis, *scores.claims))])


def answer_text(scores: Scores) -> str:
    """Format the answer of an evaluation: lesions and false positives in words, then one small table.

    Args:
        scores: The result of `evaluate` or `score_regions`.

    Returns:
        At most 80 characters in a line.
    """
    shown = {
        "lesions found (sensitivity)": scores.lesion.get("sensitivity"),
        "detections that are lesions (precision)": scores.lesion.get("precision"),
        "false positives on a cm2 of tissue": scores.lesion.get("fp_per_cm2"),
        "lesion area, any threshold (pixel AP)": scores.pixel.get("ap"),
        "shared area (pixel Dice)": scores.pixel.get("dice"),
    }
    rows = []
    for name, metric in shown.items():
        estimate = format_estimate(metric, is_fraction=not name.startswith("false"))
        if metric is not None:
            rows.append(
                (name, estimate.value, estimate.interval if len(scores.patients) >= MIN_PATIENTS else "")
            )
    head = (scores.protocol.set_label[:MAX_NAME], "value", "95 % CI")
    more = "More: the report, or --verbose."
    return "\n\n".join((fill(answer(scores), TERMINAL_WIDTH), table(head, rows), more))


def _score_rows(scores: Scores, head: str, part: str, columns: Mapping[str, str]) -> str:
    """A row for the model and for each baseline; only columns that this evaluation has."""
    metrics = {method: getattr(scores.metrics[method], part) for method in scores.methods}
    shown = {title: name for title, name in columns.items() if name in metrics[scores.protocol.method]}
    rows = [
        (method, *(interval_cell(values.get(name)) for name in shown.values()))
        for method, values in metrics.items()
        if values
    ]
    return table((head, *shown), rows)


def _lesion_counts(scores: Scores) -> str:
    counts = count_lesions(scores.lesions)
    places = ", ".join(f"{number} {place}" for place, number in counts.false_positives_on.items())
    return (
        f"{counts.true_positives} of {pluralize(counts.lesions, 'lesion')} detected, "
        f"{pluralize(counts.false_positives, 'false positive')} on "
        f"{counts.tissue_mm2:.1f} mm2 of tissue{f' ({places})' if places else ''}; "
        f"{pluralize(counts.duplicates, 'duplicate')}, {pluralize(counts.splits, 'split lesion')}, "
        f"{pluralize(counts.merges, 'merged detection')}\n{describe_rule(PRIMARY_RULE)}"
    )


def training_table(model: ModelFolder) -> str:
    """Format the scores on the tuning set, on which the threshold was chosen.

    Args:
        model: A model folder that `train` wrote.

    Returns:
        A table with one row.
    """
    tuning = model.metrics["tune"]
    if "images" in tuning:
        overall = tuning["images"]["overall"]
        image_head = ("images of the tuning set", "images", *(name.replace("_", " ") for name in overall))
        values = [figure["value"] for figure in overall.values()]
        return table(image_head, [("model", tuning["images"]["count"], *values)])
    set_name = "tuning blocks (optimistic)" if tuning["optimistic"] else "tuning set"
    head = (f"tissue pixels of the {set_name}", "AP", "Dice", "precision", "recall", "prevalence")
    names = ("ap", "dice", "precision", "recall", "prevalence")
    return table(head, [("model", *(tuning["pixel"][name] for name in names))])


def ledger_table(rows: Sequence[LedgerRow], *, verbose: bool = False) -> str:
    """Format the ledger of a detection: the sum in words, then one line per slide, failures last.

    Args:
        rows: What `detect` returns.
        verbose: Show all slides and columns, however wide.

    Returns:
        A sentence and a table.
    """
    if not verbose:
        return _ledger_answer(rows)
    head = ("slide", "state", "regions", "windows", "seconds", "um/px", "from", "reason")
    ordered = sorted(rows, key=lambda row: row.state == "failed")
    return table(
        head,
        [
            (row.slide, row.state, row.regions, row.windows, row.seconds, row.mpp, row.mpp_source, row.reason)
            for row in ordered
        ],
    )


def _ledger_answer(rows: Sequence[LedgerRow]) -> str:
    """The ledger on a terminal of 80 characters; reasons of failures stand below, once."""
    seconds = sum(row.seconds for row in rows)
    if all(row.state == "planned" for row in rows):
        windows = sum(row.windows for row in rows)
        answer_line = (
            f"{pluralize(len(rows), 'slide')}, {pluralize(windows, 'window')}: "
            f"about {format_duration(seconds)} on this machine"
        )
    else:
        done = [row for row in rows if row.state == "done"]
        regions = sum(row.regions for row in done)
        answer_line = f"{pluralize(regions, 'region')} on {pluralize(len(done), 'slide')}"
        if failed := [row for row in rows if row.state == "failed"]:
            answer_line += (
                f"; {pluralize(len(failed), 'slide')} failed ({list_some([row.slide for row in failed])})"
            )
    ordered = sorted(rows, key=lambda row: (row.state == "failed", -row.regions))
    cells = [
        (
            row.slide if len(row.slide) <= MAX_NAME else f"{row.slide[: MAX_NAME - 1]}\u2026",
            row.state,
            "" if row.state == "planned" else row.regions,
            f"{row.tissue_mm2:.1f}",
            format_duration(row.seconds),
        )
        for row in ordered[:MAX_ROWS]
    ]
    parts = [answer_line, table(("slide", "state", "regions", "tissue, mm2", "time"), cells)]
    if len(rows) > MAX_ROWS:
        parts.append(f"{len(rows) - MAX_ROWS:,} more slides: in the ledger, or with --verbose")
    return "\n\n".join(parts)


def crossval_table(result: Crossval) -> str:
    """Format a cross-validation: scores of each recipe, differences, single folds.

    Args:
        result: What `crossval` returns.

    Returns:
        Tables, then how many patients they are based on.
    """
    parts = [
        _interval_rows("tissue pixels, out of fold", CROSSVAL_PIXEL_COLUMNS, result.metrics),
        _interval_rows("lesions, out of fold", CROSSVAL_LESION_COLUMNS, result.metrics),
    ]
    pairs = {f"{other} minus {first}": figures for (first, other), figures in result.differences.items()}
    if pairs:
        parts += [
            _interval_rows("paired difference", CROSSVAL_PIXEL_COLUMNS, pairs),
            _interval_rows("", CROSSVAL_LESION_COLUMNS, pairs),
        ]

    # each fold by itself
    folds = []
    for recipe in result.recipes:
        for fold in recipe.folds:
            pixel = fold.scores.pixels.to_row(fold.scores.threshold)
            patients = ", ".join(fold.scores.patients)
            folds.append(
                (
                    recipe.name,
                    fold.number,
                    patients,
                    fold.steps,
                    fold.scores.threshold,
                    pixel["ap"],
                    pixel["dice"],
                )
            )
    parts.append(table(("recipe", "fold", "test patients", "steps", "threshold", "AP", "Dice"), folds))
    basis = _basis(len(result.slides), "slide", len(result.patients))
    return "\n\n".join([*parts, basis])


def _interval_rows(
    head: str, columns: Mapping[str, str], rows: Mapping[str, Mapping[str, ConfidenceInterval]]
) -> str:
    cells = [
        (name, *(interval_cell(metrics[key]) for key in columns.values())) for name, metrics in rows.items()
    ]
    return table((head, *columns), cells)


def image_table(scores: ImageScores) -> str:
    """Format the scores of image classification: classes, averages, confusion matrix.

    Args:
        scores: The result of `evaluate_images`.

    Returns:
        Tables; for the classes of BRACS also those of its three groups.
    """
    # rows of the confusion matrix, by the class of the folder
    confusion_rows = [
        (label, *predicted.values()) for label, predicted in scores.predicted_by_label().items()
    ]
    parts = [_image_scores(scores), table(("class, predicted as", *scores.classes), confusion_rows)]
    groups = group_classes(scores, BRACS_GROUPS) if len(scores.classes) > 3 else None
    if groups is not None:
        parts.append(_image_scores(groups))
    basis = _basis(len(scores.images), "image", len(scores.patients))
    return "\n\n".join([*parts, basis])


def _image_scores(scores: ImageScores) -> str:
    totals = scores.confusion().sum(1).tolist()
    by_class = [
        (label, total, *(interval_cell(scores.by_class[label][figure]) for figure in CLASS_METRICS))
        for label, total in zip(scores.classes, totals, strict=True)
    ]
    overall = [(name.replace("_", " "), interval_cell(scores.overall[name])) for name in OVERALL_METRICS]
    return "\n\n".join(
        [table(("class", "images", *CLASS_METRICS), by_class), table(("all classes", ""), overall)]
    )


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else visible(str(value), one_line=True)


def _basis(number: int, item: str, patients: int) -> str:
    """What metrics are based on, and what stands in brackets."""
    ci = "; in brackets 95 % CI, bootstrap over patients" if patients >= MIN_PATIENTS else ""
    return f"{pluralize(number, item)} of {pluralize(patients, 'patient')}{ci}"
