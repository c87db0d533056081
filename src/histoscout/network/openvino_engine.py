"""The engine for CPUs: OpenVINO, in bfloat16 where the CPU supports it, one window on each core.

A plain import of OpenVINO sends telemetry to its makers. This module blocks that; import `ov` from here only.
"""

import hashlib
import json
import os
import shutil
import stat
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file

from histoscout.errors import ModelError, OutputError
from histoscout.hardware import usable_cores
from histoscout.io.files import read_text, remove_leftovers, scratch_folder, sha256
from histoscout.io.inputs import parse_json
from histoscout.network.engines import in_chunks
from histoscout.network.model_folder import ModelFolder, read_test_vector, verify_output
from histoscout.registry import load_factory

# None makes the import of the telemetry package fail; OpenVINO then uses a stand-in that sends nothing.
# This must come before the import of openvino.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402

ov: Any = openvino

GRAPH = 1
"""Raised whenever `detector.py` changes what a converted model computes."""

CONVERTED = "detector.xml"
VECTOR = "vector.safetensors"
CHECKSUMS = "checksums.json"
COMPILED = "compiled"
"""Names in the cache folder of a model."""

CONVERT = "histoscout.network.openvino_convert:convert"
"""By name: it loads torch, which later starts do not need."""

Precision = Literal["auto", "bf16", "f32"]


def open_openvino(
    model: ModelFolder,
    batch: int,
    window_px: int,
    precision: Precision = "auto",
    on_note: Callable[[str], None] = lambda note: None,
) -> "OpenVinoEngine":
    """Open a model in OpenVINO; it is converted once for each window size and cached in the user's cache folder.

    Whatever the cache holds is checked at every start: its checksums, and the output for a test vector. What fails is
    made again. A cache folder that others may write to is not used; the model is then converted for this run only.

    Args:
        model: The model.
        batch: Windows in a batch.
        window_px: Side of the windows in px.
        precision: "auto" is bfloat16 where the CPU supports it.
        on_note: Called with a note for the user if the cache cannot be used.

    Returns:
        The engine, which has reproduced a test vector. Later starts read the cached model and need no torch.

    Raises:
        ModelError: If a newly converted model gives another output than torch, or OpenVINO cannot open it.
        OutputError: If the converted model can be written nowhere.
    """
    cache: Path | None
    try:
        cache = private_folder()
    except OutputError as error:
        cache = None
        on_note(f"{error} Until then the model is converted anew for each run")
    if cache is None:
        with _temporary_folder(None) as folder:
            _convert(model, folder, shape=(batch, window_px))
            return _open_converted(model, folder, precision, compiled=None)
    # runs that were killed while they converted
    remove_leftovers(cache)
    kept = cache / _key(model, batch, window_px)
    if is_wrong := _is_intact(kept):
        try:
            return _open_converted(model, kept, precision, compiled=_compiled_folder(kept, precision))
        except ModelError:
            # made again below; if the fault is not in the cache, the new one shows it, too
            pass
    with _temporary_folder(cache) as folder:
        made = folder / "made"
        made.mkdir()
        _convert(model, made, shape=(batch, window_px))
        _open_converted(model, made, precision, compiled=None).close()
        _put_in_place(made, kept, wrong=is_wrong)
    return _open_converted(model, kept, precision, compiled=_compiled_folder(kept, precision))


def cache_folder() -> Path:
    """The folder of converted models, `histoscout` in XDG_CACHE_HOME or else ~/.cache; safe to delete.

    Raises:
        OutputError: If neither is known, as for a user without a home folder.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "histoscout"
    except RuntimeError as error:
        raise OutputError("~/.cache", "there is no home folder", "Set XDG_CACHE_HOME to a folder") from error


def private_folder() -> Path:
    """The cache folder, made if needed, that belongs to this user and that nobody else can write to.

    A folder of this user that others could write to is closed to them and emptied.

    Returns:
        The folder.

    Raises:
        OutputError: If it cannot be made, or belongs to somebody else.
    """
    folder = cache_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = folder.lstat()
        if not stat.S_ISDIR(state.st_mode) or not _is_own(state):
            fault = "the cache folder belongs to somebody else, who could change what is computed"
            raise OutputError(folder, fault, "Set XDG_CACHE_HOME to a folder of your own")
        if os.name == "posix" and state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            folder.chmod(0o700)
            for entry in folder.iterdir():
                shutil.rmtree(entry, ignore_errors=True)
    except OSError as error:
        fault = f"converted models cannot be cached here ({error.strerror or error})"
        raise OutputError(folder, fault, "Set XDG_CACHE_HOME to a folder you may write to") from error
    return folder


def _is_own(state: os.stat_result) -> bool:
    """Whether a file belongs to this user; on Windows, profile folders are private anyway."""
    return os.name != "posix" or state.st_uid == os.geteuid()


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


def _convert(model: ModelFolder, folder: Path, *, shape: tuple[int, int]) -> None:
    """Convert a model into a new folder, with torch's output for a test vector, and seal it."""
    translated, windows, expected = load_factory(CONVERT)(model, *shape)
    try:
        ov.save_model(translated, folder / CONVERTED, compress_to_fp16=False)
        # the library writes the memory as it lies, whatever the strides
        vector = {"windows": windows, "probabilities": expected}
        save_file({name: np.ascontiguousarray(part) for name, part in vector.items()}, folder / VECTOR)
        _seal(folder)
    except (OSError, RuntimeError, SafetensorError) as error:
        fault = f"the converted model cannot be written here ({_first_line(error)})"
        raise OutputError(
            folder.parent, fault, "Free some space, set XDG_CACHE_HOME, or use --device torch"
        ) from error


