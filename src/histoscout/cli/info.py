"""`histoscout info SLIDE`."""

from pathlib import Path

import typer


def info(
    slides: list[Path] = typer.Argument(help="Slides to look at.", show_default=False),
    mpp: float | None = typer.Option(None, help="um/px, for slides that do not say."),
    thumbnail: Path | None = typer.Option(
        None, help="Write a small picture of the (one) slide here, as PNG."
    ),
) -> None:
    """Say what a slide is: size, um/px and where it came from, levels, vendor."""
    from histoscout.errors import SlideError
    from histoscout.slides.open import info as look

    failed = []
    for slide in slides:
        try:
            rows = look(slide, mpp).rows()
        except SlideError as error:
            failed.append(str(error))
            continue
        for name, value in rows:
            typer.echo(f"{name:<12} {value}")
    for told in failed:
        typer.echo(f"histoscout: {told}", err=True)
    if thumbnail is not None and not failed:
        _write_thumbnail(slides[0], thumbnail, mpp)
    if failed:
        raise typer.Exit(1)


def _write_thumbnail(slide: Path, path: Path, mpp: float | None) -> None:
    from PIL import Image

    from histoscout.errors import OutputError
    from histoscout.io.files import replacing
    from histoscout.slides.open import open_slide

    if path.exists():
        raise OutputError(path, "exists already", "Give another name, or delete it first")
    with open_slide(slide, mpp) as opened, replacing(path) as temporary:
        Image.fromarray(opened.overview()[0]).save(temporary, format="PNG")
    typer.echo(f"{'thumbnail':<12} {path}")
