from pathlib import Path

from histoscout.cohort.cohort import read_cohort
from tests.cli.program import assert_refused, run
from tests.cohort.bracs_tree import make_tree


def test_a_download_becomes_a_cohort(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "BRACS")
    result = run(
        "bracs",
        tree / "BRACS_WSI",
        tree / "BRACS_WSI_Annotations",
        "-o",
        tmp_path / "out",
        "--table",
        tree / "BRACS.xlsx",
    )
    assert result.returncode == 0, result.stderr
    assert "7 slides of 5 patients, 4 annotated; 0 RoIs" in result.stdout
    assert "patient 67" in result.stderr
    assert len(read_cohort(tmp_path / "out" / "cohort.csv").cases) == 7
    assert not (tmp_path / "out" / "rois.csv").exists()


def test_a_download_without_its_table_is_refused(tmp_path: Path) -> None:
    assert_refused(run("bracs", tmp_path, "-o", tmp_path / "out"), "BRACS.xlsx", "--table")
    assert not (tmp_path / "out").exists()
