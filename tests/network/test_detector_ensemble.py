"""Networks that answer as one: their mean probability, the same in every engine."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from histoscout.network.detector import Ensemble
from histoscout.network.engines import open_engine
from tests.network import tiny

HERE = ["torch", *(["openvino"] if find_spec("openvino") else [])]
KINDS = [("smp.Unet", "dice+cross_entropy"), ("smp.Unet", "bce"), ("timm", "cross_entropy"), ("timm", "bce")]


@pytest.mark.parametrize(("architecture", "loss"), KINDS)
def test_the_answer_is_the_mean_of_the_members_probabilities(architecture: str, loss: str) -> None:
    network = tiny.network(tiny.recipe(architecture, loss, {"network.ensemble_size": 3})).eval()
    assert isinstance(network, Ensemble)
    images = torch.randn(2, 3, tiny.SIDE, tiny.SIDE)

    def probabilities(logits: torch.Tensor) -> torch.Tensor:
        return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)

    with torch.no_grad():
        each = [probabilities(member(images)) for member in network.networks]
        found = probabilities(network(images))
    assert float((each[0] - each[1]).abs().max()) > 1e-3, "members must differ for the mean to say anything"
    torch.testing.assert_close(found, torch.stack(each).mean(0), atol=1e-6, rtol=1e-5)


def test_surest_answers_stay_finite() -> None:
    sure = torch.nn.Conv2d(1, 1, 1)
    torch.nn.init.constant_(sure.weight, 500.0)
    found = Ensemble([sure, sure], 1)(torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1))
    assert torch.isfinite(found).all()
    assert found.sigmoid().flatten().tolist() == [0.0, 1.0]


@pytest.mark.slow
@pytest.mark.parametrize("device", HERE)
@pytest.mark.parametrize(("architecture", "loss"), KINDS)
def test_a_model_of_members_answers_alike_in_every_engine(
    architecture: str, loss: str, device: str, tmp_path: Path
) -> None:
    model = tiny.model(tmp_path / "model", tiny.recipe(architecture, loss, {"network.ensemble_size": 2}))
    looked_at = np.random.default_rng(0).integers(0, 256, (3, 1, tiny.SIDE, tiny.SIDE, 3), dtype=np.uint8)
    answers = open_engine(model, device, batch=2)(looked_at)
    expected = open_engine(model, "torch")(looked_at)
    np.testing.assert_allclose(answers, expected, atol=0.05)
