from pathlib import Path

from histoscout.cohort.cohort import read_cohort
from tests.cli.test_bad_input import refused, run
from tests.cohort.bracs_tree import make_tree


def test_a_download_becomes_a_cohort(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "BRACS")
    done = run(
        "bracs",
        tree / "BRACS_WSI",
        tree / "BRACS_WSI_Annotations",
        "-o",
        tmp_path / "out",
        "--table",
        tree / "BRACS.xlsx",
    )
    assert done.returncode == 0, done.stderr
    assert "7 slides of 5 patients, 4 with outlines; 0 RoIs" in done.stdout
    assert "patient 67 is in two subsets" in done.stderr
    assert len(read_cohort(tmp_path / "out" / "cohort.csv").cases) == 7
    assert not (tmp_path / "out" / "rois.csv").exists()


def test_without_the_table_it_says_what_is_missing(tmp_path: Path) -> None:
    refused(run("bracs", tmp_path, "-o", tmp_path / "out"), "BRACS.xlsx", "--table")
    assert not (tmp_path / "out").exists()
