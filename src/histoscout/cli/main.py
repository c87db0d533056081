"""`histoscout VERB`: the table of verbs, and what becomes of errors."""

import errno
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

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
    study,
    train,
)
from histoscout.errors import HistoscoutError
from histoscout.io.files import output_error

INTERRUPTED = 130  # 128 + SIGINT, as shells say it

app = typer.Typer(
    help="Find lesions on whole-slide images: slides and QuPath outlines in, a measured detector out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
for verb in (
    demo.demo,
    info.info,
    convert.convert,
    bracs.bracs,
    check.check,
    plan.plan,
    train.train,
    evaluate.evaluate,
    crossval.crossval,
    detect.detect,
    pretrain.pretrain,
    study.study,
    doctor.doctor,
):
    app.command()(verb)


@app.callback(invoke_without_command=True)
def options(
    show_version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    """Find lesions on whole-slide images: slides and QuPath outlines in, a measured detector out."""
    if show_version:
        typer.echo(f"histoscout {version('histoscout')}")
        raise typer.Exit


def main() -> None:
    """Run a verb; what a user can mend becomes one clear line and a non-zero exit code."""
    try:
        code = app(standalone_mode=False)
    except HistoscoutError as error:
        _stop(f"histoscout: {error}", 1)
    except TyperException as error:
        _stop(f"histoscout: {error.format_message()} `histoscout --help` and `VERB --help` tell more.", 2)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:  # what no module expected: a disk that fills between two files
        _stop(f"histoscout: {_told(error)}", 1)
    if code == INTERRUPTED:  # typer makes this of Ctrl-C
        _stop("histoscout: stopped. What is finished is kept; the same command goes on from there.", code)
    sys.exit(code)


def _told(error: OSError) -> str:
    """What the operating system says; of a missing permission nobody knows here whether it is to read or to write."""
    path = Path(error.filename or "output")
    if error.errno == errno.EACCES:
        return f"{path}: permission denied. Check the permissions of this path and of the folders above it."
    return str(output_error(path, error))


def _stop(message: str, code: int) -> NoReturn:
    typer.echo(message.encode(errors="backslashreplace").decode(), err=True)
    sys.exit(code)
