import socket
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from histoscout.errors import HistoscoutError, ModelError, RecipeError
from histoscout.network.build import build_network
from histoscout.network.encoders import built_in_weights, check_logits, save_encoder
from histoscout.network.unet import UNet
from histoscout.recipe import Recipe
from tests.network import tiny


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("HF_HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("architecture", "encoder"), [("smp.Unet", "resnet18"), ("smp.Unet", "tu-resnet18"), ("timm", "resnet18")]
)
@pytest.mark.usefixtures("no_network")
def test_weights_that_cannot_be_downloaded_say_what_to_do(architecture: str, encoder: str) -> None:
    recipe = tiny.recipe(architecture, choices={"network.weights": "imagenet", "network.encoder": encoder})
    with pytest.raises(ModelError, match=rf"{encoder}.* network\.weights"):
        build_network(recipe)


@pytest.mark.parametrize("encoder", ["resnet50", "densenet121", "tu-convnext_atto"])
@pytest.mark.usefixtures("no_network")
def test_encoders_of_the_study_need_no_network(encoder: str) -> None:
    network = tiny.network(
        tiny.recipe(choices={"network.encoder": encoder, "network.decoder_channels": ()})
    ).eval()
    assert network(torch.randn(1, 3, 64, 64)).shape == (1, 2, 64, 64)


def test_four_widths_make_an_encoder_of_depth_four() -> None:
    network = tiny.network(tiny.recipe(choices={"network.decoder_channels": (256, 128, 64, 32)})).eval()
    assert network(torch.randn(1, 3, 64, 64)).shape == (1, 2, 64, 64)
    convolutions = [
        layer for layer in network.get_submodule("decoder").modules() if isinstance(layer, nn.Conv2d)
    ]
    assert [layer.out_channels for layer in convolutions[::2]] == [256, 128, 64, 32]


@pytest.mark.parametrize("architecture", ["smp.DeepLabV3Plus", "smp.PAN", "smp.UPerNet"])
def test_one_width_where_the_architecture_has_one(architecture: str) -> None:
    narrow = tiny.network(tiny.recipe(architecture, choices={"network.decoder_channels": (16,)}))
    usual = tiny.network(tiny.recipe(architecture))
    assert sum(p.numel() for p in narrow.parameters()) < sum(p.numel() for p in usual.parameters())


@pytest.mark.parametrize(
    ("architecture", "choices", "word"),
    [
        ("smp.FPN", {"network.decoder_channels": (64,)}, "decoder_channels"),
        ("smp.PAN", {"network.decoder_channels": (64, 32)}, "not 2"),
        ("timm", {"network.decoder_channels": (64,)}, "decoder"),
        ("unet", {"network.decoder_channels": (64,)}, "of 1 levels"),
        ("unet", {"network.weights": "imagenet"}, "imagenet"),
        ("unet", {"network.weights": "built-in"}, "built-in"),
        (
            "smp.Unet",
            {"network.weights": "built-in", "network.encoder": "resnet34"},
            "resnet34.* resnet18",
        ),
        ("smp.Unet", {"network.encoder": "resnet51"}, "resnet50"),
        ("timm", {"network.encoder": "densnet121"}, "densenet121"),
        ("smp.Linknet", {"network.encoder": "mit_b0"}, "Linknet.* mit_b0"),
        ("smp.DeepLabV3Plus", {"network.encoder": "densenet121"}, "DeepLabV3Plus.* densenet121"),
        ("smp.PSPNet", {"training.batch_size": 1}, "batch"),
        ("smp.PAN", {"patches.size_um": 64}, "64 px"),
        ("timm", {"network.encoder": "vit_tiny_patch16_224"}, "128 px"),
    ],
)
def test_impossible_choices_name_fault_and_remedy(
    architecture: str, choices: dict[str, Any], word: str
) -> None:
    with pytest.raises(RecipeError, match=word) as caught:
        build_network(tiny.recipe(architecture, choices=choices))
    assert caught.value.fault
    assert caught.value.remedy


def test_an_encoder_for_one_image_size_is_used_at_that_size() -> None:
    recipe = tiny.recipe(
        "timm", choices={"network.encoder": "vit_tiny_patch16_224", "patches.size_um": 224.0}
    )
    assert tiny.network(recipe).eval()(torch.randn(1, 3, 224, 224)).shape == (1, 2)


@pytest.mark.parametrize("architecture", ["smp.Unet", "smp.FPN", "unet", "timm"])
def test_dropout_makes_training_outputs_differ(architecture: str) -> None:
    window = torch.randn(2, 3, 64, 64)
    for share, differ in ((0.0, False), (0.5, True)):
        network = tiny.network(tiny.recipe(architecture, choices={"network.dropout": share}))
        assert bool((network(window) != network(window)).any()) == differ


@pytest.mark.parametrize("last", [nn.Sigmoid(), nn.Softmax(1), nn.LogSoftmax(1), nn.Tanh()])
def test_a_network_that_ends_in_probabilities_is_refused(last: nn.Module) -> None:
    with pytest.raises(ModelError, match="logits"):
        check_logits(nn.Sequential(UNet(3, 2, (8, 16)), last))


