"""The section of an evaluation's report on lesions: found or not, by which rule, and what false alarms are.

What a user may wish of a detection, and which score meets it on the patients of an evaluation.
"""

from collections.abc import Mapping, Sequence

from histoscout.detection.operating_point import Operating, Wish, choose, patients_needed
from histoscout.errors import ModelError
from histoscout.evaluation.bootstrap import Interval
from histoscout.evaluation.lesions.compare import PLACES
from histoscout.evaluation.lesions.froc import (
    AUDITED,
    AUDITED_WORDS,
    AVERAGED,
    PER,
    READINGS,
    STRICT,
    Owner,
    froc_average,
    froc_curve,
    measure_operating,
    sensitivity_at,
)
from histoscout.evaluation.lesions.matching import PRIMARY, RULES
from histoscout.evaluation.lesions.matching import words as rule_words
from histoscout.evaluation.lesions.summary import (
    LesionCounts,
    count_lesions_of,
    lesions_by_size,
    size_statistic,
    strata_of,
)
from histoscout.report.blocks import Block, Cell, Heading, Picture, Pictures, Points, Table, Text
from histoscout.report.evaluation.figures import NOTHING_TO_SAY, Measured
from histoscout.report.evaluation.pixels import finder_rows
from histoscout.report.numbers import amount, count, share, typeset
from histoscout.report.page import Section
from histoscout.report.plots import Bar, Line, bars, froc

WISHES = (
    "1 FP/cm2",
    "5 FP/cm2",
    "10 FP/cm2",
    "sensitivity 0.8",
    "sensitivity 0.9",
    "sensitivity 0.95",
    "precision 0.9",
)
PROMISED = 0.1


def operating_blocks(measured: Measured) -> tuple[Block, ...]:
    """A row for each usual wish: the score that a finding must reach, and what is found at that price."""
    scores = measured.scores
    names = [slide.patient for slide in scores.slides]
    table = measure_operating(scores.lesions, names, Owner(scores.exam.source, scores.threshold))
    if measured.model is None or not table.points:
        return ()
    rows = tuple(_row(table, Wish.parse(text)) for text in WISHES)
    caption = (
        "Findings are kept from this score on; below the threshold in use, fainter ones are let in. Chosen and counted on the same "
        f"patients, so a little flattering. Use it by `{_COMMAND}`."
    )
    return (
        Heading("Which score for which wish"),
        Table(("wish", "score from", "sensitivity", "false alarms per cm\u00b2", "precision"), rows, caption),
        Text(_promise(table)),
    )


_COMMAND = 'histoscout detect MODEL SLIDES -o FOUND --operating SCORES --at "5 FP/cm2"'


def _row(table: Operating, wish: Wish) -> tuple[Cell, ...]:
    try:
        point = choose(table, wish, "report")
    except ModelError:
        return (typeset(str(wish)), "not reached", *[NOTHING_TO_SAY] * 3)
    figures = table.figures(next(one for one in table.points if one.score == point.cut_off))
    return (
        typeset(str(wish)),
        f"{point.cut_off:.3f}",
        share(figures["sensitivity"]),
        amount(figures["false_per_cm2"]),
        share(figures["precision"]),
    )


def _promise(table: Operating) -> str:
    patients, needed = len(table.weakest), patients_needed(PROMISED)
    if table.source != "patients kept apart":
        return (
            f"A bound on missed lesions (miss {PROMISED:g}) cannot be given: only patients kept apart can give it, and these are "
            f"{table.source}."
        )
    if patients < needed:
        return (
            f"A bound on missed lesions (miss {PROMISED:g}: at most one new patient in ten has a lesion that is missed) cannot be "
            f"given: it needs {needed} patients with lesions, and there are {patients}."
        )
    return f"A bound on missed lesions can be asked for (miss {PROMISED:g}): there are {count(patients, 'patient')} with lesions."


COLUMNS: Mapping[str, str] = {
    "sensitivity": "sensitivity",
    "precision": "precision",
    "false_per_cm2": "false alarms per cm\u00b2",
    "froc_per_cm2": "FROC average",
}
RULE_NAMES: Mapping[str, str] = {
    "iou_0.3": "IoU \u2265 .3",
    "iou_0.1": "IoU \u2265 .1",
    "centre": "centre inside",
}
MOST_NOTES = 20
UNIT: Mapping[str, str] = {"cm2": "cm\u00b2 of tissue", "slide": "slide"}


