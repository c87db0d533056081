"""What a trained run is worth: on its tiles, on all tiles, and on whole slides."""

import math
from typing import Any

import numpy as np
from torch import nn

from histoscout.evaluation.pixels import PixelCounts
from histoscout.network.losses import make_loss
from histoscout.recipe import Recipe
from histoscout.study import faults as faulty
from histoscout.study.bench import Bench
from histoscout.study.examples import plain
from histoscout.study.prepare import Prepared
from histoscout.study.runs import Run
from histoscout.study.score import Judgement, Stretch, judge
from histoscout.study.tiles import TilePixels, read_tiles
from histoscout.study.whole import Stretched, count_whole
from histoscout.training.validate import answers, validate

AT_ONCE = 256  # tiles read before they are judged
LOOKED_AT = 4  # batches from which the spread of a network's answers is taken


def judge_sets(
    run: Run, network: nn.Module, recipe: Recipe, prepared: Prepared, bench: Bench
) -> dict[str, Any]:
    """The figures on training and test tiles; H: what is called "test" is both together."""
    stretch = spread(network, prepared.test_pixels, run, recipe, bench)
    train, test = (
        _judged(network, pixels, run, recipe, (bench, stretch))
        for pixels in (prepared.train_pixels, prepared.test_pixels)
    )
    return {
        "train": train.to_dict(),
        "test": (train + test if "H" in run.faults else test).to_dict(),
        "test tiles only": test.to_dict(),
        "test loss": _loss(network, prepared.test_pixels, recipe, bench),
    }


def _loss(network: nn.Module, pixels: TilePixels, recipe: Recipe, bench: Bench) -> float | None:
    """The loss over the test tiles themselves, unflipped, whatever the run's own validation looked at; None if no number."""
    found = answers(network, plain(pixels, frozenset(), recipe), recipe, bench.fabric)
    value = validate(found, make_loss(recipe)).loss
    return value if math.isfinite(value) else None


def judge_all_tiles(
    run: Run, network: nn.Module, recipe: Recipe, prepared: Prepared, bench: Bench
) -> Judgement:
    """The figures over every tile that the filter kept, as Table 3 has them."""
    stretch, made = spread(network, prepared.test_pixels, run, recipe, bench), faulty.masks(run.faults)
    judgement = Judgement.none()
    bench.progress.start("all tiles", len(prepared.tiles))
    for start in range(0, len(prepared.tiles), AT_ONCE):
        pixels = read_tiles(prepared.tiles[start : start + AT_ONCE], prepared.slides, made, recipe)
        judgement = judgement + _judged(network, pixels, run, recipe, (bench, stretch))
        bench.progress.advance(len(pixels.own))
    bench.progress.done()
    return judgement


def _judged(
    network: nn.Module, pixels: TilePixels, run: Run, recipe: Recipe, means: tuple[Bench, Stretch]
) -> Judgement:
    bench, stretch = means
    found = answers(network, plain(pixels, run.faults, recipe), recipe, bench.fabric)
    return judge(found, plain(pixels, run.faults, recipe, truth=True), stretch)


def spread(network: nn.Module, pixels: TilePixels, run: Run, recipe: Recipe, bench: Bench) -> Stretch:
    """How far the network's answers lie apart on the first test tiles."""
    few = pixels.at(np.arange(min(len(pixels.own), LOOKED_AT * recipe.training.batch)))
    found = answers(network, plain(few, run.faults, recipe), recipe, bench.fabric)
    return Stretch.of([logits.cpu() for logits, _ in found])


def look_at_whole(
    run: Run, network: nn.Module, recipe: Recipe, prepared: Prepared, bench: Bench
) -> dict[str, Any]:
    """AP against the outlines over all tissue of whole slides: the referee's, and the left-out patient's."""
    if run.whole == "none":
        return {}
    engine = Stretched(
        network, recipe, bench.fabric, spread(network, prepared.test_pixels, run, recipe, bench)
    )
    sets = {"referee": bench.referee()} if bench.referees else {}
    if run.whole == "all" or not sets:
        sets["left out"] = bench.last_patient()
    return {name: _figures(count_whole(engine, slides, bench.progress)) for name, slides in sets.items()}


def _figures(counts: PixelCounts) -> dict[str, float | None]:
    return {"ap": counts.ap, "prevalence": counts.prevalence}
