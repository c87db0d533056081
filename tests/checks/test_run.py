"""A whole cohort: verdicts, corrections, the page, the exit code."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from shapely.affinity import affine_transform
from typer.testing import CliRunner

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.checks.alignment.corrections import displacement
from histoscout.checks.alignment.slides import ALIGNMENT as ALIGNMENT
from histoscout.checks.alignment.slides import Alignment
from histoscout.checks.integrity import LoadedCase
from histoscout.checks.run import CheckedSlide, CheckOptions, Checks, apply_corrections, check_cohort
from histoscout.cli.main import app
from histoscout.cohort.case import Case
from histoscout.cohort.leakage import DUPLICATE_SLIDES, PATIENT_SPLITS
from histoscout.errors import OutputError
from histoscout.geometry.regions import Regions
from histoscout.progress import NoProgress
from histoscout.recipe import Recipe
from histoscout.verdict import Verdict
from tests import toy

CHOICES = {**toy.CHOICES, "patches": {"mpp": 4.0, "size_um": 128.0}}
RECIPE = Recipe.from_dict(CHOICES)


def mirrored(regions: Regions) -> Regions:
    matrix = (1, 0, 0, -1, 0, toy.SIDE)
    return Regions.of(replace(one, outline=affine_transform(one.outline, matrix)) for one in regions)


@pytest.fixture(scope="module")
def healthy(table: Path) -> Checks:
    return check_cohort(table, RECIPE)


@pytest.fixture
def wrong(table: Path, tmp_path: Path) -> Path:
    """The toy cohort with one slide's outlines upside down, one slide broken, and one there twice."""
    folder = tmp_path / "cohort"
    shutil.copytree(table.parent, folder)
    outlines = folder / "slide_1.geojson"
    write_geojson(mirrored(read_geojson(outlines).regions), outlines)
    shutil.copy(folder / "slide_0.tif", folder / "slide_0_again.tif")
    (folder / "slide_2.tif").write_text("nothing")
    with (folder / "cohort.csv").open("a") as file:
        file.write("slide_0_again.tif,slide_0.geojson,patient 9,test\n")
    return folder / "cohort.csv"


def states(checks: Checks) -> dict[str, str]:
    return {verdict.name: verdict.state for verdict in checks.verdicts}


def test_a_healthy_cohort_is_good(healthy: Checks) -> None:
    assert set(states(healthy).values()) == {"good"}, healthy.verdicts
    assert not healthy.failed
    assert {row.label for row in healthy.classes} == {"UDH", "ADH", "UDH-unsure"}


def test_each_fault_is_found_and_no_slide_stops_another(wrong: Path) -> None:
    checks = check_cohort(wrong, RECIPE)
    found = states(checks)
    assert checks.failed
    assert found["slides and annotations are readable"] == "failed"
    assert found[ALIGNMENT] == "failed"
    assert found[DUPLICATE_SLIDES] == "failed"
    assert found[PATIENT_SPLITS] == "good"
    assert [one.name for one in checks.slides if one.alignment.mistake] == ["slide_1"]
    assert len(checks.slides) == 5


def test_corrections_repair_and_leave_originals_alone(wrong: Path, tmp_path: Path) -> None:
    original = (wrong.parent / "slide_1.geojson").read_bytes()
    (written,) = apply_corrections(check_cohort(wrong, RECIPE).slides, tmp_path / "corrected")
    assert written == tmp_path / "corrected" / "slide_1.geojson"
    assert (wrong.parent / "slide_1.geojson").read_bytes() == original
    shutil.copy(written, wrong.parent / "slide_1.geojson")
    again = check_cohort(wrong, RECIPE)
    assert states(again)[ALIGNMENT] == "good"
    assert again.slides[1].alignment.verdict.state == "good"


def test_corrections_never_overwrite(wrong: Path, tmp_path: Path) -> None:
    checks = check_cohort(wrong, RECIPE)
    with pytest.raises(OutputError, match="original"):
        apply_corrections(checks.slides, wrong.parent)
    apply_corrections(checks.slides, tmp_path / "corrected")
    with pytest.raises(OutputError, match="already"):
        apply_corrections(checks.slides, tmp_path / "corrected")


def checked(slide: Path, regions: Regions) -> CheckedSlide:
    """A slide with displaced annotations."""
    verdict = Verdict(name="fit", state="failed", message="")
    mistake = displacement(3, 0, name="displaced", message="")
    return CheckedSlide(
        loaded=LoadedCase(case=Case(slide), mpp=1.0, regions=regions),
        alignment=Alignment(slide=slide.stem, verdict=verdict, mistake=mistake),
    )


def test_corrections_of_slides_of_one_name_have_different_names(tmp_path: Path) -> None:
    regions = toy.draw(0)[1]
    slides = [tmp_path / name for name in ("p1/HE.tif", "p2/HE.tif", "p2/HE.svs", "p2/A.tif")]
    written = apply_corrections([checked(slide, regions) for slide in slides], tmp_path / "corrected")
    assert [path.relative_to(tmp_path / "corrected").as_posix() for path in written] == [
        "p1/HE.geojson",
        "p2/HE.tif.geojson",
        "p2/HE.svs.geojson",
        "A.geojson",
    ]
    assert all(read_geojson(path).regions[0].box.x == regions[0].box.x - 3 for path in written)


def test_a_folder_that_is_not_empty_is_refused_before_any_check(table: Path, tmp_path: Path) -> None:
    (tmp_path / "corrected").mkdir()
    (tmp_path / "corrected" / "slide_9.geojson").write_text("mine")
    page = tmp_path / "page.html"
    done = CliRunner().invoke(
        app, ["check", str(table), "-o", str(page), "--apply", str(tmp_path / "corrected")]
    )
    assert isinstance(done.exception, OutputError)
    assert "slide_9.geojson" in str(done.exception)
    assert not page.exists()


def test_progress_is_reported(table: Path) -> None:
    class Counts(NoProgress):
        done_steps = 0

        def advance(self, steps: int = 1) -> None:
            self.done_steps += steps

    counts = Counts()
    check_cohort(table, RECIPE, CheckOptions(progress=counts))
    assert counts.done_steps == 4


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, done.output


def test_the_command_line_writes_a_page_and_says_all(wrong: Path, table: Path, tmp_path: Path) -> None:
    recipe, page = tmp_path / "recipe.toml", tmp_path / "page.html"
    RECIPE.write(recipe)
    code, said = run("check", table, "-o", page, "--recipe", recipe, "--quiet")
    assert (code, said.count("good  ")) == (0, 8), said
    assert "masks fit their images" in said
    html = page.read_text(encoding="utf-8")
    assert all(f"slide_{number}" in html for number in range(4))
    code, said = run(
        "check", wrong, "-o", tmp_path / "2.html", "--recipe", recipe, "--apply", tmp_path / "m", "--quiet"
    )
    assert code == 1
    assert "mirrored top to bottom" in said
    assert str(tmp_path / "m" / "slide_1.geojson") in said
    assert "mirrored top to bottom" in (tmp_path / "2.html").read_text(encoding="utf-8")


def test_a_page_that_is_there_stays(table: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("mine")
    done = CliRunner().invoke(app, ["check", str(table), "-o", str(page)])
    assert isinstance(done.exception, OutputError)
    assert page.read_text() == "mine"
