"""The engine for processors: OpenVINO, in bfloat16 where the processor knows it, a window on each core.

OpenVINO without its telemetry: a plain import of it reports to its makers. Import it from here only.
"""

import hashlib
import os
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import openvino
from numpy.typing import NDArray

from histoscout.errors import ModelError, OutputError
from histoscout.io.files import sha256
from histoscout.network.engines import in_pieces
from histoscout.network.model_folder import ModelFolder, verify
from histoscout.registry import ARCHITECTURES, find

# None makes the import of the reporting package fail, for which OpenVINO has a stand-in that sends nothing
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


ov: Any = openvino

__all__ = ["ov"]


GRAPH = 1  # to be raised when graph.py changes what a converted model computes
CONVERTED, COMPILED = "detector.xml", "compiled"
CONVERT = (
    "histoscout.network.openvino_convert:convert"  # by name: it loads torch, which a second start need not
)
Precision = Literal["auto", "bf16", "f32"]


def open_openvino(
    model: ModelFolder, batch: int, window_px: int, precision: Precision = "auto"
) -> "OpenVinoEngine":
    """Open a model in OpenVINO; converted once for each size of window and kept in the user's cache folder.

    A second start reads what was kept and needs no torch. A freshly converted model must answer as torch
    does, else ModelError. "auto" is bfloat16 where the processor knows it.
    """
    kept = cache_folder() / _key(model, batch, window_px)
    if not (kept / CONVERTED).is_file():
        _convert(model, (batch, window_px), precision, kept)
    return OpenVinoEngine(model, kept / CONVERTED, precision, keep=True)


def cache_folder() -> Path:
    """Where converted models are kept: histoscout in XDG_CACHE_HOME or else in ~/.cache; safe to delete."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "histoscout"


def _key(model: ModelFolder, batch: int, side: int) -> str:
    parts = (
        sha256(model.weights()),
        model.recipe.network.model_dump_json(),
        model.recipe.loss.name,
        model.labels,
        (model.temperature, model.offset),
        (batch, side, GRAPH, ov.get_version()),
    )
    return f"{model.hash}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"


def _convert(model: ModelFolder, shape: tuple[int, int], precision: Precision, kept: Path) -> None:
    """Convert, verify, and only then give the folder its name."""
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=kept.parent, prefix=".part.", ignore_cleanup_errors=True
        ) as part:
            folder = Path(part) / "made"
            folder.mkdir()
            translated, windows, expected = find(CONVERT)(model, *shape)
            ov.save_model(translated, folder / CONVERTED, compress_to_fp16=False)
            engine = OpenVinoEngine(model, folder / CONVERTED, precision, keep=False)
            verify(engine(windows), expected, exact=engine.exact, where=model.path, engine=engine.description)
            engine.close()
            with suppress(FileExistsError):  # another process was faster
                folder.rename(kept)
    except OSError as error:
        raise OutputError(
            kept,
            f"the converted model cannot be kept here ({error.strerror or error})",
            "Set XDG_CACHE_HOME to a folder you may write to, or take --device torch",
        ) from error


class OpenVinoEngine:
    """A compiled detector with as many requests in flight as keep every core busy."""

    def __init__(self, model: ModelFolder, converted: Path, precision: Precision, *, keep: bool) -> None:
        # a stream a core: convolutions of one window on two cores wait for each other at every layer
        choices = {"PERFORMANCE_HINT": "THROUGHPUT"}
        if precision != "auto":
            choices["INFERENCE_PRECISION_HINT"] = precision
        if keep:
            choices["CACHE_DIR"] = str(converted.with_name(f"{COMPILED}-{precision}"))
        try:
            self._compiled: Any = ov.Core().compile_model(converted, "CPU", choices)
        except RuntimeError as error:
            raise ModelError(
                converted.parent,
                f"cannot be read ({str(error).strip()})",
                "Delete this folder; it is made again",
            ) from error
        self._batch: int = self._compiled.input(0).shape[0]
        # twice the streams: one at work, one waiting, while an answer is being used
        streams = int(self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._requests = [self._compiled.create_infer_request() for _ in range(2 * streams)]
        self.labels = model.labels
        number = self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        self.exact = number == "f32"
        answers = ARCHITECTURES[model.recipe.network.architecture].answers
        self.answers: Literal["pixels", "tile"] = "tile" if answers == "tile" else "pixels"
        version = ov.get_version().split("-")[0]
        self.description = (
            f"OpenVINO {version}, {number}, {streams} streams, {len(self._requests)} requests in flight"
        )

    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        return next(self.stream([windows]))

    def stream(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        return in_pieces(batches, self._batch, self._answers)

    def close(self) -> None:
        self._requests.clear()
        self._compiled = None

    def _answers(self, pieces: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        idle, busy = list(self._requests), deque[tuple[Any, NDArray[np.uint8], int]]()
        try:
            for piece in pieces:
                done = None if idle else _finish(busy[0])
                request = idle.pop() if done is None else busy.popleft()[0]
                windows = self._filled(piece)
                request.start_async([windows], share_inputs=True)
                busy.append((request, windows, len(piece)))  # holds the windows while they are looked at
                if done is not None:
                    yield done
            while busy:
                yield _finish(busy[0])
                busy.popleft()
        finally:
            for request, _, _ in busy:
                request.wait()

    def _filled(self, piece: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A piece as large as the compiled network wants it; what is filled in is cut off again."""
        missing = self._batch - len(piece)
        if missing:
            piece = np.concatenate([piece, np.repeat(piece[-1:], missing, axis=0)])
        return np.ascontiguousarray(piece)


def _finish(work: tuple[Any, NDArray[np.uint8], int]) -> NDArray[np.float32]:
    request, _, count = work
    request.wait()
    answer: NDArray[np.float32] = request.get_output_tensor(0).data[:count].copy()
    return answer