def lesion_section(measured: Measured) -> Section:
    """Lesions one by one: how many are found, and how many findings are false."""
    scores = measured.scores
    counted = count_lesions_of(scores.lesions)
    blocks: list[Block] = [
        Text(f"{typeset(rule_words(PRIMARY))}\n\n{_tally(counted)}"),
        _finders(measured),
        Pictures((_froc_picture(measured), *_by_size(measured))),
        _froc_table(measured),
        *operating_blocks(measured),
        *_false_alarms(counted),
        Heading("Other rules, other readings"),
        _rules(measured),
        _readings(measured),
        *_notes(measured),
    ]
    sentence = "Lesion by lesion: is it found, and is what is found a lesion?"
    return Section("Lesions", sentence, tuple(blocks))


def _tally(counted: LesionCounts) -> str:
    said = [
        f"{counted.found} of {count(counted.lesions, 'lesion')} found",
        count(counted.false, "false alarm"),
        count(counted.duplicates, "duplicate"),
    ]
    if counted.ignored:
        said.append(f"{counted.ignored} in areas to be ignored")
    shapes = (
        f"{count(counted.splits, 'missed lesion is', 'missed lesions are')} made up by several findings only together "
        f"(splits); {count(counted.merges, 'finding holds', 'findings hold')} several lesions at once (merges)."
    )
    return f"At the threshold in use, {', '.join(said)}. {shapes}"


def _finders(measured: Measured) -> Table:
    return Table(
        (f"lesions, {measured.scores.exam.on}", *COLUMNS.values()),
        finder_rows(measured, COLUMNS, "lesion"),
        "The first row should find more than the others at fewer false alarms. The FROC average is the mean sensitivity at "
        f"1/4 to 8 false alarms per cm\u00b2 of tissue, and depends on no threshold. {measured.about_intervals}",
        ours=(0,),
    )


def _froc_picture(measured: Measured) -> Picture:
    scores = measured.scores
    lines = []
    for rule in RULES:
        curve = froc_curve(scores.lesions, scores.patient_numbers, rule)
        band = _band(scores.lesion) if rule == PRIMARY else (None, None)
        known = len(curve.sensitivity) and len(curve.false_per_cm2)
        x, y = (curve.false_per_cm2.tolist(), curve.sensitivity.tolist()) if known else ([], [])
        lines.append(Line(RULE_NAMES.get(rule, rule), x, y, low=band[0], high=band[1]))
    ending = scores.froc.ending("cm2")
    return Picture(
        froc(lines, UNIT["cm2"]),
        "The higher and the further to the left the curve rises, the better; dots are at 1/4 to 8. "
        + ("The band is the 95\u00a0% interval over patients. " if _wide(lines[0]) else "")
        + _finest(scores.tissue_mm2)
        + typeset(ending or ""),
        "Sensitivity for lesions against false alarms per cm\u00b2 of tissue.",
    )


def _wide(line: Line) -> bool:
    low, high = line.low or (), line.high or ()
    return any(below < above for below, above in zip(low, high, strict=True))


def _finest(tissue_mm2: float) -> str:
    """What one false alarm more means on so much tissue, if rates are read that are finer."""
    if not tissue_mm2 or 100 / tissue_mm2 <= AVERAGED[0]:
        return ""
    return f"On this little tissue one false alarm is {amount(100 / tissue_mm2)} per cm\u00b2: lower rates mean none at all. "


def _band(figures: Mapping[str, Interval]) -> tuple[list[float] | None, list[float] | None]:
    marks = [figures[sensitivity_at(rate, "cm2")] for rate in AVERAGED]
    low = [mark.low for mark in marks if mark.low is not None]
    high = [mark.high for mark in marks if mark.high is not None]
    return (low, high) if len(low) == len(high) == len(AVERAGED) else (None, None)


def _by_size(measured: Measured) -> Sequence[Picture]:
    scores = measured.scores
    strata = strata_of(scores.lesions)
    totals = lesions_by_size(scores.lesions, strata)
    if len(totals) < 2:
        return ()
    found = scores.interval(size_statistic(scores.lesions, scores.patient_numbers, strata))
    made = [
        Bar(typeset(name), found[name].value, total, found[name].low, found[name].high)
        for name, total in totals.items()
    ]
    short = [Bar(_short(bar.name), bar.value, bar.total, bar.low, bar.high) for bar in made]
    return (
        Picture(
            bars(short, "diameter of the lesion, \u00b5m", "sensitivity: share of lesions found"),
            "Low bars on the left would mean that small lesions are missed; a bar of few lesions says little.",
            "; ".join(
                f"{bar.name}: {round((bar.value or 0) * bar.total)} of {bar.total} found" for bar in made
            ),
        ),
    )


