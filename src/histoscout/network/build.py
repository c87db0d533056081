"""Build the network that a recipe names: (N, channels, H, W) float in, logits out."""

import difflib
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import segmentation_models_pytorch as smp
import timm
from torch import nn

from histoscout import registry
from histoscout.errors import ModelError, RecipeError
from histoscout.network.detector import Ensemble, count_outputs
from histoscout.network.encoders import PROBE_PX, built_in_weights, check_logits, with_downloaded_weights
from histoscout.network.weights import load_weights
from histoscout.recipe import Recipe
from histoscout.recipe_sections import NetworkConfig

# how smp calls `decoder_channels` and `dropout`; where it has no dropout, ours precedes the last layer
LISTS_OF_WIDTHS = frozenset({"Unet", "UnetPlusPlus", "MAnet"})
ONE_WIDTH = frozenset({"DeepLabV3Plus", "PAN", "UPerNet"})
DROPOUTS: Mapping[str, str] = MappingProxyType(
    {"FPN": "decoder_dropout", "PSPNet": "psp_dropout", "DeepLabV3Plus": "decoder_aspp_dropout"}
)
# they pool to a single pixel, of which batch normalization has no variance in a batch of one
POOLS_TO_A_PIXEL = frozenset({"smp.PSPNet", "smp.DeepLabV3Plus", "smp.UPerNet"})
# what other libraries raise for impossible combinations
REFUSALS = (
    ValueError,
    KeyError,
    TypeError,
    RuntimeError,
    AssertionError,
    IndexError,
    AttributeError,
    NotImplementedError,
)


def build_network(recipe: Recipe) -> nn.Module:
    """Build the network that the recipe names; it has computed one output before it is returned.

    Args:
        recipe: The recipe.

    Returns:
        A network that gives logits (N, outputs, H, W), or (N, outputs) for a tile classifier.

    Raises:
        RecipeError: If the recipe's combination is not possible.
        ModelError: If weights cannot be loaded, or the network does not give logits.
    """
    if recipe.network.ensemble_size > 1:
        networks = [_build_one(recipe) for _ in range(recipe.network.ensemble_size)]
        return Ensemble(networks, count_outputs(recipe))
    return _build_one(recipe)


def _build_one(recipe: Recipe) -> nn.Module:
    """A single network with its pretrained weights."""
    choices = recipe.network
    if choices.architecture in POOLS_TO_A_PIXEL and recipe.training.batch_size == 1:
        raise RecipeError(
            "training.batch_size",
            f"{choices.architecture} cannot be trained with a batch of one",
            "Set it to 2 or more",
        )
    network: nn.Module = registry.load_factory(registry.ARCHITECTURES[choices.architecture].factory)(
        choices, count_outputs(recipe)
    )
    if choices.weights == "built-in":
        load_weights(network, built_in_weights(choices.encoder))
    elif choices.weights not in {"imagenet", "none"}:
        load_weights(network, Path(choices.weights))
    _check_output(network, recipe)
    return network


def smp_network(choices: NetworkConfig, outputs: int) -> nn.Module:
    """Build an architecture of segmentation_models_pytorch with any of its encoders ("tu-...": those of timm).

    Args:
        choices: The recipe's section.
        outputs: Outputs for each pixel.

    Returns:
        The network.

    Raises:
        RecipeError: If the combination is not possible.
        ModelError: If ImageNet weights cannot be downloaded.
    """
    _check_encoder(choices.encoder)
    name = choices.architecture.removeprefix("smp.")
    arguments = _decoder_channels(name, choices)
    if name in DROPOUTS:
        arguments[DROPOUTS[name]] = choices.dropout
    imagenet = choices.weights == "imagenet"
    network = _make(
        lambda: getattr(smp, name)(
            encoder_name=choices.encoder,
            encoder_weights="imagenet" if imagenet else None,
            in_channels=choices.input_channels,
            classes=outputs,
            **arguments,
        ),
        choices,
    )
    if choices.dropout and name not in DROPOUTS:
        head = network.get_submodule("segmentation_head")
        network.set_submodule(
            "segmentation_head", nn.Sequential(nn.Dropout2d(choices.dropout), *head.children())
        )
    return network


def timm_classifier(choices: NetworkConfig, outputs: int) -> nn.Module:
    """Build a tile classifier: a model of timm with one output for a whole patch.

    Args:
        choices: The recipe's section.
        outputs: Outputs of the network.

    Returns:
        The network.

    Raises:
        RecipeError: If timm has no such model, or the section has decoder channels.
        ModelError: If ImageNet weights cannot be downloaded.
    """
    if choices.encoder not in timm.list_models() and choices.encoder not in timm.list_pretrained():
        raise _unknown("model of timm", choices.encoder, timm.list_models())
    if choices.decoder_channels:
        raise RecipeError(
            "network.decoder_channels", "a tile classifier has no decoder", "Remove decoder_channels"
        )
    return _make(
        lambda: timm.create_model(
            choices.encoder,
            pretrained=choices.weights == "imagenet",
            in_chans=choices.input_channels,
            num_classes=outputs,
            drop_rate=choices.dropout,
        ),
        choices,
    )


