"""Worker processes that end with the process that started them, however it ends."""

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait


def process_pool(workers: int) -> ProcessPoolExecutor:
    """Make a pool of worker processes.

    They start with an empty memory ("spawn"), so that no lock or open file of this process is copied.

    Args:
        workers: How many, at least 1.

    Returns:
        The pool, to be used in a `with` statement.
    """
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent)


def end_with_parent() -> None:
    """Let this worker process end at once when its parent is gone, even by a kill, which closes no pipe of a pool."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(
            target=_watch, args=(parent.sentinel,), name="histoscout-parent", daemon=True
        ).start()


def _watch(sentinel: int) -> None:
    """Wait for the parent's end. A thread works on every system; Linux's own signal asks for a thread, not a process."""
    wait([sentinel])
    os._exit(1)
