"""Tables are written with stable bytes, and read as spreadsheets save them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout.errors import AnnotationError, CohortError
from histoscout.io.tables import (
    protect_cell,
    read_cell,
    read_headings,
    read_review_table,
    read_table,
    write_csv,
)


def test_cells_with_commas_and_quotes_are_escaped(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.csv"
    write_csv(path, ["name", "value"], [("a, b", 1), ('say "no"', None), ("two\nlines", 0.5)])
    assert path.read_bytes() == b'name,value\n"a, b",1\n"say ""no""",\n"two\nlines",0.5\n'


def test_rows_may_be_mappings(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write_csv(path, ["slide", "mpp"], [{"mpp": 0.5, "slide": "a", "other": 1}, {"slide": "b"}])
    assert path.read_text() == "slide,mpp\na,0.5\nb,\n"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_delimiters_and_encodings_of_spreadsheets(tmp_path: Path, delimiter: str, encoding: str) -> None:
    path = tmp_path / "table.csv"
    rows = [("Patient ID", "WSI"), ("Müller", "a.svs"), ("", "")]
    path.write_bytes("\r\n".join(map(delimiter.join, rows)).encode(encoding))
    table = read_table(path)
    assert table.columns == {"slide", "patient"}
    (row,) = table.rows
    assert (row.cell("patient"), row.cell("slide"), row.cell("mpp"), row.number) == ("Müller", "a.svs", "", 2)
    assert read_headings(path) == {"patient_id", "wsi"}
    (cells,) = [row for row in read_review_table(path, ["WSI"]) if row["WSI"]]
    assert cells == {"Patient ID": "Müller", "WSI": "a.svs"}


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("mpp\n1", "'slide'"),
        ("slide,wsi,slide\na,b,c", "twice"),
        ("slide\n", "slides"),
        ("slide\na,b", "row 2"),
        ("slide\n\0", "text"),
    ],
)
def test_what_is_no_table_of_slides_is_rejected(tmp_path: Path, content: str, word: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(content)
    with pytest.raises(CohortError) as raised:
        read_table(path)
    assert raised.value.where == str(path)
    assert word in raised.value.fault


def test_a_review_table_needs_its_columns(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"none\.csv"):
        read_review_table(tmp_path / "none.csv", ["id"])
    write_csv(tmp_path / "a.csv", ["id"], [("1",)])
    with pytest.raises(AnnotationError, match="'verdict'"):
        read_review_table(tmp_path / "a.csv", ["id", "verdict"])


@given(st.one_of(st.text(), st.from_regex(r"'{0,3}[=+@\-\t].*", fullmatch=True)))
def test_no_cell_is_a_formula_and_each_reads_back_the_same(text: str) -> None:
    written = protect_cell(text)
    assert isinstance(written, str)
    assert read_cell(written) == text
    if written[:1] in ("=", "+", "-", "@", "\t", "\r", "\n"):
        # only numbers begin like this
        float(written)


def test_names_that_are_formulas_come_back_from_a_table(tmp_path: Path) -> None:
    names = ('=HYPERLINK("x").svs', "-1+1.svs", "@a.svs", "+b.svs", "'=c.svs", "-7", "d.svs")
    write_csv(tmp_path / "a.csv", ["slide", "patient"], [(name, Path(name)) for name in names])
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert not any(line.strip('"')[0] in "=+@" for line in lines)
    table = read_table(tmp_path / "a.csv")
    assert [(row.cell("slide"), row.cell("patient")) for row in table.rows] == [(n, n) for n in names]
    assert [row["slide"] for row in read_review_table(tmp_path / "a.csv", ["slide"])] == list(names)


def test_numbers_stay_numbers() -> None:
    assert [protect_cell(value) for value in (-1, -0.5, "-1.5e-3", None)] == [-1, -0.5, "-1.5e-3", None]
