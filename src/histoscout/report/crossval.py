"""The page of a cross-validation: how good each recipe is on patients not seen, and which is better."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from histoscout.evaluation.bootstrap import FEWEST_PATIENTS, Interval
from histoscout.evaluation.lesions.froc import sensitivity_at
from histoscout.evaluation.out_of_fold import Arm, Crossval, by_area, judged
from histoscout.evaluation.pixels.counts import PixelCounts
from histoscout.report.blocks import Block, Cell, Facts, Figure, Points, Table
from histoscout.report.evaluation.figures import interval_shown
from histoscout.report.numbers import amount, count, share, words
from histoscout.report.page import Page, Section, write_page

PIXEL: Mapping[str, str] = MappingProxyType(
    {
        "ap": "AP",
        "dice": "Dice",
        "dice_per_patient": "Dice by patient",
        "precision_px": "precision",
        "recall_px": "recall",
        "prevalence": "prevalence",
    }
)
PROBABILITY: Mapping[str, str] = MappingProxyType(
    {"auroc": "AUROC", "ece": "ECE", "brier_skill": "Brier skill"}
)
LESION: Mapping[str, str] = MappingProxyType(
    {
        "sensitivity": "sensitivity",
        "precision": "precision",
        "false_per_cm2": "false per cm\u00b2",
        "froc_per_cm2": "FROC per cm\u00b2",
        sensitivity_at(5.0, "cm2"): "sensitivity at 5 per cm\u00b2",
        sensitivity_at(10.0, "cm2"): "at 10 per cm\u00b2",
    }
)
AMOUNTS = frozenset({"false_per_cm2"})  # figures that are no shares


def write_crossval_report(result: Crossval, out: Path) -> Path:
    """Write `out`/report.html; its path. OutputError if that cannot be."""
    path = out / "report.html"
    write_page(crossval_page(result), path)
    return path


def crossval_page(result: Crossval) -> Page:
    """The page: the answer first, then all figures, differences, folds and patients."""
    sections = [
        Section("Figures", "On patients that the models had not seen, all folds pooled.", _figures(result))
    ]
    if result.differences:
        sentence = "Paired: both recipes are judged on the same patients, whoever is drawn."
        sections.append(Section("Which recipe is better", sentence, _differences(result)))
    sections += [
        Section(
            "Folds", "Each fold by itself; AP of a fold needs no comparison across models.", (_folds(result),)
        ),
        Section("Patients", "Who is hard for whom: AP of each patient alone.", (_patients(result),)),
        Section("What to know", "The figures hold for this and nothing else.", _basis(result)),
    ]
    title = "How recipes compare" if len(result.arms) > 1 else "How good the recipe is"
    return Page(title, _lead(result), tuple(sections), f"histoscout cross-validation for {result.positive}")


def _lead(result: Crossval) -> str:
    said = [f"{arm.name}: AP {words(_shown(result.figures[arm.name]['ap'], 'ap'))}" for arm in result.arms]
    sentences = [f"{count(len(result.patients), 'patient')}, {len(result.folds)} folds. {'; '.join(said)}."]
    for (one, other), figures in result.differences.items():
        sentences.append(verdict(one, other, figures["ap"]))
    return " ".join(sentences)


def verdict(one: str, other: str, difference: Interval) -> str:
    """A sentence on which of two recipes has the higher AP, no more certain than the interval is."""
    low, high = difference.low, difference.high
    if low is None or high is None:
        return (
            f"Whether {other} or {one} is better cannot be told with fewer than {FEWEST_PATIENTS} patients."
        )
    if low > 0 or high < 0:
        better, worse = (other, one) if low > 0 else (one, other)
        return f"{better} is better than {worse} by its AP; chance alone would hardly do that."
    return f"Between {one} and {other} no difference of AP is clear of chance."


def _figures(result: Crossval) -> tuple[Block, ...]:
    few = " Intervals need five patients." if len(result.patients) < FEWEST_PATIENTS else ""
    pixels = f"Tissue by area. In brackets: 95\u00a0% intervals over patients.{few}"
    lesions = (
        f"Lesions, one to one. Sensitivity, precision and false alarms at each fold's own threshold.{few}"
    )
    probabilities = f"Their probabilities: is 30\u00a0% really 30\u00a0%? A low ECE is good.{few}"
    tables = ((PIXEL, pixels), (PROBABILITY, probabilities), (LESION, lesions))
    return tuple(_table(result, columns, caption) for columns, caption in tables)


def _table(result: Crossval, columns: Mapping[str, str], caption: str) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for arm in result.arms:
        figures = result.figures[arm.name]
        rows.append((arm.name, *(_shown(figures[name], name) for name in columns)))
    return Table(("recipe", *columns.values()), tuple(rows), caption)


def _shown(figure: Interval, name: str) -> Figure:
    shown = interval_shown(figure, is_share=name not in AMOUNTS)
    return Figure(shown.value) if figure.low is None else shown


def _differences(result: Crossval) -> tuple[Block, ...]:
    blocks: list[Block] = []
    for columns, what in ((PIXEL, "tissue"), (PROBABILITY, "probabilities"), (LESION, "lesions")):
        shown = {name: word for name, word in columns.items() if name != "prevalence"}
        rows: list[tuple[Cell, ...]] = [
            (f"{other} over {one}", *(_shown(figures[name], name) for name in shown))
            for (one, other), figures in result.differences.items()
        ]
        caption = (
            f"How much higher each figure of {what} is with the first than with the second. An interval that holds 0 "
            "may be chance; so may one in twenty that does not."
        )
        blocks.append(Table(("", *shown.values()), tuple(rows), caption))
    return tuple(blocks)


def _folds(result: Crossval) -> Table:
    head = ("recipe, fold", "judged on", "tuned on", "um/px", "steps", "threshold", "AP", "Dice")
    rows: list[tuple[Cell, ...]] = []
    for arm in result.arms:
        for fold in arm.folds:
            row = fold.scores.pixels.row(fold.scores.threshold)
            who = (", ".join(fold.scores.patients), ", ".join(fold.tune_patients))
            numbers = (f"{fold.mpp:g}", f"{fold.steps:,}", share(fold.scores.threshold))
            rows.append(
                (f"{arm.name}, {fold.number}", *who, *numbers, _plain(row["ap"]), _plain(row["dice"]))
            )
    return Table(head, tuple(rows), "Thresholds and weights were chosen by the patients tuned on.")


def _patients(result: Crossval) -> Table:
    of_arms = [_by_patient(arm, result.slides) for arm in result.arms]
    rows: list[tuple[Cell, ...]] = []
    for patient in result.patients:
        prevalence = next((counts[patient].prevalence for counts in of_arms), None)
        figures = [_plain(counts[patient].ap) for counts in of_arms]
        rows.append((patient, _plain(prevalence), *figures))
    head = ("patient", "prevalence", *(f"AP, {arm.name}" for arm in result.arms))
    return Table(head, tuple(rows), "A dash where the patient has no lesion.")


def _by_patient(arm: Arm, slides: tuple[str, ...]) -> dict[str, PixelCounts]:
    counts: dict[str, PixelCounts] = {}
    for fold, slide in judged(arm):
        if slide.name in slides:
            before = counts.get(slide.patient, PixelCounts.none())
            counts[slide.patient] = before + by_area(slide.pixels, fold.mpp)
    return counts


def _plain(value: float | None) -> str:
    return "\u2013" if value is None else share(value)


def _basis(result: Crossval) -> tuple[Block, ...]:
    lesions = [
        len(slide.lesions.lesions) for _, slide in judged(result.arms[0]) if slide.name in result.slides
    ]
    tissue = sum(slide.tissue_mm2 for _, slide in judged(result.arms[0]) if slide.name in result.slides)
    facts = Facts(
        (
            ("looked for", result.positive),
            ("patients", f"{len(result.patients)}"),
            ("slides", f"{len(result.slides)}"),
            ("lesions", f"{sum(lesions)}"),
            ("tissue", f"{amount(tissue)} mm\u00b2"),
            ("folds", "; ".join(", ".join(patients) for patients in result.folds.patients)),
        )
    )
    pooled = (
        "AP and FROC compare probabilities across folds, as if their models meant the same by them; where they do not, "
        "pooled figures are lower than those of single folds."
    )
    chosen = "A recipe that was chosen by these figures is flattered by them: judge it once more on patients kept apart."
    return (facts, Points((*result.told, pooled, chosen), "To be read with the figures"))
