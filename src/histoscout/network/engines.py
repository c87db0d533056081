"""What makes a trained network answer, as fast as the machine can: an engine hides how.

This module imports neither torch nor OpenVINO: an engine's own module is loaded when it is opened.

Batches of any size through an engine that takes pieces of a fixed size, in order.
"""

import ctypes
import platform
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from types import MappingProxyType
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from histoscout import registry
from histoscout.errors import ModelError
from histoscout.network.model_folder import ModelFolder


class Engine(Protocol):
    """Gives probabilities for windows: uint8 (N, V, H, W, 3) to float32 (N, H, W, C), or (N, C) for tiles."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What the C probabilities are of, the positive class first."""

    @property
    def description(self) -> str:
        """Which engine this is, its numbers and how much it does at a time."""

    @property
    def answers(self) -> Literal["pixels", "tile"]:
        """Whether there is an answer for each pixel or one for the window."""

    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The answers for any number of windows."""

    def stream(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        """The answers for each batch, in order; several are worked on at a time."""

    def close(self) -> None:
        """Free what the engine holds."""


ENGINES: Mapping[str, str] = MappingProxyType(
    {
        "openvino": "histoscout.network.openvino_engine:open_openvino",
        "torch": "histoscout.network.torch_engine:open_cpu",
        "cuda": "histoscout.network.torch_engine:open_cuda",
        "mps": "histoscout.network.torch_engine:open_mps",
    }
)
DEVICES = ("auto", "cpu", *ENGINES)


def open_engine(
    model: ModelFolder, device: str = "auto", *, batch: int = 1, window_px: int | None = None
) -> Engine:
    """Open a model on a device: "auto", "cpu", "cuda", "mps", "openvino" or "torch" (torch on the processor).

    `batch` is how many windows are worked on as one; `window_px` is the side of the windows where it differs
    from the recipe's. The engine has answered the model's test vector. Raises ModelError if
    the device is not there or does not answer as it should.
    """
    name = choose(device)
    engine: Engine = registry.find(ENGINES[name])(model, batch, window_px or model.recipe.patch_px)
    return engine


def choose(device: str) -> str:
    """The name of the engine that stands for a device on this machine; "auto" takes the fastest there is."""
    if device not in DEVICES:
        raise ModelError(f"device {device!r}", "is not known", f"Choose one of {', '.join(DEVICES)}")
    if device in ENGINES:
        return device
    if device == "auto" and _has_cuda():
        return "cuda"
    if device == "auto" and platform.system() == "Darwin" and platform.machine() == "arm64":
        return "mps"
    return "openvino" if find_spec("openvino") else "torch"


def _has_cuda() -> bool:
    """Whether an NVIDIA driver finds a GPU; asked of the driver, since asking torch takes over a second."""
    library = "nvcuda.dll" if platform.system() == "Windows" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


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
