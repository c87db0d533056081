"""Figures of images by class as plain tables."""

from histoscout.cli.tables import interval_cell, table
from histoscout.evaluation.classification import OF_ALL, OF_EACH
from histoscout.evaluation.roi_scores import BRACS_GROUPS, ImageScores, folded


def image_table(scores: ImageScores) -> str:
    """Figures of each class and of all together, and what images of each class were taken for."""
    parts = [_figures(scores), _confusion(scores)]
    if len(scores.classes) > 3 and (groups := folded(scores, BRACS_GROUPS)) is not None:
        parts.append(_figures(groups))
    patients = len({image.image.patient for image in scores.images if image.image.patient})
    stand = f"{len(scores.images)} images of {patients} patients; in brackets 95 % intervals over patients"
    return "\n\n".join([*parts, stand])


def _figures(scores: ImageScores) -> str:
    counts = scores.confusion().sum(1).tolist()
    each = [
        (label, count, *(interval_cell(scores.by_class[label][figure]) for figure in OF_EACH))
        for label, count in zip(scores.classes, counts, strict=True)
    ]
    together = [(name.replace("_", " "), interval_cell(scores.overall[name])) for name in OF_ALL]
    return "\n\n".join([table(("class", "images", *OF_EACH), each), table(("all classes", ""), together)])


def _confusion(scores: ImageScores) -> str:
    """Counts, by the class as the folder calls it."""
    rows = [(label, *taken.values()) for label, taken in scores.taken_for().items()]
    return table(("images of, taken for", *scores.classes), rows)
