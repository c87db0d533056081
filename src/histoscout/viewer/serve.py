"""Starting and stopping the viewer's server."""

import contextlib
import secrets
import socket
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from histoscout.errors import OutputError
from histoscout.io.files import package_file
from histoscout.viewer.app import Viewer, build_app
from histoscout.viewer.library import Library
from histoscout.viewer.security import Guard

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Site:
    """A server that is ready to start.

    Attributes:
        address: The address to open, with its token.
        server: The server.
        viewer: Its handlers.
        listener: The socket that it listens on.
    """

    address: str
    server: uvicorn.Server
    viewer: Viewer
    listener: socket.socket


def page_folder() -> Path:
    """The folder of the built page.

    Raises:
        OutputError: The page was not built.
    """
    folder = package_file("viewer", "page")
    if not (folder / "index.html").is_file():
        remedy = "Run make viewer in the source (it needs Node 20 or newer), or install a released package"
        raise OutputError("viewer", "the page of the viewer has not been built", remedy)
    return folder


@contextlib.contextmanager
def open_site(library: Library, page: Path, host: str = LOOPBACK, port: int = 0) -> Iterator[Site]:
    """Prepare a server on a port of its own.

    Args:
        library: What is shown.
        page: Folder of the built page.
        host: Address to listen on; other machines reach it unless it is the loopback address.
        port: The port; 0 for a free one.

    Yields:
        The site; run `site.server.run(sockets=[site.listener])`.

    Raises:
        OutputError: The port is taken.
    """
    app, viewer = build_app(library, page)
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        viewer.close()
        fault = f"the port cannot be used ({error.strerror})"
        raise OutputError(f"{host}:{port}", fault, "Give another one with --port") from error
    port = int(listener.getsockname()[1])
    names = {host, "localhost"} | ({socket.gethostname().lower()} if host != LOOPBACK else set())
    token = secrets.token_urlsafe(24)
    guard = Guard(app, token, frozenset(f"{name}:{port}" for name in names))
    config = uvicorn.Config(
        guard, log_level="error", access_log=False, server_header=False, timeout_graceful_shutdown=2
    )
    shown = LOOPBACK if host == "0.0.0.0" else host
    try:
        yield Site(
            address=f"http://{shown}:{port}/?token={token}",
            server=uvicorn.Server(config),
            viewer=viewer,
            listener=listener,
        )
    finally:
        listener.close()
        viewer.close()


def view(
    library: Library,
    *,
    host: str = LOOPBACK,
    port: int = 0,
    browser: bool = True,
    tell: Callable[[str], None] = lambda text: None,
) -> None:
    """Show slides in the browser until Ctrl-C.

    Args:
        library: What is shown.
        host: Address to listen on.
        port: The port; 0 for a free one.
        browser: Whether to open the browser.
        tell: Told the address at the start, and at the end where the corrections are.

    Raises:
        OutputError: The page was not built, or the port is taken.
    """
    with open_site(library, page_folder(), host, port) as site:
        tell(f"viewer: {site.address}\nstop it with Ctrl-C")
        if browser:
            webbrowser.open(site.address)
        # uvicorn raises the interrupt again once it has stopped
        with contextlib.suppress(KeyboardInterrupt):
            site.server.run(sockets=[site.listener])
    review = library.review
    if review is not None and review.slides:
        review.write_geojson()
        tell(f"corrections: {review.folder} (log.jsonl, and a GeoJSON of each slide for QuPath)")
