"""`histoscout bracs FOLDER... -o OUT`."""

from pathlib import Path

import typer


def bracs(
    folders: list[Path] = typer.Argument(
        metavar="FOLDER...", help="Where BRACS was downloaded to: slides, outlines, RoIs.", show_default=False
    ),
    out: Path = typer.Option(..., "-o", "--out", help="Folder for cohort.csv, rois.csv and recipe.toml."),
    table: Path | None = typer.Option(None, help="BRACS.xlsx, if it is not in the folders."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Write the three files anew."),
) -> None:
    """Make cohorts of the BRACS data as downloaded: slides with outlines, RoIs, patients, official split."""
    from histoscout.cohort.bracs import read_bracs, write_bracs

    found = read_bracs(folders, table)
    written = write_bracs(found, out, overwrite)
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)
    cases = found.slides.cases
    drawn = sum(case.annotations is not None for case in cases)
    patients = len(found.slides.patients)
    typer.echo(f"{len(cases)} slides of {patients} patients, {drawn} with outlines; {len(found.rois)} RoIs")
    for path in written:
        typer.echo(f"  {path}")
