"""How long an epoch takes: the paper's U-Net at every input size and batch that was tried there, on this machine."""

import json
import time
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from histoscout.files import write_text
from histoscout.network.build import build_network
from histoscout.network.graph import count_outputs, prepare
from histoscout.network.losses import make_loss
from histoscout.recipe import Recipe
from histoscout.study import paper
from histoscout.study.bench import Bench, own_recipe
from histoscout.training.optimise import make_optimiser

SIDES, BATCHES = (64, 128, 256, 512), (4, 8, 16)
ONE_SLIDE = round(paper.TILES_ONE_WITH_MASK * (1 + paper.NEGATIVES) * (1 - paper.TEST_SHARE))
"""Training tiles of an epoch when the laptop was tried: one slide."""


def epoch_times(bench: Bench) -> list[dict[str, Any]]:
    """Seconds of one epoch over one slide's tiles for each input size and batch, and whether they were measured.

    A step that would take longer than the scale allows is worked out from the largest measured one, by its pixels.
    The network is narrower only in tests.
    """
    written = bench.out / "epoch-times.json"
    if written.exists():
        earlier: list[dict[str, Any]] = json.loads(written.read_text("utf-8"))
        return earlier
    recipe = own_recipe("unet")
    if bench.scale.name not in {"quick", "full"}:
        recipe = recipe.with_choices({"network.widths": bench.scale.widths(recipe.network.widths)})
    network = bench.fabric.to_device(build_network(recipe))
    rows, per_pixel = [], 0.0
    bench.progress.start("timing the paper's U-Net", len(SIDES) * len(BATCHES))
    for side in SIDES:
        for batch in BATCHES:
            pixels = side * side * batch
            measured = per_pixel * pixels <= bench.scale.most_seconds
            if measured:
                per_pixel = step_seconds(network, recipe, (batch, side), bench.fabric) / pixels
            seconds = per_pixel * pixels * -(-ONE_SLIDE // batch)
            rows.append({"px": side, "batch": batch, "seconds": round(seconds, 1), "measured": measured})
            bench.progress.advance()
    bench.progress.done()
    write_text(written, json.dumps(rows, indent=1) + "\n")
    return rows


def step_seconds(
    network: nn.Module, recipe: Recipe, shape: tuple[int, int], fabric: Fabric, steps: int = 1
) -> float:
    """Seconds of a training step on `shape` (batch, side in px), the fastest of some, after one to warm up."""
    batch, side = shape
    optimiser, loss = make_optimiser(network, recipe.training), make_loss(recipe)
    pictures = fabric.to_device(torch.zeros((batch, side, side, 3), dtype=torch.uint8))
    found = []
    for _ in range(steps + (side <= SIDES[0])):  # a long step needs no warming up
        begun = time.perf_counter()
        images = prepare(pictures, recipe.network.channels).contiguous(memory_format=torch.channels_last)
        logits = network(images)
        shape_of_target = (batch,) if logits.dim() == 2 else (batch, side, side)
        target = torch.zeros(shape_of_target, dtype=torch.uint8, device=logits.device)
        fabric.backward(loss(logits, target))
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if fabric.device.type == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - begun)
    assert logits.shape[1] == count_outputs(recipe)
    return min(found)
