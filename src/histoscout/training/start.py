"""The network before its first step."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from histoscout.cohort.cohort import Cohort
from histoscout.errors import ModelError
from histoscout.names import ARCHITECTURES
from histoscout.network.build import build_network
from histoscout.network.losses import set_prior
from histoscout.network.model_folder import ModelFolder, read_model
from histoscout.network.save import load_network
from histoscout.network.transfer import transfer_encoder
from histoscout.recipe import Recipe
from histoscout.training.sets import Sets
from histoscout.windows.examples import SampledExamples, class_shares

PRIOR_WINDOWS = 64  # looked at to learn how common each class is among the training windows


def known_to(start: Path | None) -> Mapping[str, Any]:
    """Whom the model to begin with has learnt from and was tuned on, as its metrics tell; nothing if there is no such model."""
    data: Mapping[str, Any] = {} if start is None else read_model(start).metrics.get("data", {})
    return data


def patients_met(known: Mapping[str, Any], sets: Sets, cohort: Cohort) -> list[str]:
    """The patients whom a model with this knowledge must not be judged by: who tune, if it has learnt from them; who are kept
    for testing, if it has so much as been tuned on them."""
    learnt = set(known.get("train_patients", ()))
    tuning = {labelled.patient for labelled in sets.tune} if not sets.split.blocks else set()
    tested = {case.patient for case in cohort.cases if case.split == "test"}
    return sorted((tuning & learnt) | (tested & (learnt | set(known.get("tune_patients", ())))))


def first_network(
    recipe: Recipe, start: Path | None, examples: SampledExamples
) -> tuple[nn.Module, list[float] | None]:
    """A fresh network that knows how rare each class is, or one that begins with another model's weights.

    Beside it the shares of background and each class that it was told, None if it was told none.
    `start` is a model folder: of the same kind of network for the same classes, then all of it is taken over; or of
    a tile classifier whose encoder becomes that of the recipe's network, verified key by key. Else ModelError.
    """
    model = None if start is None else read_model(start)
    if model is not None and _answers(model.recipe) == _answers(recipe):
        _check_same_kind(model, recipe)
        return load_network(model), None
    if model is not None and _answers(model.recipe) != "tile":
        raise ModelError(
            model.path,
            "looks at pixels, and a tile classifier cannot begin with that",
            "Train the classifier first and give it to the U-Net with --from",
        )
    network = build_network(recipe)
    if model is not None:
        transfer_encoder(load_network(model), network)
    if not recipe.loss.prior:
        return network, None
    shares = class_shares(examples, PRIOR_WINDOWS)
    set_prior(network, shares)
    return network, shares


def _answers(recipe: Recipe) -> str:
    return ARCHITECTURES[recipe.network.architecture].answers


def _check_same_kind(model: ModelFolder, recipe: Recipe) -> None:
    if (members := model.recipe.network.members) > 1:
        raise ModelError(
            model.path,
            f"is {members} networks, and a network can begin with one only",
            "Give a model of one network (network.members = 1), or train without --from",
        )
    there, here = (
        (one.network.architecture, one.network.encoder, one.network.channels, *one.classes.labels)
        for one in (model.recipe, recipe)
    )
    if here != there:
        raise ModelError(
            model.path,
            f"is {' '.join(map(str, there))}, the recipe asks for {' '.join(map(str, here))}",
            "Take its recipe.toml, or train without --from",
        )
