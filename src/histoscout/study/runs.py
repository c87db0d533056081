"""Which networks are trained how: every row of the paper's tables and figures, with and without the faults."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from histoscout.study import paper

SHARED = frozenset("ABCFGHIJK")
"""What every segmentation run had."""

STATED = frozenset("IJK")
"""What the paper itself states: the protocol without the faults of the code."""


Whole = Literal["none", "referee", "all"]


@dataclass(frozen=True)
class Model:
    """One of the paper's networks: how it is called, its recipe, and the faults that its run had."""

    title: str
    recipe: str
    had: frozenset[str]


MODELS: Mapping[str, Model] = MappingProxyType(
    {
        "unet": Model("U-Net", "unet", SHARED),
        "unet-rerun": Model("U-Net, the rerun", "unet", SHARED | {"E"}),
        "resnet50-unet": Model("U-Net + ResNet50", "resnet50_unet", SHARED | {"D"}),
        "densenet121": Model("DenseNet121 classifier", "densenet121", frozenset("AHIJK")),
        "densenet121-unet": Model("U-Net + DenseNet121", "densenet121_unet", SHARED),
    }
)


@dataclass(frozen=True)
class Run:
    """One training. `epochs` are the paper's, at each of which it is judged; `share` of the steps are really done.

    `whole` says which whole slides are looked at when it ends: the referee's, or also the left-out patient's;
    `slides` how many of the study's are used (None: all).
    """

    model: str
    faults: frozenset[str]
    seed: int = 0
    epochs: tuple[int, ...] = paper.EPOCHS
    rate: float = paper.RATE
    channels: int = 3
    slides: int | None = None
    share: float = 1.0
    whole: Whole = "referee"

    @property
    def letters(self) -> str:
        return "".join(sorted(self.faults)) or "none"

    @property
    def name(self) -> str:
        """What the run's folder is called: everything that distinguishes it."""
        parts = [self.model, self.letters, f"lr{self.rate:g}", f"e{self.epochs[-1]}", f"s{self.seed}"]
        parts += ["grey"] * (self.channels == 1) + [f"{self.slides}slide"] * (self.slides is not None)
        return "_".join(parts)

    @property
    def classifier(self) -> "Run | None":
        """The tile classifier whose encoder this run begins with."""
        if self.model != "densenet121-unet":
            return None
        had = MODELS["densenet121"].had
        return Run("densenet121", self.faults & had, self.seed, epochs=(50,))


def main_runs() -> dict[str, Run]:
    """The runs of `histoscout study`, by the name under which the report finds them, in the order they are made."""
    runs = {}
    for model, epochs in (
        ("unet", paper.EPOCHS),
        ("resnet50-unet", paper.EPOCHS),
        ("densenet121", paper.EPOCHS[:1]),
        ("densenet121-unet", paper.EPOCHS[:1]),
    ):
        had = MODELS[model].had
        whole: Whole = "all" if model == "unet" else "none" if model == "densenet121" else "referee"
        runs[f"{model}, as run"] = Run(model, had, epochs=epochs, whole=whole)
        runs[f"{model}, as stated"] = Run(model, had & STATED, epochs=epochs, whole=whole)
        if model in {"unet", "resnet50-unet"}:
            runs[f"{model}, mended"] = Run(model, frozenset(), epochs=epochs[-1:], whole=whole)
    had = MODELS["resnet50-unet"].had
    runs["resnet50-unet, as run but one sigmoid"] = Run("resnet50-unet", had - {"D"})
    runs["unet-rerun, as run"] = Run("unet-rerun", MODELS["unet-rerun"].had, epochs=(50,), whole="none")
    return runs | _variants() | _labels_alone()


def _variants() -> dict[str, Run]:
    """The U-Net in grey, on one slide, and at the other learning rates; not looked at on whole slides."""
    had, short = MODELS["unet"].had, paper.EPOCHS[:1]
    runs = {}
    for column, faults in (("as run", had), ("as stated", had & STATED)):
        runs[f"unet in grey, {column}"] = Run("unet", faults, epochs=short, channels=1, whole="none")
        runs[f"unet on one slide, {column}"] = Run("unet", faults, epochs=short, slides=1, whole="none")
    for rate in paper.RATES:
        share = 0.1 if rate == max(paper.RATES) else 1.0  # 1e-2 was interrupted
        runs[f"unet at {rate:g}, as run"] = Run(
            "unet", had, epochs=short, rate=rate, share=share, whole="none"
        )
    return runs


def _labels_alone() -> dict[str, Run]:
    """At a sane learning rate: masks as displaced and where they belong, all else as it was run; and without C, too.

    A network that learns is kept from that by C: the test loss that is no test loss is lowest before it has learnt.
    """
    had = MODELS["unet"].had - {"I"}
    return {
        "unet at a sane rate, displaced masks": Run("unet", had, epochs=(100,)),
        "unet at a sane rate, masks in place": Run("unet", had - {"A"}, epochs=(100,)),
        "unet at a sane rate, true validation, displaced masks": Run("unet", had - {"C"}, epochs=(100,)),
        "unet at a sane rate, true validation, masks in place": Run("unet", had - {"C", "A"}, epochs=(100,)),
    }


def ablation_runs(seeds: int) -> list[Run]:
    """All that a run had; each alone; all but each; none: for every model the faults that it is the judge of."""
    judged = {"unet": sorted(SHARED), "resnet50-unet": ["D"], "unet-rerun": ["E"]}
    sets: list[tuple[str, frozenset[str]]] = []
    for model, letters in judged.items():
        had = MODELS[model].had
        sets += [(model, had), (model, frozenset())]
        sets += [(model, frozenset(letter)) for letter in letters]
        sets += [(model, had - {letter}) for letter in letters]
    sets += [("unet", SHARED - {"I", *more}) for more in ("A", "C", "AC")]
    unique = list(dict.fromkeys(sets))
    return [Run(model, faults, seed, epochs=(100,)) for seed in range(seeds) for model, faults in unique]
