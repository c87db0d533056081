"""`histoscout demo` in miniature: every step on three small synthetic slides, then the command line alone."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from histoscout.cli.main import app
from histoscout.demonstration import Demo, demo, demo_recipe
from histoscout.recipe import Recipe
from tests import toy

RECIPE = Recipe.from_dict(
    {
        **toy.CHOICES,
        # slides this small have ADH in every split, and UDH in two
        "classes": {"positive": "ADH", "other": ["UDH"]},
        "training": {**toy.CHOICES["training"], "epochs": 1, "steps_per_epoch": 2},
    }
)

SIZE = (1536, 1536)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    out = tmp_path_factory.mktemp("demo")
    return demo(out, device="cpu", recipe=RECIPE, patients=3, slide_size=SIZE)


def test_a_demo_leaves_cohort_model_scores_and_report(result: Demo) -> None:
    assert result.cohort.is_file()
    assert (result.model.path / "model.json").is_file()
    assert len(result.scores.slides) == 1
    assert result.report.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_second_demo_does_nothing_twice(result: Demo) -> None:
    out = result.cohort.parent.parent
    files = [*out.glob("cohort/slides/*"), *out.glob("model/*.safetensors")]
    before = {path: path.stat().st_mtime_ns for path in files}
    assert before
    again = demo(out, device="cpu", recipe=RECIPE, patients=3, slide_size=SIZE)
    assert again.model.hash == result.model.hash
    assert before == {path: path.stat().st_mtime_ns for path in files}


def test_the_command_prints_scores_and_where_everything_is(
    result: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: dict[str, object] = {}

    def miniature(out: Path, **options: object) -> Demo:
        received.update(options, out=out)
        return result

    # the package has a function of the same name
    monkeypatch.setattr(sys.modules[Demo.__module__], "demo", miniature)
    command = ["demo", "-o", str(tmp_path / "demo"), "--device", "cpu", "--quiet"]
    shown = CliRunner().invoke(app, command, catch_exceptions=False)
    assert shown.exit_code == 0
    assert (received["out"], received["device"]) == (tmp_path / "demo", "cpu")
    for path in (result.cohort, result.model.path, result.report, tmp_path / "demo" / "scores"):
        assert str(path) in shown.stdout
    assert "lesions found" in shown.stdout


def test_the_recipe_of_the_demo_detects_a_class_of_the_cohort() -> None:
    assert demo_recipe().classes.positive == "UDH"
