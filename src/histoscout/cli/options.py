"""Options that several commands share, their old spellings, and the layout of `--help`.

- Type aliases such as `Device`: the options of the same name, explained alike everywhere.
- `RENAMED_OPTIONS`, `RENAMED_VALUES`: spellings of version 0.1 that are still accepted.
- `CliCommand`, `CliGroup`: print help without Python type names, and commands under headings.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from histoscout.io.notes import visible


class SanityChecks(StrEnum):
    """What a failed sanity check does: `all` stops, `warn` reports it and continues."""

    all = "all"
    warn = "warn"


class TrainingChecks(StrEnum):
    """Which sanity checks run before training: as `SanityChecks`; `quick` skips the slowest one."""

    all = "all"
    quick = "quick"
    warn = "warn"


class EvaluatedSplit(StrEnum):
    """The patients a model is evaluated on."""

    test = "test"
    tuning = "tuning"


def possible_mpp(value: float | None) -> float | None:
    """Refuse a number that cannot be um/px, such as a magnification."""
    from histoscout.slides.scale import given_fault

    if value is not None and (fault := given_fault(value)):
        raise typer.BadParameter(f"{fault}; give the size of a pixel in um, for example 0.25")
    return value


CohortPath = Annotated[
    Path,
    typer.Argument(metavar="COHORT", help="A cohort.csv, a QuPath project, or a folder of annotated slides."),
]
CohortOrImages = Annotated[
    Path,
    typer.Argument(
        metavar="COHORT",
        help="A cohort.csv, a QuPath project, a folder of annotated slides, or image folders by class.",
    ),
]
MovedSlides = Annotated[
    Path | None, typer.Option("--slides", help="Folder of the slides, if they were moved.")
]
ClassProperty = Annotated[
    str | None,
    typer.Option(
        "--class-property", help='Property that holds the classes, if not the usual one: "type_str".'
    ),
]
KeepFound = Annotated[
    bool, typer.Option("--keep-found", help="Count found regions that nobody confirmed as annotations.")
]
Positive = Annotated[str | None, typer.Option(help="Class to detect, as named in QuPath.")]
Minutes = Annotated[float | None, typer.Option(min=0.01, help="Training time in minutes.")]
Incomplete = Annotated[
    bool,
    typer.Option("--incomplete", help="Not every lesion is annotated (positive-unlabeled training)."),
]
Weights = Annotated[
    str | None,
    typer.Option(help='Initial weights: "built-in", "imagenet", "none" or a .safetensors file.'),
]
SlideMpp = Annotated[
    float | None,
    typer.Option(help="Microns per pixel; wins over the file's.", callback=possible_mpp),
]
Series = Annotated[
    int | None, typer.Option(min=0, help="Image of a file that holds several, from 0 as in QuPath.")
]
ImageMpp = Annotated[
    float | None,
    typer.Option(help="Microns per pixel, for image folders without a scale.", callback=possible_mpp),
]
OperatingTarget = Annotated[
    str | None,
    typer.Option(
        help='Operating point: "1 FP/cm2", "sensitivity 0.9", "precision 0.8" or "miss 0.1".',
    ),
]
OperatingPoints = Annotated[
    Path | None,
    typer.Option(
        "--operating-points", help="For --at: scores folder of this model.", show_default="its tuning set"
    ),
]
Sanity = Annotated[
    SanityChecks, typer.Option("--sanity", help="If a sanity check fails: stop (all) or continue (warn).")
]
TrainingDevice = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, mps, openvino or torch.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Show every table.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show warnings and errors only.")]


RENAMED_OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "--guards": "--sanity",
        "--audit": "--review",
        "--verdicts": "--reviewed",
        "--on": "--split",
        "--operating": "--operating-points",
    }
)
"""Options of version 0.1 and their names since then. Each takes one value."""

RENAMED_VALUES: Mapping[tuple[str, str], str] = MappingProxyType(
    {("--sanity", "tell"): "warn", ("--split", "tune"): "tuning"}
)
"""Values of version 0.1, by the current name of their option."""


def current_spelling(words: Sequence[str], known: Collection[str]) -> tuple[list[str], list[str]]:
    """Replace options and values of version 0.1 by what they are called now.

    Args:
        words: The words of a command line behind the command.
        known: The options that the command has; others are left as they are.

    Returns:
        The words in the current spelling, and one note for each option that was replaced.
    """
    current: list[str] = []
    notes: list[str] = []
    remaining = iter(words)
    for word in remaining:
        # what follows a bare "--" is never an option
        if word == "--":
            current += [word, *remaining]
            break
        old, equals, value = word.partition("=")
        option = RENAMED_OPTIONS.get(old, old)
        if option not in known or option not in RENAMED_OPTIONS.values():
            current.append(word)
            continue

        # the value stands behind "=" or is the next word; if there is none, the parser reports it
        following = [value] if equals else [following for following in [next(remaining, None)] if following]
        values = [RENAMED_VALUES.get((option, text), text) for text in following]
        current += [option, *values]
        if [option, *values] != [old, *following]:
            old_spelling, new_spelling = " ".join([old, *following]), " ".join([option, *values])
            notes.append(f"`{old_spelling}` is the old spelling of `{new_spelling}`")
    return current, notes


METAVARS: Mapping[str, str] = MappingProxyType(
    {"path": "PATH", "str": "TEXT", "int": "NUMBER", "float": "NUMBER"}
)
"""What help calls a value, by the Python type that typer would print."""


class CliCommand(TyperCommand):
    """A command that understands old spellings and prints its help without Python type names."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words behind the command; words in an old spelling are noted on stderr."""
        known = {name for parameter in self.params for name in parameter.opts}
        current, notes = current_spelling(args, known)
        for note in notes:
            echo(f"note: {note}", err=True)
        return super().parse_args(ctx, current)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """List the arguments as `COHORT`, where typer writes `{COHORT}`."""
        return [re.sub("[{}]", "", piece) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Print arguments and options in two columns."""
        rows: dict[str, list[tuple[str, str]]] = {"argument": [], "option": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            names, text = record
            if parameter.param_type_name == "argument":
                names = names.partition(" <")[0]
            names = re.sub(r"<(\w+)(?: range)?>", _metavar, names)
            text = _plain_limits(text)
            rows[parameter.param_type_name].append((names, text))
        for title, records in (("Arguments", rows["argument"]), ("Options", rows["option"])):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def _metavar(match: re.Match[str]) -> str:
    """A Python type as help calls it; choices stay as they are."""
    return METAVARS.get(match[1], match[0])


def _plain_limits(text: str) -> str:
    """Help with limits in words: typer writes them as x>=0.01 or 0<=x<=1, and some defaults in parentheses."""
    text = re.sub(r"\bx>=([\d.]+)", r"at least \1", text)
    text = re.sub(r"([\d.]+)<=x<=([\d.]+)", r"\1 to \2", text)
    return re.sub(r"\[default: \((.*?)\)", r"[default: \1", text)


MEANT: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("predict", "infer", "inference", "run", "segment", "find"), "detect"),
        **dict.fromkeys(("fit", "learn", "finetune", "fine-tune"), "train"),
        **dict.fromkeys(("eval", "score", "test", "metrics"), "evaluate"),
        **dict.fromkeys(("verify", "validate", "qc"), "check"),
        **dict.fromkeys(("cv", "cross-validate", "crossvalidate", "kfold"), "crossval"),
        **dict.fromkeys(("config", "configure", "preprocess"), "plan"),
        **dict.fromkeys(("show", "inspect"), "info"),
        **dict.fromkeys(("import", "export"), "convert"),
    }
)
"""Commands as other programs call them."""


def echo(text: object, *, err: bool = False) -> None:
    """Print a text with control characters as escapes, since names in it may come from anybody.

    Args:
        text: What to print.
        err: Whether to print to stderr.
    """
    typer.echo(visible(str(text)), err=err)


class CliGroup(TyperGroup):
    """The program: lists its commands under the headings they were registered with."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line; `help`, alone or before a command, is the option of that name."""
        if args[:1] == ["help"]:
            args = [*args[1:2], "--help"]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; one that other programs call by another name is suggested."""
        name = args[0] if args else ""
        if name not in self.commands and (meant := MEANT.get(name.casefold())) in self.commands:
            raise typer.BadParameter(f"There is no command {name!r}. Did you mean {meant!r}?", ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Print one section for each heading, in order of registration."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        longest = max(len(name) for name, _ in commands)
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, command in commands:
            if isinstance(command, TyperCommand | TyperGroup):
                text = command.get_short_help_str(formatter.width - longest - 6)
                sections.setdefault(command.rich_help_panel or "Commands", []).append(
                    (name.ljust(longest), text)
                )
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows)
