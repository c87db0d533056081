"""Documentation: the documented recipe is the default, commands and Python run, links lead somewhere."""

import re
import shlex
import tomllib
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

import histoscout
from histoscout.cli.main import app
from histoscout.demonstration import demo_recipe
from histoscout.recipe import Recipe
from histoscout.slides.pyramid import write_pyramid
from tests.annotations.qpdata_writer import DataFile, QupathObject, path_class, points_roi
from tests.cohort.bracs_tree import make_tree, square
from tests.fuzz.seeds import IMAGESCOPE

ROOT = Path(__file__).resolve().parents[1]
GUIDES = ROOT / "docs" / "guides"
HISTORY = ROOT / "docs" / "log.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CURRENT_PAGES = [page for page in PAGES if page != HISTORY]

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
every_current_page = pytest.mark.parametrize("page", CURRENT_PAGES, ids=lambda path: path.name)


def code_blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [code for name, code in fenced if name == language]


def run_commands(page: Path) -> None:
    for command in "".join(code_blocks(page, "sh")).splitlines():
        program, *arguments = shlex.split(command)
        assert program == "histoscout"
        app(arguments, standalone_mode=False)


def heading_anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_documented_recipe_is_the_default() -> None:
    (text,) = code_blocks(GUIDES / "recipe.md", "toml")
    assert text == Recipe().to_toml(documented=True)


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.name)
def test_every_shipped_recipe_is_valid(path: Path) -> None:
    assert Recipe.read(path).classes.positive


def test_the_recipe_of_the_demonstration_is_valid() -> None:
    assert demo_recipe().classes.positive == "UDH"


@every_page
def test_python_compiles_and_uses_names_that_exist(page: Path) -> None:
    for code in code_blocks(page, "python"):
        compile(code, page.name, "exec")
        for line in re.findall(r"^(?:from histoscout\S* import .*|import histoscout.*)$", code, re.MULTILINE):
            exec(line, {})
        assert set(re.findall(r"\bhs\.(\w+)", code)) <= set(histoscout.__all__)


@every_current_page
def test_commands_exist_with_these_options(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    group = typer.main.get_command(app)
    shell = "".join(code_blocks(page, "") + code_blocks(page, "sh"))
    for name, rest in re.findall(r"\bhistoscout (\w+) ([^;&#\n]*)", shell):
        # variables of a shell loop stand for a number
        arguments = shlex.split(re.sub(r"\$\w+", "1", rest))
        group.commands[name].make_context(name, arguments)  # type: ignore[attr-defined]
    # an old spelling would be noted
    assert not capsys.readouterr().err


def test_the_guide_to_annotations_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = GUIDES / "annotations.md"
    monkeypatch.chdir(tmp_path)

    # the files that its commands read
    objects = [QupathObject(points_roi("PolygonROI", square(i)), path_class("UDH-sure")) for i in range(2)]
    for path in (Path("A1.qpdata"), Path("annotations/A1.qpdata")):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(DataFile(objects, "0.2", "file:/C:/slides/A1.svs")))
    Path("A1.xml").write_bytes(IMAGESCOPE.encode("cp1252"))
    write_pyramid(Path("A1.svs"), np.full((120, 160, 3), 230, np.uint8), 0.25)
    make_tree(tmp_path / "BRACS")

    run_commands(page)
    for code in code_blocks(page, "python"):
        exec(compile(code, page.name, "exec"), {})
    assert "2 of 2 are UDH" in capsys.readouterr().out
    for written in (
        "A1-for-asap.xml",
        "A1-again.geojson",
        "converted/A1.geojson",
        "bracs/rois.csv",
        "udh-mask.png",
    ):
        assert Path(written).is_file()


def test_the_classes_in_the_guide_to_annotations_mean_what_it_says() -> None:
    (text,) = code_blocks(GUIDES / "annotations.md", "toml")
    classes = Recipe.from_dict(tomllib.loads(text)).classes
    assert classes.canonical("usual_ductal hyperplasia, florid") == "UDH"
    assert classes.canonical("UDH-unsure") == "ignore"
    assert classes.canonical("not reviewed") == "ignore"
    assert classes.canonical("Reviewed") == "reviewed"
    assert classes.canonical("Normal") is None


def test_the_guide_to_image_classification_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = GUIDES / "rois.md"

    # images in the first layout that it shows
    layouts = next(text for text in code_blocks(page, "") if text.startswith("rois/train"))
    for name in (line.split()[0] for line in layouts.splitlines()):
        Path(name).parent.mkdir(parents=True)
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(name)

    run_commands(page)
    recipe = Recipe.read(Path("recipe.toml"))
    assert recipe.classes.labels == ("UDH", "N")
    assert (recipe.patch_px, recipe.network.architecture) == (224, "timm")


@every_page
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", page.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        path = page.parent / file if file else page
        assert path.exists(), target
        if anchor:
            assert anchor in heading_anchors(path), target
