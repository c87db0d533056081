"""The encoder of a tile classifier into a U-Net: what was learnt from tiles serves pixels."""

from dataclasses import dataclass

from torch import nn

from histoscout.errors import ModelError
from histoscout.network.weights import list_some, mismatches, without_head


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
