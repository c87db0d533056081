"""How long `histoscout --help` and `histoscout info SLIDE` take as whole processes.

    python benchmarks/startup.py

Prints medians of 7 runs after one to warm up.
"""

import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from histoscout.slides.pyramid import write_pyramid

RUNS = 7


def time_command(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def median_seconds(command: list[str]) -> float:
    time_command(command)
    return statistics.median(time_command(command) for _ in range(RUNS))


def main() -> None:
    program = str(Path(sys.executable).with_name("histoscout"))
    with tempfile.TemporaryDirectory() as folder:
        slide = Path(folder) / "slide.tif"
        write_pyramid(slide, np.full((2048, 2048, 3), 230, np.uint8), 0.5)
        print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
        print(f"python -c pass      {median_seconds([sys.executable, '-c', 'pass']):.3f} s")
        print(f"histoscout --help   {median_seconds([program, '--help']):.3f} s")
        print(f"histoscout info     {median_seconds([program, 'info', str(slide)]):.3f} s")


if __name__ == "__main__":
    main()
