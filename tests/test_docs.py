"""What the docs say is run: the recipe of the guide is the default, the Python of the README compiles, links lead somewhere."""

import re
import shlex
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histoscout.cli.main import app
from histoscout.demonstration import demo_recipe
from histoscout.recipe import Recipe
from histoscout.slides.pyramid import write_pyramid
from tests.annotations.qpdata_writer import DataFile, QupathObject, path_class, points_roi
from tests.cohort.bracs_tree import make_tree, square
from tests.fuzz.seeds import IMAGESCOPE

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def test_the_recipe_of_the_guide_is_the_default() -> None:
    (text,) = blocks(ROOT / "docs" / "guides" / "recipe.md", "toml")
    assert text == Recipe().to_toml(documented=True)


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.name)
def test_every_shipped_recipe_is_valid(path: Path) -> None:
    assert Recipe.read(path).classes.positive
    assert demo_recipe().classes.positive == "UDH"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_python_of_the_docs_compiles_and_names_what_exists(page: Path) -> None:
    import histoscout

    for code in blocks(page, "python"):
        compile(code, page.name, "exec")
        for name in re.findall(r"\bhs\.(\w+)", code):
            assert name in histoscout.__all__


def test_the_guide_to_annotations_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = ROOT / "docs" / "guides" / "annotations.md"
    monkeypatch.chdir(tmp_path)
    drawn = [QupathObject(points_roi("PolygonROI", square(i)), path_class("UDH-sure")) for i in range(2)]
    for place in (Path("A1.qpdata"), Path("annotations/A1.qpdata")):
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(bytes(DataFile(drawn, "0.2", "file:/C:/slides/A1.svs")))
    Path("A1.xml").write_bytes(IMAGESCOPE.encode("cp1252"))
    write_pyramid(Path("A1.svs"), np.full((120, 160, 3), 230, np.uint8), 0.25)
    make_tree(tmp_path / "BRACS")
    for command in "".join(blocks(page, "sh")).splitlines():
        program, *arguments = shlex.split(command)
        assert program == "histoscout"
        app(arguments, standalone_mode=False)
    for code in blocks(page, "python"):
        exec(compile(code, page.name, "exec"), {})
    printed = capsys.readouterr().out
    assert "2 of 2 are UDH" in printed
    for written in (
        "A1-for-asap.xml",
        "A1-again.geojson",
        "converted/A1.geojson",
        "bracs/rois.csv",
        "udh-mask.png",
    ):
        assert Path(written).is_file()
    (text,) = blocks(page, "toml")
    assert (
        Recipe.from_dict(tomllib.loads(text)).classes.canonical("usual_ductal hyperplasia, florid") == "UDH"
    )


def test_the_guide_to_images_by_class_plans_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "guides" / "rois.md"
    tree = next(text for text in blocks(page, "") if text.startswith("rois/train"))
    for name in (line.split()[0] for line in tree.splitlines()):
        Path(name).parent.mkdir(parents=True)
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(name)
    for command in "".join(blocks(page, "sh")).splitlines():
        app(shlex.split(command)[1:], standalone_mode=False)
    recipe = Recipe.read(Path("recipe.toml"))
    assert recipe.classes.labels == ("UDH", "N")
    assert (recipe.patch_px, recipe.network.architecture) == (224, "timm")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
