"""The report on image classification: metrics by class, and confusion matrices."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from histoscout.evaluation.images.scores import BRACS_GROUPS, ImageScores, group_classes
from histoscout.io.inputs import real_path
from histoscout.io.notes import pluralize
from histoscout.network.model_folder import ModelFolder
from histoscout.report.blocks import Block, BulletList, Cell, Facts, Picture, Pictures, Table
from histoscout.report.formatting import CI_NOTE, NOT_ESTIMABLE, estimate_text, format_estimate
from histoscout.report.page import Page, Section, write_page
from histoscout.report.plots import plot_confusion

METRIC_NAMES: Mapping[str, str] = MappingProxyType(
    {"macro_f1": "macro F1", "weighted_f1": "weighted F1", "f1": "F1", "auroc": "AUROC", "ap": "AP"}
)
"""Names of metrics that are more than their key with spaces."""


def write_images_report(scores: ImageScores, out: Path, model: ModelFolder) -> Path:
    """Write the report on image classification as one HTML file.

    Args:
        scores: The result of `evaluate_images`.
        out: The folder for report.html.
        model: The model that was evaluated.

    Returns:
        The path of report.html.

    Raises:
        OutputError: If the file cannot be written.
    """
    path = out / "report.html"
    write_page(images_page(scores, model), path)
    return path


def images_page(scores: ImageScores, model: ModelFolder) -> Page:
    """Compose the page on image classification.

    Args:
        scores: The result of `evaluate_images`.
        model: The model that was evaluated.

    Returns:
        The page: metrics by class, then groups of classes if the classes are those of BRACS.
    """
    sections = [
        Section(
            title="Model and data",
            sentence="The results hold for this model and these images only.",
            blocks=_setup(scores, model),
        ),
        Section(
            title="Classes",
            sentence="Which classes are recognized.",
            blocks=(_overall_table(scores), _class_table(scores), _confusion_pictures(scores)),
        ),
    ]
    groups = group_classes(scores, BRACS_GROUPS)
    if groups is not None:
        sections.append(
            Section(
                title="Benign, atypical, malignant",
                sentence="The seven classes of BRACS in three groups, as they are often published.",
                blocks=(_overall_table(groups), _class_table(groups), _confusion_pictures(groups)),
            )
        )
    return Page(
        title="Image classification",
        lead=_lead(scores),
        sections=tuple(sections),
        kind=f"histoscout evaluation of {real_path(model.path).name}",
    )


def _lead(scores: ImageScores) -> str:
    patients = {classified.image.patient for classified in scores.images if classified.image.patient}
    metrics = []
    for name in ("accuracy", "macro_f1", "weighted_f1"):
        estimate = format_estimate(scores.overall[name])
        text = estimate.value if estimate.interval == f"[{NOT_ESTIMABLE}]" else estimate_text(estimate)
        metrics.append(f"{_metric_name(name)} {text}")
    return (
        f"{pluralize(len(scores.images), 'image')} of {pluralize(len(scores.classes), 'class', 'classes')}, "
        f"{pluralize(len(patients), 'patient') if patients else 'unknown patients'}: {', '.join(metrics)}."
    )


def _setup(scores: ImageScores, model: ModelFolder) -> tuple[Block, ...]:
    labels = [classified.image.label for classified in scores.images]
    counts = ", ".join(f"{labels.count(label)} {label}" for label in sorted(set(labels)))
    facts = Facts(
        (
            ("images", f"{len(labels)}"),
            ("labels", counts),
            ("model", f"{real_path(model.path).name} ({model.hash})"),
            ("classes of the model", ", ".join(model.labels)),
        )
    )
    return (facts, BulletList(scores.notes, "Notes on the images")) if scores.notes else (facts,)


def _overall_table(scores: ImageScores) -> Table:
    return Table(
        head=("", *(_metric_name(name) for name in scores.overall)),
        rows=(("all images", *(format_estimate(metric) for metric in scores.overall.values())),),
        caption="Macro averages weight all classes equally, weighted averages all images. Kappa is 0 for "
        "chance agreement. "
        f"{CI_NOTE}",
        highlighted=(0,),
    )


def _class_table(scores: ImageScores) -> Table:
    columns = list(next(iter(scores.by_class.values()), {}))
    rows: list[tuple[Cell, ...]] = []
    for label, metrics in scores.by_class.items():
        images = sum(classified.truth == label for classified in scores.images)
        rows.append((label, f"{images}", *(format_estimate(metrics[name]) for name in columns)))
    return Table(
        head=("class", "images", *(_metric_name(name) for name in columns)),
        rows=tuple(rows),
        caption=f"A low recall means that the class is often missed. {CI_NOTE}",
    )


def _confusion_pictures(scores: ImageScores) -> Pictures:
    counts = scores.confusion().tolist()
    return Pictures(
        (
            Picture(
                data=plot_confusion(scores.classes, counts, of_row=False),
                caption="Confusion matrix in images. Only the diagonal from upper left to lower right should "
                "be dark.",
                alt="Confusion of images.",
            ),
            Picture(
                data=plot_confusion(scores.classes, counts, of_row=True),
                caption="The same as a fraction of each row; the diagonal is the recall.",
                alt="Confusion of images as a fraction of their true class.",
            ),
        )
    )


def _metric_name(metric: str) -> str:
    """A metric as a table shows it: "recall of UDH", "macro F1"."""
    name, of, label = metric.partition(" of ")
    return METRIC_NAMES.get(name, name.replace("_", " ")) + of + label
