from dataclasses import replace
from pathlib import Path

import openslide
import pytest

from histoscout.annotations.read import read_annotations
from histoscout.cohort.cohort import read_cohort
from histoscout.errors import CohortError, OutputError
from histoscout.synthetic.cohort import SPLITS, write
from histoscout.synthetic.patient import DIFFICULTY, MIXES
from histoscout.synthetic.slide import draw

SIZE = (640, 512)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("phantom") / "cohort", 3, 2, SIZE)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_table_lists_what_was_written(cohort: Path) -> None:
    cases = read_cohort(cohort).cases
    assert len(cases) == 6
    assert {case.split for case in cases} == {"train", "tune", "test"}
    assert len({case.patient for case in cases}) == 3
    for case in cases:
        assert case.mpp == 0.5
        assert case.slide.exists()
        assert case.annotations is not None
        assert case.annotations.exists()


def test_drawn_slides_are_known_as_such_unless_there_are_others(cohort: Path) -> None:
    drawn = read_cohort(cohort)
    first, *rest = drawn.cases
    assert drawn.built_in
    assert not replace(drawn, cases=(replace(first, site=None), *rest)).built_in
    assert not replace(drawn, cases=()).built_in


def test_openslide_reads_size_and_scale(cohort: Path) -> None:
    for path in sorted(cohort.parent.glob("slides/*.tif")):
        with openslide.OpenSlide(path) as slide:
            assert slide.dimensions == (SIZE[1], SIZE[0])
            assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.5, rel=1e-3)
            assert f"difficulty {DIFFICULTY}" in slide.properties["tiff.ImageDescription"]


def test_the_outlines_are_those_of_the_slide(cohort: Path) -> None:
    annotations = read_cohort(cohort).cases[1].annotations
    assert annotations is not None
    read, drawn = read_annotations(annotations).regions, draw(1, 0, SIZE).regions
    assert [(one.label, one.id, one.outline) for one in read] == [(o.label, o.id, o.outline) for o in drawn]


def test_a_second_call_does_only_what_is_missing(cohort: Path) -> None:
    folder = cohort.parent
    before = contents(folder)
    (folder / "slides" / "P0001-1.tif").unlink()
    cohort.unlink()
    times = {path: path.stat().st_mtime_ns for path in folder.glob("slides/*")}
    told: list[tuple[int, int]] = []
    write(folder, 3, 2, SIZE, on_slide=lambda done, total: told.append((done, total)))
    assert contents(folder) == before
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert told == [(done, 6) for done in range(1, 7)]


def test_another_cohort_is_not_written_over(cohort: Path) -> None:
    before = contents(cohort.parent)
    with pytest.raises(OutputError, match="holds another built-in cohort"):
        write(cohort.parent, 3, 2, SIZE, seed=1)
    assert contents(cohort.parent) == before


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        write(tmp_path, 3, 1, SIZE)
    assert contents(tmp_path) == {"thesis.txt": b"mine"}


@pytest.mark.parametrize(
    "numbers", [{"patients": 2}, {"slides_per_patient": 0}, {"size": (100, 900)}, {"seed": -1}]
)
def test_numbers_that_make_no_cohort(tmp_path: Path, numbers: dict[str, int]) -> None:
    with pytest.raises(CohortError):
        write(tmp_path / "new", **numbers)  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("patients", range(3, 30))
def test_each_split_has_hyperplasia_and_look_alikes(patients: int) -> None:
    for split in ("train", "tune", "test"):
        mixes = {MIXES[i % len(MIXES)] for i in range(patients) if SPLITS[i % len(SPLITS)] == split}
        assert "both" in mixes
