"""The report of an evaluation, from its answer down to how the figures are made."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from histoscout.cohort.cohort import Cohort
from histoscout.evaluation.bootstrap import FEWEST_PATIENTS
from histoscout.evaluation.lesions.summary import count_lesions_of
from histoscout.evaluation.pixels.metrics import BINS
from histoscout.evaluation.scores import Scores
from histoscout.network.model_folder import ModelFolder
from histoscout.report.blocks import Block, Cell, Facts, Heading, Note, Points, Table, Text, Verdicts
from histoscout.report.evaluation.figures import Measured
from histoscout.report.evaluation.lesions import lesion_section
from histoscout.report.evaluation.pictures import gallery_section, slide_section
from histoscout.report.evaluation.pixels import calibration_section, class_section, pixel_section
from histoscout.report.evaluation.training import training_section
from histoscout.report.numbers import amount, count, share, words
from histoscout.report.page import Page, Section, write_page
from histoscout.verdict import Verdict

COMPARED_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "ap": "pixel AP",
        "dice": "pixel Dice",
        "dice_per_patient": "pixel Dice, mean of patients",
        "sensitivity": "sensitivity for lesions",
        "false_per_cm2": "false alarms per cm\u00b2 (fewer is better)",
        "froc_per_cm2": "FROC average per cm\u00b2",
    }
)


LEFT_OUT = "not evaluated"
MOST_NOTES = 30


def write_report(
    scores: Scores, out: Path, cohort: Cohort | None = None, model: ModelFolder | None = None
) -> Path:
    """Write the report of an evaluation, `out`/report.html: one file that needs no other; its path.

    Pictures are cut from the slides of the `cohort`; without one there are none. Without a `model` nothing is said of
    its training. Raises OutputError, and SlideError or AnnotationError where a slide cannot be read any more.
    """
    path = out / "report.html"
    write_page(evaluation_page(Measured(scores, cohort.cases if cohort else (), model)), path)
    return path


def evaluation_page(measured: Measured) -> Page:
    """The page: the answer first, then what it stands on, then every figure, picture and caveat."""
    exam = measured.scores.exam
    kind = f"histoscout evaluation of {measured.folder_name}"
    title = f"How well {exam.positive} is found"
    if not measured.scores.slides:
        return Page(title, "No slide could be judged.", (_basis(measured),), kind)
    sections = (
        _basis(measured),
        pixel_section(measured),
        lesion_section(measured),
        class_section(measured),
        calibration_section(measured),
        _difference(measured),
        gallery_section(measured),
        slide_section(measured),
        _guards(measured),
        training_section(measured),
        _claims(measured),
        _notes(measured),
        _method(measured),
    )
    kept = tuple(section for section in sections if section is not None)
    return Page(title, _in_short(measured), kept, kind)


def _in_short(measured: Measured) -> str:
    scores = measured.scores
    counted = count_lesions_of(scores.lesions)
    false = measured.shown(scores.lesion["false_per_cm2"], is_share=False)
    found = scores.lesion["sensitivity"]
    lesions = (
        f"{counted.found} of {count(counted.lesions, 'lesion')} of {scores.exam.positive} found "
        f"(sensitivity {words(measured.shown(found))})"
        if counted.lesions
        else f"there is no lesion of {scores.exam.positive} to find"
    )
    prevalence = share(scores.pixels.prevalence, 3)
    ap = scores.pixel.get("ap")
    pixels = (
        f"Pixel by pixel, average precision is {words(measured.shown(ap))}, where guessing gives {prevalence}; "
        if ap is not None
        else "Pixel by pixel, "
    )
    return (
        f"On {count(len(scores.patients), 'patient')} ({count(len(scores.slides), 'slide')}, "
        f"{amount(scores.tissue_mm2)} mm\u00b2 of tissue): {lesions}, with {words(false)} false alarms per cm\u00b2 of tissue. "
        f"{pixels}Dice is {words(measured.shown(scores.pixel['dice']))}. {scores.claims[0]}"
    )


def _basis(measured: Measured) -> Section:
    scores = measured.scores
    labels = sorted({one.label for slide in scores.slides for one in slide.outlined})
    outlines = [one.label for slide in scores.slides for one in slide.outlined]
    pairs: list[tuple[str, Cell]] = [
        ("looked for", scores.exam.positive),
        ("judged on", scores.exam.on),
        ("patients", f"{len(scores.patients)}"),
        ("slides", f"{len(scores.slides)}"),
        ("tissue", f"{amount(scores.tissue_mm2)} mm\u00b2"),
        ("lesions", f"{count_lesions_of(scores.lesions).lesions}"),
        *([("threshold", share(scores.threshold, 3))] if scores.exam.probabilities else []),
        *_of_model(measured),
    ]
    if labels:
        said = ", ".join(f"{outlines.count(label)} {label or 'unclassified'}" for label in labels)
        pairs.append(("outlines drawn", said))
    return Section(
        "What was run, and on what",
        "The figures hold for this and nothing else.",
        (Facts(tuple(pairs)), *_left_out(measured)),
    )


def _left_out(measured: Measured) -> tuple[Note, ...]:
    """What was not judged at all: it stands out."""
    return tuple(Note(note) for note in measured.scores.notes if LEFT_OUT in note)


def _notes(measured: Measured) -> Section | None:
    """All else that was noted on slides, for whoever wants to know."""
    notes = [note for note in measured.scores.notes if LEFT_OUT not in note]
    if not notes:
        return None
    more = [f"\u2026 and {len(notes) - MOST_NOTES} more, in scores.json"] if len(notes) > MOST_NOTES else []
    sentence = "How slides and outlines were understood where they left a choice."
    return Section("Notes on the slides", sentence, (Points((*notes[:MOST_NOTES], *more)),))


def _of_model(measured: Measured) -> list[tuple[str, Cell]]:
    model = measured.model
    if model is None:
        return [("judged", "outlines as given")]
    recipe, data = model.recipe, model.metrics.get("data", {})
    network = recipe.network.architecture
    if network.startswith(("smp.", "timm")):  # the others have none
        network = f"{network} {recipe.network.encoder}"
    members = recipe.network.ensemble_size
    if members > 1:
        network = f"{members} of {network}, their probabilities averaged"
    learnt, tuned = (len(data.get(f"{part}_patients", ())) for part in ("train", "tune"))
    both = set(data.get("train_patients", ())) & set(data.get("tune_patients", ()))
    by_turns = " in turn: no network on patients that it learnt from" if members > 1 and both else ""
    steps = model.metrics.get("training", {}).get("steps")
    side, mpp = recipe.patches.size_um, recipe.patches.mpp
    return [
        ("model", f"{measured.folder_name} ({model.hash})"),
        ("network", f"{network}, weights at the start: {recipe.network.weights}"),
        ("sees", f"windows of {side:g} \u00b5m at {mpp:g} \u00b5m/px"),
        ("learnt from", f"{count(learnt, 'patient')}, chosen on {tuned}{by_turns}" if learnt else "unknown"),
        ("training steps", f"{steps:,}" if isinstance(steps, int) else "unknown"),
        ("written by", ", ".join(f"{name} {value}" for name, value in model.facts.items()) or "unknown"),
    ]


def _difference(measured: Measured) -> Section | None:
    differences = measured.scores.differences
    if not differences:
        return None
    rows = tuple(
        (COMPARED_NAMES.get(name, name), measured.shown(figure, is_share=name != "false_per_cm2"))
        for name, figure in differences.items()
    )
    caption = (
        f"{measured.name} minus {measured.scores.exam.previous}: above 0 the first has more. Where the interval holds 0, "
        "these patients do not tell which is better."
    )
    table = Table(("figure", "difference"), rows, caption)
    sentence = "The same patients judged twice: what makes one hard is hard for both models."
    return Section("Against the previous model", sentence, (table,))


def _guards(measured: Measured) -> Section | None:
    """What was looked into before this evaluation, and before the training."""
    blocks: list[Block] = []
    if measured.scores.sanity_checks:
        blocks += [Heading("Before this evaluation"), Verdicts(measured.scores.sanity_checks)]
    if measured.model is not None:
        told = _verdicts(measured.model.metrics.get("sanity_checks"))
        missing = Text("The model folder says nothing of them: it was trained without guards.")
        blocks += [Heading("Before the training"), Verdicts(told) if told else missing]
    sentence = "Faults that make figures wrong without a sound, each looked for: the gravest verdict first."
    return Section("Guards", sentence, tuple(blocks)) if blocks else None


def _verdicts(told: object) -> tuple[Verdict, ...]:
    return tuple(Verdict.from_dict(one) for one in told) if isinstance(told, list) else ()


def _claims(measured: Measured) -> Section:
    return Section(
        "What may be claimed, and what not",
        "Sentences that belong beside the figures wherever they are shown.",
        (Points(measured.scores.claims),),
    )


def _method(measured: Measured) -> Section:
    scores = measured.scores
    probable = scores.exam.probabilities
    points = (
        f"Pixels count where there is tissue and nothing is to be ignored; {scores.exam.positive} against the rest.",
        "AP is the mean of precision over recall; what guessing gives is the prevalence." if probable else "",
        "Dice is twice the shared area over the sum of both areas, at the threshold, over all patients together; beside it "
        "the mean of the patients that have lesions.",
        f"Intervals: bootstrap over patients with all of their slides, {scores.draws:,} draws, seed {scores.seed}, 2.5th to "
        "97.5th percentile; draws without a figure are left out, and where they are more than a twentieth, or patients fewer "
        f"than {FEWEST_PATIENTS}, the interval is not estimable.",
        "An interval without width, or none beside a figure of 1.00, is no certainty: where all of n lesions are found, a "
        "sensitivity of about 1 \u2212 3/n is still compatible with that.",
        "Lesions: one finding for one lesion, as many lesions as can be found, at every threshold; outlines drawn over one "
        "another are one lesion.",
        f"Calibration: {BINS} bins of equally many pixels." if probable else "",
        "The figures themselves: scores.json; each slide: slides.csv; what each figure means: docs/guides/evaluate.md.",
    )
    kept = tuple(point for point in points if point)
    return Section("How the figures are made", "For whoever wants to check them.", (Points(kept),))
