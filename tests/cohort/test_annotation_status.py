"""Which slides count as annotated, as negative, and as not looked through."""

from pathlib import Path

import pytest
import shapely

from histoscout.annotations.write import write_annotations
from histoscout.checks.integrity import LoadedCase, check_readable
from histoscout.cohort.annotated_slide import labeled_regions
from histoscout.cohort.annotation_status import MOST_EMPTY_BYTES, annotation_status
from histoscout.cohort.case import Case
from histoscout.cohort.cohort import read_cohort, write_cohort
from histoscout.geometry.regions import Region, Regions
from histoscout.progress import NoProgress
from histoscout.recipe_sections import ClassConfig
from histoscout.slides.pyramid import write_pyramid
from histoscout.training.data import open_training_slides
from tests import toy

LESION = Regions.of([Region(shapely.box(10, 10, 40, 40), "UDH")])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four slides: annotated, with an empty file, said to have no lesion, and not annotated."""
    for name in "abcd":
        (tmp_path / f"{name}.svs").touch()
    write_annotations(LESION, tmp_path / "a.geojson")
    write_annotations(Regions(), tmp_path / "b.geojson")
    rows = "a.svs,a.geojson,P1\nb.svs,b.geojson,P2\nc.svs,None,P3\nd.svs,,P4\n"
    (tmp_path / "cohort.csv").write_text(f"slide,annotations,patient\n{rows}")
    return tmp_path


def names(cases: tuple[Case, ...]) -> str:
    return "".join(case.name for case in cases)


def test_every_slide_is_of_one_kind(folder: Path) -> None:
    status = annotation_status(read_cohort(folder / "cohort.csv"))
    assert (names(status.annotated), names(status.negative), names(status.unknown)) == ("a", "bc", "d")
    assert "d, row 5" in status.line
    assert "b, row 3; c, row 4" in status.line
    # without a doubtful slide, nothing is asked of the user
    (folder / "cohort.csv").write_text("slide,annotations\na.svs,a.geojson\n")
    assert annotation_status(read_cohort(folder / "cohort.csv")).line == "1 slide with annotations"


def test_a_negative_slide_is_annotated_and_survives_a_round_trip(folder: Path) -> None:
    cohort = read_cohort(folder / "cohort.csv")
    negative, unknown = cohort.cases[2:]
    assert (negative.annotated, negative.annotations, negative.negative) == (True, None, True)
    assert not unknown.annotated
    write_cohort(cohort, folder / "again.csv")
    assert read_cohort(folder / "again.csv").cases == cohort.cases
    # nothing is missing from a slide that is known to be negative
    assert labeled_regions(negative, ClassConfig()).notes == ()
    assert labeled_regions(unknown, ClassConfig()).notes


def test_a_file_called_none_is_a_file(folder: Path) -> None:
    write_annotations(LESION, folder / "none.geojson")
    (folder / "none.geojson").rename(folder / "none")
    (folder / "cohort.csv").write_text("slide,annotations\na.svs,none\n")
    assert read_cohort(folder / "cohort.csv").cases[0].annotations == folder / "none"


def test_large_and_broken_files_count_as_annotated(folder: Path) -> None:
    for content in (b" " * (MOST_EMPTY_BYTES + 1), b"no json"):
        (folder / "b.geojson").write_bytes(content)
        status = annotation_status(read_cohort(folder / "cohort.csv"))
        assert names(status.annotated) == "ab"


def test_the_check_warns_of_unknown_slides_alone(folder: Path) -> None:
    annotated, empty, negative, unknown = read_cohort(folder / "cohort.csv").cases
    loaded = [LoadedCase(case=annotated, mpp=1.0, regions=LESION)]
    loaded += [LoadedCase(case=case, mpp=1.0) for case in (empty, negative)]
    assert check_readable(loaded).state == "good"
    assert check_readable([*loaded, LoadedCase(case=unknown, mpp=1.0)]).state == "warning"
    opened = LoadedCase(case=Case(Path("e.svs"), Path("e.qpdata")), mpp=1.0)
    assert check_readable([*loaded, opened]).state == "warning"
    assert check_readable([loaded[2]]).state == "failed"


def test_negative_slides_are_learned_from(tmp_path: Path) -> None:
    pixels, regions = toy.draw(0)
    for name in ("a", "b", "c"):
        write_pyramid(tmp_path / f"{name}.tif", pixels, 1.0)
    write_annotations(regions, tmp_path / "a.geojson")
    rows = "a.tif,a.geojson,P1,train\nb.tif,none,P2,train\nc.tif,,P3,train\n"
    (tmp_path / "cohort.csv").write_text(f"slide,annotations,patient,split\n{rows}")
    cohort = read_cohort(tmp_path / "cohort.csv")
    data = open_training_slides(cohort, toy.RECIPE, tmp_path / "split.csv", NoProgress())
    learned = {labeled.slide.name for labeled in data.train}
    assert learned == {"a", "b"}
    for labeled in data.train:
        labeled.slide.close()
