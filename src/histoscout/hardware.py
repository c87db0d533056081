"""The processor cores that this process may use."""

import os


def usable_cores() -> int:
    """Count the cores that this process may use, at least 1.

    On a cluster, in a container or under `taskset` these are fewer than the machine has.
    """
    # Linux only; on other systems a process may use all cores
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
