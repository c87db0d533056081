"""The section of an evaluation report on lesions: FROC, operating points, false positives."""

from collections.abc import Mapping, Sequence

from histoscout.detection.operating_point import (
    OperatingPoints,
    OperatingTarget,
    choose_operating_point,
    required_patients,
)
from histoscout.errors import ModelError
from histoscout.evaluation.bootstrap import ConfidenceInterval
from histoscout.evaluation.lesions.compare import LOCATION_KINDS
from histoscout.evaluation.lesions.froc import (
    ANNOTATION_POLICIES,
    FROC_RATES,
    RATE_UNITS,
    REVIEWED,
    REVIEWED_DESCRIPTION,
    STRICT,
    froc_curve,
    froc_metric,
    measure_operating_points,
    sensitivity_metric,
)
from histoscout.evaluation.lesions.matching import MATCHING_RULES, PRIMARY_RULE, describe_rule
from histoscout.evaluation.lesions.objects import OBJECT_METRICS
from histoscout.evaluation.lesions.summary import (
    LesionCounts,
    choose_size_strata,
    count_by_size,
    count_lesions,
    size_statistic,
)
from histoscout.io.notes import pluralize
from histoscout.report.blocks import Block, BulletList, Cell, Heading, Picture, Pictures, Table, Text
from histoscout.report.evaluation.pixels import metric_rows
from histoscout.report.formatting import DASH, ReportData, format_fraction, format_number, format_units
from histoscout.report.page import Section
from histoscout.report.plots import Bar, Line, plot_bars, plot_froc

FALSE_POSITIVE_RATE = "false positives per cm\u00b2"
FROC_AVERAGE = "mean FROC sensitivity"

COLUMNS: Mapping[str, str] = {
    "sensitivity": "sensitivity",
    "precision": "precision",
    "fp_per_cm2": FALSE_POSITIVE_RATE,
    "froc_per_cm2": FROC_AVERAGE,
}
"""Metrics of lesions, and their names above a column."""

RULE_NAMES: Mapping[str, str] = {
    "iou_0.3": "IoU \u2265 .3",
    "iou_0.1": "IoU \u2265 .1",
    "center": "center inside",
}
"""Short names of the matching rules, for legends."""

UNIT_NAMES: Mapping[str, str] = {"cm2": "cm\u00b2 of tissue", "slide": "slide"}
"""What false positives are divided by."""

OPERATING_TARGETS = (
    "1 FP/cm2",
    "5 FP/cm2",
    "10 FP/cm2",
    "sensitivity 0.8",
    "sensitivity 0.9",
    "sensitivity 0.95",
    "precision 0.9",
)
"""The operating targets of the table of operating points."""

GUARANTEED_MISS_RATE = 0.1
"""The conformal guarantee that the report speaks of: missed lesions in at most one of ten new patients."""

DETECT_COMMAND = 'histoscout detect MODEL SLIDES -o RESULTS --operating-points SCORES --at "5 FP/cm2"'

MAX_NOTES = 20


def lesion_section(data: ReportData) -> Section:
    """Compose the section on lesions: which are detected, and what the false positives are.

    Args:
        data: Scores, slides and model.

    Returns:
        The section.
    """
    scores = data.scores
    counts = count_lesions(scores.lesions)
    blocks: list[Block] = [
        Text(f"{format_units(describe_rule(PRIMARY_RULE))}\n\n{_counts_text(counts)}"),
        _method_table(data),
        Pictures((_froc_picture(data), *_size_picture(data))),
        _froc_table(data),
        *operating_blocks(data),
        *_false_positives(counts),
        Heading("Other matching rules and annotation policies"),
        _rule_table(data),
        _object_table(data),
        _policy_table(data),
    ]
    notes = tuple(
        f"{slide.name}: {format_units(note)}." for slide in scores.slides for note in slide.lesions.notes
    )
    if notes:
        more = (f"\u2026 and {len(notes) - MAX_NOTES} more",) if len(notes) > MAX_NOTES else ()
        blocks.append(BulletList((*notes[:MAX_NOTES], *more), "Notes on the annotations"))
    sentence = "Which lesions are detected, and which detections are false positives."
    return Section(title="Lesions", sentence=sentence, blocks=tuple(blocks))