def _open_converted(
    model: ModelFolder, folder: Path, precision: Precision, *, compiled: Path | None
) -> "OpenVinoEngine":
    """Open a converted model, with the compiled network that is cached for it; both answer a test vector first."""
    is_wrong = compiled is not None and _is_intact(compiled)
    if compiled is not None and is_wrong:
        try:
            engine = OpenVinoEngine(model, folder / CONVERTED, precision, cache=compiled)
            if engine.was_cached:
                return _verified(engine, model, folder)
            engine.close()
        except ModelError:
            # compiled again below
            pass
    if compiled is None:
        return _verified(OpenVinoEngine(model, folder / CONVERTED, precision), model, folder)
    with _temporary_folder(folder.parent) as temporary:
        made = temporary / "made"
        made.mkdir()
        engine = _verified(OpenVinoEngine(model, folder / CONVERTED, precision, cache=made), model, folder)
        # an engine that cannot be kept works all the same
        with suppress(OSError, OutputError):
            _seal(made)
            _put_in_place(made, compiled, wrong=is_wrong)
    return engine


def _verified(engine: "OpenVinoEngine", model: ModelFolder, folder: Path) -> "OpenVinoEngine":
    """The engine, if it reproduces the test vectors of the model and of the converted network; else it is closed."""
    vectors = [read_test_vector(folder / VECTOR)]
    windows, expected = read_test_vector(model.vector())
    if windows.shape[2] == vectors[0][0].shape[2]:
        vectors.append((windows, expected))
    try:
        for windows, expected in vectors:
            verify_output(
                engine(windows), expected, exact=engine.exact, where=model.path, engine=engine.description
            )
    except ModelError:
        engine.close()
        raise
    return engine


def _compiled_folder(kept: Path, precision: Precision) -> Path:
    """The folder of the compiled network, which depends on the machine."""
    core = ov.Core()
    machine = (
        core.get_property("CPU", "FULL_DEVICE_NAME"),
        core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"),
        usable_cores(),
    )
    digits = hashlib.sha256(repr(machine).encode()).hexdigest()[:8]
    return kept.with_name(f"{kept.name}-{COMPILED}-{precision}-{digits}")


# ---------------------------------------------------------------- sealed folders


def _seal(folder: Path) -> None:
    """Write the checksums of a folder's files beside them."""
    checksums = {file.name: sha256(file) for file in sorted(folder.iterdir())}
    (folder / CHECKSUMS).write_text(json.dumps(checksums, indent=1), encoding="utf-8")


def _is_intact(folder: Path) -> bool:
    """Whether a folder holds the files it was sealed with, unchanged, and all are this user's."""
    try:
        listed = parse_json(read_text(folder / CHECKSUMS))
        files = {file.name: file for file in folder.iterdir() if file.name != CHECKSUMS}
        return (
            isinstance(listed, dict)
            and bool(listed)
            and all(_is_own(path.lstat()) for path in (folder, folder / CHECKSUMS, *files.values()))
            and listed == {name: sha256(file) for name, file in files.items()}
        )
    except (OSError, ValueError, RecursionError):
        return False


def _put_in_place(made: Path, kept: Path, *, wrong: bool) -> None:
    """Rename a sealed folder to its place; another process may be there first, and its folder is as good.

    Args:
        made: The new folder.
        kept: Its place.
        wrong: Whether what was there gave wrong outputs, although its checksums are right.
    """
    # what is wrong or damaged moves out of the way, into the temporary folder
    if wrong or not _is_intact(kept):
        with suppress(OSError):
            kept.rename(made.with_name("replaced"))
    try:
        made.rename(kept)
    except OSError as error:
        if not _is_intact(kept):
            raise OutputError(
                kept,
                f"the converted model cannot be cached here ({error.strerror or error})",
                "Set XDG_CACHE_HOME to a folder you may write to, or use --device torch",
            ) from error


@contextmanager
def _temporary_folder(parent: Path | None) -> Iterator[Path]:
    """A folder of this user alone that is removed afterwards, in the cache folder or the system's."""
    place = parent or Path(tempfile.gettempdir())
    stack = ExitStack()
    try:
        folder = stack.enter_context(scratch_folder(place))
    except OSError as error:
        fault = f"the converted model cannot be written here ({error.strerror or error})"
        raise OutputError(place, fault, "Free some space, or set XDG_CACHE_HOME or TMPDIR") from error
    with stack:
        yield folder


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


class OpenVinoEngine:
    """A compiled detector with enough requests in flight to keep every core busy.

    Args:
        model: The model.
        converted: The converted network.
        precision: Precision of the computation.
        cache: Folder in which OpenVINO looks for the compiled network, and else keeps it; None for no such folder.

    Raises:
        ModelError: If OpenVINO cannot open it.
    """

    def __init__(
        self, model: ModelFolder, converted: Path, precision: Precision, *, cache: Path | None = None
    ) -> None:
        # one stream for each core: convolutions of one window on two cores wait for each other at every layer
        choices = {"PERFORMANCE_HINT": "THROUGHPUT"}
        if precision != "auto":
            choices["INFERENCE_PRECISION_HINT"] = precision
        if cache is not None:
            choices["CACHE_DIR"] = str(cache)
        try:
            self._compiled: Any = ov.Core().compile_model(converted, "CPU", choices)
        except RuntimeError as error:
            fault = f"OpenVINO cannot open the network ({_first_line(error)})"
            raise ModelError(model.path, fault, "Free some memory, or use --device torch") from error
        self.was_cached = cache is not None and bool(self._compiled.get_property("LOADED_FROM_CACHE"))
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
