"""Encoders that have learnt before: those that come with the package, and how they are kept."""

import json
from pathlib import Path

import torch
from torch import nn

from histoscout.errors import RecipeError
from histoscout.files import packaged, replacing
from histoscout.network.probe import PROBE_PX
from histoscout.network.weights import WITHOUT, save_tensors


def built_in_weights(encoder: str) -> Path:
    """The file of an encoder that comes with the package: learnt by `histoscout pretrain` from slides that it draws.

    RecipeError for an encoder that none come with.
    """
    path = packaged("network", "encoders", f"{encoder}.safetensors")
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
