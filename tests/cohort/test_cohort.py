from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout.cohort.case import Case, SplitName
from histoscout.cohort.cohort import Cohort, read_cohort, write_cohort
from histoscout.errors import CohortError
from histoscout.io.tables import EMPTY_CELLS

Write = Callable[..., Path]


@pytest.fixture
def table(tmp_path: Path) -> Write:
    """Writes a table beside slides a, b, c and annotations of a; gives its path."""
    for name in ("slides/a.svs", "slides/b.svs", "slides/c 1 (2).ndpi", "drawn/a.geojson"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")

    def write(text: str, encoding: str = "utf-8", name: str = "cohort.csv") -> Path:
        (tmp_path / name).write_bytes(text.encode(encoding))
        return tmp_path / name

    return write


def problems(path: Path) -> str:
    with pytest.raises(CohortError) as caught:
        read_cohort(path)
    assert str(path.name) in caught.value.where
    return caught.value.fault


# ---------------------------------------------------------------- tables


def test_a_full_row(table: Write) -> None:
    path = table(
        "slide,annotations,patient,split,mpp,site\nslides/a.svs,drawn/a.geojson,P1,test,0.25,Naples\n"
    )
    cohort = read_cohort(path)
    folder = path.parent
    assert cohort.cases == (
        Case(
            folder / "slides/a.svs", folder / "drawn/a.geojson", "P1", split="test", mpp=0.25, site="Naples"
        ),
    )
    assert (cohort.notes, cohort.where) == ((), str(path))
    assert cohort.cases[0].name == "a"


def test_of_several_annotation_files_the_one_that_is_read_is_noted(table: Write) -> None:
    path = table("slide,patient\nslides/a.svs,P1\nslides/b.svs,P2\n")
    for name in ("a.json", "a.geojson", "b.json"):
        (path.parent / "slides" / name).touch()
    cohort = read_cohort(path)
    assert [case.annotations for case in cohort.cases] == [
        path.parent / "slides" / name for name in ("a.geojson", "b.json")
    ]
    assert cohort.notes == (
        "annotations of 2 slides were found by their names",
        "a.svs has several annotation files, of which a.geojson is read",
    )


def test_a_file_of_one_endless_line_is_no_table(table: Write) -> None:
    assert problems(table("x" * 200_000)).startswith("the file is not a table")


def test_slides_of_one_name_in_several_folders_are_patients_of_their_own(table: Write) -> None:
    path = table("slide,split\nslides/a.svs,train\nmore/slides/a.svs,test\nmore/slides/b.svs,test\n")
    more = path.parent / "more" / "slides"
    more.mkdir(parents=True)
    for name in ("a.svs", "b.svs"):
        (more / name).touch()
    cohort = read_cohort(path)
    folder = path.parent.name
    assert [case.patient for case in cohort.cases] == [f"{folder}/slides/a", "more/slides/a", "b"]
    assert cohort.notes == (
        "3 slides without a patient: each counts as a patient of its own, those of one file name are named with their "
        f"folders: 2 (more/slides/a, {folder}/slides/a)",
    )
    write_cohort(cohort, path)
    assert read_cohort(path).patients == cohort.patients


def test_slides_of_one_name_share_the_patient_that_they_name(table: Write) -> None:
    path = table("slide,patient\nslides/a.svs,a\nmore/a.svs,a\n")
    (path.parent / "more").mkdir()
    (path.parent / "more" / "a.svs").touch()
    assert read_cohort(path).patients == ("a",)


def test_only_the_slide_is_needed(table: Write) -> None:
    cohort = read_cohort(table("slide\nslides/a.svs\nslides/b.svs\n"))
    assert [case.patient for case in cohort.cases] == ["a", "b"]
    assert all(case.split is None and case.mpp is None and case.site is None for case in cohort.cases)
    assert cohort.notes == ("2 slides without a patient: each counts as a patient of its own",)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("slide;patient;mpp\nslides/a.svs;Müller;0,25\n", "utf-8"),
        ("slide,patient,mpp\nslides/a.svs,Müller,0.25\n", "utf-8-sig"),
        ("slide;patient;mpp\r\nslides/a.svs;Müller;0,25\r\n", "cp1252"),
        ("slide\tpatient\tmpp\r\nslides/a.svs\tMüller\t0.25\r\n", "utf-16"),
        ("\n,\nslide,patient,mpp\n,,\nslides/a.svs,Müller,0.25\n,,\n".lstrip("\n,"), "utf-8"),
        ('"Slide" , Patient ID, MPP\n"slides/a.svs" ,Müller, 0.25\n'.replace('" ,', '",'), "utf-8"),
        ("wsi,patient-id,um per px\nslides\\a.svs,Müller,0.25\n", "utf-8"),
        ("image_path,case,mpp\r\nslides/a.svs,Müller,0.25", "utf-8"),
        ("slide,patient,mpp\nslides/a,Müller,0.25\n", "utf-8"),
    ],
)
def test_tables_as_spreadsheets_and_other_tools_save_them(table: Write, text: str, encoding: str) -> None:
    path = table(text, encoding)
    (case,) = read_cohort(path).cases
    assert (case.slide, case.patient, case.mpp) == (path.parent / "slides/a.svs", "Müller", 0.25)


