"""Encoders that have learnt before: those that come with the package, and how they are kept.

Weights from the internet: first what was downloaded before, then a quick look whether anybody answers there.

Left to itself the library that downloads tries an unreachable server again for most of a minute.

Does a network answer with logits? Losses and calibration need them; a second sigmoid would spoil both.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import torch
from huggingface_hub import constants
from torch import Tensor, nn

from histoscout.errors import ModelError, RecipeError
from histoscout.io.files import packaged, replacing
from histoscout.network.losses import last_layer
from histoscout.network.weights import WITHOUT, save_tensors

BOUNDED = (nn.Sigmoid, nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.LogSigmoid, nn.Tanh, nn.Hardsigmoid)
PROBE_PX = 64


def check_logits(network: nn.Module, channels: int = 3, side: int = PROBE_PX) -> Tensor:
    """Refuse a network that already ends in a sigmoid or softmax; else give its answer to a random window.

    Looks at the modules after the last layer, then tries: if that layer is turned round, logits turn round as
    well, but probabilities all keep their sign. Raises ModelError.
    """
    layer = last_layer(network)
    modules = list(network.modules())
    after = [module for module in modules[modules.index(layer) + 1 :] if isinstance(module, BOUNDED)]
    window = torch.randn(1, channels, side, side, generator=torch.Generator().manual_seed(0))
    plain = _answer(network, window)
    _turn_round(layer)
    turned = _answer(network, window)
    _turn_round(layer)
    same_sign = bool(
        ((plain >= 0).all() and (turned >= 0).all()) or ((plain <= 0).all() and (turned <= 0).all())
    )
    if after or (same_sign and bool((plain != 0).any())):
        name = type(after[0]).__name__ if after else "a sigmoid, a softmax or the like"
        raise ModelError(
            "network",
            f"ends in {name}, but must give logits",
            "Remove its last step: histoscout adds sigmoid or softmax itself",
        )
    return plain


def _answer(network: nn.Module, window: Tensor) -> Tensor:
    was_training = network.training
    network.eval()
    with torch.no_grad():
        answer: Tensor = network(window)
    network.train(was_training)
    return answer


def _turn_round(layer: nn.Conv2d | nn.Linear) -> None:
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.neg_()


def built_in_weights(encoder: str) -> Path:
    """The file of an encoder that comes with the package: learnt by `histoscout pretrain` from slides that it draws.

    RecipeError for an encoder that none come with.
    """
    path = packaged("network", "built_in", f"{encoder}.safetensors")
    if not path.is_file():
        known = " and ".join(sorted(each.stem for each in path.parent.glob("*.safetensors")))
        raise RecipeError(
            "network.weights",
            f"no weights of {encoder} come with histoscout, those of {known} do",
            f'Set weights = "none", or make some with `histoscout pretrain --encoder {encoder} -o weights/` and give '
            f'"weights/{encoder}.safetensors"',
        )
    return path


def save_encoder(network: nn.Module, path: Path) -> None:
    """Write the encoder of a trained network, to begin others with: in bfloat16, half the size, which a start does not feel.

    Stages that the network's answers do not depend on (those below a shallow decoder) were never taught: they are left out,
    and named in the header. The network sees three colours.
    """
    encoder = network.get_submodule("encoder")
    taught = _taught(network, encoder)
    tensors = encoder.state_dict()
    kept = {
        name: tensors[name].to(torch.bfloat16) if tensors[name].is_floating_point() else tensors[name]
        for name in sorted(taught)
    }
    with replacing(path) as temporary:
        save_tensors(kept, temporary, {WITHOUT: json.dumps(sorted(tensors.keys() - taught))})


def _taught(network: nn.Module, encoder: nn.Module) -> set[str]:
    """The tensors of all modules of the encoder that take part when the network looks at a window."""
    asked: set[str] = set()
    hooks = [
        module.register_forward_hook(lambda *_, name=name: asked.add(name))
        for name, module in encoder.named_modules()
    ]
    with torch.inference_mode():
        network.eval()(torch.zeros(1, 3, PROBE_PX, PROBE_PX))
    for hook in hooks:
        hook.remove()
    return {key for key in encoder.state_dict() if key.rpartition(".")[0] in asked}


PATIENCE_S = 5.0


def with_downloads(make: Callable[[], nn.Module]) -> nn.Module:
    """Make a network whose weights may have to be downloaded; OSError if they cannot be.

    Weights that were downloaded before are used without any connection.
    """
    try:
        with _offline():
            return make()
    except OSError:
        _ask(constants.ENDPOINT)
    return make()


def _ask(address: str) -> None:
    """OSError if nobody answers; an answer that refuses is an answer."""
    try:
        urlopen(address, timeout=PATIENCE_S).close()
    except HTTPError:
        return


@contextmanager
def _offline() -> Iterator[None]:
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
