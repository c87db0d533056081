import numpy as np
import pytest
import torch
from torch import Tensor, nn

from histoscout.network.detector import Detector, count_outputs, normalize
from tests.network import tiny


class Fixed(nn.Module):
    """Answers with the same logits for every pixel."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, images: Tensor) -> Tensor:
        return self.logits.view(1, -1, 1, 1).expand(len(images), -1, *images.shape[2:])


def test_colors_are_those_of_the_usual_formula() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    found = normalize(torch.from_numpy(pixels), 3).numpy()
    wanted = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted.transpose(0, 3, 1, 2), atol=1e-5)


def test_gray_is_a_weighted_sum() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    shares = np.array([0.299, 0.587, 0.114])
    mean, std = shares @ [0.485, 0.456, 0.406], shares @ [0.229, 0.224, 0.225]
    found = normalize(torch.from_numpy(pixels), 1).numpy()
    np.testing.assert_allclose(found, ((pixels / 255 @ shares - mean) / std)[:, None], atol=1e-5)


@pytest.mark.parametrize(
    ("loss", "outputs"), [("bce", 1), ("dice+bce", 1), ("cross_entropy", 3), ("focal", 3)]
)
def test_outputs_are_one_or_one_a_class(loss: str, outputs: int) -> None:
    recipe = tiny.recipe(loss=loss, choices=({} if outputs == 1 else {"classes.other": ("ADH",)}))
    assert count_outputs(recipe) == outputs


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_probabilities_are_softmax_without_background(temperature: float) -> None:
    recipe = tiny.recipe(choices={"classes.other": ("ADH",)})
    windows = torch.zeros(2, 1, 4, 6, 3, dtype=torch.uint8)
    found = Detector(Fixed([0.5, 1.0, -2.0]), recipe, temperature)(windows)
    shares = np.exp(np.array([0.5, 1.0, -2.0]) / temperature)
    assert found.shape == (2, 4, 6, 2)
    np.testing.assert_allclose(found[1, 3, 5], (shares / shares.sum())[1:], rtol=1e-5)


def test_a_binary_probability_is_a_sigmoid_with_temperature() -> None:
    found = Detector(Fixed([3.0]), tiny.recipe(loss="bce"), 1.5)(
        torch.zeros(1, 1, 4, 4, 3, dtype=torch.uint8)
    )
    assert found.shape == (1, 4, 4, 1)
    assert float(found[0, 0, 0, 0]) == pytest.approx(1 / (1 + np.exp(-2.0)), rel=1e-5)


def test_the_offset_is_added_to_the_log_odds_of_the_positive_class() -> None:
    windows = torch.zeros(1, 1, 4, 4, 3, dtype=torch.uint8)
    binary = Detector(Fixed([3.0]), tiny.recipe(loss="bce"), 1.5, -2.5)(windows)
    assert float(binary[0, 0, 0, 0]) == pytest.approx(1 / (1 + np.exp(0.5)), rel=1e-5)
    recipe = tiny.recipe(choices={"classes.other": ("ADH",)})
    found = Detector(Fixed([0.5, 1.0, -2.0]), recipe, 2.0, 0.7)(windows)
    shares = np.exp(np.array([0.25, 0.5 + 0.7, -1.0]))
    np.testing.assert_allclose(found[0, 0, 0], (shares / shares.sum())[1:], rtol=1e-5)
