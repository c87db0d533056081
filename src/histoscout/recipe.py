"""The recipe (configuration) of a detector: every choice of training and detection in one value.

A recipe is read from TOML, checked as a whole and stored in the model folder, so that training and detection
cannot disagree. Its sections are in `recipe_sections`.
"""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import tomlkit
import tomlkit.items
from pydantic import BaseModel, Field, ValidationError, model_validator

from histoscout import registry
from histoscout.errors import RecipeError
from histoscout.io.files import read_text, write_text
from histoscout.io.notes import pluralize
from histoscout.recipe_sections import (
    AugmentConfig,
    ClassConfig,
    DetectionConfig,
    LossConfig,
    NetworkConfig,
    PatchConfig,
    RecipeSection,
    SamplerConfig,
    TissueConfig,
    TrainingConfig,
)

BACKGROUND = 0
IGNORE = 255
"""Values of a mask beside the classes, which are 1, 2, ... in the order of `ClassConfig.labels`."""

LARGEST_PX = 16_384
"""Side of a patch in px; a single larger one would fill the memory."""

MAX_TRAINING_PX, MAX_DETECTION_PX = 2**32, 2**30
"""Pixels of a batch; more would fill the memory."""

SET_ASIDE = ("ignore", "reviewed")
"""What `ClassConfig.canonical` returns for classes that are no label."""

RENAMED: Mapping[str, str] = MappingProxyType(
    {
        "windows.mpp": "patches.mpp",
        "windows.side_um": "patches.size_um",
        "windows.tile_share": "patches.tile_coverage",
        "network.channels": "network.input_channels",
        "network.widths": "network.decoder_channels",
        "network.members": "network.ensemble_size",
        "loss.prior": "loss.prior_bias",
        "training.batch": "training.batch_size",
        "training.optimiser": "training.optimizer",
        "training.warm_up": "training.warmup",
        "training.clip": "training.gradient_clip",
        "training.ema": "training.ema_decay",
        "training.validation_windows": "training.validation_patches",
        "training.tune_share": "training.tuning_share",
        "tissue.smallest_um2": "tissue.min_area_um2",
        "tissue.largest_hole_um2": "tissue.max_hole_um2",
        "tissue.std": "tissue.min_std",
        "tissue.artefacts": "tissue.artifacts",
        "detection.batch": "detection.batch_size",
        "detection.flips": "detection.tta_views",
        "detection.neighbourhood_um": "detection.class_smoothing_um",
        "detection.smallest_um2": "detection.min_area_um2",
        "detection.largest_hole_um2": "detection.max_hole_um2",
    }
)
"""Recipe keys of histoscout 0.1.0 and what they are called now; both are read."""

ADDED: Mapping[str, object] = MappingProxyType({"classes.class_property": ""})
"""Recipe keys that histoscout 0.1.0 did not have, with their defaults."""

_FIRST_NAMES = {new: old for old, new in RENAMED.items()}