def _decoder_channels(name: str, choices: NetworkConfig) -> dict[str, Any]:
    """Arguments of smp for the decoder's channels."""
    if not choices.decoder_channels:
        return {}
    if name in LISTS_OF_WIDTHS:
        return {"decoder_channels": choices.decoder_channels, "encoder_depth": len(choices.decoder_channels)}
    if name not in ONE_WIDTH:
        raise RecipeError(
            "network.decoder_channels",
            f"{choices.architecture} has no such choice",
            "Remove decoder_channels",
        )
    if len(choices.decoder_channels) != 1:
        raise RecipeError(
            "network.decoder_channels",
            f"{choices.architecture} takes one number, not {len(choices.decoder_channels)}",
            "Give one, such as [256]",
        )
    return {"decoder_channels": choices.decoder_channels[0]}


def _check_encoder(encoder: str) -> None:
    """RecipeError with the nearest names if smp has no such encoder."""
    known = list(smp.encoders.get_encoder_names())
    of_timm = timm.list_models() if encoder.startswith("tu-") else []
    if encoder not in known and encoder.removeprefix("tu-").split(".")[0] not in of_timm:
        raise _unknown("encoder", encoder, [*known, *(f"tu-{name}" for name in timm.list_models())])


def _unknown(kind: str, name: str, known: Iterable[str]) -> RecipeError:
    near = difflib.get_close_matches(name, list(known), n=3)
    hint = (
        f"Did you mean {' or '.join(near)}?" if near else "Use for example resnet18, resnet50 or densenet121"
    )
    return RecipeError("network.encoder", f"there is no {kind} {name!r}", hint)


def _make(make: Callable[[], nn.Module], choices: NetworkConfig) -> nn.Module:
    """Call another library and translate what it raises into a RecipeError or ModelError."""
    imagenet = choices.weights == "imagenet"
    try:
        with warnings.catch_warnings():
            # about names of weights that the recipe does not use
            warnings.simplefilter("ignore")
            return with_downloaded_weights(make) if imagenet else make()
    except OSError as error:
        raise _no_weights(choices, error) from error
    except REFUSALS as error:
        if imagenet and "pretrained" in str(error):
            raise _no_weights(choices, error) from error
        words = " ".join(str(error).split())
        raise RecipeError(
            "network",
            f"{choices.architecture} with encoder {choices.encoder} is not possible ({words})",
            "Use another encoder (resnet18 and resnet50 fit every architecture), or change decoder_channels",
        ) from error


def _no_weights(choices: NetworkConfig, error: Exception) -> ModelError:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ModelError(
        "network.weights",
        f"ImageNet weights of {choices.encoder} cannot be downloaded ({first})",
        "Connect to the internet once (they are kept), or download them elsewhere as .safetensors and set "
        'network.weights to their path, or set network.weights = "none" to start from random weights',
    )


def _check_output(network: nn.Module, recipe: Recipe) -> None:
    """Check a first output, on a small image; on one of the recipe's size where the network takes no other."""
    try:
        output = check_logits(network, recipe.network.input_channels, PROBE_PX)
    except REFUSALS:
        _check_full_size(network, recipe)
        return
    expected: tuple[int, ...] = (1, count_outputs(recipe), PROBE_PX, PROBE_PX)
    if recipe.network.predicts_tiles:
        expected = expected[:2]
    if tuple(output.shape) != expected:
        raise RecipeError(
            "network",
            f"{recipe.network.architecture} with encoder {recipe.network.encoder} gives an output of shape "
            f"{tuple(output.shape)} instead of {expected}",
            "Use another encoder, or change decoder_channels",
        )


def _check_full_size(network: nn.Module, recipe: Recipe) -> None:
    """RecipeError if the network cannot process patches of the recipe's size."""
    try:
        check_logits(network, recipe.network.input_channels, recipe.patch_px)
    except REFUSALS as error:
        words = " ".join(str(error).split())
        raise RecipeError(
            "network",
            f"{recipe.network.architecture} with encoder {recipe.network.encoder} cannot process patches of "
            f"{recipe.patch_px} px ({words})",
            "Change patches.size_um or patches.mpp, or use an architecture and encoder for any size "
            "(smp.Unet, resnet50)",
        ) from error
