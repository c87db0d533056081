"""Batches of any size through an engine that takes pieces of a fixed size, in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

Windows = NDArray[np.uint8]  # (N, V, H, W, 3)
Answers = NDArray[np.float32]  # (N, H, W, C) or (N, C)
Pipeline = Callable[[Iterator[Windows]], Iterator[Answers]]


def in_pieces(batches: Iterable[Windows], largest: int, pipeline: Pipeline) -> Iterator[Answers]:
    """Cut batches into pieces of at most `largest` windows, and put the pipeline's answers together again.

    The pipeline may read pieces ahead of its answers, but must answer in order, one answer a piece.
    """
    counts: deque[int] = deque()

    def pieces() -> Iterator[Windows]:
        for batch in batches:
            if len(batch) == 0:
                raise ValueError("a batch must hold at least one window")
            counts.append(-(-len(batch) // largest))
            for start in range(0, len(batch), largest):
                yield batch[start : start + largest]

    answers = pipeline(pieces())
    for first in answers:
        rest = [next(answers) for _ in range(counts.popleft() - 1)]
        yield np.concatenate([first, *rest]) if rest else first
