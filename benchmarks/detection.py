"""How much of a device's matrix rate detection reaches: ResNet50 U-Net, windows of 512 px at 0.5 um/px, no overlap.

    python benchmarks/detection.py [--device openvino|cuda] [--batch 1]

The result is network arithmetic / (seconds from first read to last written file x best bf16 rate of a matrix product on the same
device, measured in the same run before and after). Each run is a process of its own; its start (imports, opening or converting
the network) is reported apart. Also measured: torch float32 (on a processor), and peak memory.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from histoscout.detection.detect import DetectOptions, detect
from histoscout.network.engines import open_engine
from histoscout.network.model_folder import read_model
from histoscout.recipe import Recipe
from histoscout.slides.pyramid import write_pyramid

RUNS = 3
# in each direction
WINDOWS = 20
RECIPE = Recipe.from_dict(
    {
        "patches": {"mpp": 0.5, "size_um": 256.0},
        "network": {"encoder": "resnet50"},
        "loss": {"name": "dice+bce"},
        "detection": {"overlap": 0.0, "batch_size": 1},
    }
)
# side of the matrices of the timed product
MATRIX_SIDE = {"openvino": 4096, "cuda": 8192}


def make_model(folder: Path, batch: int) -> float:
    """Write a model folder with random weights; return the arithmetic of one window, FLOP."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from histoscout.network.build import build_network
    from histoscout.network.save import save_model

    torch.manual_seed(0)
    network = build_network(RECIPE).eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, RECIPE.patch_px, RECIPE.patch_px))
    recipe = RECIPE.with_choices({"detection.batch_size": batch})
    save_model(folder, network, recipe, threshold=0.5, temperature=1.0, metrics={}, card={})
    return float(counter.get_total_flops())


def make_slide(path: Path) -> None:
    """Write a slide with tissue-like texture everywhere, so that no window is skipped."""
    random = np.random.default_rng(0)
    side = WINDOWS * RECIPE.patch_px
    texture = gaussian_filter(random.normal(0, 1, (1024, 1024)).astype(np.float32), 2) * 150
    block = np.clip(np.array([200, 140, 180], np.float32) + texture[..., None], 0, 255).astype(np.uint8)
    write_pyramid(path, np.tile(block, (side // 1024, side // 1024, 1)), RECIPE.patches.mpp)


def measure_matrix_rate(device: str) -> float:
    """The best bf16 rate of a product of two square matrices, FLOP/s."""
    import torch

    side = MATRIX_SIDE[device]
    torch_device = "cuda" if device == "cuda" else "cpu"
    a, b = (torch.randn(side, side, dtype=torch.bfloat16, device=torch_device) for _ in range(2))
    best = float("inf")
    for _ in range(6):
        started = time.perf_counter()
        a @ b
        if torch_device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2 * side**3 / best


def run_child(*arguments: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True)
    values: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return values


def run_detection(model: Path, slide: Path, out: Path, device: str, started: float) -> None:
    """Detect once in this process and print times and memory as the last line."""
    (row,) = detect(read_model(model), [slide], out, DetectOptions(device=device))
    assert row.state == "done", row.reason
    start = time.time() - started - row.seconds
    peak = peak_memory()
    print(json.dumps({"start": start, "seconds": row.seconds, "windows": row.windows, "peak": peak}))


def peak_memory() -> float:
    """Peak memory of this process, GB (Linux). getrusage would count the parent's memory at the fork."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e9


def measure_torch_rate(model: Path) -> float:
    """Windows per second in plain torch."""
    engine = open_engine(read_model(model), "torch", batch=1)
    window = np.zeros((1, 1, RECIPE.patch_px, RECIPE.patch_px, 3), np.uint8)
    engine(window)
    started = time.perf_counter()
    for _ in range(6):
        engine(window)
    return 6 / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="openvino", choices=list(MATRIX_SIDE))
    parser.add_argument("--batch", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        flop = make_model(folder / "model", options.batch)
        make_slide(folder / "slide.tif")
        print(f"{platform.machine()}, {platform.processor()}, Python {platform.python_version()}")
        print(f"one window: {flop / 1e9:.1f} GFLOP")
        shares, starts, seconds, peaks, rates = [], [], [], [], []
        for number in range(RUNS + 1):
            before = measure_matrix_rate(options.device)
            paths = (str(folder / part) for part in ("model", "slide.tif", f"out{number}"))
            result = run_child("child", *paths, options.device, str(time.time()))
            rate = max(before, measure_matrix_rate(options.device))
            if number == 0:
                print(f"first start, with conversion: {result['start']:.1f} s")
                continue
            starts.append(result["start"])
            seconds.append(result["seconds"])
            peaks.append(result["peak"])
            rates.append(rate)
            shares.append(flop * result["windows"] / (result["seconds"] * rate))
        median = statistics.median
        print(f"later starts: {median(starts):.1f} s")
        print(
            f"{result['windows']} windows in {median(seconds):.1f} s, {result['windows'] / median(seconds):.2f} per second"
        )
        print(f"best bf16 matrix rate {median(rates) / 1e9:.0f} GFLOP/s; share reached {median(shares):.2f}")
        print(f"   by run: {', '.join(f'{share:.2f}' for share in shares)}")
        if options.device != "cuda":
            print(f"torch float32: {measure_torch_rate(folder / 'model'):.2f} windows per second")
        print(f"peak memory {max(peaks):.2f} GB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        run_detection(
            Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]), sys.argv[5], float(sys.argv[6])
        )
    else:
        main()
