"""Locks of output folders: one run writes, or several that know of each other."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from histoscout.errors import OutputError
from histoscout.io import locks
from histoscout.io.files import LOCKS
from histoscout.io.locks import claim_folder, hold, read_facts, try_lock

CLAIM = """
import sys, time
from pathlib import Path
from histoscout.io.locks import claim_folder
with claim_folder(Path(sys.argv[1]), sys.argv[2]):
    print("claimed", flush=True)
    time.sleep(60)
"""


@contextmanager
def claimed(folder: Path, script: str = CLAIM) -> Iterator[int]:
    """A process that claims a folder and is killed at the end; its number."""
    with subprocess.Popen(
        [sys.executable, "-c", script, str(folder), ""], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "claimed\n"
            yield process.pid
        finally:
            process.kill()


def test_a_second_run_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with claimed(out) as process:
        with pytest.raises(OutputError, match=f"process {process} on"), claim_folder(out):
            pass
        with pytest.raises(OutputError), claim_folder(out, "detect"):
            pass
    (out / LOCKS).mkdir(exist_ok=True)
    (out / LOCKS / "part-0123.lock").touch()
    with claim_folder(tmp_path / "out") as alone:
        assert alone
    # nothing of either run is left
    assert not list((tmp_path / "out").iterdir())


def test_runs_of_one_purpose_share_a_folder(tmp_path: Path) -> None:
    with claim_folder(tmp_path, "a") as first, claim_folder(tmp_path, "a") as second:
        assert (first, second) == (True, False)
        with pytest.raises(OutputError), claim_folder(tmp_path, "b"):
            pass
        with pytest.raises(OutputError), claim_folder(tmp_path):
            pass
    assert not (tmp_path / LOCKS).exists()


def test_a_folder_that_stays_empty_is_removed(tmp_path: Path) -> None:
    with claim_folder(tmp_path / "out"):
        pass
    assert not (tmp_path / "out").exists()


def test_parts_are_held_by_one_at_a_time(tmp_path: Path) -> None:
    order = []

    def later() -> None:
        with hold(tmp_path, "ledger"):
            order.append("second")

    thread = threading.Thread(target=later)
    with hold(tmp_path, "ledger") as held, hold(tmp_path, "ledger", wait=False) as again:
        assert (held, again) == (True, False)
        with hold(tmp_path, "a slide", wait=False) as other:
            assert other
        thread.start()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_lock_of_another_machine_lives_as_long_as_its_heart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "DEAD_SECONDS", 0.4)
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.2)
    path = tmp_path / "run.lock"
    path.write_text(json.dumps({"machine": "another", "token": "1", "beat": 1}))
    stop = threading.Event()

    def beat() -> None:
        count = 1
        while not stop.wait(0.05):
            count += 1
            path.write_text(json.dumps({"machine": "another", "token": "1", "beat": count}))

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        assert try_lock(path) is None
    finally:
        stop.set()
        thread.join()
    lock = try_lock(path)
    assert lock is not None
    assert read_facts(path)["process"] == os.getpid()
    lock.release()


FORKS = """    import os
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(1)
        os.write(writing, b"1")
        time.sleep(5)
        os._exit(0)
    os.read(reading, 1)
"""
"""A process of its own that lives on; it has begun before the run says that it has claimed the folder."""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")
def test_a_forked_worker_does_not_keep_the_lock_of_its_dead_parent(tmp_path: Path) -> None:
    script = CLAIM.replace('    print("claimed"', FORKS + '    print("claimed"')
    with claimed(tmp_path / "out", script):
        pass
    with claim_folder(tmp_path / "out") as alone:
        assert alone
