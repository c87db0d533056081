"""`histoscout review open|import|cohort|rank`: corrections from QuPath or the page, and what a training makes of them."""

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from histoscout.cli.options import CliCommand, CliGroup, MovedSlides, Quiet, echo
from histoscout.io.notes import pluralize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from histoscout.review.changes import ChangeKind, SlideChanges

FoundFolder = Annotated[Path, typer.Argument(metavar="FOUND", help="Folder that detect or evaluate wrote.")]
LogFolder = Annotated[
    Path | None,
    typer.Option("--log", metavar="FOLDER", help="Folder of the corrections.", show_default="FOUND/review"),
]

MAX_RANKED = 20
"""Slides of a ranking that are listed on the screen."""

app = typer.Typer(cls=CliGroup, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def review(context: typer.Context) -> None:
    """Turn corrections into training data; exchange them with QuPath.

    Corrections are made on the page of `histoscout view`, or in QuPath.
    """
    if context.invoked_subcommand is None:
        echo(context.get_help())


@app.command("open", cls=CliCommand)
def open_in_qupath(
    found: FoundFolder,
    out: Annotated[Path, typer.Option("-o", "--out", help="New folder for the project.")],
    moved: MovedSlides = None,
    log: LogFolder = None,
) -> None:
    """Write a QuPath project of findings and corrections.

    Annotations are locked; findings have classes such as "UDH: found".
    """
    from histoscout.cli.console import command_line, show_next
    from histoscout.review.project import write_project
    from histoscout.review.returned import cases_of_results, find_results
    from histoscout.review.review import Review

    output = find_results(found)
    project = write_project(Review.of_results(output, log), cases_of_results(output, moved), out)
    for note in project.notes:
        echo(f"note: {note}", err=True)
    echo(f"{project.path}: {pluralize(len(project.slides), 'slide')}")
    show_next(
        f"in QuPath, File > Project > Open project: {project.path}",
        "give a finding its class to accept it, delete it to reject it; save",
        command_line("review", "import", found, out),
    )


@app.command("import", cls=CliCommand)
def import_changes(
    found: FoundFolder,
    edited: Annotated[
        list[Path],
        typer.Argument(metavar="EDITED", help="QuPath project, GeoJSON files, or a folder of them."),
    ],
    reader: Annotated[str, typer.Option(help="Initials of who edited them.")] = "QuPath",
    yes: Annotated[bool, typer.Option("--yes", help="Take the changes without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the changes.")] = False,
    moved: MovedSlides = None,
    log: LogFolder = None,
) -> None:
    """Take over regions that were edited in QuPath.

    Shows what was accepted, edited, deleted and added, and asks.
    """
    from histoscout.errors import ReviewError
    from histoscout.review.changes import find_changes, record_changes
    from histoscout.review.returned import cases_of_results, find_results, find_returned, read_returned
    from histoscout.review.review import FOLDER, Review

    output = find_results(found)
    corrections = Review.of_results(output, log)
    files = find_returned(edited, cases_of_results(output, moved))
    notes = list(files.notes)
    changes: list[SlideChanges] = []
    for file in files.files:
        returned, file_notes = read_returned(file, output, reader)
        changes.append(find_changes(corrections, returned))
        notes += [f"{file.path.name}: {note}" for note in (*file_notes, *changes[-1].notes)]
    for note in notes:
        echo(f"note: {note}", err=True)
    if not any(slide.changes for slide in changes):
        echo(f"no change on {pluralize(len(changes), 'slide')}")
        return
    echo(change_table(changes))
    if dry_run:
        return
    where = log or output.folder / FOLDER
    if not yes:
        if not sys.stdin.isatty():
            raise ReviewError("review import", "nothing was taken: nobody can be asked here", "Add --yes")
        if not typer.confirm(f"Take this into {where} as the work of {reader}?"):
            echo("nothing was taken")
            return
    conflicts = record_changes(corrections, changes)
    corrections.write_geojson([slide.slide for slide in changes])
    echo(f"taken into {where}")
    if conflicts:
        echo(f"note: {conflicts} changed by somebody else meanwhile: kept as conflicts", err=True)
    _show_next(found, log)


@app.command("cohort", cls=CliCommand)
def corrected_cohort(
    found: FoundFolder,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the cohort.")],
    base: Annotated[
        Path | None,
        typer.Option("--with", metavar="COHORT", help="Cohort to add the corrected slides to."),
    ] = None,
    skip_test: Annotated[
        bool, typer.Option("--skip-test", help="Leave out slides of patients of the test split.")
    ] = False,
    moved: MovedSlides = None,
    log: LogFolder = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a cohort that is there.")] = False,
) -> None:
    """Make training data of corrections.

    Accepted and drawn regions become annotations, rejected ones look-alikes.
    """
    from histoscout.cli.console import command_line, show_next
    from histoscout.cohort.cohort import read_cohort
    from histoscout.review.cohort import make_corrected_cohort, write_corrected_cohort
    from histoscout.review.returned import cases_of_results, find_results
    from histoscout.review.review import Review

    output = find_results(found)
    added_to = None if base is None else read_cohort(base)
    made = make_corrected_cohort(
        Review.of_results(output, log),
        cases_of_results(output, moved),
        out,
        base=added_to,
        skip_test=skip_test,
    )
    for note in (*(() if added_to is None else added_to.notes), *made.notes):
        echo(f"note: {note}", err=True)
    table = write_corrected_cohort(made, out, overwrite=overwrite)
    rows = [
        (
            name,
            len(one.annotations),
            len(one.rejected),
            len(one.ignored),
            len(one.areas),
            "yes" if one.negative else "",
        )
        for name, one in made.corrections.items()
    ]
    echo(_table(("slide", "lesions", "no lesion", "ignored", "areas", "negative"), rows))
    others = len(made.cohort.cases) - len(rows)
    echo(f"{table}: {len(rows)} corrected slides{f' and {others} others' if others else ''}")
    show_next(f"{command_line('train', table, '--from', 'MODEL', '-o', 'better')}   (MODEL: what found them)")


@app.command("rank", cls=CliCommand)
def rank(
    found: FoundFolder,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Folder for the tables.", show_default="FOUND/review"),
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option("--with", metavar="COHORT", help="Cohort whose annotated slides are known already."),
    ] = None,
    moved: MovedSlides = None,
    log: LogFolder = None,
    quiet: Quiet = False,
) -> None:
    """Rank slides by what their annotation would teach.

    First come slides on which the model is unsure, and that look new.
    """
    from histoscout.cli.console import Console, command_line, show_next
    from histoscout.cohort.cohort import read_cohort
    from histoscout.review.queue import rank_results
    from histoscout.review.ranking import SLIDE_COLUMNS, slide_row, write_ranking
    from histoscout.review.returned import cases_of_results, find_results
    from histoscout.review.review import FOLDER, Review

    output = find_results(found)
    known = None if base is None else read_cohort(base)
    corrections = Review.of_results(output, log)
    with Console(quiet) as console:
        ranked = rank_results(
            corrections, cases_of_results(output, moved), output, base=known, progress=console
        )
    tables = write_ranking(ranked, out or log or output.folder / FOLDER)
    rows = [slide_row(number, one)[:-1] for number, one in enumerate(ranked[:MAX_RANKED], 1)]
    if rows:
        echo(_table(SLIDE_COLUMNS[1:-1], [row[1:] for row in rows]))
    echo(f"all {len(ranked)} slides and their findings: {tables[0]}, {tables[1]}")
    show_next(command_line("view", found))


def change_table(changes: "Sequence[SlideChanges]") -> str:
    """A table of changes: a row for each slide, a column for each kind that occurs, and their sums.

    Args:
        changes: The changes of each slide.
    """
    total: Counter[ChangeKind] = Counter()
    for slide in changes:
        total.update(slide.counts)
    kinds: list[ChangeKind] = list(total)
    rows = [(slide.slide, *(slide.counts[kind] for kind in kinds)) for slide in changes if slide.changes]
    return _table(("slide", *kinds), [*rows, ("in all", *(total[kind] for kind in kinds))])


def _table(head: "Sequence[str]", rows: "Sequence[Sequence[object]]") -> str:
    """Columns of text; numbers to the right."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = (
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)


def _show_next(found: Path, log: Path | None) -> None:
    from histoscout.cli.console import command_line, show_next

    options = () if log is None else ("--log", log)
    show_next(command_line("review", "cohort", found, *options, "-o", "corrected"))
