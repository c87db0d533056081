"""Figures as plain tables.

Figures of a cross-validation as plain tables.

Figures of images by class as plain tables.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from histoscout.detection.results import LedgerRow
from histoscout.evaluation.bootstrap import Interval
from histoscout.evaluation.images.published import (
    CAVEAT,
    THREE,
    Published,
    columns_of,
    published_for,
    sources_of,
)
from histoscout.evaluation.images.scores import BRACS_GROUPS, OF_ALL, OF_EACH, ImageScores, folded
from histoscout.evaluation.lesions.froc import sensitivity_at
from histoscout.evaluation.lesions.matching import PRIMARY
from histoscout.evaluation.lesions.matching import words as rule_in_words
from histoscout.evaluation.lesions.summary import count_lesions_of
from histoscout.evaluation.out_of_fold import Crossval
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


PIXEL: Mapping[str, str] = MappingProxyType(
    {"AP": "ap", "Dice": "dice", "by patient": "dice_per_patient", "ECE": "ece"}
)
LESION: Mapping[str, str] = MappingProxyType(
    {
        "sensitivity": "sensitivity",
        "false per cm2": "false_per_cm2",
        "FROC per cm2": "froc_per_cm2",
        "at 5 per cm2": sensitivity_at(5.0, "cm2"),
        "at 10 per cm2": sensitivity_at(10.0, "cm2"),
    }
)


def crossval_table(result: Crossval) -> str:
    """Out-of-fold figures of each recipe, differences of each pair, and each fold by itself."""
    parts = [
        _figures("tissue, out of fold", PIXEL, result.figures),
        _figures("lesions, out of fold", LESION, result.figures),
    ]
    pairs = {f"{other} over {one}": figures for (one, other), figures in result.differences.items()}
    if pairs:
        parts += [_figures("difference, paired", PIXEL, pairs), _figures("", LESION, pairs)]
    folds = []
    for arm in result.arms:
        for fold in arm.folds:
            row = fold.scores.pixels.row(fold.scores.threshold)
            patients = ", ".join(fold.scores.patients)
            folds.append(
                (arm.name, fold.number, patients, fold.steps, fold.scores.threshold, row["ap"], row["dice"])
            )
    parts.append(table(("recipe", "fold", "judged on", "steps", "threshold", "AP", "Dice"), folds))
    stand = f"{len(result.slides)} slides of {len(result.patients)} patients; in brackets 95 % intervals over patients"
    return "\n\n".join([*parts, stand])


def _figures(head: str, columns: Mapping[str, str], rows: Mapping[str, Mapping[str, Interval]]) -> str:
    cells = [
        (name, *(interval_cell(figures[key]) for key in columns.values())) for name, figures in rows.items()
    ]
    return table((head, *columns), cells)


def image_table(scores: ImageScores) -> str:
    """Figures of each class and of all together, and what images of each class were taken for."""
    parts = [_image_figures(scores), _confusion(scores)]
    groups = folded(scores, BRACS_GROUPS) if len(scores.classes) > 3 else None
    if groups is not None:
        parts.append(_image_figures(groups))
    if rows := published_for(scores.classes):
        parts.append(_published("seven classes, as published", scores, rows))
        if groups is not None:
            parts.append(_published("three groups, as published", groups, THREE))
        parts.append("\n".join([f"{CAVEAT}:", *sources_of((*rows, *THREE))]))
    stand = f"{len(scores.images)} images of {len(scores.patients)} patients; in brackets 95 % intervals over patients"
    return "\n\n".join([*parts, stand])


def _image_figures(scores: ImageScores) -> str:
    counts = scores.confusion().sum(1).tolist()
    each = [
        (label, count, *(interval_cell(scores.by_class[label][figure]) for figure in OF_EACH))
        for label, count in zip(scores.classes, counts, strict=True)
    ]
    together = [(name.replace("_", " "), interval_cell(scores.overall[name])) for name in OF_ALL]
    return "\n\n".join([table(("class", "images", *OF_EACH), each), table(("all classes", ""), together)])


def _published(title: str, scores: ImageScores, rows: Sequence[Published]) -> str:
    """This model's figures above those of others."""
    names = columns_of(rows)
    own = tuple(interval_cell(scores.figure(name)) for name in names)
    others = [(row.what, *(row.figures.get(name) for name in names)) for row in rows]
    head = (title, *(name.replace("_", " ") for name in names))
    return table(head, [("this model", *own), *others])


def _confusion(scores: ImageScores) -> str:
    """Counts, by the class as the folder calls it."""
    rows = [(label, *taken.values()) for label, taken in scores.taken_for().items()]
    return table(("images of, taken for", *scores.classes), rows)
