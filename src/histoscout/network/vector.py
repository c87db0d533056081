"""Does an engine answer as the network did when the model was written?"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from histoscout.errors import ModelError

# largest mean and 99th percentile of the difference in probability; half-precision numbers have 8 to 11 bits
TOLERANCES = {True: (1e-4, 1e-3), False: (0.02, 0.1)}  # of float32, and of anything shorter


def read_vector(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The test vector of a model folder: a window (1, V, H, W, 3) and the probabilities expected for it."""
    tensors = load_file(path)
    return tensors["windows"], tensors["probabilities"]


def verify(
    answer: NDArray[np.float32], expected: NDArray[np.float32], *, exact: bool, where: Path, engine: str
) -> None:
    """ModelError if an engine's answer differs from what is expected by more than its numbers explain.

    `exact` says that the engine reckons in float32.
    """
    if answer.shape != expected.shape:
        raise _differs(where, engine, f"its shape is {answer.shape}, should be {expected.shape}")
    difference = np.abs(answer - expected)
    mean, most = float(difference.mean()), float(np.percentile(difference, 99))
    limits = TOLERANCES[exact]
    if not (mean <= limits[0] and most <= limits[1]):  # NaN fails, too
        raise _differs(
            where, engine, f"probabilities differ by {mean:.4f} on average, 1 % by over {most:.4f}"
        )


def _differs(where: Path, engine: str, how: str) -> ModelError:
    return ModelError(
        where,
        f"{engine} does not answer as the network did when the model was written: {how}",
        "Take another engine (--device torch), and please report this",
    )
