"""How much of a device's matrix rate detection reaches: ResNet50 U-Net, 512 px windows at .5 um/px, no overlap.

    python benchmarks/detection.py [--device openvino|cuda] [--batch 1]

Figure: network arithmetic done / (seconds from first read to last file written x best bf16 rate of a matrix
product on the same device, measured in the same run before and after). Each run is a process of its own; start-up (imports,
opening or converting the network) is told apart. Also: torch float32 (on a processor), and peak memory.
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
WINDOWS = 20  # in each direction
RECIPE = Recipe.from_dict(
    {
        "patches": {"mpp": 0.5, "size_um": 256.0},
        "network": {"encoder": "resnet50"},
        "loss": {"name": "dice+bce"},
        "detection": {"overlap": 0.0, "batch_size": 1},
    }
)
PRODUCT = {"openvino": 4096, "cuda": 8192}  # rows of the matrices whose product is timed


def make_model(folder: Path, batch: int) -> float:
    """A model folder of random weights; the arithmetic of one window in FLOP."""
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
    """A slide all of tissue-like texture: no window is spared."""
    random = np.random.default_rng(0)
    side = WINDOWS * RECIPE.patch_px
    texture = gaussian_filter(random.normal(0, 1, (1024, 1024)).astype(np.float32), 2) * 150
    block = np.clip(np.array([200, 140, 180], np.float32) + texture[..., None], 0, 255).astype(np.uint8)
    write_pyramid(path, np.tile(block, (side // 1024, side // 1024, 1)), RECIPE.patches.mpp)


def matrix_rate(device: str) -> float:
    """The best bf16 rate of a product of two square matrices, FLOP/s."""
    import torch

    side, place = PRODUCT[device], "cuda" if device == "cuda" else "cpu"
    a, b = (torch.randn(side, side, dtype=torch.bfloat16, device=place) for _ in range(2))
    best = float("inf")
    for _ in range(6):
        begun = time.perf_counter()
        a @ b
        if place == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begun)
    return 2 * side**3 / best


def run_child(*arguments: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True)
    values: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return values


def child(model: Path, slide: Path, out: Path, device: str, began: float) -> None:
    """One detection in this process: what it took is the last line printed."""
    (row,) = detect(read_model(model), [slide], out, DetectOptions(device=device))
    assert row.state == "done", row.reason
    start = time.time() - began - row.seconds
    peak = peak_memory()
    print(json.dumps({"start": start, "seconds": row.seconds, "windows": row.windows, "peak": peak}))


def peak_memory() -> float:
    """GB held at most by this process (Linux). getrusage would count what the parent held when it forked."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e9


def torch_float32(model: Path) -> float:
    """Windows a second in plain torch."""
    engine = open_engine(read_model(model), "torch", batch=1)
    window = np.zeros((1, 1, RECIPE.patch_px, RECIPE.patch_px, 3), np.uint8)
    engine(window)
    begun = time.perf_counter()
    for _ in range(6):
        engine(window)
    return 6 / (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="openvino", choices=list(PRODUCT))
    parser.add_argument("--batch", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        flop = make_model(folder / "model", given.batch)
        make_slide(folder / "slide.tif")
        print(f"{platform.machine()}, {platform.processor()}, Python {platform.python_version()}")
        print(f"a window: {flop / 1e9:.1f} GFLOP")
        shares, starts, seconds, peaks, rates = [], [], [], [], []
        for number in range(RUNS + 1):
            before = matrix_rate(given.device)
            places = (str(folder / part) for part in ("model", "slide.tif", f"out{number}"))
            told = run_child("child", *places, given.device, str(time.time()))
            rate = max(before, matrix_rate(given.device))
            if number == 0:
                print(f"first start, with conversion: {told['start']:.1f} s")
                continue
            starts.append(told["start"])
            seconds.append(told["seconds"])
            peaks.append(told["peak"])
            rates.append(rate)
            shares.append(flop * told["windows"] / (told["seconds"] * rate))
        middle = statistics.median
        print(f"later starts: {middle(starts):.1f} s")
        print(
            f"{told['windows']} windows in {middle(seconds):.1f} s, {told['windows'] / middle(seconds):.2f} a second"
        )
        print(f"best bf16 matrix rate {middle(rates) / 1e9:.0f} GFLOP/s; share reached {middle(shares):.2f}")
        print(f"   of each run: {', '.join(f'{share:.2f}' for share in shares)}")
        if given.device != "cuda":
            print(f"torch float32: {torch_float32(folder / 'model'):.2f} windows a second")
        print(f"peak memory {max(peaks):.2f} GB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]), sys.argv[5], float(sys.argv[6]))
    else:
        main()
