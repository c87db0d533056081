"""The processor cores that a process may use."""

import os
import subprocess
import sys

import pytest

from histoscout.hardware import usable_cores

SCRIPT = (
    "import os; os.sched_setaffinity(0, {{{core}}}); "
    "from histoscout.hardware import usable_cores; from histoscout.machine import doctor; "
    "print(usable_cores(), next(check.detail for check in doctor() if check.name == 'processor'))"
)


@pytest.mark.parametrize(("cores", "count"), [(8, 8), (None, 1)])
def test_without_affinity_all_cores_count(
    monkeypatch: pytest.MonkeyPatch, cores: int | None, count: int
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert usable_cores() == count


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="this system does not bind processes to cores"
)
def test_a_process_that_is_bound_to_one_core_counts_one() -> None:
    script = SCRIPT.format(core=min(os.sched_getaffinity(0)))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    count, detail = done.stdout.split(" ", 1)
    assert count == "1"
    if (os.cpu_count() or 1) > 1:
        assert "1 of them" in detail
