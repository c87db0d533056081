"""Help fits a terminal and speaks of values, not of Python types; old spellings are understood."""

import re

import pytest
import typer
from typer.exceptions import TyperException
from typer.testing import CliRunner

from histoscout.cli.main import COMMANDS, app, usage_error_text
from histoscout.cli.options import MEANT, RENAMED_OPTIONS, RENAMED_VALUES, current_spelling

NAMES = [function.__name__ for functions in COMMANDS.values() for function in functions]
PYTHON_TYPES = re.compile(r"<?\b(str|int|float|bool|list|None)\b( range|\[)?>?")


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), prog_name="histoscout")
    assert result.exit_code == 0, result.output
    return result.output


def test_commands_are_listed_under_their_headings() -> None:
    shown = invoke("--help")
    for heading, functions in COMMANDS.items():
        section = shown[shown.index(f"\n{heading}:") :]
        listed = re.findall(r"^  (\w+) ", section.partition("\n\n")[0], re.MULTILINE)
        assert listed == [function.__name__ for function in functions]
    assert "..." not in shown.partition("Options:")[2]


def test_without_arguments_help_is_shown() -> None:
    assert invoke() == invoke("--help") == invoke("-h")


@pytest.mark.parametrize("arguments", [(), *((name,) for name in NAMES)], ids=lambda words: "".join(words))
def test_every_line_of_help_fits_a_terminal(arguments: tuple[str, ...]) -> None:
    shown = invoke(*arguments, "-h")
    assert shown == invoke(*arguments, "--help")
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert not PYTHON_TYPES.search(shown.replace("<all|", ""))


@pytest.mark.parametrize("arguments", [("help",), ("help", "train")])
def test_help_is_a_command_too(arguments: tuple[str, ...]) -> None:
    assert invoke(*arguments) == invoke(*arguments[1:], "--help")


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("predict", "model"), "detect"),
        (("Eval", "model"), "evaluate"),
        (("detct",), "detect"),
        (("train", "c.csv", "--positiv", "UDH"), "--positive"),
    ],
)
def test_a_near_miss_is_suggested(arguments: tuple[str, ...], meant: str) -> None:
    result = CliRunner().invoke(app, list(arguments), prog_name="histoscout", standalone_mode=False)
    assert isinstance(result.exception, TyperException)
    text = usage_error_text(result.exception)
    assert re.search(rf"Did you mean '?{meant}'?\?", text), text
    assert text.endswith("-h`.")


def test_every_suggestion_is_a_command() -> None:
    assert set(MEANT.values()) <= set(NAMES)
    assert not set(MEANT) & set(NAMES)


def test_help_texts_are_short_sentences() -> None:
    group = typer.main.get_command(app)
    for command in group.commands.values():  # type: ignore[attr-defined]
        for parameter in command.params:
            text = parameter.help or ""
            assert 10 < len(text) <= 90, (command.name, parameter.name)
            assert text[0].isupper() or text.startswith(("all;", "auto,", "quick:")), text
            assert text.endswith((".", "?")), text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["--guards", "tell"], ["--sanity", "warn"]),
        (["--guards=quick"], ["--sanity", "quick"]),
        (["--sanity", "tell"], ["--sanity", "warn"]),
        (["--on", "tune"], ["--split", "tuning"]),
        (["--on", "test"], ["--split", "test"]),
        (["--audit", "30"], ["--review", "30"]),
        (["--verdicts=folder/audit"], ["--reviewed", "folder/audit"]),
        (["--operating", "scores"], ["--operating-points", "scores"]),
    ],
)
def test_old_spellings_are_replaced_with_a_note(old: list[str], new: list[str]) -> None:
    current, notes = current_spelling(["a", *old, "-o", "b"], RENAMED_OPTIONS.values())
    assert current == ["a", *new, "-o", "b"]
    (note,) = notes
    assert " ".join(new) in note


@pytest.mark.parametrize(
    "words",
    [
        ["--sanity", "all"],
        ["--at", "5 FP/cm2"],
        ["--", "--guards", "tell"],
        ["-o", "guards"],
        ["--sanity"],
    ],
)
def test_current_spellings_are_left_alone(words: list[str]) -> None:
    assert current_spelling(words, RENAMED_OPTIONS.values()) == (words, [])


def test_an_old_option_is_only_known_where_the_new_one_is() -> None:
    assert current_spelling(["--on", "tune"], {"--sanity"}) == (["--on", "tune"], [])
    result = CliRunner().invoke(app, ["info", "--guards", "tell", "a.svs"])
    assert result.exit_code == 2
    assert "--guards" in result.stderr


@pytest.mark.parametrize(
    ("command", "old", "new"),
    [
        ("train", "--guards tell", "--sanity warn"),
        ("train", "--guards quick", "--sanity quick"),
        ("crossval", "--guards tell", "--sanity warn"),
        ("evaluate", "--guards tell", "--sanity warn"),
        ("evaluate", "--on tune", "--split tuning"),
        ("evaluate", "--audit 5", "--review 5"),
        ("evaluate", "--verdicts audit", "--reviewed audit"),
        ("evaluate", "--operating scores", "--operating-points scores"),
        ("detect", "--operating scores", "--operating-points scores"),
    ],
)
def test_commands_read_old_and_new_spellings_alike(
    capsys: pytest.CaptureFixture[str], command: str, old: str, new: str
) -> None:
    group = typer.main.get_command(app)
    verb = group.commands[command]  # type: ignore[attr-defined]
    arguments = (
        ["model", "cohort", "-o", "out"] if command in ("evaluate", "detect") else ["cohort", "-o", "out"]
    )
    before = verb.make_context(command, [*arguments, *old.split()]).params
    assert old in capsys.readouterr().err
    assert before == verb.make_context(command, [*arguments, *new.split()]).params
    assert not capsys.readouterr().err
    plain = verb.make_context(command, list(arguments)).params
    assert before != plain


def test_every_old_value_belongs_to_a_renamed_option() -> None:
    assert {option for option, _ in RENAMED_VALUES} <= set(RENAMED_OPTIONS.values())
