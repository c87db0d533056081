"""Engines that run torch: on a GPU, or on a CPU without OpenVINO."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from histoscout.errors import ModelError
from histoscout.network.detector import Detector
from histoscout.network.engines import in_chunks
from histoscout.network.model_folder import ModelFolder, read_test_vector, verify_output
from histoscout.network.save import load_network

IN_FLIGHT = 3
"""Batches on a GPU at a time: one is copied in, one computed, one copied out."""


def open_cpu(model: ModelFolder, batch: int, window_px: int) -> "TorchEngine":
    """Open torch on the CPU in float32: slow, exact, and everywhere.

    Args:
        model: The model.
        batch: Windows in a batch.
        window_px: Side of the windows; torch takes any.

    Returns:
        An engine that has passed the test vector.
    """
    return _verified(TorchEngine(model, torch.device("cpu"), torch.float32, batch), model)


def open_cuda(model: ModelFolder, batch: int, window_px: int) -> "TorchEngine":
    """Open torch on an NVIDIA GPU, in bfloat16 where the GPU supports it, else float16.

    Args:
        model: The model.
        batch: Windows in a batch.
        window_px: Side of the windows; torch takes any.

    Returns:
        An engine that has passed the test vector.

    Raises:
        ModelError: If torch finds no GPU.
    """
    if not torch.cuda.is_available():
        raise ModelError(
            "device 'cuda'", "torch finds no NVIDIA GPU here", "Use --device cpu, or see histoscout doctor"
        )
    dtype = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return _verified(TorchEngine(model, torch.device("cuda"), dtype, batch), model)


def open_mps(model: ModelFolder, batch: int, window_px: int) -> "TorchEngine":
    """Open torch on the GPU of an Apple computer.

    Args:
        model: The model.
        batch: Windows in a batch.
        window_px: Side of the windows; torch takes any.

    Returns:
        An engine that has passed the test vector.

    Raises:
        ModelError: If torch finds no such GPU.
    """
    if not torch.backends.mps.is_available():
        raise ModelError(
            "device 'mps'", "torch finds no Apple GPU here", "Use --device cpu, or see histoscout doctor"
        )
    return _verified(TorchEngine(model, torch.device("mps"), torch.float32, batch), model)


def _verified(engine: "TorchEngine", model: ModelFolder) -> "TorchEngine":
    """The engine, if it reproduces the test vector."""
    windows, expected = read_test_vector(model.vector())
    verify_output(engine(windows), expected, exact=engine.exact, where=model.path, engine=engine.description)
    return engine


class TorchEngine:
    """A detector on a torch device; a GPU works on several batches at a time."""

    def __init__(self, model: ModelFolder, device: torch.device, dtype: torch.dtype, batch: int) -> None:
        detector = Detector(
            load_network(model), model.recipe, model.temperature, model.prior_correction
        ).eval()
        self._detector = detector.to(device).to(memory_format=torch.channels_last)
        self._device = device
        self._dtype = dtype
        self._batch = batch
        self.labels = model.labels
        self.exact = dtype is torch.float32
        self.answers: Literal["pixels", "tile"] = "tile" if model.recipe.network.predicts_tiles else "pixels"
        what = torch.cuda.get_device_name() if device.type == "cuda" else device.type
        self.description = f"torch {torch.__version__} on {what}, {str(dtype).removeprefix('torch.')}"

    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        return next(self.stream([windows]))

    def stream(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        return in_chunks(batches, self._batch, self._outputs)

    def close(self) -> None:
        del self._detector
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _outputs(self, chunks: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        in_flight: deque[tuple[Tensor, torch.cuda.Event | None]] = deque()
        for chunk in chunks:
            in_flight.append(self._start(chunk))
            if len(in_flight) == (IN_FLIGHT if self._device.type == "cuda" else 1):
                yield _finish(*in_flight.popleft())
        while in_flight:
            yield _finish(*in_flight.popleft())

    def _start(self, chunk: NDArray[np.uint8]) -> tuple[Tensor, torch.cuda.Event | None]:
        windows = torch.from_numpy(np.require(chunk, requirements=["C", "W"]))
        if self._device.type != "cuda":
            return self._infer(windows.to(self._device)).cpu(), None
        output = self._infer(windows.pin_memory().to(self._device, non_blocking=True))
        # the copy back runs beside the next batch; the event says when it is complete
        result = torch.empty(output.shape, dtype=output.dtype, pin_memory=True)
        result.copy_(output, non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        return result, event

    def _infer(self, windows: Tensor) -> Tensor:
        autocast = torch.autocast(self._device.type, dtype=self._dtype, enabled=not self.exact)
        # cuDNN times its algorithms once for each shape
        tuned = torch.backends.cudnn.flags(enabled=True, benchmark=True)
        with torch.inference_mode(), autocast, tuned:
            output: Tensor = self._detector(windows).contiguous()
        return output


def _finish(result: Tensor, event: torch.cuda.Event | None) -> NDArray[np.float32]:
    if event is not None:
        event.synchronize()
    output: NDArray[np.float32] = result.numpy()
    return output
