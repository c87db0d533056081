"""Convert a model to OpenVINO; the only module that loads both torch and OpenVINO."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from histoscout.errors import ModelError
from histoscout.network.detector import Detector
from histoscout.network.model_folder import ModelFolder, read_test_vector, verify_output
from histoscout.network.openvino_engine import ov
from histoscout.network.save import load_network, synthetic_window
from histoscout.registry import load_factory

DECODER = "openvino.frontend.pytorch.fx_decoder:TorchFXPythonDecoder"
"""By name, since it must be imported after `openvino_engine` has blocked the telemetry."""


def convert(model: ModelFolder, batch: int, side: int) -> tuple[Any, NDArray[np.uint8], NDArray[np.float32]]:
    """Convert a model's detector to OpenVINO.

    Args:
        model: The model; torch must reproduce its test vector first.
        batch: Windows in a batch.
        side: Side of the windows in px.

    Returns:
        An openvino.Model for (batch, 1, side, side, 3) uint8, windows of this shape, and torch's output for them.

    Raises:
        ModelError: If OpenVINO does not support an operation of the network.
    """
    detector = Detector(load_network(model), model.recipe, model.temperature, model.prior_correction).eval()
    window, expected = read_test_vector(model.vector())
    with torch.inference_mode():
        output = detector(torch.from_numpy(window)).numpy()
        verify_output(output, expected, exact=True, where=model.path, engine=f"torch {torch.__version__}")
        windows = synthetic_window(side).repeat(batch, 1, 1, 1, 1)
        # windows of a batch differ, so that a mix-up is noticed
        windows[1:] = windows[1:].flip(2)
        output = detector(windows).numpy()
    return _translate(detector, windows, model), windows.numpy(), output


def _translate(detector: Detector, windows: torch.Tensor, model: ModelFolder) -> Any:
    """Export the detector with torch and read the program with OpenVINO."""
    from_torch = ov.frontend.FrontEndManager().load_by_framework("pytorch")
    with torch.no_grad(), _without_warnings():
        program = torch.export.export(detector, (windows,))
        decoder_of: Any = load_factory(DECODER)
        decoder = decoder_of.from_exported_program(program)
    try:
        translated = from_torch.convert(from_torch.load(decoder))
    except RuntimeError as error:
        first = next(iter(str(error).strip().splitlines()), "")
        raise ModelError(
            model.path,
            f"OpenVINO cannot run this network ({first})",
            "Use --device torch, or another encoder",
        ) from error
    translated.reshape(list(windows.shape))
    return translated


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Silence OpenVINO while it looks up operations that this version of torch has dropped."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
