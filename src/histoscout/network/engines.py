"""Engines run a trained model on a device; this module chooses and opens one.

It imports neither torch nor OpenVINO: an engine's own module is loaded when it is opened.
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
    """What every engine does: windows (N, 1, H, W, 3) uint8 to probabilities (N, H, W, C) float32.

    A tile classifier gives (N, C).
    """

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the C probabilities, the positive class first."""

    @property
    def description(self) -> str:
        """Name and version of the engine, its precision, and how many windows it computes at a time."""

    @property
    def answers(self) -> Literal["pixels", "tile"]:
        """Whether there is an output for each pixel or one for the window."""

    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The probabilities of any number of windows."""

    def stream(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        """The probabilities of each batch, in order; several batches are computed at a time."""

    def close(self) -> None:
        """Release memory and device."""


ENGINES: Mapping[str, str] = MappingProxyType(
    {
        "openvino": "histoscout.network.openvino_engine:open_openvino",
        "torch": "histoscout.network.torch_engine:open_cpu",
        "cuda": "histoscout.network.torch_engine:open_cuda",
        "mps": "histoscout.network.torch_engine:open_mps",
    }
)
DEVICES = ("auto", "cpu", *ENGINES)

Windows = NDArray[np.uint8]  # (N, 1, H, W, 3)
Outputs = NDArray[np.float32]  # (N, H, W, C) or (N, C)
Pipeline = Callable[[Iterator[Windows]], Iterator[Outputs]]


def open_engine(
    model: ModelFolder,
    device: str = "auto",
    *,
    batch: int = 1,
    window_px: int | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Engine:
    """Open a model on a device; the engine has passed the model's test vector.

    Args:
        model: The model.
        device: "auto" (the fastest there is), "cpu", "cuda", "mps", "openvino" or "torch" (torch on the CPU).
        batch: Windows in a batch.
        window_px: Side of the windows in px; None for the side of the recipe's patches.
        on_note: Called with notes for the user, such as that converted models cannot be cached.

    Returns:
        The engine; close it after use.

    Raises:
        ModelError: If the device does not exist, or the engine does not reproduce the test vector.

    Example:
        >>> from pathlib import Path
        >>> from histoscout import HistoscoutError, ModelFolder, Recipe, open_engine
        >>> model = ModelFolder(path=Path("model"), recipe=Recipe(), threshold=0.4, temperature=1.0,
        ...                     labels=("UDH",), hash="cfe32b44ae1e", facts={})
        >>> try:
        ...     open_engine(model, "abacus")
        ... except HistoscoutError as error:
        ...     print(type(error).__name__)
        ModelError
    """
    name = choose_engine(device)
    notes = {"on_note": on_note} if on_note is not None and name == "openvino" else {}
    factory = registry.load_factory(ENGINES[name])
    engine: Engine = factory(model, batch, window_px or model.recipe.patch_px, **notes)
    return engine


def choose_engine(device: str) -> str:
    """Choose the engine for a device on this machine.

    Args:
        device: A name of `DEVICES`; "auto" takes the fastest there is.

    Returns:
        A name of `ENGINES`.

    Raises:
        ModelError: If the device is unknown.
    """
    if device not in DEVICES:
        raise ModelError(
            f"device {device!r}", "there is no such device", f"Choose one of {', '.join(DEVICES)}"
        )
    if device in ENGINES:
        return device
    if device == "auto" and _has_cuda():
        return "cuda"
    if device == "auto" and platform.system() == "Darwin" and platform.machine() == "arm64":
        return "mps"
    return "openvino" if find_spec("openvino") else "torch"


def _has_cuda() -> bool:
    """Whether an NVIDIA driver finds a GPU; importing torch to find out takes more than a second."""
    library = "nvcuda.dll" if platform.system() == "Windows" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


def in_chunks(batches: Iterable[Windows], largest: int, pipeline: Pipeline) -> Iterator[Outputs]:
    """Cut batches into chunks for a pipeline, and join its outputs to batches again.

    Args:
        batches: Batches of any size.
        largest: Windows in a chunk at most.
        pipeline: Gives one output for each chunk, in order; it may read chunks ahead.

    Yields:
        The output of each batch.
    """
    counts: deque[int] = deque()

    def chunks() -> Iterator[Windows]:
        for batch in batches:
            if len(batch) == 0:
                raise ValueError("a batch must hold at least one window")
            counts.append(-(-len(batch) // largest))
            for start in range(0, len(batch), largest):
                yield batch[start : start + largest]

    outputs = pipeline(chunks())
    for first in outputs:
        rest = [next(outputs) for _ in range(counts.popleft() - 1)]
        yield np.concatenate([first, *rest]) if rest else first
