"""Every choice in one place: classes, resolution, windows, network, loss, training, detection.

A recipe is read from TOML, checked as a whole, and stored in the model folder, so that training and detection
can never disagree. Sizes are in um, resolution in um/px.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from histoscout import registry
from histoscout.errors import RecipeError
from histoscout.io.files import write_text

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]

BACKGROUND, IGNORE = (
    0,
    255,
)  # values in a window's mask; classes are 1, 2, ... in the order of `Classes.labels`


LARGEST_PX = 16_384  # side of a window; a single one would fill the memory

SET_ASIDE = ("ignore", "reviewed")
"""Words of a recipe that are no class."""


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


class RecipeSection(BaseModel):
    """A part of the recipe: unknown names and numbers without end are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def plain(name: str) -> str:
    """A class name without the differences that people do not mean: case, blanks, hyphens, underscores."""
    return re.sub(r"[\s_\-]+", " ", name).strip().casefold()


def _any_is(typed: str, spellings: Iterable[str]) -> bool:
    """Whether a plain name is one of these, letter for letter or as a pattern."""
    plain_ones = [plain(spelling) for spelling in spellings]
    return typed in plain_ones or any(fnmatchcase(typed, pattern) for pattern in plain_ones)


_NOT_REVIEWED = re.compile(r"unreviewed|\b(un|not|non|never|to be)( yet| been)* reviewed")


