"""From a model folder to OpenVINO's form of the network; the one place that loads both torch and OpenVINO."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from histoscout.errors import ModelError
from histoscout.network.detector import Detector
from histoscout.network.model_folder import ModelFolder, read_vector, verify
from histoscout.network.openvino_engine import ov
from histoscout.network.save import load_network, made_up_window
from histoscout.registry import find

# by name: it must be imported after untold_openvino
DECODER = "openvino.frontend.pytorch.fx_decoder:TorchFXPythonDecoder"


def convert(model: ModelFolder, batch: int, side: int) -> tuple[Any, NDArray[np.uint8], NDArray[np.float32]]:
    """The detector as an openvino.Model for uint8 (batch, 1, side, side, 3), and windows with torch's answer.

    torch must answer the model's test vector first. ModelError if OpenVINO lacks a step of the network.
    """
    detector = Detector(load_network(model), model.recipe, model.temperature, model.offset).eval()
    seen, expected = read_vector(model.vector())
    with torch.inference_mode():
        answer = detector(torch.from_numpy(seen)).numpy()
        verify(answer, expected, exact=True, where=model.path, engine=f"torch {torch.__version__}")
        windows = made_up_window(side).repeat(batch, 1, 1, 1, 1)
        windows[1:] = windows[1:].flip(2)  # so that windows of a batch cannot be mixed up unseen
        answer = detector(windows).numpy()
    return _translate(detector, windows, model), windows.numpy(), answer


def _translate(detector: Detector, windows: torch.Tensor, model: ModelFolder) -> Any:
    from_torch = ov.frontend.FrontEndManager().load_by_framework("pytorch")
    with torch.no_grad(), _without_warnings():
        program = torch.export.export(detector, (windows,))
        decoder_of: Any = find(DECODER)
        decoder = decoder_of.from_exported_program(program)
    try:
        translated = from_torch.convert(from_torch.load(decoder))
    except RuntimeError as error:
        first = next(iter(str(error).strip().splitlines()), "")
        raise ModelError(
            model.path,
            f"OpenVINO cannot run this network ({first})",
            "Take --device torch, or another encoder",
        ) from error
    translated.reshape(list(windows.shape))
    return translated


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Quiet while OpenVINO looks up names of steps that this version of torch has dropped."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
