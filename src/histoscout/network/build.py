"""From the recipe's words to a network: float (N, channels, H, W) in, logits out."""

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
from histoscout.network.encoders import PROBE_PX, built_in_weights, check_logits, with_downloads
from histoscout.network.weights import load_weights
from histoscout.recipe import NetworkConfig, Recipe

# smp's words for `widths` and `dropout` of the recipe; where it has no dropout, ours precedes the last layer
LISTS_OF_WIDTHS = frozenset({"Unet", "UnetPlusPlus", "MAnet"})
ONE_WIDTH = frozenset({"DeepLabV3Plus", "PAN", "UPerNet"})
DROPOUTS: Mapping[str, str] = MappingProxyType(
    {"FPN": "decoder_dropout", "PSPNet": "psp_dropout", "DeepLabV3Plus": "decoder_aspp_dropout"}
)
POOLS_TO_A_PIXEL = frozenset(
    {"smp.PSPNet", "smp.DeepLabV3Plus", "smp.UPerNet"}
)  # batch norm of one value has no spread
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
    """The network that the recipe names, giving logits (N, outputs, H, W), or (N, outputs) for a whole tile.

    Each of its members has answered once before it is given away. Raises RecipeError or ModelError.
    """
    if recipe.network.ensemble_size > 1:
        networks = [_build_one(recipe) for _ in range(recipe.network.ensemble_size)]
        return Ensemble(networks, count_outputs(recipe))
    return _build_one(recipe)


def _build_one(recipe: Recipe) -> nn.Module:
    choices = recipe.network
    if choices.architecture in POOLS_TO_A_PIXEL and recipe.training.batch_size == 1:
        raise RecipeError(
            "training.batch_size",
            f"{choices.architecture} cannot learn from one window at a time",
            "Set it to 2 or more",
        )
    network: nn.Module = registry.find(registry.ARCHITECTURES[choices.architecture].made_by)(
        choices, count_outputs(recipe)
    )
    if choices.weights == "built-in":
        load_weights(network, built_in_weights(choices.encoder))
    elif choices.weights not in {"imagenet", "none"}:
        load_weights(network, Path(choices.weights))
    _try(network, recipe)
    return network


def smp_network(choices: NetworkConfig, outputs: int) -> nn.Module:
    """An architecture of segmentation_models_pytorch with any of its encoders ("tu-...": those of timm)."""
    _check_encoder(choices.encoder)
    name = choices.architecture.removeprefix("smp.")
    arguments = {**_widths(name, choices), **_dropout(name, choices)}
    imagenet = choices.weights == "imagenet"
    network = _made(
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
    """A model of timm that answers for the window as a whole."""
    if choices.encoder not in timm.list_models() and choices.encoder not in timm.list_pretrained():
        raise _unknown("model of timm", choices.encoder, timm.list_models())
    if choices.decoder_channels:
        raise RecipeError("network.decoder_channels", "a tile classifier has no decoder", "Remove widths")
    return _made(
        lambda: timm.create_model(
            choices.encoder,
            pretrained=choices.weights == "imagenet",
            in_chans=choices.input_channels,
            num_classes=outputs,
            drop_rate=choices.dropout,
        ),
        choices,
    )


def _widths(name: str, choices: NetworkConfig) -> dict[str, Any]:
    if not choices.decoder_channels:
        return {}
    if name in LISTS_OF_WIDTHS:
        return {"decoder_channels": choices.decoder_channels, "encoder_depth": len(choices.decoder_channels)}
    if name not in ONE_WIDTH:
        raise RecipeError(
            "network.decoder_channels", f"{choices.architecture} has no widths to choose", "Remove widths"
        )
    if len(choices.decoder_channels) != 1:
        raise RecipeError(
            "network.decoder_channels",
            f"{choices.architecture} takes one width, not {len(choices.decoder_channels)}",
            "Give one, such as [256]",
        )
    return {"decoder_channels": choices.decoder_channels[0]}


def _dropout(name: str, choices: NetworkConfig) -> dict[str, float]:
    return {DROPOUTS[name]: choices.dropout} if name in DROPOUTS else {}


def _check_encoder(encoder: str) -> None:
    known = list(smp.encoders.get_encoder_names())
    of_timm = timm.list_models() if encoder.startswith("tu-") else []
    if encoder not in known and encoder.removeprefix("tu-").split(".")[0] not in of_timm:
        raise _unknown("encoder", encoder, [*known, *(f"tu-{name}" for name in timm.list_models())])


def _unknown(kind: str, name: str, known: Iterable[str]) -> RecipeError:
    near = difflib.get_close_matches(name, list(known), n=3)
    hint = (
        f"Did you mean {' or '.join(near)}?" if near else "Take for example resnet18, resnet50 or densenet121"
    )
    return RecipeError("network.encoder", f"there is no {kind} {name!r}", hint)


def _made(make: Callable[[], nn.Module], choices: NetworkConfig) -> nn.Module:
    """Call another library and put what it refuses into the user's words."""
    imagenet = choices.weights == "imagenet"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about names of weights that the recipe does not use
            return with_downloads(make) if imagenet else make()
    except OSError as error:
        raise _no_weights(choices, error) from error
    except REFUSALS as error:
        if imagenet and "pretrained" in str(error):
            raise _no_weights(choices, error) from error
        words = " ".join(str(error).split())
        raise RecipeError(
            "network",
            f"{choices.architecture} with encoder {choices.encoder} is not possible ({words})",
            "Take another encoder (resnet18, resnet50 fit every architecture), or change widths",
        ) from error


def _no_weights(choices: NetworkConfig, error: Exception) -> ModelError:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ModelError(
        "network.weights",
        f"ImageNet weights of {choices.encoder} could not be had ({first})",
        "Connect to the internet once (they are kept), or download them elsewhere as .safetensors and give "
        'their path in network.weights, or set network.weights = "none" to start from nothing',
    )


def _try(network: nn.Module, recipe: Recipe) -> None:
    """A first answer, on a small window; on one of the recipe's size where the network takes no other."""
    try:
        answer = check_logits(network, recipe.network.input_channels, PROBE_PX)
    except REFUSALS:
        _try_full_size(network, recipe)
        return
    wanted: tuple[int, ...] = (1, count_outputs(recipe), PROBE_PX, PROBE_PX)
    if registry.ARCHITECTURES[recipe.network.architecture].answers == "tile":
        wanted = wanted[:2]
    if tuple(answer.shape) != wanted:
        raise RecipeError(
            "network",
            f"{recipe.network.architecture} with encoder {recipe.network.encoder} answers "
            f"{tuple(answer.shape)}, not {wanted}",
            "Take another encoder, or change widths",
        )


def _try_full_size(network: nn.Module, recipe: Recipe) -> None:
    try:
        check_logits(network, recipe.network.input_channels, recipe.patch_px)
    except REFUSALS as error:
        words = " ".join(str(error).split())
        raise RecipeError(
            "network",
            f"{recipe.network.architecture} with encoder {recipe.network.encoder} cannot look at windows of "
            f"{recipe.patch_px} px ({words})",
            "Change patches.size_um or patches.mpp, or take an architecture and encoder for any size "
            "(smp.Unet, resnet50)",
        ) from error
