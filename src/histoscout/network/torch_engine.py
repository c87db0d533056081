"""Engines that run torch: on a GPU, or on a processor that has no OpenVINO."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from histoscout.errors import ModelError
from histoscout.network.detector import Detector
from histoscout.network.engines import in_pieces
from histoscout.network.model_folder import ModelFolder, read_vector, verify
from histoscout.network.save import load_network
from histoscout.registry import ARCHITECTURES

IN_FLIGHT = 3  # batches on a GPU at a time: one going in, one at work, one coming out


def open_cpu(model: ModelFolder, batch: int, window_px: int) -> "TorchEngine":
    """Torch on the processor, in float32: slow, exact, and everywhere."""
    return _verified(TorchEngine(model, torch.device("cpu"), torch.float32, batch), model)


def open_cuda(model: ModelFolder, batch: int, window_px: int) -> "TorchEngine":
    """Torch on an NVIDIA GPU, in bfloat16 where the GPU knows it, else float16."""
    if not torch.cuda.is_available():
        raise ModelError(
            "device 'cuda'", "torch finds no NVIDIA GPU here", "Take --device cpu, or see histoscout doctor"
        )
    number = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return _verified(TorchEngine(model, torch.device("cuda"), number, batch), model)


def open_mps(model: ModelFolder, batch: int, window_px: int) -> "TorchEngine":
    """Torch on the GPU of an Apple computer."""
    if not torch.backends.mps.is_available():
        raise ModelError(
            "device 'mps'", "torch finds no Apple GPU here", "Take --device cpu, or see histoscout doctor"
        )
    return _verified(TorchEngine(model, torch.device("mps"), torch.float32, batch), model)


def _verified(engine: "TorchEngine", model: ModelFolder) -> "TorchEngine":
    windows, expected = read_vector(model.vector())
    verify(engine(windows), expected, exact=engine.exact, where=model.path, engine=engine.description)
    return engine


class TorchEngine:
    """A detector on one device; on a GPU several batches are under way at a time."""

    def __init__(self, model: ModelFolder, device: torch.device, number: torch.dtype, batch: int) -> None:
        detector = Detector(load_network(model), model.recipe, model.temperature, model.offset).eval()
        self._detector = detector.to(device).to(memory_format=torch.channels_last)
        self._device, self._number, self._batch = device, number, batch
        self.labels = model.labels
        self.exact = number is torch.float32
        answers = ARCHITECTURES[model.recipe.network.architecture].answers
        self.answers: Literal["pixels", "tile"] = "tile" if answers == "tile" else "pixels"
        what = torch.cuda.get_device_name() if device.type == "cuda" else device.type
        self.description = f"torch {torch.__version__} on {what}, {str(number).removeprefix('torch.')}"

    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        return next(self.stream([windows]))

    def stream(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        return in_pieces(batches, self._batch, self._answers)

    def close(self) -> None:
        del self._detector
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _answers(self, pieces: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        under_way: deque[tuple[Tensor, torch.cuda.Event | None]] = deque()
        for piece in pieces:
            under_way.append(self._start(piece))
            if len(under_way) == (IN_FLIGHT if self._device.type == "cuda" else 1):
                yield _finish(*under_way.popleft())
        while under_way:
            yield _finish(*under_way.popleft())

    def _start(self, piece: NDArray[np.uint8]) -> tuple[Tensor, torch.cuda.Event | None]:
        windows = torch.from_numpy(np.require(piece, requirements=["C", "W"]))
        if self._device.type != "cuda":
            return self._infer(windows.to(self._device)).cpu(), None
        answer = self._infer(windows.pin_memory().to(self._device, non_blocking=True))
        result = torch.empty(answer.shape, dtype=answer.dtype, pin_memory=True)
        result.copy_(answer, non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        return result, event

    def _infer(self, windows: Tensor) -> Tensor:
        short = torch.autocast(self._device.type, dtype=self._number, enabled=not self.exact)
        fastest = torch.backends.cudnn.flags(enabled=True, benchmark=True)  # tries its ways once a shape
        with torch.inference_mode(), short, fastest:
            answer: Tensor = self._detector(windows).contiguous()
        return answer


def _finish(result: Tensor, event: torch.cuda.Event | None) -> NDArray[np.float32]:
    if event is not None:
        event.synchronize()
    answer: NDArray[np.float32] = result.numpy()
    return answer