class Recipe(RecipeSection):
    """The recipe (configuration) of a detector: every choice of training and detection.

    A bare `Recipe()` holds the defaults, which fit no cohort in particular; `histoscout.plan` chooses values for a
    cohort and a machine.

    Attributes:
        seed: Random seed.
        classes: Annotated classes.
        patches: Resolution and size of patches.
        sampler: Where training patches are drawn.
        augment: Data augmentation.
        network: The network.
        loss: The loss.
        training: Length and optimizer.
        tissue: Tissue detection.
        detection: From heatmaps to regions.

    Example:
        >>> from histoscout import Recipe
        >>> recipe = Recipe().with_choices({"classes.positive": "UDH", "training.minutes": 5})
        >>> recipe.training.minutes
        5.0
        >>> Recipe.from_dict({"patches": {"mpp": 2.0, "size_um": 512.0}}).patch_px
        256
    """

    seed: int = Field(
        default=0,
        ge=0,
        lt=2**62,
        description="Random seed: the same seed gives the same patches and weights.",
    )
    classes: ClassConfig = Field(default=ClassConfig(), description="Annotated classes.")
    patches: PatchConfig = Field(default=PatchConfig(), description="Resolution and size of patches.")
    sampler: SamplerConfig = Field(default=SamplerConfig(), description="Where training patches are drawn.")
    augment: AugmentConfig = Field(default=AugmentConfig(), description="Data augmentation.")
    network: NetworkConfig = Field(default=NetworkConfig(), description="The network.")
    loss: LossConfig = Field(default=LossConfig(), description="The loss.")
    training: TrainingConfig = Field(
        default_factory=lambda: TrainingConfig.model_validate({}), description="Length and optimizer."
    )
    tissue: TissueConfig = Field(default=TissueConfig(), description="Tissue detection.")
    detection: DetectionConfig = Field(default=DetectionConfig(), description="From heatmaps to regions.")

    @property
    def patch_px(self) -> int:
        """Side of a patch as the network sees it, in px."""
        return round(self.patches.size_um / self.patches.mpp)

    @model_validator(mode="before")
    @classmethod
    def _read_old_keys(cls, values: Any) -> Any:
        return current_keys(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if not 1 <= self.patches.size_um / self.patches.mpp <= LARGEST_PX:
            raise ValueError(
                f"patches: {self.patches.size_um:g} um at {self.patches.mpp:g} um/px are not a patch of 32 to "
                f"{LARGEST_PX} px; size_um is in um, such as 256, and mpp in um per px, such as 1"
            )
        if self.patch_px % 32:
            good = max(32, round(self.patch_px / 32) * 32)
            raise ValueError(
                f"patches: {self.patches.size_um} um at {self.patches.mpp} um/px are {self.patch_px} px, which is "
                f"not a multiple of 32; size_um = {good * self.patches.mpp:g} would be {good} px"
            )
        for section, batch, most in (
            ("training", self.training.batch_size, MAX_TRAINING_PX),
            ("detection", self.detection.batch_size, MAX_DETECTION_PX),
        ):
            if batch * self.patch_px**2 > most:
                raise ValueError(
                    f"{section}.batch_size: {batch} patches of {self.patch_px} px would fill the memory; at most "
                    f"{most // self.patch_px**2} of this size are possible"
                )
        if self.classes.other and registry.LOSSES[self.loss.name].binary:
            raise ValueError(
                f"loss: {self.loss.name} supports a single class; use a cross-entropy loss with classes.other"
            )
        return self

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: object = "recipe") -> Self:
        """Check a recipe given as nested dictionaries.

        Args:
            values: Sections and their keys; what is left out has its default. Keys of histoscout 0.1.0 are accepted.
            where: What an error names as its place, such as the path of the file.

        Returns:
            The recipe.

        Raises:
            RecipeError: With every problem at once.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = [
                f"  {_problem_text(problem['loc'], problem['type'], problem['msg'])}"
                for problem in error.errors(include_url=False)
            ]
            fault = f"{pluralize(len(problems), 'problem')}\n" + "\n".join(problems)
            raise RecipeError(
                where, fault, "Correct these lines; docs/guides/recipe.md explains each"
            ) from error

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check a recipe file.

        Args:
            path: A TOML file.

        Returns:
            The recipe.

        Raises:
            RecipeError: If the file cannot be read or is not TOML, or with every problem of the recipe at once.
        """
        try:
            values = tomllib.loads(read_text(path))
        except OSError as error:
            raise RecipeError(
                path, f"cannot be read ({error.strerror})", "Give the path of a .toml file"
            ) from error
        except (ValueError, RecursionError) as error:
            raise RecipeError(path, f"is not valid TOML ({error})", "Correct the line") from error
        return cls.from_dict(values, path)

    def to_toml(self, *, documented: bool = False) -> str:
        """The whole recipe as TOML; keys without a value are left out, since TOML has no null.

        Args:
            documented: Whether the description of each key stands above it as a comment.

        Returns:
            The text of a recipe file.
        """
        values = _without_none(self.model_dump(mode="json"))
        if not documented:
            return tomlkit.dumps(values)
        document = tomlkit.document()
        _add_documented(document, values, "")
        return tomlkit.dumps(document)

    def identity(self) -> str:
        """The text that fingerprints of a recipe are made from; equal for equal recipes of all versions.

        It is the TOML with the keys of histoscout 0.1.0, so that a run which an older version began is recognized. A key
        that was added since is part of it only if its value is not the default.
        """
        values = _without_none(self.model_dump(mode="json"))
        old = {}
        for section, part in values.items():
            if not isinstance(part, dict):
                old[section] = part
                continue
            part = {
                key: value
                for key, value in part.items()
                if f"{section}.{key}" not in ADDED or value != ADDED[f"{section}.{key}"]
            }
            names = {key: _FIRST_NAMES.get(f"{section}.{key}", f"{section}.{key}").split(".") for key in part}
            old[next(iter(names.values()))[0]] = {names[key][1]: value for key, value in part.items()}
        return tomlkit.dumps(old)

    def write(self, path: Path) -> None:
        """Write the recipe as a TOML file.

        Args:
            path: The file, which is replaced if it exists.

        Raises:
            OutputError: If the file cannot be written.
        """
        write_text(path, self.to_toml())

    def with_choices(self, choices: Mapping[str, Any]) -> Self:
        """The recipe with some values replaced.

        Args:
            choices: Values by dotted key, such as {"training.minutes": 5}.

        Returns:
            A new recipe.

        Raises:
            RecipeError: If a key does not exist or a value is not possible.
        """
        values = self.model_dump()
        for name, value in choices.items():
            *sections, last = RENAMED.get(name, name).split(".")
            place: Any = values
            for section in sections:
                place = place.get(section) if isinstance(place, dict) else None
            if not isinstance(place, dict):
                raise RecipeError("recipe", f"has no key {name!r}", "docs/guides/recipe.md lists the keys")
            place[last] = value
        return self.from_dict(values)


