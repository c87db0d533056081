"""Does a network answer with logits? Losses and calibration need them; a second sigmoid would spoil both."""

import torch
from torch import Tensor, nn

from histoscout.errors import ModelError
from histoscout.network.losses import last_layer

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