class ClassConfig(RecipeSection):
    """Which outlines are looked for, which get an output of their own, and which are left out."""

    positive: Annotated[str, Field(min_length=1)] = "UDH"
    other: tuple[str, ...] = ()  # told apart from the positive class by outputs of their own
    ignore: tuple[str, ...] = ("*unsure*", "*ignore*", "*[*]")  # patterns; neither positive nor negative
    aliases: dict[str, tuple[str, ...]] = {}  # other spellings (patterns) of a class name
    reviewed: tuple[str, ...] = ("*reviewed*",)  # patterns of areas that were looked through; none: all was
    unlisted: Literal["background", "ignore"] = "background"  # annotated classes named nowhere above
    complete: bool = True  # every lesion is outlined; false: others are looked for

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes a network answers for, the positive one first."""
        return (self.positive, *self.other)

    def canonical(self, name: str) -> str | None:
        """The recipe's word for a class as somebody typed it; None if unlisted.

        "ignore" for unsure ones, "reviewed" for areas in which everything was marked; "not reviewed" says the opposite
        and is ignored. A class's own name is no pattern, and comes before all patterns.
        """
        typed = plain(name)
        for label in self.labels:
            if plain(label) == typed:
                return label
        if _any_is(typed, self.ignore):
            return "ignore"
        if _any_is(typed, self.reviewed):
            return "ignore" if _NOT_REVIEWED.search(typed) else "reviewed"
        for label in self.labels:
            if _any_is(typed, self.aliases.get(label, ())):
                return label
        return "ignore" if self.unlisted == "ignore" else None

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Self:
        if len({plain(label) for label in self.labels}) < len(self.labels):
            raise ValueError("a class is named twice among positive and other")
        if unknown := sorted(set(self.aliases) - set(self.labels)):
            raise ValueError(f"aliases for {', '.join(unknown)}, which is neither positive nor other")
        return self


class PatchConfig(RecipeSection):
    """What one look at a slide shows."""

    mpp: Positive = 1.0  # um per pixel
    size_um: Positive = 256.0  # side of a window
    tile_coverage: Share = (
        0.25  # a tile is of the class that covers this much of it; covered less, it is ignored
    )


class SamplerConfig(RecipeSection):
    """Where training windows are drawn: shares of windows, balanced over patients and slides."""

    positive: Share = 0.4  # centred on a region of the positive class, with jitter
    other: Share = 0.2  # centred on a region of another annotated class
    tissue: Share = 0.4  # anywhere in the tissue
    jitter: Share = 0.5  # of a window's side

    @model_validator(mode="after")
    def _shares_add_up(self) -> Self:
        if abs(self.positive + self.other + self.tissue - 1) > 1e-6:
            raise ValueError("the shares positive + other + tissue must add up to 1")
        return self


class AugmentConfig(RecipeSection):
    """How training windows are varied; nothing of this happens in validation or detection."""

    flip: bool = True  # mirror and quarter turns
    rotate: bool = True  # any angle
    scale: Annotated[float, Field(ge=0, lt=0.5)] = 0.2  # largest change of size
    stain: Annotated[float, Field(ge=0, le=0.5)] = (
        0.05  # HED jitter (Tellez 2018): half the sigma of the gain, twice that of the offset
    )
    brightness: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    blur: Share = 0.1  # share of windows blurred
    noise: Share = 0.1  # share of windows with sensor noise


class NetworkConfig(RecipeSection):
    """What looks at a window."""

    architecture: str = "smp.Unet"
    encoder: str = (
        "resnet18"  # any encoder of segmentation_models_pytorch, or any timm model for a classifier
    )
    weights: str = "none"  # "built-in", "imagenet", "none" or the path of a .safetensors file
    input_channels: Literal[1, 3] = 3  # 1: grey by weighted sum of red, green and blue
    decoder_channels: tuple[
        PositiveInt, ...
    ] = ()  # decoder's channels, deepest first; empty: the architecture's own
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    ensemble_size: Annotated[int, Field(ge=1, le=8)] = (
        1  # networks learnt one after another from seeds of their own; their probabilities are averaged
    )

    @model_validator(mode="after")
    def _name_is_known(self) -> Self:
        registry.check("architecture", self.architecture, registry.ARCHITECTURES)
        return self


class LossConfig(RecipeSection):
    """What training makes small."""

    name: str = "dice+cross_entropy"
    prior_bias: bool = True  # start with the share of each class as the network's answer (RetinaNet's bias)
    positive_weight: Annotated[float, Field(gt=0, le=20)] = 1.0

    @model_validator(mode="after")
    def _name_is_known(self) -> Self:
        registry.check("loss", self.name, registry.LOSSES)
        return self


class TrainingConfig(RecipeSection):
    """How long and how fast."""

    minutes: Positive | None = None  # becomes a fixed number of steps after the first are timed
    epochs: Annotated[int, Field(ge=1)] | None = None  # neither given: 20 minutes
    steps_per_epoch: Annotated[int, Field(ge=1)] = 100
    batch_size: Annotated[int, Field(ge=1)] = 8
    optimizer: Literal["adamw", "adam"] = "adamw"
    learning_rate: Positive = 1e-3
    encoder_learning_rate: Positive | None = None  # None: as the rest
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    warmup: Share = 0.1  # share of the steps in which the learning rate rises
    gradient_clip: Annotated[float, Field(ge=0)] = 1.0  # largest norm of the gradient; 0: any
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.995  # decay of the averaged weights; 0: none
    precision: Literal["auto", "bf16", "float32"] = "auto"
    validation_patches: Annotated[int, Field(ge=1)] = 128
    tuning_share: Annotated[float, Field(gt=0, lt=1)] = (
        0.2  # patients kept apart to choose threshold and weights
    )
    workers: Annotated[int, Field(ge=0)] | None = (
        None  # processes that read windows; None: as the machine has
    )

    @model_validator(mode="before")
    @classmethod
    def _one_length(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        lengths = [name for name in ("minutes", "epochs") if values.get(name) is not None]
        if len(lengths) == 2:
            raise ValueError("give either minutes or epochs, not both")
        return values if lengths else {**values, "minutes": 20.0}


class TissueConfig(RecipeSection):
    """What of a slide is looked at."""

    method: Literal["saturation", "tile_std"] = "saturation"
    mpp: Positive = 8.0
    min_area_um2: Annotated[float, Field(ge=0)] = 20_000.0  # smaller pieces are dirt
    max_hole_um2: Annotated[float, Field(ge=0)] = 100_000.0  # smaller holes (lumens, fat) are filled
    min_std: Annotated[float, Field(ge=0)] = 12.5  # tile_std: the study's rule, for a tile of a window's side
    artifacts: bool = True  # leave out pen marks and out-of-focus areas


class DetectionConfig(RecipeSection):
    """How regions are made from what the network says."""

    overlap: Annotated[float, Field(ge=0, le=0.75)] = 0.5  # share of a window's side
    batch_size: Annotated[int, Field(ge=1)] = 4
    tta_views: Literal[1, 2, 4, 8] = 1  # views averaged: as is, mirrored, turned
    class_smoothing_um: Annotated[float, Field(ge=0)] = 50.0  # sigma, within which places agree on the class
    min_area_um2: Annotated[float, Field(ge=0)] = 2_000.0
    max_hole_um2: Annotated[float, Field(ge=0)] = 500.0  # smaller holes in a region are filled
    simplify_um: Annotated[float, Field(ge=0)] = 1.0
    threshold: Share | None = None  # None: as chosen on the tuning patients


class Recipe(RecipeSection):
    """All choices of a training and of the detections with its model."""

    seed: Annotated[int, Field(ge=0)] = 0
    classes: ClassConfig = ClassConfig()
    patches: PatchConfig = PatchConfig()
    sampler: SamplerConfig = SamplerConfig()
    augment: AugmentConfig = AugmentConfig()
    network: NetworkConfig = NetworkConfig()
    loss: LossConfig = LossConfig()
    training: TrainingConfig = Field(default_factory=lambda: TrainingConfig.model_validate({}))
    tissue: TissueConfig = TissueConfig()
    detection: DetectionConfig = DetectionConfig()

    @property
    def patch_px(self) -> int:
        """Side of a window as the network sees it, in px."""
        return round(self.patches.size_um / self.patches.mpp)

    @model_validator(mode="before")
    @classmethod
    def _read_old_keys(cls, values: Any) -> Any:
        return current_keys(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if not 1 <= self.patches.size_um / self.patches.mpp <= LARGEST_PX:
            raise ValueError(
                f"patches: {self.patches.size_um:g} um at {self.patches.mpp:g} um/px are no window of 32 to "
                f"{LARGEST_PX} px; size_um is in um, such as 256, and mpp in um per px, such as 1"
            )
        if self.patch_px % 32:
            good = max(32, round(self.patch_px / 32) * 32)
            raise ValueError(
                f"patches: {self.patches.size_um} um at {self.patches.mpp} um/px are {self.patch_px} px, which is "
                f"not a multiple of 32; size_um = {good * self.patches.mpp:g} would be {good} px"
            )
        if self.classes.other and registry.LOSSES[self.loss.name].binary:
            raise ValueError(
                f"loss: {self.loss.name} knows one class only; with classes.other take cross-entropy"
            )
        return self

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: object = "recipe") -> Self:
        """Check a recipe given as nested dictionaries; RecipeError lists every problem at once."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise RecipeError(
                where, _problems(error), "Correct these lines; docs/guides/recipe.md explains each"
            ) from error

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check a recipe file; RecipeError lists every problem at once."""
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise RecipeError(
                path, f"cannot be read ({error.strerror})", "Give the path of a .toml file"
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise RecipeError(path, f"is not valid TOML ({error})", "Correct the line") from error
        return cls.from_dict(values, path)

    def to_toml(self) -> str:
        """The whole recipe as TOML; choices that are None are left out, as TOML has no word for them."""
        return tomlkit.dumps(_without_none(self.model_dump(mode="json")))

    def write(self, path: Path) -> None:
        write_text(path, self.to_toml())

    def with_choices(self, choices: dict[str, Any]) -> Self:
        """The recipe with some choices replaced, given by dotted names: {"training.minutes": 5}; RecipeError if one cannot be."""
        values = self.model_dump()
        for name, value in choices.items():
            *sections, last = RENAMED.get(name, name).split(".")
            place: Any = values
            for section in sections:
                place = place.get(section) if isinstance(place, dict) else None
            if not isinstance(place, dict):
                raise RecipeError("recipe", f"has no choice {name!r}", "docs/guides/recipe.md explains each")
            place[last] = value
        return self.from_dict(values)


def current_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's nested dictionary with the keys that histoscout 0.1.0 wrote under their current names."""
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


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    pairs = (
        (name, _without_none(value) if isinstance(value, dict) else value) for name, value in values.items()
    )
    return {name: value for name, value in pairs if value is not None}


def _problems(error: ValidationError) -> str:
    problems = error.errors(include_url=False)
    lines = [
        f"  {'.'.join(map(str, p['loc'])) or 'recipe'}: {p['msg'].removeprefix('Value error, ')}"
        for p in problems
    ]
    return f"{len(lines)} problem{'s' * (len(lines) > 1)}\n" + "\n".join(lines)
