"""`histoscout bracs FOLDER... -o OUT`."""

from pathlib import Path
from typing import Annotated

import typer

from histoscout.cli.options import echo


def bracs(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER", help="Folders of the BRACS download: slides, annotations, RoIs."),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder for cohort.csv, rois.csv and recipe.toml.")
    ],
    table: Annotated[Path | None, typer.Option(help="BRACS.xlsx, if it is not in these folders.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
) -> None:
    """Build a cohort from a BRACS download, with its official split."""
    from histoscout.cli.console import command_line, show_next
    from histoscout.cohort.bracs import read_bracs, write_bracs
    from histoscout.io.notes import pluralize

    dataset = read_bracs(folders, table)
    paths = write_bracs(dataset, out, overwrite)
    for note in dataset.notes:
        echo(f"note: {note}", err=True)
    cases = dataset.slides.cases
    annotated = sum(case.annotations is not None for case in cases)
    patients = pluralize(len(dataset.slides.patients), "patient")
    echo(
        f"{pluralize(len(cases), 'slide')} of {patients}, {annotated} annotated; "
        f"{pluralize(len(dataset.rois), 'RoI')}"
    )
    for path in paths:
        echo(f"  {path}")
    show_next(command_line("check", paths[0], "-o", "check.html"))
