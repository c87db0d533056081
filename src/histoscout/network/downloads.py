"""Weights from the internet: first what was downloaded before, then a quick look whether anybody answers there.

Left to itself the library that downloads tries an unreachable server again for most of a minute.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.error import HTTPError
from urllib.request import urlopen

from huggingface_hub import constants
from torch import nn

PATIENCE_S = 5.0


def with_downloads(make: Callable[[], nn.Module]) -> nn.Module:
    """Make a network whose weights may have to be downloaded; OSError if they cannot be.

    Weights that were downloaded before are used without any connection.
    """
    try:
        with _offline():
            return make()
    except OSError:
        _ask(constants.ENDPOINT)
    return make()


def _ask(address: str) -> None:
    """OSError if nobody answers; an answer that refuses is an answer."""
    try:
        urlopen(address, timeout=PATIENCE_S).close()
    except HTTPError:
        return


@contextmanager
def _offline() -> Iterator[None]:
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
