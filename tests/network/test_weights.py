import pytest
import torch
from torch import nn

from histoscout.errors import ModelError
from histoscout.network.weights import copy_encoder
from histoscout.recipe import Recipe
from tests.network import tiny


def pair(encoder: str) -> tuple[nn.Module, nn.Module]:
    choices = {"network.encoder": encoder, "network.decoder_channels": ()}
    return tiny.network(tiny.recipe("timm", choices=choices)), tiny.network(tiny.recipe(choices=choices))


@pytest.mark.parametrize("encoder", ["resnet50", "densenet121"])
def test_every_tensor_of_the_encoder_is_the_classifiers(encoder: str) -> None:
    classifier, unet = pair(encoder)
    with torch.no_grad():
        for value in classifier.parameters():
            value.add_(0.01)
    report = copy_encoder(classifier, unet)
    moved = unet.get_submodule("encoder").state_dict()
    assert set(report.copied) == moved.keys()
    assert all(torch.equal(value, classifier.state_dict()[key]) for key, value in moved.items())
    assert set(report.unused) == classifier.state_dict().keys() - moved.keys()
    assert all(key.startswith(("fc.", "classifier.")) for key in report.unused)


@pytest.mark.parametrize("encoder", ["resnet50", "densenet121"])
def test_both_see_the_same_in_a_window(encoder: str) -> None:
    classifier, unet = pair(encoder)
    copy_encoder(classifier, unet)
    window = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        seen = classifier.eval().forward_features(window)  # type: ignore[operator]
        deepest = unet.eval().get_submodule("encoder")(window)[-1]
    # timm's DenseNet ends in a ReLU that smp's leaves out
    assert torch.allclose(seen.relu(), deepest.relu(), atol=1e-5)


def test_another_encoder_is_refused_and_nothing_changed() -> None:
    classifier = tiny.network(tiny.recipe("timm"))
    unet = tiny.network(tiny.recipe(choices={"network.encoder": "resnet34"}))
    before = {key: value.clone() for key, value in unet.state_dict().items()}
    with pytest.raises(ModelError, match=r"layer1\.2\.bn1\.bias"):
        copy_encoder(classifier, unet)
    assert all(torch.equal(value, before[key]) for key, value in unet.state_dict().items())


def test_a_network_without_an_encoder_is_refused() -> None:
    own = tiny.network(tiny.recipe("unet"))
    with pytest.raises(ModelError, match="encoder"):
        copy_encoder(tiny.network(Recipe.from_dict({"network": {"architecture": "timm"}})), own)
