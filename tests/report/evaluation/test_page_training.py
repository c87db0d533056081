"""The exported detections of a training are shown however a spreadsheet has saved their table."""

from pathlib import Path

import pytest

from histoscout.io.tables import REVIEW_TABLE
from histoscout.report.blocks import Gallery, Note
from histoscout.report.evaluation.page import unannotated_blocks
from tests.report.samples import png

HEAD = "number,slide,id,score,lies on,area_mm2,x_um,y_um,picture,verdict,comment"
ROW = "1,slide_2,abc,0.9,unannotated tissue,0.1,1,1,pictures/1.png,lesion,für"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "1.png").write_bytes(png())
    return tmp_path


@pytest.mark.parametrize("name", [REVIEW_TABLE, "audit.csv"])
@pytest.mark.parametrize(
    ("delimiter", "encoding"), [(",", "utf-8"), (",", "utf-8-sig"), (";", "utf-8-sig"), ("\t", "cp1252")]
)
def test_detections_are_shown_however_their_table_was_saved(
    folder: Path, name: str, delimiter: str, encoding: str
) -> None:
    (folder / name).write_text(f"{HEAD}\n{ROW}\n".replace(",", delimiter), encoding=encoding)
    (gallery,) = unannotated_blocks(folder)
    assert isinstance(gallery, Gallery)
    assert gallery.cards[0].title == "slide_2"


def test_a_decimal_comma_is_read(folder: Path) -> None:
    row = ROW.replace(",", ";").replace("0.9", "0,9")
    table = f"{HEAD.replace(',', ';')}\n{row}\n"
    (folder / REVIEW_TABLE).write_text(table, encoding="utf-8-sig")
    (gallery,) = unannotated_blocks(folder)
    assert isinstance(gallery, Gallery)
    assert gallery.cards[0].facts[0].startswith("score .9")


@pytest.mark.parametrize(
    ("content", "word"), [(b"a,b\n1,2\n", "number"), (b"\x00", "table"), (b"0.9", "number")]
)
def test_a_table_that_cannot_be_read_gives_a_note(folder: Path, content: bytes, word: str) -> None:
    (folder / REVIEW_TABLE).write_bytes(content)
    (note,) = unannotated_blocks(folder)
    assert isinstance(note, Note)
    assert REVIEW_TABLE in note.text
    assert word in note.text


def test_numbers_that_a_spreadsheet_has_changed_give_a_note(folder: Path) -> None:
    row = ROW.replace(",", ";").replace("0.9", "9. Jan")
    (folder / REVIEW_TABLE).write_text(f"{HEAD.replace(',', ';')}\n{row}\n", encoding="utf-8")
    (note,) = unannotated_blocks(folder)
    assert isinstance(note, Note)
    assert "9. Jan" in note.text


def test_without_a_table_or_its_pictures_nothing_is_shown(tmp_path: Path) -> None:
    assert not unannotated_blocks(tmp_path)
    (tmp_path / REVIEW_TABLE).write_text(f"{HEAD}\n{ROW}\n", encoding="utf-8")
    assert not unannotated_blocks(tmp_path)
