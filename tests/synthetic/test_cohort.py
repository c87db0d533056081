from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import openslide
import pytest

from histoscout.annotations.read import read_annotations
from histoscout.cohort.cohort import read_cohort
from histoscout.errors import CohortError, OutputError
from histoscout.synthetic.cohort import MARKER, OLD_MARKERS, SPLITS, write_synthetic_cohort
from histoscout.synthetic.patient import DIFFICULTY, MIXES
from histoscout.synthetic.slide import draw_slide

SIZE = (640, 512)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_cohort(tmp_path_factory.mktemp("synthetic") / "cohort", 3, 2, size=SIZE)


@pytest.fixture
def old_cohort(cohort: Path) -> Iterator[Path]:
    """The cohort with the name of the marker that histoscout 0.1.0 wrote."""
    marker, old_marker = cohort.parent / MARKER, cohort.parent / OLD_MARKERS[0]
    marker.rename(old_marker)
    yield cohort
    old_marker.rename(marker)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_table_lists_the_written_slides(cohort: Path) -> None:
    cases = read_cohort(cohort).cases
    assert len(cases) == 6
    assert {case.split for case in cases} == {"train", "tune", "test"}
    assert len({case.patient for case in cases}) == 3
    for case in cases:
        assert case.mpp == 0.5
        assert case.slide.exists()
        assert case.annotations is not None
        assert case.annotations.exists()


def test_a_cohort_is_built_in_only_if_all_of_its_slides_are(cohort: Path) -> None:
    built_in = read_cohort(cohort)
    first, *rest = built_in.cases
    assert built_in.built_in
    assert not replace(built_in, cases=(replace(first, site=None), *rest)).built_in
    assert not replace(built_in, cases=()).built_in


def test_openslide_reads_size_and_scale(cohort: Path) -> None:
    slides = sorted(cohort.parent.glob("slides/*.tif"))
    assert len(slides) == 6
    for path in slides:
        with openslide.OpenSlide(path) as slide:
            assert slide.dimensions == (SIZE[1], SIZE[0])
            assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.5, rel=1e-3)
            assert f"difficulty {DIFFICULTY}" in slide.properties["tiff.ImageDescription"]


def test_the_annotations_are_those_of_the_slide(cohort: Path) -> None:
    annotations = read_cohort(cohort).cases[1].annotations
    assert annotations is not None
    regions = read_annotations(annotations).regions
    expected = draw_slide(1, 0, SIZE).regions
    assert len(expected) > 0
    assert [(r.label, r.id, r.outline) for r in regions] == [(r.label, r.id, r.outline) for r in expected]


def test_a_second_call_writes_only_what_is_missing(cohort: Path) -> None:
    folder = cohort.parent
    before = contents(folder)
    (folder / "slides" / "P0001-1.tif").unlink()
    cohort.unlink()
    times = {path: path.stat().st_mtime_ns for path in folder.glob("slides/*")}
    progress: list[tuple[int, int]] = []
    write_synthetic_cohort(
        folder, 3, 2, size=SIZE, on_slide=lambda done, total: progress.append((done, total))
    )
    assert contents(folder) == before
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert progress == [(done, 6) for done in range(1, 7)]


def test_a_folder_of_version_0_1_is_continued(old_cohort: Path) -> None:
    before = contents(old_cohort.parent)
    assert write_synthetic_cohort(old_cohort.parent, 3, 2, size=SIZE) == old_cohort
    assert contents(old_cohort.parent) == before
    with pytest.raises(OutputError):
        write_synthetic_cohort(old_cohort.parent, 3, 2, size=SIZE, seed=1)


def test_another_cohort_is_not_overwritten(cohort: Path) -> None:
    before = contents(cohort.parent)
    with pytest.raises(OutputError) as error:
        write_synthetic_cohort(cohort.parent, 3, 2, size=SIZE, seed=1)
    assert error.value.where == str(cohort.parent)
    assert contents(cohort.parent) == before


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError) as error:
        write_synthetic_cohort(tmp_path, 3, 1, size=SIZE)
    assert error.value.where == str(tmp_path)
    assert contents(tmp_path) == {"thesis.txt": b"mine"}


@pytest.mark.parametrize(
    "numbers", [{"patients": 2}, {"slides_per_patient": 0}, {"size": (100, 900)}, {"seed": -1}]
)
def test_impossible_numbers_are_refused(tmp_path: Path, numbers: dict[str, int]) -> None:
    with pytest.raises(CohortError):
        write_synthetic_cohort(tmp_path / "new", **numbers)  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("patients", range(3, 30))
def test_each_split_has_udh_and_look_alikes(patients: int) -> None:
    for split in ("train", "tune", "test"):
        mixes = {MIXES[i % len(MIXES)] for i in range(patients) if SPLITS[i % len(SPLITS)] == split}
        assert "both" in mixes
