"""What a training laid out is shown however a spreadsheet has saved its table, or is said not to be."""

from pathlib import Path

import pytest

from histoscout.report.blocks import Gallery, Note
from histoscout.report.evaluation.training import _unmarked
from tests.report.samples import png

HEAD = "number,slide,id,score,lies on,area_mm2,x_um,y_um,picture,verdict,comment"
ROW = "1,slide_2,abc,0.9,unmarked tissue,0.1,1,1,pictures/1.png,lesion,für"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "1.png").write_bytes(png())
    return tmp_path


@pytest.mark.parametrize(
    ("delimiter", "encoding"), [(",", "utf-8"), (",", "utf-8-sig"), (";", "utf-8-sig"), ("\t", "cp1252")]
)
def test_findings_are_shown_however_their_table_was_saved(
    folder: Path, delimiter: str, encoding: str
) -> None:
    (folder / "audit.csv").write_text(f"{HEAD}\n{ROW}\n".replace(",", delimiter), encoding=encoding)
    (gallery,) = _unmarked(folder)
    assert isinstance(gallery, Gallery)
    assert gallery.cards[0].title == "slide_2"


def test_a_comma_in_numbers_is_understood(folder: Path) -> None:
    row = ROW.replace(",", ";").replace("0.9", "0,9")
    (folder / "audit.csv").write_text(f"{HEAD.replace(',', ';')}\n{row}\n", encoding="utf-8-sig")
    (gallery,) = _unmarked(folder)
    assert isinstance(gallery, Gallery)
    assert gallery.cards[0].facts[0].startswith("score .9")


@pytest.mark.parametrize(
    ("content", "fault"),
    [(b"a,b\n1,2\n", "no column 'number'"), (b"\x00", "not a text table"), (b"0.9", "no column 'number'")],
)
def test_a_table_that_cannot_be_read_is_told(folder: Path, content: bytes, fault: str) -> None:
    (folder / "audit.csv").write_bytes(content)
    (note,) = _unmarked(folder)
    assert isinstance(note, Note)
    assert fault in note.text


def test_numbers_that_a_spreadsheet_has_changed_are_told(folder: Path) -> None:
    row = ROW.replace(",", ";").replace("0.9", "9. Jan")
    (folder / "audit.csv").write_text(f"{HEAD.replace(',', ';')}\n{row}\n", encoding="utf-8")
    (note,) = _unmarked(folder)
    assert isinstance(note, Note)
    assert "9. Jan" in note.text
