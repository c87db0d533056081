"""The section of an evaluation report on training: learning curves, missed annotations."""

from collections.abc import Mapping
from pathlib import Path

from histoscout.errors import AnnotationError
from histoscout.io.tables import find_review_table, read_review_table
from histoscout.report.blocks import Block, Card, Gallery, Heading, Note, Picture, Pictures
from histoscout.report.evaluation.data import ReportData
from histoscout.report.formatting import format_fraction, format_number
from histoscout.report.page import Section
from histoscout.report.plots import plot_training
from histoscout.training.history import read_rows
from histoscout.training.run_folder import RunFolder
from histoscout.training.unannotated import export_folder

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
        picture=(folder / row["picture"]).read_bytes(),
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
