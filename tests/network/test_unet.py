import pytest
import torch
from torch import nn

from histoscout.network.unet import UNet
from tests.network import tiny


def test_as_published_it_has_31_million_parameters_and_no_normalization() -> None:
    network = UNet(1, 2)
    # Ronneberger 2015, figure 1: 23 convolutional layers, with the four up-convolutions
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(layers) == 23
    assert sum(parameter.numel() for parameter in network.parameters()) == 31_030_658
    assert not [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]


def test_widths_of_the_recipe_are_deepest_first() -> None:
    network = tiny.network(tiny.recipe("unet", choices={"network.decoder_channels": (32, 16, 8)}))
    assert isinstance(network, UNet)
    assert network.head.in_channels == 8
    assert network.enlarge[0].in_channels == 32


@pytest.mark.parametrize("norm", [False, True])
def test_moving_the_window_moves_the_answer(norm: bool) -> None:
    network = UNet(3, 1, (8, 16, 32), norm=norm).eval()
    window = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        here, there = network(window), network(window.roll((4, 8), (2, 3)))
    inner = (..., slice(40, 88), slice(40, 88))
    assert torch.allclose(here.roll((4, 8), (2, 3))[inner], there[inner], atol=1e-4)


def test_signals_survive_the_depth_without_normalization() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        answer = UNet(3, 2, (8, 16, 32, 64, 128))(torch.randn(2, 3, 64, 64))
    assert 0.05 < float(answer.std()) < 20
