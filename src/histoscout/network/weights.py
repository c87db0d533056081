"""Pretrained weights: from a .safetensors file, or a tile classifier, into a network, key by key.

No key is skipped silently: what is missing or has another shape is an error that lists it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from histoscout.errors import ModelError

HEADS = ("fc.", "classifier.", "head.", "head_dist.", "last_linear.")
"""Prefixes of a classifier's last layers, which an encoder does not have."""

PREFIXES = ("", "encoder.", "model.", "module.", "backbone.", "network.")
"""What other libraries put before every key."""

SHOWN = 20
"""Mismatches that an error lists."""

UNTRAINED = "without"
"""Header key of our own files: tensors of the encoder that were not trained, as JSON."""


def load_weights(network: nn.Module, path: Path) -> None:
    """Load pretrained weights into a network, or else into its encoder.

    The file holds the whole network, the encoder alone, or a classifier with the same encoder, whose last layer is left
    out. A tile classifier is itself an encoder but for its last layer. First layers for RGB are summed where the network
    takes gray images. Tensors that the file names as not trained (`save_encoder`) stay as they are.

    Args:
        network: The network, which is changed.
        path: A .safetensors file.

    Raises:
        ModelError: If the file cannot be read, or lists every key that is missing or has another shape.
    """
    given, untrained = _read(path)
    # the file may hold the whole network
    if not mismatches(network.state_dict(), given):
        network.load_state_dict(given)
        return
    # else it must fit the encoder, but for heads and what was not trained
    encoder = getattr(network, "encoder", network)
    own_head = {key for key in network.state_dict() if encoder is network and key.startswith(HEADS)}
    skipped = own_head | untrained
    wanted = {key: value for key, value in encoder.state_dict().items() if key not in skipped}
    found = _best_match(wanted, given)
    if faults := mismatches(wanted, found):
        raise ModelError(
            path,
            f"the weights do not fit the network: {describe_mismatches(faults)}",
            'Give weights of the encoder that the recipe names, or set network.weights = "none"',
        )
    # encoders of smp have a load_state_dict of their own that renames keys; the check above was complete
    nn.Module.load_state_dict(encoder, found, strict=not skipped)


def save_tensors(tensors: Mapping[str, Tensor], path: Path, header: dict[str, str] | None = None) -> None:
    """Write tensors to a .safetensors file with the usual permissions.

    The library's own writer makes the file readable by its owner alone, so that a group could not share a model.

    Args:
        tensors: Tensors by name.
        path: The file.
        header: Texts for the header of the file.
    """
    path.write_bytes(
        save({name: value.detach().contiguous().cpu() for name, value in tensors.items()}, header)
    )


def mismatches(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    """List every key that one side lacks or that has another shape.

    Args:
        wanted: Tensors of the network.
        given: Tensors of the file.

    Returns:
        One sentence for each key, sorted; empty if all fit.
    """
    faults = [f"{key} is missing" for key in wanted.keys() - given.keys()]
    faults += [f"{key} is not in the network" for key in given.keys() - wanted.keys()]
    for key in wanted.keys() & given.keys():
        if wanted[key].shape != given[key].shape:
            faults.append(f"{key} is {tuple(given[key].shape)}, should be {tuple(wanted[key].shape)}")
    return sorted(faults)


def describe_mismatches(faults: list[str]) -> str:
    """Describe mismatches in a few lines: the first ones, and how many more there are.

    Args:
        faults: What `mismatches` lists.

    Returns:
        Several lines.
    """
    more = f"\n  and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    return f"{len(faults)} tensors differ\n  " + "\n  ".join(faults[:SHOWN]) + more


def drop_head(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop a classifier's last layers, and sum first layers where the network takes gray images.

    Args:
        tensors: Tensors of the classifier.
        wanted: Tensors of the encoder to fill.

    Returns:
        Tensors by name.
    """
    kept = {key: value for key, value in tensors.items() if key in wanted or not key.startswith(HEADS)}
    return {key: _gray(value, wanted.get(key)) for key, value in kept.items()}


def _gray(value: Tensor, wanted: Tensor | None) -> Tensor:
    """Filters for RGB summed for a network that takes gray: the same output for a gray image."""
    colors = wanted is not None and wanted.dim() == 4 and wanted.shape[1] == 1 and value.dim() == 4
    return value.sum(1, keepdim=True) if colors and value.shape[1] == 3 else value


def _best_match(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The given tensors under the prefix with which most of them fit."""
    candidates = []
    for prefix in PREFIXES:
        part = {key.removeprefix(prefix): value for key, value in given.items() if key.startswith(prefix)}
        candidates.append(drop_head(part, wanted))
    return min(candidates, key=lambda candidate: len(mismatches(wanted, candidate)))


def _read(path: Path) -> tuple[dict[str, Tensor], set[str]]:
    """The tensors of a file, and the names of those that were not trained."""
    remedy = 'Give the path of a .safetensors file in network.weights, or "built-in", "imagenet" or "none"'
    if not path.is_file():
        raise ModelError(path, "there is no such file", remedy)
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            return tensors, set(json.loads((file.metadata() or {}).get(UNTRAINED, "[]")))
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise ModelError(path, f"the file is not a .safetensors file ({error})", remedy) from error


@dataclass(frozen=True)
class TransferReport:
    """The result of copying a classifier's layers into an encoder.

    Attributes:
        copied: Names of the tensors that were copied.
        unused: Names of the classifier's tensors that the encoder does not have.
    """

    copied: tuple[str, ...]
    unused: tuple[str, ...]


def copy_encoder(classifier: nn.Module, unet: nn.Module) -> TransferReport:
    """Copy the layers of a timm classifier into the encoder of a segmentation network, key by key.

    This works for ResNet, DenseNet and every encoder whose keys have the same names in both libraries.

    Args:
        classifier: The classifier.
        unet: A network of segmentation_models_pytorch, whose encoder is changed.

    Returns:
        What was copied.

    Raises:
        ModelError: If a tensor of the encoder is not covered by name and shape; nothing is changed then.
    """
    encoder = getattr(unet, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise ModelError(
            "network", "it has no encoder to fill", "Use an architecture of smp, such as smp.Unet"
        )
    wanted, given = encoder.state_dict(), classifier.state_dict()
    found = drop_head(given, wanted)
    if faults := mismatches(wanted, found):
        raise ModelError(
            "network.encoder",
            f"the classifier does not fit the encoder: {describe_mismatches(faults)}",
            "Use the same encoder and channels for both (resnet50 and densenet121 fit)",
        )
    # encoders of smp rename some keys in a load_state_dict of their own
    nn.Module.load_state_dict(encoder, found)
    return TransferReport(copied=tuple(sorted(found)), unused=tuple(sorted(given.keys() - found.keys())))
