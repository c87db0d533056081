"""How many cores there are for us."""

import os
import subprocess
import sys

import pytest

from histoscout.hardware import usable_cores

ASK = (
    "import os; os.sched_setaffinity(0, {{{core}}}); "
    "from histoscout.hardware import usable_cores; from histoscout.doctor import doctor; "
    "print(usable_cores(), next(one.detail for one in doctor() if one.what == 'processor'))"
)


def test_there_is_a_core_and_no_more_than_the_machine_has() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="this system does not bind processes to cores"
)
def test_a_process_that_is_bound_to_one_core_counts_one() -> None:
    core = min(os.sched_getaffinity(0))
    told = subprocess.run(
        [sys.executable, "-c", ASK.format(core=core)], capture_output=True, text=True, check=True
    ).stdout.split(" ", 1)
    assert told[0] == "1"
    if (os.cpu_count() or 1) > 1:
        assert "1 of them for this process" in told[1]
