"""The sections of an evaluation's report on pixels and tiles, on probabilities, and on telling classes apart."""

from collections.abc import Mapping, Sequence

from histoscout.evaluation.bootstrap import Interval
from histoscout.evaluation.lesions.class_auroc import SCORED_BY
from histoscout.evaluation.pixels.metrics import MEAN_DICE, Curve
from histoscout.evaluation.scores import FinderFigures
from histoscout.evaluation.slide_metrics import BASELINES, PREVIOUS
from histoscout.report.blocks import Block, Cell, Heading, Picture, Pictures, Points, Table, Text
from histoscout.report.evaluation.figures import NOTHING_TO_SAY, Measured
from histoscout.report.numbers import share, words
from histoscout.report.page import Section
from histoscout.report.plots import Line, confusion, precision_recall, reliability, roc

PIXEL_COLUMNS: Mapping[str, str] = {
    "ap": "AP",
    "dice": "Dice",
    MEAN_DICE: "Dice, mean of patients",
    "precision": "precision",
    "recall": "recall",
}
TILE_COLUMNS: Mapping[str, str] = {"auroc": "AUROC", "ap": "AP", "prevalence": "prevalence"}


def pixel_section(measured: Measured) -> Section:
    """How much of the lesions' area is found, and at what price."""
    scores = measured.scores
    columns = {name: said for name, said in PIXEL_COLUMNS.items() if name in scores.pixel}
    blocks: list[Block] = [
        Table(
            (f"tissue pixels, {scores.exam.on}", *columns.values()),
            finder_rows(measured, columns, "pixel"),
            f"The first row should stand well above all others; {scores.exam.positive} covers "
            f"{share(scores.pixels.prevalence, 3)} of the tissue, which is what guessing has as its AP. "
            f"{measured.about_intervals}",
            ours=(0,),
        )
    ]
    if scores.exam.probabilities and len(scores.roc.x):
        blocks.append(Pictures((_pr(measured), _roc(measured))))
    blocks += [Pictures(_confusions(measured)), *_tiles(measured), _what_baselines_do(measured)]
    sentence = "How much of the lesions\u2019 area is found, and how much of what is found is lesion."
    return Section("Pixels", sentence, tuple(blocks))


def finder_rows(measured: Measured, columns: Mapping[str, str], part: str) -> tuple[tuple[Cell, ...], ...]:
    """A row of figures for the finder judged, then for each that has any."""
    rows: list[tuple[Cell, ...]] = []
    for number, (finder, figures) in enumerate(measured.scores.figures.items()):
        values = _part(figures, part)
        amounts = {name for name in columns if name.startswith("false_per")}
        shown = [measured.shown(values.get(name), is_share=name not in amounts) for name in columns]
        if number == 0 or any(figure.value != NOTHING_TO_SAY for figure in shown):
            rows.append((finder_name(measured, finder), *shown))
    return tuple(rows)


def finder_name(measured: Measured, finder: str) -> str:
    """What a finder is called in tables."""
    return f"{PREVIOUS}: {measured.scores.exam.previous}" if finder == PREVIOUS else finder


def _part(figures: FinderFigures, part: str) -> Mapping[str, Interval]:
    return {"pixel": figures.pixel, "tile": figures.tile, "lesion": figures.lesion}[part]


def _pr(measured: Measured) -> Picture:
    scores = measured.scores
    ap = share(scores.pixel["ap"].value)
    line = _line(f"{measured.name} (AP {ap})", scores.pr, scores.threshold)
    return Picture(
        precision_recall([line], scores.pixels.prevalence, "pixels"),
        "The nearer the curve stays to the upper right corner, the better; the dot is the threshold in use.",
        f"Precision against recall of pixels; average precision {ap}.",
    )


def _roc(measured: Measured) -> Picture:
    scores = measured.scores
    auroc = share(scores.pixel["auroc"].value)
    line = _line(f"{measured.name} (AUROC {auroc})", scores.roc, scores.threshold)
    return Picture(
        roc([line], "pixels"),
        "The nearer the curve stays to the upper left corner, the better. Where lesions are rare, a good-looking ROC curve "
        "may still mean mostly false pixels: trust the curve of precision.",
        f"Sensitivity against false-positive rate of pixels; area under the curve {auroc}.",
    )


