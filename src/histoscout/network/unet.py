"""The U-Net of Ronneberger, Fischer and Brox (MICCAI 2015), padded: the answer is as large as the window."""

import torch
from torch import Tensor, nn

from histoscout.errors import RecipeError
from histoscout.recipe import NetworkConfig


def build(network: NetworkConfig, outputs: int) -> nn.Module:
    """The U-Net as published: no normalisation; `widths` of the recipe replace 1024, 512, 256, 128, 64."""
    return _unet(network, outputs, norm=False)


def build_bn(network: NetworkConfig, outputs: int) -> nn.Module:
    """The same U-Net with batch normalisation after each convolution."""
    return _unet(network, outputs, norm=True)


def _unet(network: NetworkConfig, outputs: int, norm: bool) -> nn.Module:
    widths = tuple(reversed(network.decoder_channels)) or (64, 128, 256, 512, 1024)
    if not 2 <= len(widths) <= 6:  # windows are multiples of 32 px: five halvings
        raise RecipeError(
            "network.decoder_channels",
            f"a U-Net of {len(widths)} levels is not possible",
            "Give two to six widths, deepest first",
        )
    if network.weights in {"imagenet", "built-in"}:
        raise RecipeError(
            "network.weights",
            f"there are no {network.weights} weights for this U-Net",
            'Set weights = "none", or take smp.Unet',
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
    """Looks at a window ever more coarsely, then finer again with what it saw on the way down.

    float (N, in_channels, H, W) to logits (N, outputs, H, W); H and W: multiples of 2 ** (len(widths) - 1).
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
        self.dropout = nn.Dropout(dropout)  # at the end of the way down, as published
        steps = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in steps)
        self.up = nn.ModuleList(_two_convolutions(a, b, norm) for a, b in steps)
        self.head = nn.Conv2d(widths[0], outputs, 1)
        self.apply(_initialize)

    def forward(self, images: Tensor) -> Tensor:
        seen: list[Tensor] = []
        values = images
        for block in self.down:
            values = block(self.pool(values) if seen else values)
            seen.append(values)
        values = self.dropout(seen.pop())
        for enlarge, block in zip(self.enlarge, self.up, strict=True):
            values = block(torch.cat([seen.pop(), enlarge(values)], dim=1))
        logits: Tensor = self.head(values)
        return logits


def _initialize(module: nn.Module) -> None:
    """Normal with variance 2 / inputs, as published: without normalisation signals would die out."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
