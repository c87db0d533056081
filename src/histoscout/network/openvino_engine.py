"""The engine for CPUs: OpenVINO, in bfloat16 where the CPU supports it, one window on each core.

A plain import of OpenVINO sends telemetry to its makers. This module blocks that; import `ov` from here only.
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
from numpy.typing import NDArray

from histoscout.errors import ModelError, OutputError
from histoscout.io.files import sha256
from histoscout.network.engines import in_chunks
from histoscout.network.model_folder import ModelFolder, verify_output
from histoscout.registry import load_factory

# None makes the import of the telemetry package fail; OpenVINO then uses a stand-in that sends nothing.
# This must come before the import of openvino.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402

ov: Any = openvino

GRAPH = 1
"""Raised whenever `detector.py` changes what a converted model computes."""

CONVERTED = "detector.xml"
COMPILED = "compiled"
"""Names in the cache folder of a model."""

CONVERT = "histoscout.network.openvino_convert:convert"
"""By name: it loads torch, which later starts do not need."""

Precision = Literal["auto", "bf16", "f32"]


def open_openvino(
    model: ModelFolder, batch: int, window_px: int, precision: Precision = "auto"
) -> "OpenVinoEngine":
    """Open a model in OpenVINO; it is converted once for each window size and cached in the user's cache folder.

    Args:
        model: The model.
        batch: Windows in a batch.
        window_px: Side of the windows in px.
        precision: "auto" is bfloat16 where the CPU supports it.

    Returns:
        The engine. Later starts read the cached model and need no torch.

    Raises:
        ModelError: If a newly converted model gives another output than torch.
        OutputError: If the cache folder cannot be written.
    """
    kept = cache_folder() / _key(model, batch, window_px)
    if not (kept / CONVERTED).is_file():
        _convert(model, kept, shape=(batch, window_px), precision=precision)
    return OpenVinoEngine(model, kept / CONVERTED, precision, keep=True)


def cache_folder() -> Path:
    """The folder of converted models, `histoscout` in XDG_CACHE_HOME or else ~/.cache; safe to delete."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "histoscout"


def _key(model: ModelFolder, batch: int, side: int) -> str:
    """A folder name that stands for everything a converted model depends on."""
    parts = (
        sha256(model.weights()),
        model.recipe.network.model_dump_json(),
        model.recipe.loss.name,
        model.labels,
        (model.temperature, model.prior_correction),
        (batch, side, GRAPH, ov.get_version()),
    )
    return f"{model.hash}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"


def _convert(model: ModelFolder, kept: Path, *, shape: tuple[int, int], precision: Precision) -> None:
    """Convert and verify a model, and only then give the folder its name."""
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=kept.parent, prefix=".part.", ignore_cleanup_errors=True
        ) as part:
            folder = Path(part) / "made"
            folder.mkdir()
            translated, windows, expected = load_factory(CONVERT)(model, *shape)
            ov.save_model(translated, folder / CONVERTED, compress_to_fp16=False)
            engine = OpenVinoEngine(model, folder / CONVERTED, precision, keep=False)
            verify_output(
                engine(windows), expected, exact=engine.exact, where=model.path, engine=engine.description
            )
            engine.close()
            # another process may have been faster
            with suppress(FileExistsError):
                folder.rename(kept)
    except OSError as error:
        raise OutputError(
            kept,
            f"the converted model cannot be cached here ({error.strerror or error})",
            "Set XDG_CACHE_HOME to a folder you may write to, or use --device torch",
        ) from error


class OpenVinoEngine:
    """A compiled detector with enough requests in flight to keep every core busy.

    Args:
        model: The model.
        converted: The converted network.
        precision: Precision of the computation.
        keep: Whether the compiled network is cached beside the converted one.
    """

    def __init__(self, model: ModelFolder, converted: Path, precision: Precision, *, keep: bool) -> None:
        # one stream for each core: convolutions of one window on two cores wait for each other at every layer
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
                f"the cached model cannot be read ({str(error).strip()})",
                "Delete this folder; it is made again",
            ) from error
        self._batch: int = self._compiled.input(0).shape[0]
        # twice the streams: one computes and one waits while an output is used
        streams = int(self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._requests = [self._compiled.create_infer_request() for _ in range(2 * streams)]
        self.labels = model.labels
        dtype = self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        self.exact = dtype == "f32"
        self.answers: Literal["pixels", "tile"] = "tile" if model.recipe.network.predicts_tiles else "pixels"
        version = ov.get_version().split("-")[0]
        self.description = (
            f"OpenVINO {version}, {dtype}, {streams} streams, {len(self._requests)} requests in flight"
        )

    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        return next(self.stream([windows]))

    def stream(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        return in_chunks(batches, self._batch, self._outputs)

    def close(self) -> None:
        self._requests.clear()
        self._compiled = None

    def _outputs(self, chunks: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        idle, busy = list(self._requests), deque[tuple[Any, NDArray[np.uint8], int]]()
        try:
            for chunk in chunks:
                done = None if idle else _finish(busy[0])
                request = idle.pop() if done is None else busy.popleft()[0]
                windows = self._padded(chunk)
                request.start_async([windows], share_inputs=True)
                # the request reads the windows while it runs: keep them alive
                busy.append((request, windows, len(chunk)))
                if done is not None:
                    yield done
            while busy:
                yield _finish(busy[0])
                busy.popleft()
        finally:
            for request, _, _ in busy:
                request.wait()

    def _padded(self, chunk: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A chunk padded to the batch of the compiled network; the padding is cut off again."""
        missing = self._batch - len(chunk)
        if missing:
            chunk = np.concatenate([chunk, np.repeat(chunk[-1:], missing, axis=0)])
        return np.ascontiguousarray(chunk)


def _finish(work: tuple[Any, NDArray[np.uint8], int]) -> NDArray[np.float32]:
    """Wait for a request; its output without the padding."""
    request, _, count = work
    request.wait()
    output: NDArray[np.float32] = request.get_output_tensor(0).data[:count].copy()
    return output