class Hidden(nn.Module):
    """Its sigmoid is in the forward pass, where looking at modules cannot find it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = UNet(3, 2, (8, 16))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.inner(images).sigmoid()  # type: ignore[no-any-return]


def test_a_hidden_sigmoid_is_refused_and_the_network_left_as_it_was() -> None:
    network = Hidden()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(ModelError, match="logits"):
        check_logits(network)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def given_weights(
    tmp_path: Path, tensors: dict[str, torch.Tensor], choices: Mapping[str, Any] = MappingProxyType({})
) -> nn.Module:
    save_file({key: value.contiguous().clone() for key, value in tensors.items()}, tmp_path / "w.safetensors")
    torch.manual_seed(1)
    return build_network(tiny.recipe(choices={"network.weights": str(tmp_path / "w.safetensors"), **choices}))


@pytest.mark.parametrize("prefix", ["", "encoder.", "module."])
def test_weights_of_an_encoder_or_classifier_fill_the_encoder(tmp_path: Path, prefix: str) -> None:
    classifier = tiny.network(tiny.recipe("timm"))
    tensors = {f"{prefix}{key}": value for key, value in classifier.state_dict().items()}
    encoder = given_weights(tmp_path, tensors).get_submodule("encoder")
    assert encoder.state_dict().keys() == classifier.state_dict().keys() - {"fc.weight", "fc.bias"}
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, classifier.state_dict()[key])


@pytest.mark.parametrize("architecture", ["smp.Unet", "smp.FPN", "timm"])
def test_weights_that_come_with_the_package_fill_the_encoder(architecture: str) -> None:
    network = tiny.network(tiny.recipe(architecture, choices={"network.weights": "built-in"}))
    encoder = getattr(network, "encoder", network).state_dict()
    file = load_file(built_in_weights("resnet18"))
    left = {
        key for key in encoder if key.startswith(("fc.", "layer4."))
    }  # the last stage is the user's to teach
    assert file.keys() == encoder.keys() - left
    assert all(torch.equal(encoder[key], value.to(encoder[key].dtype)) for key, value in file.items())
    assert all(value.isfinite().all() for value in file.values())


def test_an_encoder_is_kept_in_half_the_size_and_fills_another(tmp_path: Path) -> None:
    first = tiny.network(tiny.recipe())
    save_encoder(first, tmp_path / "encoder.safetensors")
    kept, whole = load_file(tmp_path / "encoder.safetensors"), first.get_submodule("encoder").state_dict()
    assert {value.dtype for value in kept.values()} == {torch.bfloat16, torch.int64}
    second = given_weights(tmp_path, kept).get_submodule("encoder").state_dict()
    assert second.keys() == whole.keys()
    assert all(torch.allclose(second[key].float(), whole[key].float(), rtol=2**-8) for key in whole)


def test_stages_that_a_shallow_network_never_asks_are_neither_kept_nor_filled(tmp_path: Path) -> None:
    shallow = tiny.network(tiny.recipe(choices={"network.decoder_channels": (32, 16, 8)}))
    save_encoder(shallow, tmp_path / "encoder.safetensors")
    kept = load_file(tmp_path / "encoder.safetensors")
    assert {key.partition(".")[0] for key in kept} == {"conv1", "bn1", "layer1", "layer2"}
    choices = {"network.weights": str(tmp_path / "encoder.safetensors")}
    filled = tiny.network(tiny.recipe(choices=choices)).get_submodule("encoder").state_dict()
    fresh = tiny.network(tiny.recipe()).get_submodule("encoder").state_dict()
    assert all(torch.equal(filled[key], fresh[key]) for key in fresh.keys() - kept.keys())
    assert all(torch.equal(filled[key], kept[key].to(filled[key].dtype)) for key in kept)


def test_weights_of_a_whole_network_fill_all_of_it(tmp_path: Path) -> None:
    whole = tiny.network(tiny.recipe())
    again = given_weights(tmp_path, whole.state_dict())
    assert all(torch.equal(value, whole.state_dict()[key]) for key, value in again.state_dict().items())


def test_weights_for_colors_are_added_up_for_gray(tmp_path: Path) -> None:
    colors = tiny.network(tiny.recipe("timm")).state_dict()
    gray = given_weights(tmp_path, colors, choices={"network.input_channels": 1})
    first = gray.get_parameter("encoder.conv1.weight")
    assert torch.allclose(first, colors["conv1.weight"].sum(1, keepdim=True))


def test_weights_that_do_not_fit_are_listed_key_by_key(tmp_path: Path) -> None:
    tensors = tiny.network(tiny.recipe("timm")).state_dict()
    del tensors["bn1.weight"]
    tensors["conv1.weight"] = torch.zeros(1, 2, 3)
    with pytest.raises(ModelError) as caught:
        given_weights(tmp_path, tensors)
    assert "bn1.weight is missing" in caught.value.fault
    assert "conv1.weight is (1, 2, 3), should be (64, 3, 7, 7)" in caught.value.fault


@pytest.mark.parametrize("content", [None, b"no weights"])
def test_a_file_that_holds_no_weights_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "w.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(HistoscoutError, match=r"w\.safetensors"):
        build_network(tiny.recipe(choices={"network.weights": str(path)}))


def test_weights_of_a_classifier_with_other_classes_fill_a_tile_classifier_but_for_its_last_layer(
    tmp_path: Path,
) -> None:
    given = timm.create_model("resnet10t", num_classes=5)
    save_file(given.state_dict(), tmp_path / "weights.safetensors")
    choices = {"network.architecture": "timm", "network.encoder": "resnet10t"}
    recipe = Recipe().with_choices({**choices, "network.weights": str(tmp_path / "weights.safetensors")})
    network = build_network(recipe).state_dict()
    wanted = {key: value for key, value in given.state_dict().items() if not key.startswith("fc.")}
    assert set(network) - set(wanted) == {"fc.weight", "fc.bias"}
    assert all(torch.equal(network[key], value) for key, value in wanted.items())
    with pytest.raises(ModelError, match="missing"):
        build_network(recipe.with_choices({"network.encoder": "resnet18"}))
