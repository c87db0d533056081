"""The recipe as a law: to TOML and back is identity; wrong ones list every problem."""

import math
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscout import registry
from histoscout.errors import RecipeError
from histoscout.recipe import RENAMED, Recipe
from histoscout.recipe_sections import ClassConfig, plain

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)


@given(
    st.fixed_dictionaries(
        {
            "seed": st.integers(0, 2**31),
            "classes": st.fixed_dictionaries({"positive": TEXT}),
            "patches": st.sampled_from([{"mpp": 2.0, "size_um": 256.0}, {"mpp": 0.25, "size_um": 128.0}]),
            "network": st.fixed_dictionaries(
                {"architecture": st.sampled_from(sorted(registry.ARCHITECTURES)), "weights": TEXT}
            ),
            "loss": st.fixed_dictionaries({"name": st.sampled_from(sorted(registry.LOSSES))}),
            "training": st.sampled_from(
                [{"epochs": 3}, {"minutes": 1.5}, {"gradient_clip": 0, "ema_decay": 0}]
            ),
            "detection": st.fixed_dictionaries({"overlap": st.floats(0, 0.75)}),
        }
    )
)
def test_to_toml_and_back_is_identity(values: dict[str, object]) -> None:
    recipe = Recipe.from_dict(values)
    assert Recipe.from_dict(tomllib.loads(recipe.to_toml())) == recipe


def test_all_problems_are_told_at_once() -> None:
    wrong = {
        "seed": "x",
        "patches": {"mpp": -1, "sise": 3},
        "sampler": {"positive": 0.9},
        "training": {"minutes": 1, "epochs": 2},
        "loss": {"name": "dicee+bce"},
    }
    with pytest.raises(RecipeError) as raised:
        Recipe.from_dict(wrong, "my.toml")
    told = str(raised.value)
    assert "6 problems" in told
    for words in (
        "my.toml",
        "seed",
        "patches.mpp",
        "patches.sise",
        "sampler",
        "training",
        "did you mean dice+bce",
    ):
        assert words in told


@pytest.mark.parametrize(
    "patches",
    [{"size_um": 0.256}, {"size_um": 0.5}, {"mpp": 1e-9}, {"mpp": 1e-300, "size_um": 1e300}],
)
def test_a_window_of_no_size_is_refused(patches: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match=r"size_um|mpp"):
        Recipe.from_dict({"patches": patches})


@pytest.mark.parametrize("value", [math.inf, math.nan])
@pytest.mark.parametrize(
    "name", ["patches.mpp", "patches.size_um", "training.minutes", "detection.simplify_um"]
)
def test_numbers_without_end_are_refused(name: str, value: float) -> None:
    with pytest.raises(RecipeError, match=rf"{name}: Input should be a finite number"):
        Recipe().with_choices({name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("classes.positive", ""),
        ("network.decoder_channels", [-3]),
        ("nosuch.thing", 1),
        ("classes.positive.x", 1),
    ],
)
def test_choices_that_cannot_be_are_refused_by_their_names(name: str, value: object) -> None:
    with pytest.raises(RecipeError, match=name.replace(".", r"\.")):
        Recipe().with_choices({name: value})


def test_a_window_that_does_not_fit_names_one_that_does() -> None:
    with pytest.raises(RecipeError, match="size_um = 256 would be 128 px"):
        Recipe.from_dict({"patches": {"mpp": 2.0, "size_um": 250.0}})


