"""Weights from a .safetensors file into a network, key by key: nothing is skipped that the file does not name.

The encoder of a tile classifier into a U-Net: what was learnt from tiles serves pixels.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from histoscout.errors import ModelError

HEADS = (
    "fc.",
    "classifier.",
    "head.",
    "head_dist.",
    "last_linear.",
)  # a classifier's last layers, of no use to an encoder
PREFIXES = ("", "encoder.", "model.", "module.", "backbone.", "network.")  # what others put before every key
SHOWN = 20
WITHOUT = "without"
"""In the header of our own files: tensors of the encoder that nobody taught, in JSON."""


def load_weights(network: nn.Module, path: Path) -> None:
    """Fill a network, or else its encoder, from a file.

    The file holds the whole network, or the encoder alone, or a classifier with the same encoder (its last layer is left
    out). A tile classifier without an encoder of its own is one but for its last layer. First layers for three colours are
    added up where the network sees grey. What an encoder's file names as not taught (`save_encoder`) stays as it is.
    ModelError lists every key that is missing or has another shape.
    """
    given, untaught = _read(path)
    if not mismatches(network.state_dict(), given):
        network.load_state_dict(given)
        return
    encoder = getattr(network, "encoder", network)
    own_head = {key for key in network.state_dict() if encoder is network and key.startswith(HEADS)}
    left = own_head | untaught
    wanted = {key: value for key, value in encoder.state_dict().items() if key not in left}
    found = _best_match(wanted, given)
    if faults := mismatches(wanted, found):
        raise ModelError(
            path,
            f"does not fit the network: {list_some(faults)}",
            'Give weights of the encoder that the recipe names, or set network.weights = "none"',
        )
    # encoders of smp have a version of their own that renames keys; that nothing else is missing was seen above
    nn.Module.load_state_dict(encoder, found, strict=not left)


def save_tensors(tensors: Mapping[str, Tensor], path: Path, header: dict[str, str] | None = None) -> None:
    """Write tensors to a .safetensors file that all may read who may read the user's other files.

    The library's own writer makes it the owner's alone, so that a group could not share a model.
    """
    path.write_bytes(
        save({name: value.detach().contiguous().cpu() for name, value in tensors.items()}, header)
    )


def mismatches(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    """Every key that one side lacks or that has another shape, in words."""
    faults = [f"{key} is missing" for key in wanted.keys() - given.keys()]
    faults += [f"{key} is not in the network" for key in given.keys() - wanted.keys()]
    for key in wanted.keys() & given.keys():
        if wanted[key].shape != given[key].shape:
            faults.append(f"{key} is {tuple(given[key].shape)}, should be {tuple(wanted[key].shape)}")
    return sorted(faults)


def list_some(faults: list[str]) -> str:
    """The first faults of a long list, and how many more there are."""
    more = f"\n  and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    return f"{len(faults)} tensors differ\n  " + "\n  ".join(faults[:SHOWN]) + more


def without_head(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without a classifier's last layers, and with grey first layers where `wanted` has them."""
    kept = {key: value for key, value in tensors.items() if key in wanted or not key.startswith(HEADS)}
    return {key: _gray(value, wanted.get(key)) for key, value in kept.items()}


def _gray(value: Tensor, wanted: Tensor | None) -> Tensor:
    """Filters for three colours, added up where the network sees one: the same answer for a grey picture."""
    colors = wanted is not None and wanted.dim() == 4 and wanted.shape[1] == 1 and value.dim() == 4
    return value.sum(1, keepdim=True) if colors and value.shape[1] == 3 else value


def _best_match(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    candidates = []
    for prefix in PREFIXES:
        part = {key.removeprefix(prefix): value for key, value in given.items() if key.startswith(prefix)}
        candidates.append(without_head(part, wanted))
    return min(candidates, key=lambda candidate: len(mismatches(wanted, candidate)))


def _read(path: Path) -> tuple[dict[str, Tensor], set[str]]:
    """The tensors of a file, and the names of those that it says nobody taught."""
    remedy = 'Give the path of a .safetensors file in network.weights, or "built-in", "imagenet" or "none"'
    if not path.is_file():
        raise ModelError(path, "there is no such file of weights", remedy)
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            return tensors, set(json.loads((file.metadata() or {}).get(WITHOUT, "[]")))
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise ModelError(path, f"is not a .safetensors file ({error})", remedy) from error


@dataclass(frozen=True)
class TransferReport:
    """Which tensors went over, and which of the classifier's were of no use to an encoder."""

    moved: tuple[str, ...]
    left: tuple[str, ...]


def transfer_encoder(classifier: nn.Module, unet: nn.Module) -> TransferReport:
    """Copy a timm classifier's layers into the encoder of a segmentation_models_pytorch network, key by key.

    Every tensor of the encoder must be covered, by name and shape; else nothing is changed and ModelError
    lists what differs. Works for ResNet, DenseNet and whatever has the same names in both.
    """
    encoder = getattr(unet, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise ModelError("network", "has no encoder to fill", "Take an architecture of smp, such as smp.Unet")
    wanted, given = encoder.state_dict(), classifier.state_dict()
    found = without_head(given, wanted)
    if faults := mismatches(wanted, found):
        raise ModelError(
            "network.encoder",
            f"the classifier does not fit the encoder: {list_some(faults)}",
            "Take the same encoder and channels for both (resnet50 and densenet121 fit)",
        )
    nn.Module.load_state_dict(
        encoder, found
    )  # encoders of smp rename some keys in their own, which these lack
    return TransferReport(tuple(sorted(found)), tuple(sorted(given.keys() - found.keys())))