def operating_blocks(data: ReportData) -> tuple[Block, ...]:
    """Compose the operating points: score threshold and metrics for each common target.

    Args:
        data: Scores and model.

    Returns:
        No blocks without a model, or if nothing was detected.
    """
    scores = data.scores
    patients = [slide.patient for slide in scores.slides]
    table = measure_operating_points(
        scores.lesions, patients, source=scores.protocol.source, threshold=scores.threshold
    )
    if data.model is None or not table.points:
        return ()
    caption = (
        "Detections below the score threshold are discarded; a score threshold below the threshold in use "
        "adds fainter "
        "detections. Thresholds are chosen and evaluated on the same patients, so the metrics are slightly "
        "optimistic. "
        f"To apply one: `{DETECT_COMMAND}`."
    )
    return (
        Heading("Operating points"),
        Table(
            head=("target", "score threshold", "sensitivity", FALSE_POSITIVE_RATE, "precision"),
            rows=tuple(_operating_row(table, OperatingTarget.parse(text)) for text in OPERATING_TARGETS),
            caption=caption,
        ),
        Text(_guarantee_text(table)),
    )


def _operating_row(table: OperatingPoints, target: OperatingTarget) -> tuple[Cell, ...]:
    name = format_units(str(target))
    try:
        chosen = choose_operating_point(table, target, "report")
    except ModelError:
        return (name, "not reached", *[DASH] * 3)
    metrics = table.metrics(next(point for point in table.points if point.score == chosen.score_threshold))
    return (
        name,
        f"{chosen.score_threshold:.3f}",
        format_fraction(metrics["sensitivity"]),
        format_number(metrics["fp_per_cm2"]),
        format_fraction(metrics["precision"]),
    )


def _guarantee_text(table: OperatingPoints) -> str:
    """Whether these patients allow a conformal guarantee."""
    patients = len(table.weakest)
    needed = required_patients(GUARANTEED_MISS_RATE)
    target = f'`--at "miss {GUARANTEED_MISS_RATE:g}"`'
    meaning = "missed lesions in at most one of ten new patients"
    if table.source != "test set":
        return (
            f"No conformal guarantee ({target}: {meaning}) is available: it needs patients that played no "
            "part in "
            f"training, and these are the {table.source}."
        )
    if patients < needed:
        return (
            f"No conformal guarantee ({target}: {meaning}) is available: it needs {needed} patients with "
            "lesions, and "
            f"there are {patients}."
        )
    return (
        f"A conformal guarantee ({target}: {meaning}) is available: there are {patients} patients with "
        "lesions."
    )


def _counts_text(counts: LesionCounts) -> str:
    parts = [
        f"{counts.true_positives} of {pluralize(counts.lesions, 'lesion')} detected",
        pluralize(counts.false_positives, "false positive"),
        pluralize(counts.duplicates, "duplicate"),
    ]
    if counts.ignored:
        parts.append(f"{counts.ignored} in ignored areas")
    sentences = [f"At the threshold in use: {', '.join(parts)}."]
    if counts.splits:
        splits = pluralize(counts.splits, "missed lesion is", "missed lesions are")
        sentences.append(f"{splits} covered only by several detections together (splits).")
    if counts.merges:
        merges = pluralize(counts.merges, "detection covers", "detections cover")
        sentences.append(f"{merges} several lesions (merges).")
    return " ".join(sentences)


def _method_table(data: ReportData) -> Table:
    return Table(
        head=(f"lesions, {data.scores.protocol.set_label}", *COLUMNS.values()),
        rows=metric_rows(data, COLUMNS, "lesion"),
        caption="The first row should have a higher sensitivity than the others, with fewer false positives. "
        "The "
        f"{FROC_AVERAGE} is the mean of the sensitivities at 1/4 to 8 false positives per cm\u00b2 of "
        "tissue; it does not "
        f"depend on the threshold. {data.ci_note}",
        highlighted=(0,),
    )