def test_odd_names_in_quotes(table: Write) -> None:
    (case,) = read_cohort(table('slide,patient\n"slides/c 1 (2).ndpi","Doe, J."\n')).cases
    assert (case.name, case.patient) == ("c 1 (2)", "Doe, J.")


def test_columns_that_are_not_used_are_noted(table: Write) -> None:
    cohort = read_cohort(table("slide,patient,staining,path\nslides/a.svs,P,HE,x\n"))
    assert cohort.notes == ("columns that are not used: staining, path",)


@pytest.mark.parametrize(
    ("cell", "meant"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("val", "tune"),
        ("VALIDATION", "tune"),
        ("test", "test"),
        ("", None),
    ],
)
def test_words_for_splits(table: Write, cell: str, meant: str | None) -> None:
    (case,) = read_cohort(table(f"slide,patient,split\nslides/a.svs,P,{cell}\n")).cases
    assert case.split == meant


def test_without_a_column_annotations_are_found_by_name(table: Write) -> None:
    path = table("slide,patient\nslides/a.svs,P\nslides/b.svs,Q\n")
    (path.parent / "drawn").rename(path.parent / "annotations")
    cohort = read_cohort(path)
    assert [case.annotations for case in cohort.cases] == [path.parent / "annotations/a.geojson", None]
    assert cohort.notes == ("annotations of 1 slide were found by its name",)


def test_an_empty_cell_means_no_annotations(table: Write) -> None:
    path = table("slide,patient,annotations\nslides/a.svs,P,\n")
    (path.parent / "drawn").rename(path.parent / "annotations")
    assert read_cohort(path).cases[0].annotations is None


@pytest.mark.parametrize(
    ("cell", "meant"),
    [
        ("1=tumour;2=stroma", ((1, "tumour"), (2, "stroma"))),
        (" 2 = stroma , 1 = tumour", ((1, "tumour"), (2, "stroma"))),
        ("tumour", ((1, "tumour"),)),
        ("", ()),
    ],
)
def test_names_of_a_masks_values(table: Write, cell: str, meant: tuple[tuple[int, str], ...]) -> None:
    (case,) = read_cohort(
        table(f'slide,patient,mask_labels,mask_threshold\nslides/a.svs,P,"{cell}",128\n')
    ).cases
    assert (case.mask_labels, case.mask_threshold) == (meant, 128)


# ---------------------------------------------------------------- what is wrong with a table


def test_all_problems_are_reported_at_once(table: Write) -> None:
    path = table(
        "slide,annotations,patient,split,mpp,mask_labels,mask_threshold\n"
        "slides/gone.svs,,P1,,,,\n"
        "slides/a.svs,drawn/gone.geojson,P2,learn,20x,x=y,dark\n"
        ",,P3,,,,\n"
        "slides/b.svs,,P4,,-1,,\n"
        "slides/../slides/b.svs,,P5,,,,\n"
    )
    fault = problems(path)
    assert fault.startswith("9 problems")
    for expected in (
        "row 2: there is no slide",
        "gone.svs",
        "row 3: there are no annotations",
        "row 3: split: 'learn' is not train, tune or test",
        "row 3: mpp: '20x' is not a number",
        "row 3: mask_labels: 'x=y'",
        "row 3: mask_threshold: 'dark'",
        "row 4: no slide is named",
        "row 5: mpp: -1 um/px is not possible",
        "rows 5 and 6 name the same slide b.svs",
    ):
        assert expected in fault


