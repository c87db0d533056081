"""BRACS as it is downloaded, on a made-up tree of the same shape."""

import csv
from pathlib import Path

import pytest

from histoscout.cohort.annotated_slide import labeled_regions
from histoscout.cohort.bracs import bracs_recipe, read_bracs, write_bracs
from histoscout.cohort.bracs_table import BracsRow, read_bracs_table, slide_name, unambiguous_splits
from histoscout.cohort.case import SplitName
from histoscout.cohort.cohort import read_cohort
from histoscout.cohort.image_folders import read_images
from histoscout.errors import CohortError, OutputError
from tests.cohort.bracs_tree import ROWS, make_tree, write_roi, write_table


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("BRACS"))


# ---------------------------------------------------------------- slides


def test_slides_are_paired_with_their_annotations_in_any_folder(tree: Path) -> None:
    cases = {case.name: case for case in read_bracs([tree]).slides.cases}
    assert sorted(cases) == [
        "BRACS_1286",
        "BRACS_1494",
        "BRACS_1496",
        "BRACS_264",
        "BRACS_291",
        "BRACS_310",
        "BRACS_311",
    ]
    drawn = {name for name, case in cases.items() if case.annotations is not None}
    assert drawn == {"BRACS_1286", "BRACS_1494", "BRACS_264", "BRACS_311"}
    for name in drawn:
        annotations = cases[name].annotations
        assert annotations is not None
        assert annotations.stem == name
    assert {name: case.patient for name, case in cases.items()} == {
        "BRACS_1286": "23",
        "BRACS_1494": "49",
        "BRACS_1496": "49",
        "BRACS_264": "67",
        "BRACS_291": "67",
        "BRACS_310": "5",
        "BRACS_311": "6",
    }


def test_a_patient_in_two_subsets_is_moved_to_training(tree: Path) -> None:
    found = read_bracs([tree])
    splits = {case.name: case.split for case in found.slides.cases}
    assert splits == {
        "BRACS_1286": "train",
        "BRACS_1494": "train",
        "BRACS_1496": "train",
        "BRACS_264": "train",
        "BRACS_291": "train",
        "BRACS_310": "test",
        "BRACS_311": "tune",
    }
    assert (
        "patient 67 is in two subsets; all slides are now in train: BRACS_264 from tune moved" in found.notes
    )


def test_the_split_does_not_depend_on_what_was_downloaded(tree: Path, tmp_path: Path) -> None:
    slide = tmp_path / "BRACS_264.svs"
    slide.write_bytes(b"only this one")
    (case,) = read_bracs([tmp_path], tree / "BRACS.xlsx").slides.cases
    assert case.split == "train"


def test_what_is_missing_is_noted(tree: Path) -> None:
    notes = read_bracs([tree]).notes
    assert (
        "slides without annotations (.qpdata), 1 of them with RoIs: 3 (BRACS_1496, BRACS_291, BRACS_310)"
        in notes
    )
    assert "1 of the 8 slides in BRACS.xlsx are missing" in notes


def test_stray_and_repeated_files_are_noted(tmp_path: Path) -> None:
    for place in ("train", "test", "elsewhere"):
        (tmp_path / place).mkdir()
    for file in (
        "train/BRACS_1286.svs",
        "elsewhere/BRACS_1286.svs",
        "train/BRACS_310.svs",
        "test/BRACS_42.svs",
    ):
        (tmp_path / file).write_bytes(b"slide")
    (tmp_path / "elsewhere" / "BRACS_777.qpdata").write_bytes(b"outlines")
    write_table(tmp_path / "bracs.XLSX")
    found = read_bracs([tmp_path])
    assert [case.name for case in found.slides.cases] == ["BRACS_1286", "BRACS_310"]
    notes = "\n".join(found.notes)
    assert "slides that exist twice, the first is used: 1 (BRACS_1286)" in notes
    assert "slides that bracs.XLSX does not list, left out: 1 (BRACS_42)" in notes
    assert "annotations without a slide: 1 (BRACS_777)" in notes
    assert (
        "slides in the folder of another subset than bracs.XLSX says, which is used: 1 (BRACS_310)" in notes
    )


def test_a_patient_in_two_subsets_goes_to_the_first() -> None:
    def row(slide: str, patient: str, split: SplitName) -> BracsRow:
        return BracsRow(slide=slide, patient=patient, label="N", split=split, rois=0)

    rows = [row("a", "1", "test"), row("b", "1", "tune"), row("c", "2", "test"), row("d", "1", "test")]
    splits, notes = unambiguous_splits(rows)
    assert splits == {"1": "tune", "2": "test"}
    assert notes == (
        "patient 1 is in two subsets; all slides are now in tune: a from test, d from test moved",
    )


# ---------------------------------------------------------------- RoIs


def test_rois_have_a_class_a_patient_and_their_patients_subset(tree: Path) -> None:
    rois = {roi.image.name: roi for roi in read_bracs([tree]).rois}
    found = {name: (roi.label, roi.patient, roi.split) for name, roi in rois.items()}
    assert found == {
        "BRACS_1286_UDH_1.png": ("UDH", "23", "train"),
        "BRACS_1494_ADH_2.png": ("ADH", "49", "train"),
        "BRACS_1494_FEA_3.png": ("FEA", "49", "train"),
        "BRACS_264_PB_1.png": ("PB", "67", "train"),
        "BRACS_311_IC_1.png": ("IC", "6", "tune"),
        "BRACS_5000_N_1.png": ("N", "BRACS_5000", "test"),
    }


def test_contradictory_rois_are_noted(tree: Path) -> None:
    notes = read_bracs([tree]).notes
    assert (
        "RoIs whose folder and name are of different classes, left out: 1 (ADH/BRACS_1494_FEA_9.png)" in notes
    )
    assert "2 RoIs are in the subset of their patient, which is not that of their folder" in notes
    assert "RoIs of slides that are not listed; the slide counts as the patient: 1 (BRACS_5000)" in notes