def _froc_picture(data: ReportData) -> Picture:
    scores = data.scores
    lines = []
    for rule in MATCHING_RULES:
        curve = froc_curve(scores.lesions, scores.patient_numbers, rule)
        low, high = _froc_band(scores.lesion) if rule == PRIMARY_RULE else (None, None)
        defined = len(curve.sensitivity) and len(curve.fp_per_cm2)
        lines.append(
            Line(
                name=RULE_NAMES.get(rule, rule),
                x=curve.fp_per_cm2.tolist() if defined else [],
                y=curve.sensitivity.tolist() if defined else [],
                low=low,
                high=high,
            )
        )

    # caption: what can be read off the curve, and what cannot
    sentences = ["A good curve rises steeply on the left; dots mark 1/4 to 8 false positives per cm\u00b2."]
    primary = lines[0]
    if any(low < high for low, high in zip(primary.low or (), primary.high or (), strict=True)):
        sentences.append("The band is the 95\u00a0% CI, bootstrap over patients.")
    if scores.tissue_mm2 and 100 / scores.tissue_mm2 > FROC_RATES[0]:
        rate = format_number(100 / scores.tissue_mm2)
        sentences.append(
            f"With this little tissue, a single false positive is {rate} per cm\u00b2; lower rates mean none."
        )
    if ending := scores.froc.end_note("cm2"):
        sentences.append(format_units(ending))
    return Picture(
        data=plot_froc(lines, UNIT_NAMES["cm2"]),
        caption=" ".join(sentences),
        alt="Sensitivity for lesions against false positives per cm\u00b2 of tissue.",
    )


def _froc_band(
    metrics: Mapping[str, ConfidenceInterval],
) -> tuple[list[float] | None, list[float] | None]:
    """The 95 % CI at each of `FROC_RATES`, if all of them have one."""
    marks = [metrics[sensitivity_metric(rate, "cm2")] for rate in FROC_RATES]
    low = [mark.low for mark in marks if mark.low is not None]
    high = [mark.high for mark in marks if mark.high is not None]
    return (low, high) if len(low) == len(high) == len(FROC_RATES) else (None, None)


def _size_picture(data: ReportData) -> tuple[Picture, ...]:
    """Sensitivity by size of the lesion, if there are lesions of several sizes."""
    scores = data.scores
    strata = choose_size_strata(scores.lesions)
    totals = count_by_size(scores.lesions, strata)
    if len(totals) < 2:
        return ()
    sensitivity = scores.intervals(size_statistic(scores.lesions, scores.patient_numbers, strata))
    bars = [
        Bar(
            name=_short_stratum(format_units(name)),
            value=sensitivity[name].value,
            total=total,
            low=sensitivity[name].low,
            high=sensitivity[name].high,
        )
        for name, total in totals.items()
    ]
    counts = [
        f"{format_units(name)}: {round((sensitivity[name].value or 0) * total)} of {total} detected"
        for name, total in totals.items()
    ]
    return (
        Picture(
            data=plot_bars(bars, "lesion diameter, \u00b5m", "sensitivity"),
            caption="Low bars on the left mean that small lesions are missed. A bar of few lesions is "
            "unreliable.",
            alt="; ".join(counts),
        ),
    )


def _short_stratum(name: str) -> str:
    """The name of a size stratum under a bar; the axis says that it is a diameter in um."""
    number = name.replace(" \u00b5m", "")
    return number.replace("under ", "< ").replace(" to ", "\u2013").replace(" and more", "+")


def _froc_table(data: ReportData) -> Table:
    metrics = data.scores.lesion
    rows: list[tuple[Cell, ...]] = []
    for unit in RATE_UNITS:
        cells = [data.estimate(metrics[sensitivity_metric(rate, unit)]) for rate in FROC_RATES]
        rows.append((f"per {UNIT_NAMES[unit]}", *cells, data.estimate(metrics[froc_metric(unit)])))
    return Table(
        head=("sensitivity at FP =", "1/4", "1/2", "1", "2", "4", "8", "mean"),
        rows=tuple(rows),
        caption="Sensitivity at fixed rates of false positives (FP). Slides differ in their amount of "
        "tissue, so the first row is "
        f"the fairer comparison. {data.ci_note}",
        highlighted=(0,),
    )