def test_a_patient_in_two_splits_is_refused_with_name_and_rows(table: Write) -> None:
    text = "slide,patient,split\nslides/a.svs,P1,train\nslides/b.svs,P1,test\nslides/c 1 (2).ndpi,P1,train\n"
    assert "patient P1 is in train (rows 2, 4) and test (row 3)" in problems(table(text))


def test_a_test_patients_other_slide_is_not_trained_on(table: Write) -> None:
    cohort = read_cohort(table("slide,patient,split\nslides/a.svs,P1,test\nslides/b.svs,P1,\n"))
    assert [case.split for case in cohort.cases] == ["test", "test"]
    assert cohort.notes == ("1 rows without a split get that of their patient's other slides",)


@pytest.mark.parametrize("mpp", ["inf", "0", "1e9", "0.25 um"])
def test_an_impossible_scale_is_refused(table: Write, mpp: str) -> None:
    assert "row 2: mpp" in problems(table(f"slide,mpp\nslides/a.svs,{mpp}\n"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "has no column 'slide'"),
        ("\n\n", "has no column 'slide'"),
        ("patient,mpp\nP,1\n", "has no column 'slide' (its first line: patient, mpp)"),
        ("slide,patient\n", "lists no slides"),
        ("slide,patient\n,,\n \n", "lists no slides"),
        ("slide,patient\nslides/a.svs,Doe, J.\n", "row 2 has more cells"),
        ("slide,patient,Patient\nslides/a.svs,a,b\n", "has the column 'Patient' twice"),
        ('slide,patient\n"slides/a.svs"x,b\n', "is not a table"),
        ("slide\0,patient\na\0,b\n", "is not a text table"),
    ],
)
def test_what_is_no_table_is_refused(table: Write, text: str, expected: str) -> None:
    assert expected in problems(table(text))


@given(st.binary(max_size=120))
def test_no_content_gives_a_foreign_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "cohort.csv"
    path.write_bytes(b"slide,patient\n" + content)
    try:
        cohort = read_cohort(path)
    except CohortError:
        return
    assert cohort.cases


def test_what_does_not_exist_is_named(tmp_path: Path) -> None:
    assert problems(tmp_path / "absent.csv") == "there is no such file"


# ---------------------------------------------------------------- folders and slides


def test_a_folder_of_slides_with_annotations_beside_within_and_in_the_sister_folder(tmp_path: Path) -> None:
    slides = tmp_path / "slides"
    for name in (
        "slides/a.svs",
        "slides/a.geojson",
        "slides/b.tif",
        "slides/b.png",  # beside a slide a picture is another slide, not a mask
        "slides/annotations/c.geojson.gz",
        "slides/c.ndpi",
        "annotations/d.png",
        "slides/d.SVS",
        "annotations/e.svs.geojson",
        "slides/e.svs",
        "slides/notes.txt",
        "slides/.hidden.svs",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    cohort = read_cohort(slides)
    assert {case.slide.name: case.annotations for case in cohort.cases} == {
        "a.svs": slides / "a.geojson",
        "b.tif": None,
        "b.png": None,
        "c.ndpi": slides / "annotations/c.geojson.gz",
        "d.SVS": tmp_path / "annotations/d.png",
        "e.svs": tmp_path / "annotations/e.svs.geojson",
    }


def test_a_slide_with_two_annotation_files_is_noted(tmp_path: Path) -> None:
    for name in ("a.svs", "a.geojson", "a.json"):
        (tmp_path / name).write_bytes(b"")
    notes = read_cohort(tmp_path).notes
    assert "a.svs has several annotation files, of which a.geojson is read" in notes


def test_a_single_slide_is_a_cohort_of_one(tmp_path: Path) -> None:
    (tmp_path / "a.svs").write_bytes(b"")
    (tmp_path / "a.geojson").write_bytes(b"")
    (case,) = read_cohort(tmp_path / "a.svs").cases
    assert case == Case(tmp_path / "a.svs", tmp_path / "a.geojson", "a")


def test_a_folder_without_slides_is_refused(tmp_path: Path) -> None:
    assert "holds no slides" in problems(tmp_path)


# ---------------------------------------------------------------- writing


_NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8).filter(
    lambda name: name.casefold() not in EMPTY_CELLS
)


