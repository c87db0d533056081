"""What a user may wish of a detection, and which score meets it on the patients of an evaluation."""

from histoscout.detection.conformal import patients_needed
from histoscout.detection.operating import Operating, choose
from histoscout.detection.wish import Wish
from histoscout.errors import ModelError
from histoscout.evaluation.operating import Owner, measure_operating
from histoscout.report.blocks import Block, Cell, Heading, Table, Text
from histoscout.report.measured import NOTHING_TO_SAY, Measured
from histoscout.report.numbers import amount, count, share, typeset

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