def test_both_orders_of_folders_are_understood(tmp_path: Path) -> None:
    write_table(tmp_path / "BRACS.xlsx")
    for place in ("train/3_ADH/BRACS_1494_ADH_1.png", "train/4_FEA/BRACS_1494_FEA_2.png"):
        write_roi(tmp_path / "BRACS_RoI" / "previous_version" / place)
    found = read_bracs([tmp_path])
    assert [roi.label for roi in found.rois] == ["ADH", "FEA"]
    assert any("RoIs are of previous_version" in note for note in found.notes)
    write_roi(tmp_path / "BRACS_RoI" / "latest_version" / "train" / "3_FEA" / "BRACS_1494_FEA_7.png")
    found = read_bracs([tmp_path])
    assert [roi.image.name for roi in found.rois] == ["BRACS_1494_FEA_7.png"]
    assert "RoIs are taken from latest_version; 2 images of previous_version are left out" in found.notes


# ---------------------------------------------------------------- what is written


def test_what_is_written_is_read(tree: Path, tmp_path: Path) -> None:
    found = read_bracs([tree])
    written = write_bracs(found, tmp_path / "out")
    assert [path.name for path in written] == ["recipe.toml", "cohort.csv", "rois.csv"]
    cohort = read_cohort(tmp_path / "out" / "cohort.csv")
    assert [(case.name, case.patient, case.split) for case in cohort.cases] == [
        (case.name, case.patient, case.split) for case in found.slides.cases
    ]
    rois = read_cohort(tmp_path / "out" / "rois.csv")
    assert {case.mpp for case in rois.cases} == {0.25}
    images = read_images(tmp_path / "out" / "rois.csv")
    assert [(image.label, image.patient) for image in images.images] == [("N", "BRACS_5000")]
    with (tmp_path / "out" / "rois.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 6


def test_nothing_is_overwritten_without_the_option(tree: Path, tmp_path: Path) -> None:
    found = read_bracs([tree])
    (tmp_path / "rois.csv").write_text("mine")
    with pytest.raises(OutputError, match=r"rois\.csv"):
        write_bracs(found, tmp_path)
    assert not (tmp_path / "cohort.csv").exists()
    write_bracs(found, tmp_path, overwrite=True)
    assert (tmp_path / "rois.csv").read_text() != "mine"


def test_the_recipe_knows_every_spelling(tree: Path) -> None:
    classes = bracs_recipe().classes
    assert not classes.complete
    labels = {
        case.name: [region.label for region in labeled_regions(case, classes).regions]
        for case in read_bracs([tree]).slides.cases
        if case.annotations
    }
    assert labels == {
        "BRACS_1286": ["UDH", "ignore", "PB"],
        "BRACS_1494": ["UDH", "ADH", "N"],
        "BRACS_264": ["N", "PB", "ignore"],
        "BRACS_311": ["IC", "IC", "DCIS", "FEA"],
    }


# ---------------------------------------------------------------- the table


def test_the_table_is_read_with_its_odd_headings(tree: Path) -> None:
    rows = read_bracs_table(tree / "BRACS.xlsx")
    assert len(rows) == len(ROWS)
    assert rows["BRACS_1494"] == BracsRow(
        slide="BRACS_1494", patient="49", label="ADH", split="train", rois=55
    )


@pytest.mark.parametrize("name", ["BRACS_1494", "BRACS_1494.svs", "bracs_1494.qpdata", " BRACS_1494 "])
def test_each_name_of_a_slide(name: str) -> None:
    assert slide_name(name) == "BRACS_1494"


def test_formulas_are_not_run(tmp_path: Path) -> None:
    write_table(tmp_path / "BRACS.xlsx", [["BRACS_1.svs", '=HYPERLINK("http://x")', 1, "N", "Training"]])
    with pytest.raises(CohortError, match=r"row 3: BRACS_1\.svs has patient ''"):
        read_bracs_table(tmp_path / "BRACS.xlsx")


def test_all_faults_of_the_table_are_reported_at_once(tmp_path: Path) -> None:
    rows: list[list[object]] = [
        ["BRACS_1", None, 1, "N", "Training"],
        ["BRACS_2", 2, 1, "N", "somewhere"],
        ["BRACS_3", 3, 1, "N", "Training"],
        ["BRACS_3.svs", 4, 1, "N", "Training"],
        [None, None, None, None, None],
    ]
    write_table(tmp_path / "BRACS.xlsx", rows)
    with pytest.raises(
        CohortError,
        match=r"3 problems\n  row 3: BRACS_1 .*\n  row 4: .*'somewhere'\n  row 6: BRACS_3 is listed",
    ):
        read_bracs_table(tmp_path / "BRACS.xlsx")


def test_another_table_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "BRACS.xlsx", headings=["a", "b", "c", "d", "e"])
    with pytest.raises(CohortError, match="WSI Filename"):
        read_bracs_table(tmp_path / "BRACS.xlsx")


@pytest.mark.parametrize("content", [b"", b"slide,patient", b"PK\x03\x04rubbish", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "BRACS.xlsx").write_bytes(content)
    with pytest.raises(CohortError, match=r"BRACS\.xlsx"):
        read_bracs_table(tmp_path / "BRACS.xlsx")


def test_folders_without_bracs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="absent"):
        read_bracs([tmp_path / "absent"])
    with pytest.raises(CohortError, match=r"BRACS\.xlsx"):
        read_bracs([tmp_path])
    write_table(tmp_path / "BRACS.xlsx")
    with pytest.raises(CohortError, match="BRACS_"):
        read_bracs([tmp_path])