@st.composite
def cohorts(draw: st.DrawFn) -> list[Case]:
    splits: list[SplitName | None] = ["train", "tune", "test", None]
    split_of = {patient: draw(st.sampled_from(splits)) for patient in "PQR"}
    names = draw(
        st.lists(st.text("ab ,;'\"é", min_size=1, max_size=6).map(str.strip), unique=True, max_size=5)
    )
    cases = []
    for name in [name for name in names if name] or ["a"]:
        patient = draw(st.sampled_from("PQR"))
        labels = draw(
            st.dictionaries(st.integers(1, 255), st.text("xyz ü", min_size=1).map("n".__add__).map(str.strip))
        )
        cases.append(
            Case(
                Path(f"s {name}.svs"),
                draw(st.sampled_from([None, Path("drawn.geojson")])),
                patient,
                split=split_of[patient],
                mpp=draw(st.none() | st.floats(0.01, 9.9)),
                site=draw(st.none() | _NAMES),
                mask_labels=tuple(sorted(labels.items())),
                mask_threshold=draw(st.none() | st.integers(1, 65535)),
            )
        )
    return cases


@given(cohorts())
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, cases: list[Case]) -> None:
    folder = tmp_path_factory.mktemp("law")
    (folder / "drawn.geojson").write_bytes(b"")
    placed = [
        replace(case, slide=folder / case.slide, annotations=case.annotations and folder / case.annotations)
        for case in cases
    ]
    for case in placed:
        case.slide.write_bytes(b"")
    cohort = Cohort(tuple(placed), "anywhere")
    write_cohort(cohort, folder / "cohort.csv")
    assert read_cohort(folder / "cohort.csv").cases == cohort.cases


def test_a_table_written_elsewhere_finds_the_slides(table: Write, tmp_path: Path) -> None:
    cohort = read_cohort(table("slide,patient\nslides/a.svs,P\n"))
    write_cohort(cohort, tmp_path / "elsewhere" / "cohort.csv")
    assert read_cohort(tmp_path / "elsewhere" / "cohort.csv").cases == cohort.cases


def test_parts_of_a_cohort(tmp_path: Path) -> None:
    cases = (
        Case(Path("a"), patient="Q", split="train"),
        Case(Path("b"), patient="P", split="test"),
        Case(Path("c")),
    )
    cohort = Cohort(cases, "here")
    assert cohort.patients == ("P", "Q", "c")
    assert cohort.in_split("train", "test").cases == cases[:2]


@pytest.mark.shared
def test_the_real_cohort(shared_data: Path) -> None:
    cohort = read_cohort(shared_data / "glas/cohort.csv")
    assert (len(cohort.cases), len(cohort.patients), cohort.notes) == (13, 13, ())
    assert all(case.mpp == 0.62005 and case.annotations for case in cohort.cases)
    folder = read_cohort(shared_data / "glas/slides")
    assert [case.annotations for case in folder.cases] == [case.annotations for case in cohort.cases]


# ---------------------------------------------------------------- names and ids


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_annotations_are_found_however_their_names_are_spelled(tmp_path: Path) -> None:
    composed, decomposed = "\u00dcber", "U\u0308ber"
    pairs = {
        "S1.ome.tif": "S1.geojson",
        "S2.ome.tiff": "S2.ome.tiff.geojson",
        "S3.tif": "S3.GEOJSON",
        "S4.TIF": "s4.geojson",
        f"{decomposed}.svs": f"{composed}.geojson",
        "S5.svs": "S5.ndpi.geojson",
        "scan1 - 20x_02.tif": "scan1 - 20x_02.geojson",
    }
    touch(tmp_path, *pairs, *pairs.values(), "scan1.vsi - 20x_02.geojson", "S9.xml")
    cohort = read_cohort(tmp_path)
    assert {case.slide.name: case.annotations and case.annotations.name for case in cohort.cases} == pairs
    (note,) = [note for note in cohort.notes if "S9.xml" in note]
    assert "2 (S9.xml, scan1.vsi - 20x_02.geojson)" in note


def test_a_file_goes_with_the_slide_whose_name_it_fits_best(tmp_path: Path) -> None:
    touch(tmp_path, "A.svs", "A.tif", "a.ndpi", "A.svs.geojson", "b.tif", "B.tif", "B.geojson")
    found = {case.slide.name: case.annotations for case in read_cohort(tmp_path).cases}
    assert {name for name, file in found.items() if file} == {"A.svs", "B.tif"}


