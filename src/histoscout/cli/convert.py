"""`histoscout convert IN OUT`."""

from pathlib import Path

import typer


def convert(
    source: Path = typer.Argument(
        metavar="IN", help="A file of outlines, a folder of them, or a QuPath project.", show_default=False
    ),
    target: Path = typer.Argument(
        metavar="OUT", help="A file whose name says the format, or a folder.", show_default=False
    ),
    everything: bool = typer.Option(False, "--all", help="Also detections, cells and tiles."),
    slide: Path | None = typer.Option(None, help="The slide, or the folder of slides, that they belong to."),
    to: str = typer.Option(
        ".geojson", help="For a folder: .geojson, .geojson.gz, .xml (ASAP), .png or .tif."
    ),
    mpp: float | None = typer.Option(
        None, min=0.001, help="um/px of a label image; as the slide if not given."
    ),
    values: str = typer.Option("", help="What a label image's values mean: '1=UDH;2=ADH;255=unsure'."),
    size: str = typer.Option("", help="Instead of a slide: its size in px, as 100000x80000."),
    slide_mpp: float | None = typer.Option(None, min=0.001, help="um/px of the slide, if it does not say."),
    threshold: int | None = typer.Option(None, min=1, help="Grey value that counts, for a mask in JPEG."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Write files anew that are there already."),
    quiet: bool = typer.Option(False, "--quiet", help="Say only what must be seen."),
) -> None:
    """Convert outlines: QuPath (.qpdata, .geojson), ImageScope, HALO, ASAP, label images; to GeoJSON, ASAP, images."""
    from histoscout.cli.console import Console
    from histoscout.conversion import ConvertOptions
    from histoscout.conversion import convert as run

    with Console(quiet) as console:
        options = ConvertOptions(
            everything=everything,
            slide=slide,
            size=_size(size),
            slide_mpp=slide_mpp,
            mpp=mpp,
            values=_values(values),
            threshold=threshold,
            to=to if to.startswith(".") else f".{to}",
            overwrite=overwrite,
            progress=console,
        )
        rows = run(source, target, options)
        for row in rows:
            for note in row.notes:
                console.note(f"{row.target.name}: {note}" if len(rows) > 1 else note)
    done = [row for row in rows if row.regions is not None]
    failed = [row for row in rows if row.fault]
    for row in done if len(rows) == 1 else ():
        typer.echo(f"{row.regions} outlines: {row.target}")
    if len(rows) > 1:
        there = len(rows) - len(done) - len(failed)
        typer.echo(f"{len(done)} converted, {there} there already, {len(failed)} failed: {target}")
    for row in failed:
        typer.echo(f"histoscout: {row.fault}", err=True)
    if failed:
        raise typer.Exit(1)


def _size(said: str) -> tuple[int, int] | None:
    if not said:
        return None
    width, mark, height = said.casefold().partition("x")
    if not (mark and width.strip().isdecimal() and height.strip().isdecimal() and int(width) and int(height)):
        raise typer.BadParameter(f"{said!r} is not a size, such as 100000x80000", param_hint="--size")
    return int(width), int(height)


def _values(said: str) -> tuple[tuple[int, str], ...]:
    from histoscout.cohort.table import mask_labels

    try:
        return mask_labels(said) if said else ()
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--values") from error
