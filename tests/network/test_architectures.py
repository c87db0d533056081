"""What every registered architecture must do; a line in names.ARCHITECTURES enrols it here."""

from pathlib import Path

import pytest
import torch

from histoscout import registry
from histoscout.network.detector import count_outputs
from histoscout.network.encoders import check_logits
from histoscout.network.losses import make_loss, set_prior_bias
from histoscout.network.save import load_network
from histoscout.recipe import IGNORE
from tests.network import tiny

ALL = sorted(registry.ARCHITECTURES)


@pytest.mark.parametrize("architecture", ALL)
def test_answers_have_the_shape_of_the_window(architecture: str) -> None:
    recipe = tiny.recipe(architecture, choices={"classes.other": ("ADH",)})
    answer = tiny.network(recipe).eval()(torch.randn(2, 3, tiny.SIDE, tiny.SIDE))
    tile = registry.ARCHITECTURES[architecture].predicts_tiles
    assert answer.shape == ((2, 3) if tile else (2, 3, tiny.SIDE, tiny.SIDE))


@pytest.mark.parametrize("architecture", ALL)
def test_answers_are_logits_and_gray_windows_are_possible(architecture: str) -> None:
    recipe = tiny.recipe(architecture, choices={"network.input_channels": 1})
    check_logits(tiny.network(recipe), channels=1, side=tiny.SIDE)


@pytest.mark.parametrize("architecture", ALL)
def test_one_step_moves_every_part_of_it(architecture: str) -> None:
    recipe = tiny.recipe(architecture)
    network = tiny.network(recipe)
    tile = registry.ARCHITECTURES[architecture].predicts_tiles
    target = torch.randint(0, 2, (2,) if tile else (2, tiny.SIDE, tiny.SIDE), dtype=torch.uint8)
    target.view(-1)[-1:] = target.view(-1)[-1:] if tile else IGNORE
    before = {key: value.clone() for key, value in network.named_parameters()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    loss = make_loss(recipe)(network(torch.randn(2, 3, tiny.SIDE, tiny.SIDE)), target)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    assert torch.isfinite(loss)
    moved = [key for key, value in network.named_parameters() if not torch.equal(value, before[key])]
    reached = [key for key, value in network.named_parameters() if value.grad is not None]
    assert len(moved) > 0.3 * len(before)  # some blocks begin with a gain of 0
    assert len(reached) > 0.5 * len(before)
    assert all(torch.isfinite(value).all() for value in network.parameters())


@pytest.mark.parametrize("architecture", ALL)
def test_saved_and_loaded_it_answers_the_same(architecture: str, tmp_path: Path) -> None:
    recipe = tiny.recipe(architecture)
    windows = torch.randn(1, 3, tiny.SIDE, tiny.SIDE)
    again = load_network(tiny.model(tmp_path / "model", recipe))
    with torch.no_grad():
        assert torch.equal(again(windows), tiny.network(recipe).eval()(windows))


@pytest.mark.parametrize("architecture", ALL)
@pytest.mark.parametrize("loss", ["bce", "cross_entropy"])
def test_the_first_answer_is_the_prior(architecture: str, loss: str) -> None:
    recipe = tiny.recipe(architecture, loss)
    network = tiny.network(recipe)
    set_prior_bias(network, [0.95, 0.05])
    with torch.no_grad():
        logits = network.eval()(torch.randn(2, 3, tiny.SIDE, tiny.SIDE))
    positive = logits.sigmoid() if count_outputs(recipe) == 1 else logits.softmax(1)[:, 1]
    assert float(positive.mean()) == pytest.approx(0.05, rel=0.5)
