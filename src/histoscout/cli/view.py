"""`histoscout view FOUND`."""

from pathlib import Path
from typing import Annotated

import typer

from histoscout.cli.options import MovedSlides, echo


def view(
    shown: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOUND", help="Folders of detect or evaluate, a cohort, a QuPath project, or slides."
        ),
    ],
    moved: MovedSlides = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for corrections.", show_default="FOUND/review")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any.")] = 0,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
) -> None:
    """Look at slides and results in the browser; correct them.

    Corrections are saved as they are made. Stop it with Ctrl-C.
    """
    from histoscout.errors import OutputError
    from histoscout.viewer.library import open_library

    try:
        from histoscout.viewer.serve import LOOPBACK
        from histoscout.viewer.serve import view as run
    except ModuleNotFoundError as error:
        fault = f"the package {error.name} is not installed"
        raise OutputError("view", fault, "Install it with: pip install 'histoscout[viewer]'") from error
    library = open_library(shown, moved, out)
    for note in library.notes:
        echo(f"note: {note}", err=True)
    if host != LOOPBACK:
        warning = "other machines can open the slides if they know the address below, and it is not encrypted"
        echo(f"warning: {warning}", err=True)
    run(library, host=host, port=port, browser=not no_browser, tell=echo)
