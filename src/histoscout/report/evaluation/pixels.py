"""The sections of an evaluation report on pixels, tiles, other classes and calibration."""

from collections.abc import Mapping, Sequence

from histoscout.evaluation.lesions.summary import SCORE_DESCRIPTION
from histoscout.evaluation.pixels.metrics import MEAN_DICE, Curve
from histoscout.evaluation.slide_metrics import BASELINES, PERFECT_OUTLINES, PREVIOUS
from histoscout.io.notes import pluralize
from histoscout.report.blocks import Block, BulletList, Cell, Heading, Picture, Pictures, Table, Text
from histoscout.report.formatting import DASH, ReportData, estimate_text, format_fraction
from histoscout.report.page import Section
from histoscout.report.plots import Line, plot_confusion, plot_precision_recall, plot_reliability, plot_roc

PIXEL_COLUMNS: Mapping[str, str] = {
    "ap": "AP",
    "dice": "Dice",
    MEAN_DICE: "Dice, mean over patients",
    "precision": "precision",
    "recall": "recall",
}
"""Metrics of pixels, and their names above a column."""

TILE_SET_COLUMNS: Mapping[str, str] = {
    "f1": "F1",
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}
"""Metrics of tiles of a fixed size, and their names above a column."""

TILE_COLUMNS: Mapping[str, str] = {"auroc": "AUROC", "ap": "AP", "prevalence": "prevalence"}
"""Metrics of tiles, and their names above a column."""


def pixel_section(data: ReportData) -> Section:
    """Compose the section on pixels and tiles.

    Args:
        data: Scores, slides and model.

    Returns:
        The section.
    """
    scores = data.scores
    columns = {metric: name for metric, name in PIXEL_COLUMNS.items() if metric in scores.pixel}
    blocks: list[Block] = [
        Table(
            head=(f"tissue pixels, {scores.protocol.set_label}", *columns.values()),
            rows=metric_rows(data, columns, "pixel"),
            caption=f"The first row should be well above all others. {scores.protocol.positive} covers "
            f"{format_fraction(scores.pixels.prevalence, 3)} of the tissue, which is the AP of guessing. "
            f"{data.ci_note}",
            highlighted=(0,),
        )
    ]
    if scores.protocol.has_probabilities and len(scores.roc.x):
        blocks.append(Pictures((_pr_picture(data), _roc_picture(data))))
    blocks += [Pictures(_confusion_pictures(data)), *_tile_blocks(data), *_tile_set_blocks(data)]

    # what each baseline does
    descriptions = {**BASELINES, PREVIOUS: "another model, on the same slides"}
    methods = [method for method in shown_methods(data) if method in descriptions]
    baselines = tuple(f"{method}: {descriptions[method]}" for method in methods)
    blocks.append(BulletList(baselines, "Baselines"))
    sentence = "How much of the lesion area is detected, and how much of the detected area is lesion."
    return Section(title="Pixels", sentence=sentence, blocks=tuple(blocks))


def shown_methods(data: ReportData) -> list[str]:
    """The model and the baselines that say something about it.

    Where one class alone is annotated, perfect outlines of every class are 1.00 by definition.

    Args:
        data: Scores of the model and of the baselines.

    Returns:
        Names of methods, the model first.
    """
    labels = {annotation.label for slide in data.scores.slides for annotation in slide.scored_annotations}
    by_definition = labels == {data.scores.protocol.positive}
    return [name for name in data.scores.methods if not (by_definition and name == PERFECT_OUTLINES)]


def metric_rows(data: ReportData, columns: Mapping[str, str], part: str) -> tuple[tuple[Cell, ...], ...]:
    """Make a row of metrics for the model, and one for each baseline that has any.

    Args:
        data: Scores of the model and of the baselines.
        columns: The metrics, by their name in scores.json.
        part: "pixel", "tile" or "lesion".

    Returns:
        Rows of a name and as many estimates as there are columns.
    """
    rows: list[tuple[Cell, ...]] = []
    for number, method in enumerate(shown_methods(data)):
        metrics = data.scores.metrics[method]
        values = {"pixel": metrics.pixel, "tile": metrics.tile, "lesion": metrics.lesion}[part]
        estimates = [
            data.estimate(values.get(metric), is_fraction=not metric.startswith("fp_per"))
            for metric in columns
        ]
        if number == 0 or any(estimate.value != DASH for estimate in estimates):
            name = f"{PREVIOUS}: {data.scores.protocol.previous_model}" if method == PREVIOUS else method
            rows.append((name, *estimates))
    return tuple(rows)


def class_section(data: ReportData) -> Section | None:
    """Compose the section on the separation of lesions from other annotated classes.

    Args:
        data: Scores of the annotations.

    Returns:
        The section; None if no other class is annotated.
    """
    metrics = data.scores.class_auroc
    if not metrics:
        return None
    positive = data.scores.protocol.positive
    labels = [annotation.label for slide in data.scores.slides for annotation in slide.scored_annotations]
    counts = {name: sum((label or "unclassified") == name for label in labels) for name in metrics}
    rows = tuple(
        (name, f"{counts[name] or len(labels) - labels.count(positive):,}", data.estimate(metric))
        for name, metric in metrics.items()
    )
    table = Table(
        head=(f"{positive} versus", "annotations", "AUROC"),
        rows=rows,
        caption=f"1.00 means that every {positive} annotation has a higher score than every annotation of "
        "the other class, "
        f".50 is guessing. There are {pluralize(labels.count(positive), f'{positive} annotation')}. "
        f"{data.ci_note}",
    )
    sentence = (
        f"Whether scores separate {positive} from other classes. The score of an annotation is "
        f"{SCORE_DESCRIPTION}."
    )
    return Section(title="Other classes", sentence=sentence, blocks=(table,))


