"""The sections of a recipe: classes, patches, network, loss, training, tissue, detection.

Each key is documented by its `Field(description=...)`: the guide to recipes, the comments of a plan and the JSON
schema take their texts from here. Sizes are in um, resolution in um/px.
"""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from histoscout import registry

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, le=1e9)]
Mpp = Annotated[float, Field(ge=0.01, le=1000)]
Area = Annotated[float, Field(ge=0, le=1e12)]
Channels = Annotated[int, Field(ge=1, le=4096)]

MAX_BATCH = 4096
"""Patches or windows in a batch."""

MAX_CLASSES = 250
"""Classes that masks of one byte can tell apart, with some to spare."""


class RecipeSection(BaseModel):
    """A section of the recipe: unknown keys and infinite numbers are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def plain(name: str) -> str:
    """A class name without case, and with spaces for hyphens and underscores.

    Args:
        name: A class name as somebody typed it.

    Returns:
        The name in lower case with single spaces.
    """
    return re.sub(r"[\s_\-]+", " ", name).strip().casefold()


def _matches_any(name: str, patterns: Iterable[str]) -> bool:
    """Whether a plain name equals one of these spellings or matches it as a pattern."""
    plain_patterns = [plain(pattern) for pattern in patterns]
    return name in plain_patterns or any(fnmatchcase(name, pattern) for pattern in plain_patterns)


_NOT_REVIEWED = re.compile(r"unreviewed|\b(un|not|non|never|to be)( yet| been)* reviewed")


class ClassConfig(RecipeSection):
    """Which annotated classes are detected, distinguished, ignored, or mark reviewed areas."""

    positive: str = Field(default="UDH", min_length=1, description="The class to detect.")
    other: tuple[str, ...] = Field(
        default=(),
        max_length=MAX_CLASSES - 1,
        description="Other annotated classes (look-alikes) that get an output of their own.",
    )
    ignore: tuple[str, ...] = Field(
        default=("*unsure*", "*ignore*", "*[*]"),
        description="Patterns of classes that count neither for nor against.",
    )
    aliases: dict[str, tuple[str, ...]] = Field(
        default={},
        description='Other spellings (patterns) of a class name, such as UDH = ["UDH-sure", "usual*"].',
    )
    reviewed: tuple[str, ...] = Field(
        default=("*reviewed*",),
        description="Patterns of reviewed areas; without any such area the whole slide counts as reviewed.",
    )
    class_property: str = Field(
        default="",
        description="Property of the annotations that holds their classes, such as type_str or label.value, where they "
        "are not in the usual place.",
    )
    unlisted: Literal["background", "ignore"] = Field(
        default="background", description="What annotated classes that are not listed above count as."
    )
    complete: bool = Field(
        default=True,
        description="Whether every lesion is annotated; if false, unannotated tissue that looks like a lesion is "
        "not taken as background.",
    )

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes that the network predicts, the positive one first."""
        return (self.positive, *self.other)

    def canonical(self, name: str) -> str | None:
        """The recipe's spelling of a class name from an annotation file.

        Args:
            name: The class name as the annotator typed it.

        Returns:
            A name of `labels`; "ignore" for an ignored class; "reviewed" for a reviewed area (a name such as
            "not reviewed" is ignored instead); None for a class that the recipe does not list.
        """
        typed = plain(name)
        # a class's own name is no pattern and comes before all patterns
        for label in self.labels:
            if plain(label) == typed:
                return label
        if _matches_any(typed, self.ignore):
            return "ignore"
        if _matches_any(typed, self.reviewed):
            return "ignore" if _NOT_REVIEWED.search(typed) else "reviewed"
        for label in self.labels:
            if _matches_any(typed, self.aliases.get(label, ())):
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
    """The resolution and the size of a patch, the part of a slide that the network sees at once."""

    mpp: Mpp = Field(default=1.0, description="Resolution in um/px.")
    size_um: Positive = Field(default=256.0, description="Side of a patch in um.")
    tile_coverage: Share = Field(
        default=0.25,
        description="For tile classifiers: a patch is of the class that covers at least this share of it; with less "
        "it is ignored.",
    )


class SamplerConfig(RecipeSection):
    """Where training patches are drawn: shares of patches, balanced over patients and slides."""

    positive: Share = Field(
        default=0.4, description="Share centered on regions of the positive class, with jitter."
    )
    other: Share = Field(default=0.2, description="Share centered on regions of other annotated classes.")
    tissue: Share = Field(default=0.4, description="Share drawn anywhere in the tissue.")
    jitter: Share = Field(default=0.5, description="Largest random shift of a patch, as a share of its side.")

    @model_validator(mode="after")
    def _shares_add_up(self) -> Self:
        if abs(self.positive + self.other + self.tissue - 1) > 1e-6:
            raise ValueError("the shares positive + other + tissue must add up to 1")
        return self


class AugmentConfig(RecipeSection):
    """Random changes of training patches; validation and detection never use them."""

    flip: bool = Field(default=True, description="Mirror and turn by quarters.")
    rotate: bool = Field(default=True, description="Rotate by any angle.")
    scale: float = Field(default=0.2, ge=0, lt=0.5, description="Largest change of size, as a share.")
    stain: float = Field(
        default=0.05,
        ge=0,
        le=0.5,
        description="HED color jitter (Tellez 2018): half the sigma of the gain, twice that of the offset.",
    )
    brightness: float = Field(
        default=0.1, ge=0, le=0.5, description="Largest change of brightness, as a share."
    )
    blur: Share = Field(default=0.1, description="Share of patches that are blurred.")
    noise: Share = Field(default=0.1, description="Share of patches that get sensor noise.")