def test_one_loss_for_one_class_only() -> None:
    with pytest.raises(RecipeError, match="cross-entropy"):
        Recipe.from_dict({"classes": {"other": ["ADH"]}, "loss": {"name": "bce"}})


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("UDH", "UDH"),
        ("udh_sure", "UDH"),
        ("UDH-sure", "UDH"),
        ("UDH-unsure", "ignore"),
        ("Ignore*", "ignore"),
        ("Stroma*", "ignore"),
        ("adh ", "ADH"),
        ("FEA", None),
        ("", None),
    ],
)
def test_classes_are_matched_as_people_type_them(typed: str, meant: str | None) -> None:
    classes = ClassConfig(positive="UDH", other=("ADH",), aliases={"UDH": ("UDH-sure",)})
    assert classes.canonical(typed) == meant


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("UDH [sure]", "UDH [sure]"),
        ("udh-[sure]", "UDH [sure]"),
        ("UDH s", None),
        ("ADH?", "ADH?"),
        ("ADHx", None),
        ("Tumor*", "Tumor*"),
        ("Stroma*", "ignore"),
        ("usual [1]", "UDH [sure]"),
        ("usual 1", "UDH [sure]"),
    ],
)
def test_a_classs_own_name_is_no_pattern(typed: str, meant: str | None) -> None:
    classes = ClassConfig(
        positive="UDH [sure]", other=("ADH?", "Tumor*"), aliases={"UDH [sure]": ("usual [1]",)}
    )
    assert classes.canonical(typed) == meant


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("Reviewed", "reviewed"),
        ("Area reviewed by X", "reviewed"),
        ("Unreviewed", "ignore"),
        ("not-reviewed", "ignore"),
        ("Not yet reviewed", "ignore"),
        ("to be reviewed", "ignore"),
    ],
)
def test_what_was_not_reviewed_is_no_reviewed_area(typed: str, meant: str) -> None:
    assert ClassConfig().canonical(typed) == meant


def test_unlisted_classes_can_be_ignored() -> None:
    assert ClassConfig(unlisted="ignore").canonical("FEA") == "ignore"


@given(TEXT)
def test_plain_names_stay_plain(name: str) -> None:
    assert plain(plain(name)) == plain(name)


@pytest.mark.parametrize(("old", "new"), sorted(RENAMED.items()))
def test_old_keys_are_read_under_their_new_names(old: str, new: str) -> None:
    section, key = new.split(".")
    value = Recipe().model_dump()[section][key]
    old_section, old_key = old.split(".")
    assert Recipe.from_dict({old_section: {old_key: value}}) == Recipe()
    assert Recipe().with_choices({old: value}) == Recipe()


def test_an_old_and_a_new_name_of_the_same_key_are_refused() -> None:
    with pytest.raises(RecipeError, match="optimiser"):
        Recipe.from_dict({"training": {"optimiser": "adam", "optimizer": "adamw"}})


def test_a_documented_recipe_is_the_same_recipe() -> None:
    assert Recipe.from_dict(tomllib.loads(Recipe().to_toml(documented=True))) == Recipe()


@pytest.mark.parametrize(
    ("section", "key", "meant"),
    [("classes", "positve", "classes.positive"), ("training", "minute", "training.minutes")],
)
def test_a_mistyped_key_is_recognized(section: str, key: str, meant: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.from_dict({section: {key: "UDH"}})
    assert f"{section}.{key}" in caught.value.fault
    assert meant in caught.value.fault.replace(f"{section}.{key}", "", 1)


@pytest.mark.parametrize(
    "choices",
    [
        {"seed": 2**62},
        {"patches.mpp": 1e300},
        {"patches.mpp": 1e-9},
        {"tissue.mpp": 1e300},
        {"tissue.mpp": 1e-9},
        {"tissue.min_area_um2": 1e300},
        {"tissue.max_hole_um2": 1e300},
        {"tissue.min_std": 256},
        {"network.decoder_channels": [10**9]},
        {"network.decoder_channels": [8] * 9},
        {"training.batch_size": 10**9},
        {"training.epochs": 10**9, "training.minutes": None},
        {"training.steps_per_epoch": 10**9},
        {"training.minutes": 1e12},
        {"training.learning_rate": 1e12},
        {"training.weight_decay": 1e12},
        {"training.gradient_clip": 1e12},
        {"training.validation_patches": 10**9},
        {"training.workers": 10**6},
        {"detection.batch_size": 10**9},
        {"detection.batch_size": 4096, "patches.size_um": 16384.0},
        {"detection.class_smoothing_um": 1e6},
        {"detection.min_area_um2": 1e300},
        {"detection.max_hole_um2": 1e300},
        {"detection.simplify_um": 1e6},
        {"classes.other": [f"class {number}" for number in range(300)]},
    ],
)
def test_every_number_has_bounds(choices: dict[str, object]) -> None:
    with pytest.raises(RecipeError):
        Recipe().with_choices(choices)


@pytest.mark.parametrize("content", [b"a = " + b"[" * 100_000, b"\0\1", b"seed = " + b"9" * 10_000])
def test_a_file_with_anything_in_it_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(RecipeError) as raised:
        Recipe.read(tmp_path / "a.toml")
    assert raised.value.where == str(tmp_path / "a.toml")