def description_of(key: str) -> str:
    """The description of a recipe key, as the recipe's own documentation gives it.

    Args:
        key: A dotted key of a recipe, such as "training.minutes".

    Returns:
        One sentence; empty for a key that has none.
    """
    section, _, name = key.rpartition(".")
    model = Recipe.model_fields[section].annotation if section else Recipe
    fields = model.model_fields if isinstance(model, type) and issubclass(model, BaseModel) else {}
    return (fields[name].description or "") if name in fields else ""


def current_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the recipe keys of histoscout 0.1.0 to their current names.

    Args:
        values: Sections and their keys.

    Returns:
        A copy with current keys.
    """
    current = {name: dict(part) if isinstance(part, dict) else part for name, part in values.items()}
    for old, new in RENAMED.items():
        (old_section, old_key), (section, key) = old.split("."), new.split(".")
        part = current.get(old_section)
        if not isinstance(part, dict) or old_key not in part:
            continue
        target = current.setdefault(section, {})
        if isinstance(target, dict):
            if key in target:
                raise ValueError(f"{old} is the old name of {new}, which is given too: delete {old}")
            target[key] = part.pop(old_key)
    # an emptied section of old keys goes; what is left in it is unknown and named as such
    if current.get("windows") == {}:
        del current["windows"]
    return current


def _problem_text(place: tuple[int | str, ...], kind: str, message: str) -> str:
    """A problem that pydantic found; for a key that does not exist, the one that was probably meant."""
    key = ".".join(map(str, place)) or "recipe"
    if kind != "extra_forbidden":
        return f"{key}: {message.removeprefix('Value error, ')}"
    sections = {name: info.annotation for name, info in Recipe.model_fields.items()}
    known = [
        f"{name}.{inner}"
        for name, section in sections.items()
        if isinstance(section, type) and issubclass(section, BaseModel)
        for inner in section.model_fields
    ]
    close = difflib.get_close_matches(key, [*sections, *known], 1)
    return f"there is no choice {key}" + (f" (did you mean {close[0]}?)" if close else "")


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    pairs = (
        (name, _without_none(value) if isinstance(value, dict) else value) for name, value in values.items()
    )
    return {name: value for name, value in pairs if value is not None}


def _add_documented(
    container: tomlkit.TOMLDocument | tomlkit.items.Table, values: dict[str, Any], section: str
) -> None:
    """Add keys with their descriptions to a TOML document, sections last as TOML wants it."""
    for name, value in values.items():
        key = f"{section}.{name}" if section else name
        if section or not isinstance(value, dict):
            container.add(tomlkit.comment(description_of(key)))
            if isinstance(value, dict):
                inline = tomlkit.inline_table()
                inline.update(value)
                container.add(name, inline)
            else:
                container.add(name, value)
        else:
            table = tomlkit.table()
            _add_documented(table, value, name)
            container.add(tomlkit.nl())
            container.add(name, table)