def calibration_section(data: ReportData) -> Section | None:
    """Compose the section on the calibration of probabilities.

    Args:
        data: Scores of the pixels.

    Returns:
        The section; None without probabilities.
    """
    scores = data.scores
    if not scores.protocol.has_probabilities or not scores.reliability:
        return None
    bins = scores.reliability
    picture = Picture(
        data=plot_reliability([level.predicted for level in bins], [level.observed for level in bins]),
        caption=f"{pluralize(len(bins), 'bin')} with equal numbers of pixels. Above the dotted line the "
        "predicted "
        "probability is too low, below it too high.",
        alt="Reliability diagram: observed fraction of lesion pixels against predicted probability.",
    )
    ece, brier, skill = (
        estimate_text(data.estimate(scores.pixel[name])) for name in ("ece", "brier", "brier_skill")
    )
    text = Text(
        f"Expected calibration error (ECE): {ece}, the mean distance between predicted probability and "
        "observed fraction. "
        f"Brier score: {brier}. Brier skill score: {skill}; 1 is perfect, 0 is no better than always "
        "predicting the "
        "prevalence."
    )
    sentence = (
        "Whether probabilities can be taken literally: of pixels with a probability of 30\u00a0%, 30\u00a0% "
        "should be "
        "lesion."
    )
    return Section(title="Calibration", sentence=sentence, blocks=(text, Pictures((picture,))))


def _pr_picture(data: ReportData) -> Picture:
    scores = data.scores
    ap = format_fraction(scores.pixel["ap"].value)
    line = _curve_line(f"{data.name} (AP {ap})", scores.pr, scores.threshold)
    return Picture(
        data=plot_precision_recall([line], scores.pixels.prevalence, "pixels"),
        caption="The closer the curve is to the upper right corner, the better. The dot is the threshold in "
        "use.",
        alt=f"Precision against recall of pixels; average precision {ap}.",
    )


def _roc_picture(data: ReportData) -> Picture:
    scores = data.scores
    auroc = format_fraction(scores.pixel["auroc"].value)
    line = _curve_line(f"{data.name} (AUROC {auroc})", scores.roc, scores.threshold)
    return Picture(
        data=plot_roc([line], "pixels"),
        caption="The closer the curve is to the upper left corner, the better. If lesions are rare, a good "
        "ROC curve can "
        "still mean that most detected pixels are false positives; rely on the precision-recall curve then.",
        alt=f"Sensitivity against false-positive rate of pixels; area under the curve {auroc}.",
    )


def _curve_line(name: str, curve: Curve, threshold: float) -> Line:
    """A curve with a dot at the threshold in use."""
    reached = [place for place, value in enumerate(curve.thresholds) if value >= threshold - 1e-9]
    point = (float(curve.x[reached[-1]]), float(curve.y[reached[-1]])) if reached else None
    return Line(name=name, x=curve.x.tolist(), y=curve.y.tolist(), point=point)


def _confusion_pictures(data: ReportData) -> tuple[Picture, ...]:
    scores = data.scores
    confusion = scores.pixels.confusion(scores.threshold)
    labels = (scores.protocol.positive, "other")
    counts = ((int(confusion.tp), int(confusion.fn)), (int(confusion.fp), int(confusion.tn)))
    (tp, fn), (fp, tn) = counts
    return (
        Picture(
            data=plot_confusion(labels, counts, of_row=False),
            caption="Confusion matrix in pixels. Only the diagonal from upper left to lower right should be "
            "dark.",
            alt=f"Confusion of pixels: {tp:,} true positive, {fn:,} false negative, {fp:,} false positive, "
            f"{tn:,} true negative.",
        ),
        Picture(
            data=plot_confusion(labels, counts, of_row=True),
            caption="The same as a fraction of each row; the upper left cell is the recall.",
            alt="Confusion of pixels as a fraction of their true class.",
        ),
    )


def _tile_blocks(data: ReportData) -> Sequence[Block]:
    tile = data.scores.tile
    if not tile:
        return ()
    if tile["prevalence"].value is None:
        reason = "No tile can be evaluated: each is ignored or holds too little of either class."
        return (Heading("Tiles"), Text(reason))
    return (
        Heading("Tiles"),
        Table(
            head=(f"tiles, {data.scores.protocol.set_label}", *TILE_COLUMNS.values()),
            rows=metric_rows(data, TILE_COLUMNS, "tile"),
            caption="Whether tiles with lesion score higher than tiles without, at any threshold. Guessing "
            "has an AUROC of .50, "
            f"and the prevalence as its AP. {data.ci_note}",
            highlighted=(0,),
        ),
    )


def _tile_set_blocks(data: ReportData) -> Sequence[Block]:
    """Tiles of a fixed size: the figures that papers on patches give."""
    scores = data.scores
    if not scores.tile_set:
        return ()
    count = sum(int(counts.positive.sum() + counts.negative.sum()) for counts in scores.tile_set_counts)
    return (
        Table(
            head=(f"tiles of {scores.protocol.tile_um:g} \u00b5m", *TILE_SET_COLUMNS.values()),
            rows=(
                (
                    scores.protocol.method,
                    *(data.estimate(scores.tile_set[name]) for name in TILE_SET_COLUMNS),
                ),
            ),
            caption=f"{count:,} tiles ({scores.protocol.tile_source}), as papers on patches count them. A tile "
            f"is positive if its mean probability is at least {format_fraction(scores.tile_threshold)}. {data.ci_note}",
            highlighted=(0,),
        ),
    )
