"""What the docs say is run: the recipe of the guide is the default, the Python of the README compiles, links lead somewhere."""

import re
import tomllib
from pathlib import Path

import pytest

from histoscout.demonstration import demo_recipe
from histoscout.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def test_the_recipe_of_the_guide_is_the_default() -> None:
    (text,) = blocks(ROOT / "docs" / "guides" / "recipe.md", "toml")
    assert Recipe.from_dict(tomllib.loads(text)) == Recipe()


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


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
