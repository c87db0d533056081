"""`histoscout COMMAND`: the table of commands, and how errors end the program."""

import errno
import io
import os
import re
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import typer
from typer.exceptions import TyperException

from histoscout.cli import (
    bracs,
    check,
    convert,
    crossval,
    demo,
    detect,
    doctor,
    evaluate,
    info,
    plan,
    pretrain,
    review,
    study,
    train,
    view,
)
from histoscout.cli.options import CliCommand, CliGroup, echo
from histoscout.errors import HistoscoutError
from histoscout.io.files import output_error

COMMANDS: Mapping[str, tuple[Callable[..., Any], ...]] = MappingProxyType(
    {
        "Start": (demo.demo, info.info, doctor.doctor),
        "Data": (convert.convert, check.check, bracs.bracs),
        "Train": (plan.plan, train.train, crossval.crossval, pretrain.pretrain),
        "Use": (detect.detect, evaluate.evaluate, view.view, review.review),
        "Research": (study.study,),
    }
)
"""The commands, under the headings of `histoscout --help`."""

GROUPS: Mapping[str, typer.Typer] = MappingProxyType({"review": review.app})
"""Commands that have commands of their own."""

app = typer.Typer(
    cls=CliGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for heading, functions in COMMANDS.items():
    for function in functions:
        if function.__name__ in GROUPS:
            app.add_typer(GROUPS[function.__name__], name=function.__name__, rich_help_panel=heading)
        else:
            app.command(cls=CliCommand, rich_help_panel=heading)(function)


OUT_OF_MEMORY = "there is not enough memory for this. Close other programs, or look at less at a time."


@app.callback(invoke_without_command=True)
def histoscout(
    context: typer.Context,
    show_version: bool = typer.Option(False, "--version", help="Show the version and exit."),
) -> None:
    """Train and evaluate lesion detectors on whole-slide images.

    Slides and QuPath annotations in, a trained and evaluated detector out.
    """
    if show_version:
        echo(f"histoscout {version('histoscout')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        echo(context.get_help())


def main() -> int:
    """Run a command; faults become one clear line and a non-zero exit code.

    Returns:
        The exit code; typer turns Ctrl-C into 130.
    """
    # a name that the terminal or a file cannot show must not end the program
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        return int(app(standalone_mode=False) or 0)
    except HistoscoutError as error:
        return _stop(f"histoscout: {error}", 1)
    except TyperException as error:
        return _stop(f"histoscout: {usage_error_text(error)}", 2)
    except BrokenPipeError:
        # the program that reads our output has ended, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError:
        return _stop(f"histoscout: {OUT_OF_MEMORY}", 1)
    except OSError as error:
        # no module expects these, such as a disk that fills between two files
        return _stop(f"histoscout: {_os_error_text(error)}", 1)


def usage_error_text(error: TyperException) -> str:
    """Say what is wrong with a command line, which option was probably meant, and where help is.

    Args:
        error: What the parser found.
    """
    text = re.sub(
        r" ?\(Possible options: (.*)\)", r". Did you mean \1?", error.format_message().replace("\n", " ")
    )
    text = text.removeprefix("Invalid value: ").rstrip()
    context = getattr(error, "ctx", None)
    command = "histoscout" if context is None else context.command_path
    return f"{text if text.endswith(('.', '?')) else text + '.'} See `{command} -h`."


def _os_error_text(error: OSError) -> str:
    """The system's message; for a missing permission it is unknown whether to read or to write."""
    path = Path(error.filename or "output")
    if error.errno == errno.EACCES:
        return f"{path}: permission denied. Check the permissions of this path and of the folders above it."
    return str(output_error(path, error))


def _stop(message: str, code: int) -> int:
    echo(message.encode(errors="backslashreplace").decode(), err=True)
    return code
