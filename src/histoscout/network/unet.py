"""The U-Net of Ronneberger, Fischer and Brox (MICCAI 2015), padded: the output is as large as the window."""

import torch
from torch import Tensor, nn

from histoscout.errors import RecipeError
from histoscout.recipe_sections import NetworkConfig


def build_unet(network: NetworkConfig, outputs: int) -> nn.Module:
    """Build the U-Net as published, without normalization.

    Args:
        network: The recipe's section; `decoder_channels` replaces 1024, 512, 256, 128, 64.
        outputs: Outputs for each pixel.

    Returns:
        The network.

    Raises:
        RecipeError: If the section asks for what this network does not have.
    """
    return _unet(network, outputs, norm=False)


def build_unet_bn(network: NetworkConfig, outputs: int) -> nn.Module:
    """Build the same U-Net with batch normalization after each convolution.

    Args:
        network: The recipe's section, see `build_unet`.
        outputs: Outputs for each pixel.

    Returns:
        The network.

    Raises:
        RecipeError: If the section asks for what this network does not have.
    """
    return _unet(network, outputs, norm=True)


def _unet(network: NetworkConfig, outputs: int, norm: bool) -> nn.Module:
    widths = tuple(reversed(network.decoder_channels)) or (64, 128, 256, 512, 1024)
    # patches are multiples of 32 px: five halvings
    if not 2 <= len(widths) <= 6:
        raise RecipeError(
            "network.decoder_channels",
            f"a U-Net of {len(widths)} levels is not possible",
            "Give two to six numbers of channels, deepest first",
        )
    if network.weights in {"imagenet", "built-in"}:
        raise RecipeError(
            "network.weights",
            f"there are no {network.weights} weights for this U-Net",
            'Set weights = "none", or use smp.Unet',
        )
    return UNet(network.input_channels, outputs, widths, norm=norm, dropout=network.dropout)


def _two_convolutions(inputs: int, outputs: int, norm: bool) -> nn.Sequential:
    steps: list[nn.Module] = []
    for channels in (inputs, outputs):
        steps.append(nn.Conv2d(channels, outputs, 3, padding=1, bias=not norm))
        steps.extend([nn.BatchNorm2d(outputs)] if norm else [])
        steps.append(nn.ReLU(inplace=True))
    return nn.Sequential(*steps)


class UNet(nn.Module):
    """A U-Net: (N, in_channels, H, W) float to logits (N, outputs, H, W).

    H and W are multiples of 2 ** (len(widths) - 1).

    Args:
        in_channels: Channels of the images.
        outputs: Outputs for each pixel.
        widths: Channels of each level, finest first.
        norm: Whether batch normalization follows each convolution.
        dropout: Dropout rate after the deepest level.
    """

    def __init__(
        self,
        in_channels: int,
        outputs: int,
        widths: tuple[int, ...] = (64, 128, 256, 512, 1024),
        norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        inputs = (in_channels, *widths[:-1])
        self.down = nn.ModuleList(_two_convolutions(a, b, norm) for a, b in zip(inputs, widths, strict=True))
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(dropout)
        steps = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in steps)
        self.up = nn.ModuleList(_two_convolutions(a, b, norm) for a, b in steps)
        self.head = nn.Conv2d(widths[0], outputs, 1)
        self.apply(_initialize)

    def forward(self, images: Tensor) -> Tensor:
        # down: the output of each level is kept for the way up
        skipped: list[Tensor] = []
        values = images
        for block in self.down:
            values = block(self.pool(values) if skipped else values)
            skipped.append(values)
        values = self.dropout(skipped.pop())
        # up: upsample and join with the level of the same size
        for enlarge, block in zip(self.enlarge, self.up, strict=True):
            values = block(torch.cat([skipped.pop(), enlarge(values)], dim=1))
        logits: Tensor = self.head(values)
        return logits


def _initialize(module: nn.Module) -> None:
    """Normal with variance 2 / inputs, as published: without normalization signals would vanish."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
