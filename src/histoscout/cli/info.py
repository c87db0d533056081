"""`histoscout info SLIDE`."""

from pathlib import Path
from typing import Annotated

import typer

from histoscout.cli.options import Series, SlideMpp, echo


def info(
    slides: Annotated[list[Path], typer.Argument(metavar="SLIDE", help="Slides to describe.")],
    mpp: SlideMpp = None,
    series: Series = None,
    thumbnail: Annotated[
        Path | None, typer.Option(help="Write a thumbnail of the (first) slide here (PNG).")
    ] = None,
) -> None:
    """Show a slide's size, scale, levels and vendor."""
    from histoscout.errors import SlideError
    from histoscout.slides.open import info as read_info

    faults = []
    for slide in slides:
        try:
            rows = read_info(slide, mpp, series).rows()
        except SlideError as error:
            faults.append(str(error))
            continue
        for name, value in rows:
            echo(f"{name:<12} {value}")
    for fault in faults:
        echo(f"histoscout: {fault}", err=True)
    if thumbnail is not None and not faults:
        _write_thumbnail(slides[0], thumbnail, mpp, series=series)
    if faults:
        raise typer.Exit(1)


def _write_thumbnail(slide: Path, path: Path, mpp: float | None, *, series: int | None) -> None:
    from PIL import Image

    from histoscout.errors import OutputError
    from histoscout.io.files import atomic_write
    from histoscout.slides.open import open_slide

    if path.exists():
        raise OutputError(path, "the file exists already", "Give another name, or delete it first")
    with open_slide(slide, mpp, series=series) as opened, atomic_write(path) as temporary:
        Image.fromarray(opened.overview()[0]).save(temporary, format="PNG")
    echo(f"{'thumbnail':<12} {path}")