class NetworkConfig(RecipeSection):
    """The network that looks at a patch."""

    architecture: str = Field(
        default="smp.Unet",
        description="unet, unet_bn, smp.* (segmentation_models_pytorch) or timm (tile classifier).",
    )
    encoder: str = Field(
        default="resnet18",
        description="Any encoder of segmentation_models_pytorch, or any timm model for a tile classifier.",
    )
    weights: str = Field(
        default="none",
        description='Pretrained weights: "built-in", "imagenet", "none" or a .safetensors file.',
    )
    input_channels: Literal[1, 3] = Field(
        default=3, description="3 for RGB; 1 for gray, a weighted sum of RGB."
    )
    decoder_channels: tuple[Channels, ...] = Field(
        default=(),
        max_length=8,
        description="Channels of the decoder, deepest first; empty for the architecture's own.",
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout rate.")
    ensemble_size: int = Field(
        default=1,
        ge=1,
        le=8,
        description="Networks trained one after another with seeds of their own; their probabilities are averaged.",
    )

    @property
    def predicts_tiles(self) -> bool:
        """Whether the network gives one answer for a whole patch instead of one for each pixel."""
        return registry.ARCHITECTURES[self.architecture].predicts_tiles

    @model_validator(mode="after")
    def _name_is_known(self) -> Self:
        registry.check_name("architecture", self.architecture, registry.ARCHITECTURES)
        return self


class LossConfig(RecipeSection):
    """The loss that training minimizes."""

    name: str = Field(
        default="dice+cross_entropy",
        description="bce, cross_entropy, dice+bce, dice+cross_entropy, focal or tversky.",
    )
    prior_bias: bool = Field(
        default=True,
        description="Start with the share of each class as the network's output (RetinaNet's bias).",
    )
    positive_weight: float = Field(default=1.0, gt=0, le=20, description="Weight of the positive class.")

    @model_validator(mode="after")
    def _name_is_known(self) -> Self:
        registry.check_name("loss", self.name, registry.LOSSES)
        return self


class TrainingConfig(RecipeSection):
    """Length, optimizer and validation of a training."""

    minutes: Positive | None = Field(
        default=None,
        description="Minutes of training; a number of steps is fixed after the first ones are timed.",
    )
    epochs: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="Epochs instead of minutes; with neither, training takes 20 minutes."
    )
    steps_per_epoch: int = Field(
        default=100, ge=1, le=10_000_000, description="Steps of an epoch, after each of which it validates."
    )
    batch_size: int = Field(default=8, ge=1, le=MAX_BATCH, description="Patches in a step.")
    optimizer: Literal["adamw", "adam"] = Field(default="adamw", description="adamw or adam.")
    learning_rate: Positive = Field(default=1e-3, description="Highest learning rate.")
    encoder_learning_rate: Positive | None = Field(
        default=None, description="Highest learning rate of the encoder; not given: as the rest."
    )
    weight_decay: float = Field(default=1e-2, ge=0, le=1e9, description="Weight decay.")
    schedule: Literal["one_cycle", "cosine", "constant"] = Field(
        default="one_cycle", description="Learning rate schedule: one_cycle, cosine or constant."
    )
    warmup: Share = Field(default=0.1, description="Share of the steps in which the learning rate rises.")
    gradient_clip: float = Field(
        default=1.0, ge=0, le=1e9, description="Largest norm of the gradient; 0 for no limit."
    )
    ema_decay: float = Field(
        default=0.995, ge=0, lt=1, description="Decay of the averaged weights (EMA); 0 for the raw weights."
    )
    precision: Literal["auto", "bf16", "float32"] = Field(
        default="auto", description="auto, bf16 or float32."
    )
    validation_patches: int = Field(
        default=128, ge=1, le=10_000_000, description="Patches of the tuning set in a validation."
    )
    tuning_share: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="Share of the patients that choose the best weights and the threshold.",
    )
    workers: Annotated[int, Field(ge=0, le=1024)] | None = Field(
        default=None, description="Processes that read patches; not given: one for each core, eight at most."
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
    """How tissue is distinguished from glass."""

    method: Literal["saturation", "tile_std"] = Field(
        default="saturation", description="saturation, or tile_std (the study's rule)."
    )
    mpp: Mpp = Field(default=8.0, description="Resolution at which tissue is found, in um/px.")
    min_area_um2: Area = Field(default=20_000.0, description="Smaller pieces count as dirt.")
    max_hole_um2: Area = Field(default=100_000.0, description="Smaller holes (lumens, fat) are filled.")
    min_std: float = Field(
        default=12.5,
        ge=0,
        le=255,
        description="For tile_std: least standard deviation of a tile of a patch's size.",
    )
    artifacts: bool = Field(default=True, description="Leave out pen marks and out-of-focus areas.")


class DetectionConfig(RecipeSection):
    """How heatmaps are computed and regions made of them."""

    overlap: float = Field(
        default=0.5, ge=0, le=0.75, description="Overlap of windows, as a share of their side."
    )
    batch_size: int = Field(default=4, ge=1, le=MAX_BATCH, description="Windows in a batch.")
    tta_views: Literal[1, 2, 4, 8] = Field(
        default=1, description="Test-time augmentation: flipped and turned views that are averaged."
    )
    class_smoothing_um: float = Field(
        default=50.0,
        ge=0,
        le=10_000,
        description="Sigma of the neighborhood that decides the class of a place; 0: each place for itself.",
    )
    min_area_um2: Area = Field(default=2_000.0, description="Smaller regions are dropped.")
    max_hole_um2: Area = Field(default=500.0, description="Smaller holes in a region are filled.")
    simplify_um: float = Field(
        default=1.0, ge=0, le=1000, description="Tolerance of the simplified outlines."
    )
    threshold: Share | None = Field(
        default=None,
        description="Probability from which a place is detected; not given: as the tuning set chose.",
    )