def _short(name: str) -> str:
    """The name of a stratum under a bar: the axis says that it is a diameter in um."""
    bare = name.replace(" \u00b5m", "")
    return bare.replace("under ", "< ").replace(" to ", "\u2013").replace(" and more", "+")


def _froc_table(measured: Measured) -> Table:
    figures = measured.scores.lesion
    head = ("sensitivity at false alarms of", "1/4", "1/2", "1", "2", "4", "8", "average")
    rows: list[tuple[Cell, ...]] = []
    for per in PER:
        cells = [measured.shown(figures[sensitivity_at(rate, per)]) for rate in AVERAGED]
        rows.append((f"per {UNIT[per]}", *cells, measured.shown(figures[froc_average(per)])))
    return Table(
        head,
        tuple(rows),
        "What each price buys: slides differ in how much tissue they bear, so the first row is the fairer comparison. "
        f"{measured.about_intervals}",
        ours=(0,),
    )


def _false_alarms(counted: LesionCounts) -> Sequence[Block]:
    if not counted.false:
        return (Heading("False alarms"), Text("None at the threshold in use."))
    rows = tuple(
        (_place(place), f"{number}", f"{100 * number / counted.false:.0f}\u00a0%")
        for place, number in counted.false_on.items()
    )
    caption = (
        "What the false alarms at the threshold in use lie on: other classes are what the model confuses lesions with, "
        "unmarked tissue may also be lesion that nobody outlined."
    )
    return (Heading("False alarms"), Table(("most of it lies", "findings", "share"), rows, caption))


def _place(name: str) -> str:
    kind, _, label = name.partition(": ")
    said: Mapping[str, str] = {str(place): text for place, text in PLACES.items()}
    return f"{said.get(kind, kind)}: {label}" if label else said.get(kind, kind)


def _rules(measured: Measured) -> Table:
    scores = measured.scores
    rows = []
    for name, rule in RULES.items():
        figures = scores.lesion if name == PRIMARY else scores.lesion_by(name)
        rows.append((typeset(rule.words), *_main(measured, figures)))
    return Table(
        ("a finding fits a lesion if", "found", "false alarms per cm\u00b2", "FROC average"),
        tuple(rows),
        "The laxer the rule, the better the figures look: compare with published ones by their own rule, and claim by the "
        "first. The first row is the rule of all other figures here.",
        ours=(0,),
    )


def _readings(measured: Measured) -> Table:
    scores = measured.scores
    rows = []
    for name, reading in READINGS.items():
        figures = scores.lesion if name == STRICT else scores.lesion_by(reading=name)
        rows.append(
            (f"{name}: {reading.words[0].lower()}{typeset(reading.words[1:])}", *_main(measured, figures))
        )
    if scores.audited:
        rows.append((f"{AUDITED}: {typeset(AUDITED_WORDS)}", *_main(measured, scores.lesion_audited)))
    areas = count_lesions_of(scores.lesions)
    return Table(
        ("where nothing is drawn", "found", "false alarms per cm\u00b2", "FROC average"),
        tuple(rows),
        "How far the figures depend on what is thought of tissue that nobody marked "
        f"({amount(areas.tissue_mm2)} mm\u00b2 of tissue, {amount(areas.annotated_mm2)} mm\u00b2 of it outlined).",
        ours=(0,),
    )


def _main(measured: Measured, figures: Mapping[str, Interval]) -> tuple[Cell, ...]:
    return (
        measured.shown(figures["sensitivity"]),
        measured.shown(figures["false_per_cm2"], is_share=False),
        measured.shown(figures["froc_per_cm2"]),
    )


def _notes(measured: Measured) -> Sequence[Block]:
    slides = measured.scores.slides
    notes = tuple(f"{slide.name}: {typeset(note)}." for slide in slides for note in slide.lesions.notes)
    more = (f"\u2026 and {len(notes) - MOST_NOTES} more",) if len(notes) > MOST_NOTES else ()
    return (Points((*notes[:MOST_NOTES], *more), "What the outlines needed"),) if notes else ()
