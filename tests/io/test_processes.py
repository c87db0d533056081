"""Worker processes end with the process that started them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import os, sys, time
from histoscout.io.processes import process_pool
if __name__ == "__main__":
    with process_pool(2) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        list(pool.map(time.sleep, [60, 60]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="asks for a process by a signal")
def test_a_kill_of_the_parent_ends_busy_workers(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        os.kill(worker, 0)
        process.kill()
    deadline = time.monotonic() + 10
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(worker)


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # an orphan that has ended stays in the table of processes where nobody waits for it
    state = Path(f"/proc/{process}/stat")
    return not (state.exists() and ") Z " in state.read_text())
