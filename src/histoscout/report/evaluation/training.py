"""How a model was trained: its curves, and what it found on tuning slides where nothing is drawn."""

from collections.abc import Mapping
from pathlib import Path

from histoscout.errors import AnnotationError
from histoscout.io.tables import TABLE, read_audit_table
from histoscout.report.blocks import Block, Card, Gallery, Heading, Note, Picture, Pictures
from histoscout.report.evaluation.figures import Measured
from histoscout.report.numbers import amount, share
from histoscout.report.page import Section
from histoscout.report.plots import by_step
from histoscout.training.history import read_rows
from histoscout.training.run_folder import RunFolder
from histoscout.training.unannotated import FOLDER

MOST_SHOWN = 12


def training_section(measured: Measured) -> Section | None:
    """How the training went, where its curves are at hand."""
    if measured.model is None:
        return None
    run, members = (
        RunFolder(Path(measured.model.path) / "training", None),
        measured.model.recipe.network.ensemble_size,
    )
    blocks: list[Block] = []
    for number in range(members):
        rows = read_rows(run.member(number).folder / "curves.csv")
        if len(rows) >= 2:
            blocks += [Heading(f"Network {number + 1} of {members}")] if members > 1 else []
            blocks.append(Pictures(_curves(rows)))
    blocks += _unmarked(run.folder / FOLDER)
    sentence = (
        "How the loss fell, when the weights were chosen, and what was found where nobody drew anything."
    )
    return Section("How it was trained", sentence, tuple(blocks)) if blocks else None


def _curves(rows: list[dict[str, float]]) -> tuple[Picture, ...]:
    losses = by_step(rows, {"train_loss": "patients learnt from", "tune_loss": "tuning patients"}, "loss")
    figures = by_step(rows, {"tune_ap": "tuning patients"}, "pixel AP on tuning windows", is_share=True)
    return (
        Picture(
            losses,
            "Both should fall and level off; a dashed line that rises again means that the slides are learnt by heart.",
            "Loss by training step.",
        ),
        Picture(
            figures, "Should rise and level off: the weights of its peak were kept.", "AP by training step."
        ),
    )


def _card(row: Mapping[str, str], folder: Path) -> Card:
    """A finding's picture; ValueError if a spreadsheet has made something else of its numbers."""
    score, area = (float(row[name].replace(",", ".")) for name in ("score", "area_mm2"))
    said = f"Finding {row['number']} on unmarked tissue of {row['slide']}."
    facts = (f"score {share(score)}", f"{amount(area)} mm\u00b2")
    return Card((folder / row["picture"]).read_bytes(), row["slide"], said, facts)


def _unmarked(folder: Path) -> list[Block]:
    """The surest findings on unmarked tissue of tuning slides, as the training laid them out."""
    table = folder / TABLE
    if not table.exists():
        return []
    try:
        rows = read_audit_table(table, ("number", "slide", "score", "area_mm2", "picture"))
        cards = tuple(_card(row, folder) for row in rows[:MOST_SHOWN] if (folder / row["picture"]).is_file())
    except (AnnotationError, ValueError) as error:
        fault = error.fault if isinstance(error, AnnotationError) else f"is not as it was written ({error})"
        where = f"training/{FOLDER}/{TABLE} of the model folder"
        return [
            Note(f"What was found on tuning slides where nothing is drawn is not shown: {where} {fault}.")
        ]
    caption = (
        f"{min(len(rows), MOST_SHOWN)} of {len(rows)} in training/{FOLDER} of the model folder, the surest first, as networks see them "
        "that have not learnt from the slide. What is a lesion here counted as background when the threshold was chosen, and was "
        "taught as background to every network that did learn from the slide: outline it and train again."
    )
    return [Gallery("Found on tuning slides where nothing is drawn", caption, cards)] if cards else []
