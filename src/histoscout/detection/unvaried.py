"""Does detection look at the slide as it is, and put every answer back in its place?"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from histoscout.detection.answers import answers_for
from histoscout.detection.windows import WindowPlan
from histoscout.geometry.box import Box
from histoscout.slides.slide import Slide
from histoscout.verdict import Verdict

MOST_SEEN = 4  # windows looked at


@dataclass(frozen=True)
class Echo:
    """An engine that answers with the red it sees, so that what it was shown can be read from its answers."""

    labels: tuple[str, ...] = ("red",)
    description: str = "echo"
    answers: Literal["pixels", "tile"] = "pixels"

    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The red of each window's first view, 0 to 1: float32 (N, H, W, 1)."""
        return windows[:, 0, :, :, :1].astype(np.float32) / np.float32(255)

    def stream(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        """The answers for each batch, in order."""
        return map(self, batches)

    def close(self) -> None:
        """Nothing is held."""


def detection_rests(slide: Slide, boxes: Sequence[Box], plan: WindowPlan) -> Verdict:
    """Windows are shown as they are on the slide: nothing is varied, and flipped views are turned back.

    Shows a few windows to an engine that answers with what it sees, by the road that detection takes (study:
    "constant-flip", which flipped at test time, too).
    """
    name = "augmentation rests in detection"
    some = list(boxes[:: max(1, len(boxes) // MOST_SEEN)])[:MOST_SEEN]
    if not some:
        return Verdict(name, "cannot tell", f"{slide.name} has no window with tissue")
    for number, (box, answer) in enumerate(
        zip(some, answers_for(Echo(), slide.read, some, plan), strict=True)
    ):
        plain = slide.read(box, plan.mpp)[..., 0].astype(np.float32) / 255
        if answer.shape[:2] != plain.shape or float(np.abs(answer[..., 0] - plain).max()) > 1e-3:
            says = f"window {number} of {slide.name} is not seen as it is on the slide"
            return Verdict(name, "failed", says, "Vary training windows only; please report this")
    return Verdict(name, "good", f"{len(some)} windows of {slide.name} are seen as on the slide")
