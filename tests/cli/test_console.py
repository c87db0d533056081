"""Progress: one line or bar for a batch, whatever happens to its parts."""

import io

import pytest

from histoscout.cli import console as module
from histoscout.cli.console import Console, command_line
from histoscout.cli.options import echo
from histoscout.cli.tables import table


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_batch_is_one_bar_and_its_parts_leave_none() -> None:
    with Console(stream=Terminal()) as console:
        assert console.bars is not None
        console.start("slides", 3)
        for number in range(3):
            console.start(f"slide {number}", 10)
            console.advance(5)
            # half of a slide is half a step of the batch
            assert console.bars.tasks[0].completed == pytest.approx(number + 0.5)
            assert len(console.bars.tasks) == 2
            console.done()
            console.advance()
        console.done()
        assert [task.description for task in console.bars.tasks] == ["slides"]
        assert console.bars.tasks[0].completed == 3


def test_a_part_that_never_ends_is_replaced() -> None:
    with Console(stream=Terminal()) as console:
        assert console.bars is not None
        console.start("slides", 2)
        console.start("broken", 10)
        console.start("sound", 10)
        assert [task.description for task in console.bars.tasks] == ["slides", "sound"]


def test_in_a_pipe_a_batch_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINE_INTERVAL_S", -1.0)
    stream = io.StringIO()
    with Console(stream=stream) as console:
        console.advance()
        console.done()
        console.start("slides", 4)
        console.advance(2)
        console.start("slide 3", 10)
        console.advance(5)
    first, second = stream.getvalue().splitlines()
    assert first.startswith("slides: 2 of 4, about ")
    assert second.startswith("slides: 2 of 4 (slide 3: 5 of 10), about ")


def test_a_command_can_be_pasted() -> None:
    assert command_line("train", "my cohort.csv", "-o", "m") == "histoscout train 'my cohort.csv' -o m"


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_names_neither_steer_the_terminal_nor_lose_brackets(stream: type[io.StringIO]) -> None:
    name, shown = "A[red]B\x1b]0;title\x07\nC", stream()
    with Console(stream=shown) as console:
        console.start(name, 1)
        if console.bars:
            assert console.bars.tasks[0].description == "A[red]B\\x1b]0;title\\x07\\nC"
        console.note(name)
        console.say(name)
        console.advance()
        console.done()
    text = shown.getvalue()
    assert "\x1b]" not in text
    assert "\x07" not in text
    assert text.count("A[red]B") >= 3


def test_what_is_printed_holds_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    echo("a\x1b[2Jb\nc")
    assert capsys.readouterr().out == "a\\x1b[2Jb\nc\n"
    assert table(("slide",), [("a\nb",)]) == "slide\na\\nb"
