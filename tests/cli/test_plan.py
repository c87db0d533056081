"""`histoscout plan` and `histoscout crossval`: what they write, and what they refuse."""

from pathlib import Path

import pytest

from histoscout.recipe import Recipe
from tests import toy
from tests.cli.program import assert_refused, run


@pytest.mark.slow
def test_a_plan_is_written_once_for_the_class_that_is_named(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "recipe.toml"
    assert_refused(run("plan", table, "-o", out), "UDH (12 ", "ADH (9 ", "--positive")
    assert not out.exists()
    options = ("--positive", "udh", "--minutes", 3, "--weights", "none", "--incomplete", "--quiet")
    result = run("plan", table, "-o", out, *options)
    assert result.returncode == 0, result.stderr
    assert "128 um at 1 um/px" in result.stdout
    recipe = Recipe.read(out)
    assert (recipe.classes.positive, recipe.training.minutes) == ("UDH", 3)
    assert not recipe.classes.complete
    assert recipe.network.weights == "none"
    before = out.read_bytes()
    assert_refused(run("plan", table, "-o", out, "--positive", "UDH"), "recipe.toml", "--overwrite")
    assert out.read_bytes() == before
    assert_refused(run("plan", table, "-o", tmp_path / "recipe", "--positive", "UDH"), ".toml")


@pytest.mark.slow
def test_crossval_refuses_options_that_contradict_each_other(table: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        toy.RECIPE.write(tmp_path / folder / "recipe.toml")
    recipe, same = (tmp_path / folder / "recipe.toml" for folder in ("a", "b"))
    out = tmp_path / "folds"
    assert_refused(run("crossval", table, "-o", out, "--recipe", recipe, "--recipe", same), str(same))
    assert_refused(run("crossval", table, "-o", out, "--minutes", 1, "--epochs", 1), "--minutes", "--epochs")
    assert_refused(run("crossval", table, "-o", out, "--recipe", recipe, "--folds", 4), "4 folds")
    assert not out.exists()
