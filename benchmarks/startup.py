"""How long `histoscout --help` and `histoscout info SLIDE` take as whole processes: medians of 7 runs after one warm-up."""

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


def seconds(command: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begun


def median(command: list[str]) -> float:
    seconds(command)
    return statistics.median(seconds(command) for _ in range(RUNS))


def main() -> None:
    program = str(Path(sys.executable).with_name("histoscout"))
    with tempfile.TemporaryDirectory() as folder:
        slide = Path(folder) / "slide.tif"
        write_pyramid(slide, np.full((2048, 2048, 3), 230, np.uint8), 0.5)
        print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
        print(f"python -c pass      {median([sys.executable, '-c', 'pass']):.3f} s")
        print(f"histoscout --help   {median([program, '--help']):.3f} s")
        print(f"histoscout info     {median([program, 'info', str(slide)]):.3f} s")


if __name__ == "__main__":
    main()
