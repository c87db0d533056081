"""The report of an evaluation: the result first, then every metric, picture and limitation."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from histoscout.cohort.cohort import Cohort
from histoscout.errors import AnnotationError
from histoscout.evaluation.bootstrap import MIN_PATIENTS
from histoscout.evaluation.lesions.summary import count_lesions
from histoscout.evaluation.pixels.metrics import BINS
from histoscout.evaluation.scores import Scores
from histoscout.io.files import StrPath
from histoscout.io.inputs import read_bytes
from histoscout.io.notes import pluralize
from histoscout.io.tables import find_review_table, read_review_table
from histoscout.network.model_folder import ModelFolder
from histoscout.report.blocks import (
    Block,
    BulletList,
    Card,
    Cell,
    Facts,
    Gallery,
    Heading,
    Note,
    Picture,
    Pictures,
    Table,
    Text,
    VerdictList,
)
from histoscout.report.evaluation.answer import answer
from histoscout.report.evaluation.lesions import lesion_section
from histoscout.report.evaluation.pictures import gallery_section, slide_section
from histoscout.report.evaluation.pixels import calibration_section, class_section, pixel_section
from histoscout.report.formatting import ReportData, estimate_text, format_fraction, format_number
from histoscout.report.page import Page, Section, write_page
from histoscout.report.plots import plot_training
from histoscout.training.history import read_rows
from histoscout.training.run_folder import RunFolder
from histoscout.training.tuning import export_folder
from histoscout.verdict import Verdict

MAX_SHOWN = 12
"""Detections on unannotated tissue that are shown, at most."""


def training_section(data: ReportData) -> Section | None:
    """Compose the section on training.

    Args:
        data: The model and its folder.

    Returns:
        The section; None without a model, or if its folder holds neither curves nor detections.
    """
    if data.model is None:
        return None
    run = RunFolder(Path(data.model.path) / "training", None)
    members = data.model.recipe.network.ensemble_size
    blocks: list[Block] = []
    for number in range(members):
        rows = read_rows(run.member(number).folder / "curves.csv")
        # a single point makes no curve
        if len(rows) >= 2:
            blocks += [Heading(f"Network {number + 1} of {members}")] if members > 1 else []
            blocks.append(Pictures(_curve_pictures(rows)))
    blocks += unannotated_blocks(export_folder(run.folder))
    sentence = "How loss and AP developed, and what was detected on unannotated tissue of the tuning slides."
    return Section(title="Training", sentence=sentence, blocks=tuple(blocks)) if blocks else None


def unannotated_blocks(folder: Path) -> list[Block]:
    """Compose a gallery of the detections on unannotated tissue that a training exported.

    Args:
        folder: Holds the review table and its pictures.

    Returns:
        A gallery; a note if the table cannot be read; no blocks if there is no table or no picture.
    """
    table = find_review_table(folder)
    if not table.exists():
        return []
    where = f"training/{folder.name}"
    try:
        rows = read_review_table(table, ("number", "slide", "score", "area_mm2", "picture"))
        cards = tuple(_card(row, folder) for row in rows[:MAX_SHOWN] if (folder / row["picture"]).is_file())
    except (AnnotationError, ValueError) as error:
        fault = error.fault if isinstance(error, AnnotationError) else f"the table was changed ({error})"
        return [Note(f"Detections on unannotated tissue are not shown. {where}/{table.name}: {fault}.")]
    caption = (
        f"{min(len(rows), MAX_SHOWN)} of {len(rows)} detections in {where} of the model folder, the highest "
        "scores first, "
        "by networks that were not trained on the slide. If one is a lesion, it counted as background when "
        "the threshold was "
        "chosen, and in the training of all other networks: annotate it and train again."
    )
    return [Gallery("Detections on unannotated tissue of tuning slides", caption, cards)] if cards else []


def _card(row: Mapping[str, str], folder: Path) -> Card:
    """A card for a row of the table; ValueError if a spreadsheet changed its numbers."""
    score, area = (float(row[name].replace(",", ".")) for name in ("score", "area_mm2"))
    return Card(
        picture=read_bytes(folder / row["picture"]),
        title=row["slide"],
        alt=f"Detection {row['number']} on unannotated tissue of {row['slide']}.",
        facts=(f"score {format_fraction(score)}", f"{format_number(area)} mm\u00b2"),
    )


def _curve_pictures(rows: list[dict[str, float]]) -> tuple[Picture, ...]:
    loss = plot_training(rows, {"train_loss": "training set", "tune_loss": "tuning set"}, "loss")
    ap = plot_training(rows, {"tune_ap": "tuning set"}, "pixel AP", is_fraction=True)
    return (
        Picture(
            data=loss,
            caption="Both curves should fall and level off. A dashed line that rises again is a sign of "
            "overfitting.",
            alt="Loss by training step.",
        ),
        Picture(
            data=ap,
            caption="The curve should rise and level off. The weights of its maximum are kept.",
            alt="AP by training step.",
        ),
    )


COMPARED_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "ap": "pixel AP",
        "dice": "pixel Dice",
        "dice_per_patient": "pixel Dice, mean over patients",
        "sensitivity": "sensitivity for lesions",
        "fp_per_cm2": "false positives per cm\u00b2 (lower is better)",
        "froc_per_cm2": "mean FROC sensitivity per cm\u00b2",
    }
)
"""Names of the metrics in a comparison with a previous model."""

NOT_EVALUATED = "not evaluated"
"""Marks notes on slides that were left out."""

MAX_NOTES = 30


def write_report(
    scores: Scores, out: StrPath, cohort: Cohort | None = None, model: ModelFolder | None = None
) -> Path:
    """Write the report of an evaluation as one HTML file that needs no other.

    Args:
        scores: The result of `evaluate` or `score_regions`.
        out: The folder for report.html.
        cohort: Where the slides of the pictures are; without it the report has none.
        model: The model that was evaluated; without it the report says nothing of its training.

    Returns:
        The path of report.html.

    Raises:
        OutputError: If the file cannot be written.
        SlideError: If a slide cannot be read any more.
        AnnotationError: If annotations cannot be read any more.

    Example:
        >>> from pathlib import Path
        >>> import shapely
        >>> from histoscout import Box, Region, Regions, write_report
        >>> from histoscout.evaluation.regions import SlideComparison, score_regions
        >>> lesion = Regions.of([Region(shapely.box(100, 100, 300, 300), "UDH")])
        >>> whole = Box(0, 0, 1000, 1000)
        >>> slide = SlideComparison(name="A1", truth=lesion, detected=lesion, box=whole, mpp=1.0)
        >>> write_report(score_regions([slide]), Path("scores")).name
        'report.html'
    """
    out = Path(out)
    path = out / "report.html"
    write_page(evaluation_page(ReportData(scores, cohort.cases if cohort else (), model)), path)
    return path


def evaluation_page(data: ReportData) -> Page:
    """Compose the page of an evaluation.

    Args:
        data: Scores, slides and model.

    Returns:
        The page; a short one if no slide could be evaluated.
    """
    kind = f"histoscout evaluation of {data.folder_name}"
    title = f"Detection of {data.scores.protocol.positive}"
    if not data.scores.slides:
        lead = "No slide could be evaluated."
        return Page(title=title, lead=lead, sections=(_setup(data),), kind=kind)
    # what a pathologist asks comes first, statistics are folded
    first = (gallery_section(data), slide_section(data), _next_steps(data), _limitations(data))
    folded = (
        _figures(data),
        _setup(data),
        pixel_section(data),
        lesion_section(data),
        class_section(data),
        calibration_section(data),
        _comparison(data),
        _sanity_checks(data),
        training_section(data),
        _notes(data),
        _methods(data),
    )
    shown = (
        *(section for section in first if section is not None),
        *(replace(section, folded=True) for section in folded if section is not None),
    )
    return Page(title=title, lead=answer(data.scores), sections=shown, kind=kind)


def _next_steps(data: ReportData) -> Section:
    """What to do with the result."""
    steps = []
    if data.model is not None:
        name = next((slide.name for slide in data.scores.slides if slide.lesions.detections), "")
        steps.append(
            "See the slides with heatmaps and detections, judge and correct them: `histoscout view` with the "
            "folder of this report."
        )
        if name:
            steps.append(f"See it in QuPath: open {name}, and drag found/regions/{name}.geojson onto it.")
        steps.append(
            "Have false positives judged: `histoscout evaluate` with `--review 20` exports 20 of them for an "
            "expert; `--reviewed` counts the answers."
        )
        steps.append('Fewer false positives, or more lesions: `--at "1 FP/cm2"` or `--at "sensitivity 0.9"`.')
    steps.append("False positives that are lesions: annotate them, and train again.")
    sentence = "How to look closer, and how to make the detector better."
    return Section(title="What to do next", sentence=sentence, blocks=(BulletList(tuple(steps)),))


def _figures(data: ReportData) -> Section:
    """The result in figures with their intervals."""
    return Section(
        title="The result in figures",
        sentence="",
        blocks=(Text(_figures_text(data)),),
    )


def _figures_text(data: ReportData) -> str:
    """The result in a paragraph: what was evaluated, lesions, pixels, the first limitation."""
    scores = data.scores
    counts = count_lesions(scores.lesions)
    sensitivity = estimate_text(data.estimate(scores.lesion["sensitivity"]))
    false_positives = estimate_text(data.estimate(scores.lesion["fp_per_cm2"], is_fraction=False))
    if counts.lesions:
        lesions = (
            f"{counts.true_positives} of {pluralize(counts.lesions, scores.protocol.positive + ' lesion')} "
            "detected "
            f"(sensitivity {sensitivity}), with {false_positives} false positives per cm\u00b2 of tissue"
        )
    else:
        lesions = (
            f"there are no {scores.protocol.positive} lesions to detect, and {false_positives} false "
            "positives "
            "per cm\u00b2 of tissue"
        )
    dice = f"Dice is {estimate_text(data.estimate(scores.pixel['dice']))}"
    ap = scores.pixel.get("ap")
    if ap is not None:
        prevalence = format_fraction(scores.pixels.prevalence, 3)
        average_precision = estimate_text(data.estimate(ap))
        pixels = f"Pixel-wise average precision is {average_precision} (guessing: {prevalence}), and {dice}."
    else:
        pixels = f"Pixel-wise {dice}."
    patients = pluralize(len(scores.patients), "patient")
    slides = pluralize(len(scores.slides), "slide")
    tissue = f"{format_number(scores.tissue_mm2)} mm\u00b2 of tissue"
    return f"In {patients} ({slides}, {tissue}): {lesions}. {pixels} {scores.claims[0]}"


def _setup(data: ReportData) -> Section:
    """What was evaluated, and on what."""
    scores = data.scores
    pairs: list[tuple[str, Cell]] = [
        ("target class", scores.protocol.positive),
        ("evaluated on", scores.protocol.set_label),
        ("patients", f"{len(scores.patients)}"),
        ("slides", f"{len(scores.slides)}"),
        ("tissue", f"{format_number(scores.tissue_mm2)} mm\u00b2"),
        ("lesions", f"{count_lesions(scores.lesions).lesions}"),
        *([("threshold", format_fraction(scores.threshold, 3))] if scores.protocol.has_probabilities else []),
        *_model_facts(data),
    ]
    labels = [region.label for slide in scores.slides for region in slide.scored_annotations]
    if labels:
        counts = [f"{labels.count(label)} {label or 'unclassified'}" for label in sorted(set(labels))]
        pairs.append(("annotations", ", ".join(counts)))
    excluded = tuple(Note(note) for note in scores.notes if NOT_EVALUATED in note)
    sentence = "The results hold for this model and these slides only."
    return Section(title="Model and data", sentence=sentence, blocks=(Facts(tuple(pairs)), *excluded))


def _model_facts(data: ReportData) -> list[tuple[str, Cell]]:
    """Facts on the model and its training."""
    model = data.model
    if model is None:
        return [("evaluated", "detections, without a model")]
    recipe = model.recipe
    trained_on = model.metrics.get("data", {})

    # network: only these architectures have an encoder of choice
    network = recipe.network.architecture
    if network.startswith(("smp.", "timm")):
        network = f"{network} {recipe.network.encoder}"
    members = recipe.network.ensemble_size
    if members > 1:
        network = f"ensemble of {members} {network}, mean probability"

    # patients: members of an ensemble may take turns in training and tuning
    train_patients = set(trained_on.get("train_patients", ()))
    tune_patients = set(trained_on.get("tune_patients", ()))
    patients = "unknown"
    if train_patients:
        patients = f"{pluralize(len(train_patients), 'patient')}, tuned on {len(tune_patients)}"
        if members > 1 and train_patients & tune_patients:
            patients += " in turn (no network is tuned on patients it was trained on)"
    steps = model.metrics.get("training", {}).get("steps")
    side = recipe.patches.size_um
    mpp = recipe.patches.mpp
    return [
        ("model", f"{data.folder_name} ({model.hash})"),
        ("network", f"{network}, initial weights: {recipe.network.weights}"),
        ("patches", f"{side:g} \u00b5m at {mpp:g} \u00b5m/px"),
        ("trained on", patients),
        ("training steps", f"{steps:,}" if isinstance(steps, int) else "unknown"),
        ("software", ", ".join(f"{name} {value}" for name, value in model.facts.items()) or "unknown"),
    ]


def _comparison(data: ReportData) -> Section | None:
    """The difference to a previous model, patient by patient."""
    differences = data.scores.differences
    if not differences:
        return None
    rows = tuple(
        (
            COMPARED_NAMES.get(name, name),
            data.estimate(difference, is_fraction=name != "fp_per_cm2"),
        )
        for name, difference in differences.items()
    )
    caption = (
        f"{data.name} minus {data.scores.protocol.previous_model}: above 0, {data.name} has the higher "
        "value. A CI that includes "
        "0 means that these patients do not show which model is better."
    )
    return Section(
        title="Comparison with the previous model",
        sentence="A paired comparison: both models were evaluated on the same patients.",
        blocks=(Table(head=("metric", "difference"), rows=rows, caption=caption),),
    )


def _sanity_checks(data: ReportData) -> Section | None:
    """The sanity checks before this evaluation and before the training."""
    blocks: list[Block] = []
    if data.scores.sanity_checks:
        blocks += [Heading("Before this evaluation"), VerdictList(data.scores.sanity_checks)]
    if data.model is not None:
        stored = data.model.metrics.get("sanity_checks")
        verdicts = [Verdict.from_dict(values) for values in stored] if isinstance(stored, list) else []
        missing = Text("The model folder holds no sanity checks: the model was trained without them.")
        blocks += [Heading("Before training"), VerdictList(tuple(verdicts)) if verdicts else missing]
    sentence = "Checks for faults that make results wrong without an error message; failures come first."
    return Section(title="Sanity checks", sentence=sentence, blocks=tuple(blocks)) if blocks else None


def _limitations(data: ReportData) -> Section:
    return Section(
        title="Conclusions and limitations",
        sentence="What these results support; quote it wherever the results are shown.",
        blocks=(BulletList(data.scores.claims),),
    )


def _notes(data: ReportData) -> Section | None:
    """Notes on slides, except for those that were not evaluated."""
    notes = [note for note in data.scores.notes if NOT_EVALUATED not in note]
    if not notes:
        return None
    more = [f"\u2026 and {len(notes) - MAX_NOTES} more in scores.json"] if len(notes) > MAX_NOTES else []
    return Section(
        title="Notes on the slides",
        sentence="How slides and annotations were read where there was a choice.",
        blocks=(BulletList((*notes[:MAX_NOTES], *more)),),
    )


def _methods(data: ReportData) -> Section:
    """How the metrics are computed."""
    scores = data.scores
    items = [
        "Pixels: all tissue pixels outside ignored areas count; "
        f"{scores.protocol.positive} is positive, everything else negative.",
        "AP: mean precision over recall; guessing gives the prevalence."
        if scores.protocol.has_probabilities
        else "",
        "Dice: twice the overlap divided by the sum of both areas, at the threshold, pooled over all "
        "patients; also as "
        "the mean over patients with lesions.",
        f"Confidence intervals: bootstrap over patients with all their slides, {scores.draws:,} draws, seed "
        f"{scores.seed}, 2.5th to 97.5th percentile. Draws in which the metric is undefined are left out; "
        "the CI is not "
        f"estimable if these are more than 5\u00a0%, or with fewer than {MIN_PATIENTS} patients.",
        "A CI of zero width, or a value of 1.00 without a CI, does not mean certainty: if all of n lesions "
        "are "
        "detected, a sensitivity of about 1 \u2212 3/n is still compatible with the data.",
        "Lesions: each detection is matched to at most one lesion and vice versa, such that as many lesions "
        "as possible "
        "are detected at every threshold. Overlapping annotations count as one lesion.",
        f"Calibration: {BINS} bins with equal numbers of pixels."
        if scores.protocol.has_probabilities
        else "",
        "Files: all metrics are in scores.json, each slide is in slides.csv; docs/guides/evaluate.md "
        "explains every "
        "metric.",
    ]
    return Section(
        title="Methods",
        sentence="How the metrics are computed.",
        blocks=(BulletList(tuple(item for item in items if item)),),
    )