def _false_positives(counts: LesionCounts) -> Sequence[Block]:
    if not counts.false_positives:
        return (Heading("False positives"), Text("None at the threshold in use."))
    rows: list[tuple[Cell, ...]] = []
    descriptions: Mapping[str, str] = {str(kind): text for kind, text in LOCATION_KINDS.items()}
    for location, number in counts.false_positives_on.items():
        kind, _, label = location.partition(": ")
        description = descriptions.get(kind, kind)
        percent = f"{100 * number / counts.false_positives:.0f}\u00a0%"
        rows.append((f"{description}: {label}" if label else description, f"{number}", percent))
    caption = (
        "Where the false positives at the threshold in use are. Those on other classes show what the model "
        "confuses with "
        "lesions; those on unannotated tissue may also be lesions that nobody annotated."
    )
    return (
        Heading("False positives"),
        Table(head=("location", "detections", "share"), rows=tuple(rows), caption=caption),
    )


def _rule_table(data: ReportData) -> Table:
    rows = []
    for name, rule in MATCHING_RULES.items():
        metrics = data.scores.lesion if name == PRIMARY_RULE else data.scores.lesion_by(name)
        rows.append((format_units(rule.description), *_main_metrics(data, metrics)))
    return Table(
        head=("a detection matches a lesion if", "sensitivity", FALSE_POSITIVE_RATE, FROC_AVERAGE),
        rows=tuple(rows),
        caption="Less strict rules give better values. All other values in this report use the first rule, "
        "and conclusions "
        "should rest on it; use the others to compare with results published under the same rule.",
        highlighted=(0,),
    )


def _object_table(data: ReportData) -> Table:
    """Single lesions as objects: what is lost where detections of neighbors run together."""
    rows = tuple(
        (
            format_units(description),
            data.estimate(data.scores.objects[name], is_fraction=not name.endswith("_um")),
        )
        for name, description in OBJECT_METRICS.items()
    )
    return Table(
        head=("single lesions as objects", data.scores.protocol.method),
        rows=rows,
        caption="The first three as in the GlaS challenge (Sirinukunwattana 2017), the last is the panoptic quality "
        f"(Kirillov 2019). Lesions that run together lower all of them. {data.ci_note}",
    )


def _policy_table(data: ReportData) -> Table:
    scores = data.scores
    rows: list[tuple[Cell, ...]] = []
    for name, policy in ANNOTATION_POLICIES.items():
        metrics = scores.lesion if name == STRICT else scores.lesion_by(policy=name)
        description = f"{policy.description[0].lower()}{format_units(policy.description[1:])}"
        rows.append((f"{name}: {description}", *_main_metrics(data, metrics)))
    if scores.reviewed:
        name = f"{REVIEWED}: {format_units(REVIEWED_DESCRIPTION)}"
        rows.append((name, *_main_metrics(data, scores.lesion_reviewed)))
    areas = count_lesions(scores.lesions)
    return Table(
        head=("annotation policy", "sensitivity", FALSE_POSITIVE_RATE, FROC_AVERAGE),
        rows=tuple(rows),
        caption="How far the results depend on how unannotated tissue is counted "
        f"({format_number(areas.tissue_mm2)} mm\u00b2 of tissue, {format_number(areas.annotated_mm2)} "
        "mm\u00b2 of it "
        "annotated).",
        highlighted=(0,),
    )


def _main_metrics(data: ReportData, metrics: Mapping[str, ConfidenceInterval]) -> tuple[Cell, ...]:
    return (
        data.estimate(metrics["sensitivity"]),
        data.estimate(metrics["fp_per_cm2"], is_fraction=False),
        data.estimate(metrics["froc_per_cm2"]),
    )
