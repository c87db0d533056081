"""`histoscout convert IN OUT`."""

from pathlib import Path
from typing import Annotated

import typer

from histoscout.cli.options import ClassProperty, KeepFound, Quiet, Series, SlideMpp, echo


def convert(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="An annotation file, a folder of them, or a QuPath project.")
    ],
    target: Annotated[
        Path, typer.Argument(metavar="OUT", help="A file, in the format of its suffix; or a folder.")
    ],
    everything: Annotated[bool, typer.Option("--all", help="Keep detections, cells and tiles, too.")] = False,
    slide: Annotated[
        Path | None, typer.Option(help="Annotated slide, or the folder of annotated slides.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            help="For folders: .geojson, .geojson.gz, .xml (ASAP), .png or .tif.", show_default=".geojson"
        ),
    ] = None,
    mpp: Annotated[
        float | None,
        typer.Option(min=0.001, help="Microns per pixel of a mask.", show_default="as the slide"),
    ] = None,
    values: Annotated[str, typer.Option(help='Classes of a mask: "1=UDH;2=ADH;255=unsure".')] = "",
    size: Annotated[
        str, typer.Option(help="Slide size in pixels, if there is no --slide: 100000x80000.")
    ] = "",
    slide_mpp: SlideMpp = None,
    series: Series = None,
    threshold: Annotated[
        int | None, typer.Option(min=1, help="Lowest gray value of an annotated pixel, for JPEG masks.")
    ] = None,
    program: Annotated[
        str,
        typer.Option("--for", help="Program that reads the files: qupath, asap, imagescope, histomicsui."),
    ] = "",
    class_property: ClassProperty = None,
    keep_found: KeepFound = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    quiet: Quiet = False,
) -> None:
    """Convert annotations between QuPath, ASAP, masks and more.

    Reads QuPath (.qpdata, .geojson), ImageScope, HALO, ASAP, NDP.view (.ndpa), HistomicsUI, Slideflow, Darwin and
    masks; writes GeoJSON, ASAP, ImageScope, HistomicsUI and masks.
    """
    from histoscout.cli.console import Console
    from histoscout.conversion import ConvertOptions
    from histoscout.conversion import convert as run
    from histoscout.io.notes import pluralize

    with Console(quiet) as console:
        options = ConvertOptions(
            everything=everything,
            slide=slide,
            size=_read_size(size),
            slide_mpp=slide_mpp,
            series=series,
            mpp=mpp,
            values=_read_values(values),
            threshold=threshold,
            suffix=_suffix(to, program),
            program=program,
            class_property=class_property or "",
            keep_found=keep_found,
            overwrite=overwrite,
            progress=console,
        )
        rows = run(source, target, options)
        for row in rows:
            for note in row.notes:
                console.note(f"{row.target.name}: {note}" if len(rows) > 1 else note)

    # rows without regions and without a fault are files that exist already
    converted = [row for row in rows if row.regions is not None]
    failed = [row for row in rows if row.fault]
    if len(rows) == 1:
        for row in converted:
            echo(f"{pluralize(row.regions or 0, 'annotation')}: {row.target}")
    if len(rows) > 1:
        skipped = len(rows) - len(converted) - len(failed)
        echo(f"{len(converted)} converted, {skipped} skipped (exist), {len(failed)} failed: {target}")
    for row in failed:
        echo(f"histoscout: {row.fault}", err=True)
    if failed:
        raise typer.Exit(1)


def _suffix(to: str | None, program: str) -> str:
    """The suffix of the files of a folder: the one that is given, else that of the program."""
    from histoscout.annotations.write import PROGRAMS

    if to is None:
        return PROGRAMS[program].suffix if program in PROGRAMS else ".geojson"
    return to if to.startswith(".") else f".{to}"


def _read_size(text: str) -> tuple[int, int] | None:
    """Width and height from text such as 100000x80000; None for empty text."""
    if not text:
        return None
    width, mark, height = text.casefold().partition("x")
    if not (mark and width.strip().isdecimal() and height.strip().isdecimal() and int(width) and int(height)):
        raise typer.BadParameter(f"{text!r} is not a size such as 100000x80000", param_hint="--size")
    return int(width), int(height)


def _read_values(text: str) -> tuple[tuple[int, str], ...]:
    """The classes of a mask from text such as 1=UDH;2=ADH."""
    from histoscout.cohort.table import read_mask_labels

    try:
        return read_mask_labels(text) if text else ()
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--values") from error
