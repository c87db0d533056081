"""How large the study is made, and what is held to the paper's values when it is made smaller."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from histoscout.errors import RecipeError
from histoscout.study import paper
from histoscout.study.slides import Mosaic


@dataclass(frozen=True)
class Scale:
    """Tile side in px, divisor of the networks' widths, steps that stand for 50 epochs (None: the epochs themselves).

    `points` are the validations in 50 epochs; `most_seconds` the longest single step that is timed rather than worked
    out; `ours` what our recipe does otherwise than it is written; `weights` where the ResNet50 starts.
    """

    name: str
    tile_px: int
    narrower: int
    steps: int | None
    points: int
    most_seconds: float
    ours: Mapping[str, Any]
    weights: str
    mosaic: Mosaic
    resnet: str = "resnet50"

    def widths(self, full: tuple[int, ...]) -> tuple[int, ...]:
        """Channels of a network, a constant factor narrower than published."""
        return tuple(max(4, width // self.narrower) for width in full)

    def steps_for(self, epochs: int, training_tiles: int) -> int:
        """Steps of a training that the paper ran for so many epochs."""
        if self.steps is not None:
            return max(1, round(self.steps * epochs / paper.EPOCHS[0]))
        return epochs * -(-training_tiles // paper.BATCH)

    def rate(self, rate: float, epochs: int, steps: int) -> float:
        """The learning rate that keeps rate x steps as it was in the paper."""
        return rate if self.steps is None else paper.rate_times_steps(rate, epochs) / steps


SCALES: Mapping[str, Scale] = MappingProxyType(
    {
        "quick": Scale("quick", 64, 4, 180, 9, 8.0, MappingProxyType({}), "none", Mosaic()),
        "full": Scale(
            "full",
            paper.TILE_PX,
            1,
            None,
            50,
            600.0,
            MappingProxyType({"training.epochs": None, "training.minutes": 60.0}),
            "imagenet",
            Mosaic(),
        ),
    }
)


def scale_named(name: str) -> Scale:
    """The scale of this name; RecipeError if there is none."""
    if name not in SCALES:
        raise RecipeError("--scale", f"there is no scale {name!r}", f"Take one of {', '.join(SCALES)}")
    return SCALES[name]
