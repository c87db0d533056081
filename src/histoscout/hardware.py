"""How many processor cores there are for us."""

import os


def usable_cores() -> int:
    """The cores this process may use, which on a cluster or in `taskset` are fewer than the machine has; at least 1."""
    if hasattr(os, "sched_getaffinity"):  # Linux; elsewhere a process may use all
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
