"""`histoscout plan` and `histoscout crossval` at the command line: what is written, and what is refused."""

import subprocess
import sys
from pathlib import Path

from histoscout.recipe import Recipe
from tests import toy

PROGRAM = Path(sys.executable).with_name("histoscout")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False)


def refused(done: subprocess.CompletedProcess[str], *said: str) -> None:
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    for words in said:
        assert words in done.stderr, done.stderr


def test_a_plan_is_written_once_for_the_class_that_is_named(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "recipe.toml"
    refused(run("plan", table, "-o", out), "UDH (12 on 3 slides), ADH (9 on 3 slides)", "--positive")
    assert not out.exists()
    done = run(
        "plan",
        table,
        "-o",
        out,
        "--positive",
        "udh",
        "--minutes",
        3,
        "--weights",
        "none",
        "--incomplete",
        "--quiet",
    )
    assert done.returncode == 0, done.stderr
    assert "windows of 128 um at 1 um/px" in done.stdout
    recipe = Recipe.read(out)
    assert (recipe.classes.positive, recipe.training.minutes) == ("UDH", 3)
    assert not recipe.classes.complete
    assert recipe.network.weights == "none"
    assert "Not every lesion is outlined" in out.read_text()
    refused(run("plan", table, "-o", out, "--positive", "UDH"), "is there already")
    refused(run("plan", table, "-o", tmp_path / "recipe", "--positive", "UDH"), "ends in .toml")


def test_what_crossval_refuses(table: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        toy.RECIPE.write(tmp_path / folder / "recipe.toml")
    recipe, same = (tmp_path / folder / "recipe.toml" for folder in ("a", "b"))
    out = tmp_path / "folds"
    refused(run("crossval", table, "-o", out, "--recipe", recipe, "--recipe", same), "second recipe called")
    refused(run("crossval", table, "-o", out, "--minutes", 1, "--epochs", 1), "--minutes or --epochs")
    refused(run("crossval", table, "-o", out, "--recipe", recipe, "--folds", 4), "too few for 4 folds")
    assert not out.exists()
