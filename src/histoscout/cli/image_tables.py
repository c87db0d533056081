"""Figures of images by class as plain tables."""

from collections.abc import Sequence

from histoscout.cli.tables import interval_cell, table
from histoscout.evaluation.classification import OF_ALL, OF_EACH
from histoscout.evaluation.roi_published import (
    CAVEAT,
    THREE,
    Published,
    columns_of,
    published_for,
    sources_of,
)
from histoscout.evaluation.roi_scores import BRACS_GROUPS, ImageScores, folded


def image_table(scores: ImageScores) -> str:
    """Figures of each class and of all together, and what images of each class were taken for."""
    parts = [_figures(scores), _confusion(scores)]
    groups = folded(scores, BRACS_GROUPS) if len(scores.classes) > 3 else None
    if groups is not None:
        parts.append(_figures(groups))
    if rows := published_for(scores.classes):
        parts.append(_published("seven classes, as published", scores, rows))
        if groups is not None:
            parts.append(_published("three groups, as published", groups, THREE))
        parts.append("\n".join([f"{CAVEAT}:", *sources_of((*rows, *THREE))]))
    stand = f"{len(scores.images)} images of {len(scores.patients)} patients; in brackets 95 % intervals over patients"
    return "\n\n".join([*parts, stand])


def _figures(scores: ImageScores) -> str:
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