def test_files_that_no_slide_claims_are_named_but_not_those_of_other_folders(tmp_path: Path) -> None:
    touch(tmp_path, "left/A.svs", "right/B.svs", *(f"annotations/{name}.geojson" for name in "ABC"))
    notes = read_cohort(tmp_path / "left").notes
    assert [note for note in notes if ".geojson" in note] == [
        "annotation files that are named after no slide, left out: 1 (C.geojson)"
    ]


def test_files_that_a_table_passes_over_are_named(table: Write) -> None:
    path = table("slide,annotations,patient\nslides/a.svs,drawn/a.geojson,1\nslides/b.svs,,2\n")
    touch(path.parent, "slides/b.geojson", "slides/x.xml", "drawn/y.geojson", "drawn/b.xml")
    notes = " ".join(read_cohort(path).notes)
    assert "b.geojson" in notes
    assert "2 (y.geojson, x.xml)" in notes


def test_names_in_a_table_may_differ_from_the_files_in_case_and_unicode_form(tmp_path: Path) -> None:
    touch(tmp_path, "S1.ome.tif", "U\u0308.SVS", "drawn/A.geojson")
    (tmp_path / "t.csv").write_text(
        "slide,patient,annotations\nS1,1,\n\u00dc.svs,2,drawn/a.GeoJSON\n", encoding="utf-8"
    )
    first, second = read_cohort(tmp_path / "t.csv").cases
    assert (first.slide.name, second.slide.name) == ("S1.ome.tif", "U\u0308.SVS")
    assert second.annotations == tmp_path / "drawn/A.geojson"


@pytest.mark.parametrize("cell", ["NA", "n/a", "nan", "NULL", "None", "-", "#N/A"])
def test_words_for_no_value_are_empty_cells(table: Write, cell: str) -> None:
    text = f"slide,annotations,patient,split,mpp,site\nslides/a.svs,drawn/a.geojson,{cell},{cell},{cell},{cell}\n"
    cohort = read_cohort(table(text))
    (case,) = cohort.cases
    assert (case.patient, case.split, case.mpp, case.site) == ("a", None, None, None)
    (note,) = [note for note in cohort.notes if "read as empty" in note]
    assert f"4 cells with {cell!r}" in note


IDS = ("001", "1", "1.0")


def test_ids_that_differ_only_in_spelling_are_one_patient_with_a_note(table: Write) -> None:
    names = ("slides/a.svs", "slides/b.svs", "slides/c 1 (2).ndpi")
    rows = "".join(f"{name},{patient}\n" for name, patient in zip(names, IDS, strict=True))
    cohort = read_cohort(table(f"slide,patient\n{rows}"))
    assert cohort.patients == ("001",)
    assert cohort.spellings == (IDS,)
    assert any("001 = 1 = 1.0" in note for note in cohort.notes)
    # nothing changes when a part of it is taken
    assert cohort.in_split("test").spellings == (IDS,)


def test_ids_that_differ_only_in_spelling_are_refused_in_two_splits(table: Write) -> None:
    text = "slide,patient,split\nslides/a.svs,P-01,train\nslides/b.svs,p 01,test\n"
    assert "P-01 = p 01 is in train (row 2) and test (row 3)" in problems(table(text))


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_a_table_that_is_not_in_utf8_is_noted(table: Write, encoding: str) -> None:
    cohort = read_cohort(table("slide,patient\nslides/a.svs,Müller\n", encoding))
    assert cohort.patients == ("Müller",)
    assert any("UTF-8" in note for note in cohort.notes)


# ---------------------------------------------------------------- what is no slide


def test_a_file_of_annotations_is_no_slide(tmp_path: Path) -> None:
    for name in ("a.geojson", "a.qpdata", "a.xml", "a.ndpa"):
        (tmp_path / name).write_text("{}")
        with pytest.raises(CohortError, match="annotations, not a slide"):
            read_cohort(tmp_path / name)


def test_a_folder_without_slides_names_what_is_in_it(tmp_path: Path) -> None:
    with pytest.raises(CohortError) as nothing:
        read_cohort(tmp_path)
    assert "slide files" in nothing.value.remedy
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.svs").write_bytes(b"")
    (tmp_path / "slides.csv").write_text("slide\n")
    with pytest.raises(CohortError) as caught:
        read_cohort(tmp_path)
    assert "slides.csv, scans" in caught.value.remedy
