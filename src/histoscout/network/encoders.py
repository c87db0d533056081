"""Pretrained encoders: built-in weights, downloads, and the check that a network gives logits.

Losses and calibration need logits; a second sigmoid would corrupt both.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import torch
from huggingface_hub import constants
from torch import Tensor, nn

from histoscout.errors import ModelError, RecipeError
from histoscout.io.files import atomic_write, package_file
from histoscout.network.losses import last_layer
from histoscout.network.weights import UNTRAINED, save_tensors

BOUNDED = (nn.Sigmoid, nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.LogSigmoid, nn.Tanh, nn.Hardsigmoid)
PROBE_PX = 64
"""Side of the image on which a network is tried."""

PATIENCE_S = 5.0
"""Seconds to wait for a server. The download library itself retries an unreachable one for most of a minute."""


def check_logits(network: nn.Module, channels: int = 3, side: int = PROBE_PX) -> Tensor:
    """Check that a network gives logits and does not end in a sigmoid or softmax.

    Args:
        network: The network.
        channels: Channels of its images.
        side: Side of the random image that it is tried on, in px.

    Returns:
        Its output for the random image.

    Raises:
        ModelError: If its output is bounded.
    """
    layer = last_layer(network)
    # a bounded module after the last layer tells; where it is hidden in forward(), the sign of the output does: with
    # the last layer negated, logits change their sign, probabilities do not
    modules = list(network.modules())
    after = [module for module in modules[modules.index(layer) + 1 :] if isinstance(module, BOUNDED)]
    image = torch.randn(1, channels, side, side, generator=torch.Generator().manual_seed(0))
    plain = _output(network, image)
    _negate(layer)
    negated = _output(network, image)
    _negate(layer)
    same_sign = bool(
        ((plain >= 0).all() and (negated >= 0).all()) or ((plain <= 0).all() and (negated <= 0).all())
    )
    if after or (same_sign and bool((plain != 0).any())):
        name = type(after[0]).__name__ if after else "a sigmoid, a softmax or the like"
        raise ModelError(
            "network",
            f"the network ends in {name}, but must give logits",
            "Remove its last step: histoscout adds sigmoid or softmax itself",
        )
    return plain


def _output(network: nn.Module, image: Tensor) -> Tensor:
    """The output in evaluation mode; the network's mode is restored."""
    was_training = network.training
    network.eval()
    with torch.no_grad():
        output: Tensor = network(image)
    network.train(was_training)
    return output


def _negate(layer: nn.Conv2d | nn.Linear) -> None:
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.neg_()


def built_in_weights(encoder: str) -> Path:
    """The file of an encoder whose weights come with the package, made by `histoscout pretrain`.

    Args:
        encoder: Name of the encoder.

    Returns:
        A .safetensors file.

    Raises:
        RecipeError: If the package has no weights of this encoder.
    """
    path = package_file("network", "built_in", f"{encoder}.safetensors")
    if not path.is_file():
        known = " and ".join(sorted(file.stem for file in path.parent.glob("*.safetensors")))
        raise RecipeError(
            "network.weights",
            f"histoscout has no built-in weights of {encoder}, only of {known}",
            f'Set weights = "none", or make them with `histoscout pretrain --encoder {encoder} -o weights/` and give '
            f'"weights/{encoder}.safetensors"',
        )
    return path


def save_encoder(network: nn.Module, path: Path) -> None:
    """Write the encoder of a trained network as pretrained weights, in bfloat16 for half the size.

    Stages that the network's output does not depend on (those below a shallow decoder) were not trained: they are left
    out and named in the header.

    Args:
        network: A trained network with an encoder, for RGB images.
        path: The .safetensors file.
    """
    encoder = network.get_submodule("encoder")
    trained = _trained(network, encoder)
    tensors = encoder.state_dict()
    kept = {
        name: tensors[name].to(torch.bfloat16) if tensors[name].is_floating_point() else tensors[name]
        for name in sorted(trained)
    }
    with atomic_write(path) as temporary:
        save_tensors(kept, temporary, {UNTRAINED: json.dumps(sorted(tensors.keys() - trained))})


def _trained(network: nn.Module, encoder: nn.Module) -> set[str]:
    """Names of the tensors of all encoder modules that run when the network computes an output."""
    used: set[str] = set()
    hooks = [
        module.register_forward_hook(lambda *_, name=name: used.add(name))
        for name, module in encoder.named_modules()
    ]
    with torch.inference_mode():
        network.eval()(torch.zeros(1, 3, PROBE_PX, PROBE_PX))
    for hook in hooks:
        hook.remove()
    return {key for key in encoder.state_dict() if key.rpartition(".")[0] in used}


def with_downloaded_weights(make: Callable[[], nn.Module]) -> nn.Module:
    """Make a network whose weights may have to be downloaded; earlier downloads need no connection.

    Args:
        make: Makes the network.

    Returns:
        The network.

    Raises:
        OSError: If the weights cannot be downloaded.
    """
    try:
        with _offline():
            return make()
    except OSError:
        # raises OSError if the server does not answer; a refusal is an answer
        with suppress(HTTPError):
            urlopen(constants.ENDPOINT, timeout=PATIENCE_S).close()
    return make()


@contextmanager
def _offline() -> Iterator[None]:
    """Use earlier downloads only."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
