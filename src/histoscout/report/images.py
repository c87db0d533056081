"""The report on images of one class each: which classes are told apart, and which are taken for one another."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from histoscout.evaluation.bootstrap import Interval
from histoscout.evaluation.images.published import (
    CAVEAT,
    THREE,
    Published,
    columns_of,
    published_for,
    sources_of,
)
from histoscout.evaluation.images.scores import BRACS_GROUPS, ImageScores, folded
from histoscout.network.model_folder import ModelFolder
from histoscout.report.blocks import Block, Cell, Facts, Picture, Pictures, Points, Table
from histoscout.report.evaluation.figures import NOT_KNOWN, interval_shown
from histoscout.report.numbers import NOT_ESTIMABLE, count, share, words
from histoscout.report.page import Page, Section, write_page
from histoscout.report.plots import confusion

NAMES: Mapping[str, str] = MappingProxyType(
    {"macro_f1": "macro F1", "weighted_f1": "weighted F1", "f1": "F1", "auroc": "AUROC", "ap": "AP"}
)


def write_images_report(scores: ImageScores, out: Path, model: ModelFolder) -> Path:
    """Write `out`/report.html on how a model names the class of images; its path. OutputError if that cannot be."""
    path = out / "report.html"
    write_page(images_page(scores, model), path)
    return path


def images_page(scores: ImageScores, model: ModelFolder) -> Page:
    """The page: the answer first, then figures by class and what is taken for what."""
    patients = {image.image.patient for image in scores.images if image.image.patient}
    headline = [
        f"{_name(name)} {words(interval_shown(scores.overall[name])).removesuffix(f'[{NOT_ESTIMABLE}]').strip()}"
        for name in ("accuracy", "macro_f1", "weighted_f1")
    ]
    lead = (
        f"{count(len(scores.images), 'image')} of {count(len(scores.classes), 'class', 'classes')}, "
        f"{count(len(patients), 'patient') if patients else 'patients unknown'}: {', '.join(headline)}."
    )
    sections = [
        Section(
            "What was run, and on what", "The figures hold for this and nothing else.", _basis(scores, model)
        ),
        Section(
            "Classes",
            "Which classes are recognised.",
            (_overall(scores), _by_class(scores), _confusions(scores)),
        ),
    ]
    published = published_for(scores.classes)
    if published:
        sections.append(_beside("Beside what others have published", scores, published))
    groups = folded(scores, BRACS_GROUPS)
    if groups is not None:
        sentence = "The seven classes of BRACS folded to three, as published figures often are."
        sections.append(
            Section(
                "Benign, atypical, malignant",
                sentence,
                (_overall(groups), _by_class(groups), _confusions(groups)),
            )
        )
        if published:
            sections.append(_beside("The three groups beside what others have published", groups, THREE))
    name = model.path.resolve().name
    return Page("How well classes are told apart", lead, tuple(sections), f"histoscout evaluation of {name}")


def _basis(scores: ImageScores, model: ModelFolder) -> tuple[Block, ...]:
    labels = [image.image.label for image in scores.images]
    counted = ", ".join(f"{labels.count(label)} {label}" for label in sorted(set(labels)))
    facts = Facts(
        (
            ("images", f"{len(labels)}"),
            ("by folder or table", counted),
            ("model", f"{model.path.resolve().name} ({model.hash})"),
            ("its classes", ", ".join(model.labels)),
        )
    )
    notes = Points(scores.notes, "What was noted on the images")
    return (facts, notes) if scores.notes else (facts,)


def _beside(title: str, scores: ImageScores, rows: Sequence[Published]) -> Section:
    """This model's figures above those of others, each as its source gives it."""
    names = columns_of(rows)
    own: tuple[Cell, ...] = ("this model", *(_cell(scores.figure(name)) for name in names))
    others: list[tuple[Cell, ...]] = [
        (row.what, *(_printed(row.figures.get(name)) for name in names)) for row in rows
    ]
    table = Table(
        ("who", *(_name(name) for name in names)),
        (own, *others),
        "Read it as an order of magnitude. F1 without a further word: how classes were averaged is not told.",
        ours=(0,),
    )
    sources = Points(sources_of(rows), "Where published figures are from")
    return Section(title, f"{CAVEAT}.", (table, sources))


def _cell(figure: Interval | None) -> Cell:
    return "" if figure is None else interval_shown(figure)


def _printed(value: float | None) -> str:
    return "" if value is None else share(value, 3)


def _overall(scores: ImageScores) -> Table:
    row: tuple[Cell, ...] = ("all images", *(interval_shown(figure) for figure in scores.overall.values()))
    return Table(
        ("judged on", *(_name(name) for name in scores.overall)),
        (row,),
        "Macro figures count every class alike, weighted ones every image; kappa is 0 for agreement by chance. "
        f"{NOT_KNOWN}",
        ours=(0,),
    )


def _by_class(scores: ImageScores) -> Table:
    columns = list(next(iter(scores.by_class.values()), {}))
    rows: list[tuple[Cell, ...]] = []
    for label, figures in scores.by_class.items():
        images = sum(image.truth == label for image in scores.images)
        rows.append((label, f"{images}", *(interval_shown(figures[name]) for name in columns)))
    return Table(
        ("class", "images", *(_name(name) for name in columns)),
        tuple(rows),
        f"Even figures from row to row; a low recall says which class is overlooked. {NOT_KNOWN}",
    )


def _confusions(scores: ImageScores) -> Pictures:
    counts = scores.confusion().tolist()
    said = "Confusion of images"
    return Pictures(
        (
            Picture(
                confusion(scores.classes, counts, of_row=False),
                "Images counted: dark should be only the cells from upper left to lower right.",
                said,
            ),
            Picture(
                confusion(scores.classes, counts, of_row=True),
                "The same as shares of each row: on the diagonal stands the recall.",
                f"{said} as shares of what they really are",
            ),
        )
    )


def _name(figure: str) -> str:
    plain, of, label = figure.partition(" of ")
    return NAMES.get(plain, plain.replace("_", " ")) + of + label