def _line(name: str, curve: Curve, threshold: float) -> Line:
    reached = [place for place, value in enumerate(curve.thresholds) if value >= threshold - 1e-9]
    point = (float(curve.x[reached[-1]]), float(curve.y[reached[-1]])) if reached else None
    return Line(name, curve.x.tolist(), curve.y.tolist(), point=point)


def _confusions(measured: Measured) -> tuple[Picture, ...]:
    scores = measured.scores
    seen = scores.pixels.confusion(scores.threshold)
    labels = (scores.exam.positive, "the rest")
    counts = ((int(seen.hits), int(seen.misses)), (int(seen.alarms), int(seen.rests)))
    said = f"{counts[0][0]:,} found, {counts[0][1]:,} missed, {counts[1][0]:,} wrongly found, {counts[1][1]:,} rightly left"
    return (
        Picture(
            confusion(labels, counts, of_row=False),
            "Pixels counted: dark should be only the cells from upper left to lower right.",
            f"Confusion of pixels: {said}.",
        ),
        Picture(
            confusion(labels, counts, of_row=True),
            "The same as shares of each row: upper left is the recall.",
            "Confusion of pixels as shares of what they really are.",
        ),
    )


def _tiles(measured: Measured) -> Sequence[Block]:
    if not measured.scores.tile:
        return ()
    if measured.scores.tile["prevalence"].value is None:
        return (
            Heading("Tiles"),
            Text("No tile can be judged: each holds too little of a class, or is ignored."),
        )
    return (
        Heading("Tiles"),
        Table(
            (f"tiles, {measured.scores.exam.on}", *TILE_COLUMNS.values()),
            finder_rows(measured, TILE_COLUMNS, "tile"),
            "Whether the tiles with lesion rank above those without, whatever the threshold; .50 is what guessing has as its "
            f"AUROC, the prevalence as its AP. {measured.about_intervals}",
            ours=(0,),
        ),
    )


def _what_baselines_do(measured: Measured) -> Points:
    known = {**BASELINES, PREVIOUS: "another model, on the same slides"}
    names = [finder for finder in measured.scores.finders if finder in known]
    return Points(tuple(f"{name}: {known[name]}" for name in names), "What the other rows are")


def class_section(measured: Measured) -> Section | None:
    """Whether lesions are told from the look-alikes; None if no other class is annotated."""
    figures = measured.scores.outlined
    if not figures:
        return None
    positive = measured.scores.exam.positive
    drawn = [one.label for slide in measured.scores.slides for one in slide.outlined]
    counts = {name: sum((label or "unclassified") == name for label in drawn) for name in figures}
    rows = tuple(
        (name, f"{counts[name] or len(drawn) - drawn.count(positive):,}", measured.shown(figure))
        for name, figure in figures.items()
    )
    table = Table(
        (f"{positive} against", "outlines", "AUROC"),
        rows,
        f"1.00 would mean that every {positive} outline is scored above every outline of the other class, .50 that they "
        f"are not told apart. {drawn.count(positive)} outlines of {positive}. {measured.about_intervals}",
    )
    sentence = f"Every outline that was drawn, of any class, scored by {SCORED_BY}."
    return Section("Other classes", sentence, (table,))


def calibration_section(measured: Measured) -> Section | None:
    """Whether probabilities mean what they say; None where there are none."""
    scores = measured.scores
    if not scores.exam.probabilities or not scores.reliability:
        return None
    bins = scores.reliability
    ece, brier, skill = (measured.shown(scores.pixel[name]) for name in ("ece", "brier", "brier_skill"))
    picture = Picture(
        reliability([cell.said for cell in bins], [cell.true for cell in bins]),
        f"{len(bins)} bins of equally many pixels: dots above the dotted line were said too low, dots below it too high.",
        "Reliability: how often pixels are lesion against how probable they were said to be.",
    )
    text = Text(
        f"Expected calibration error {words(ece)}: how far what is said lies from what is true, on average. "
        f"Brier score {words(brier)}; skill {words(skill)}, where 1 is perfect and 0 no better than always saying the "
        "prevalence."
    )
    sentence = "Whether a probability means what it says: of the places called 30\u00a0% likely, 30\u00a0% should be lesion."
    return Section("Calibration", sentence, (text, Pictures((picture,))))
