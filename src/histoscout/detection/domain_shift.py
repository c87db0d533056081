"""What a slide's tissue looks like in a few numbers, and whether a new slide looks like those a model has learnt from.

A network is only known to work on tissue like that which it was judged on: on slides of another scanner or stain,
promises of conformal prediction failed (Olsson 2022, Nature Communications 13:7761). No network is asked here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from histoscout.geometry.box import Box
from histoscout.io.notes import pluralize
from histoscout.network.model_folder import ModelFolder
from histoscout.slides.slide import Slide
from histoscout.tissue.artifacts import STAIN_VECTORS
from histoscout.tissue.mask import Tissue
from histoscout.verdict import Verdict

NAMES: Mapping[str, tuple[str, float]] = MappingProxyType(
    {
        "haematoxylin": ("amount of haematoxylin", 0.02),
        "haematoxylin_spread": ("contrast of haematoxylin", 0.02),
        "eosin": ("amount of eosin", 0.02),
        "eosin_spread": ("contrast of eosin", 0.02),
        "residual": ("colour that is neither dye", 0.01),
        "colour": ("strength of colour", 0.02),
        "detail": ("amount of fine detail", 0.15),
        "sharpness": ("sharpness", 0.1),
    }
)
"""Each number in words, and what it differs by between slides that nobody would tell apart (optical density, octaves)."""

UNLIKE = "looks unlike the slides it was trained on"
LEAST_PATIENTS = 8
"""With fewer, what slides of this kind differ by is not known."""

SHARE = 0.05
"""About how many slides like those learnt from raise the alarm."""

WINDOWS, SIDE_PX = 24, 128

_FROM_RGB = np.linalg.inv(STAIN_VECTORS)

Numbers = Mapping[str, float]


def appearance(slide: Slide, tissue: Tissue, mpp: float) -> dict[str, float] | None:
    """A slide's numbers (see `NAMES`), seen as the network sees it, at `mpp` um/px; None without tissue.

    From at most 24 squares of 128 px with tissue, evenly over the slide, always the same ones.
    """
    boxes = _squares(slide, tissue, mpp)
    measured = [_measured(slide.read(box, mpp), tissue.mask_in(box, mpp / slide.mpp)) for box in boxes]
    rows = [row for row in measured if row is not None]
    if not rows:
        return None
    return {name: float(np.median([row[name] for row in rows])) for name in NAMES}


def _squares(slide: Slide, tissue: Tissue, mpp: float) -> list[Box]:
    """The squares with most tissue in each stretch of the slide's grid."""
    side = SIDE_PX * mpp / slide.mpp
    columns, rows = (max(1, math.floor(length / side)) for length in (slide.box.width, slide.box.height))
    boxes = [
        Box(slide.box.x + column * side, slide.box.y + row * side, side, side)
        for row in range(rows)
        for column in range(columns)
    ]
    shares = tissue.fractions(boxes)
    held = np.flatnonzero(shares > 0.25)
    parts = np.array_split(held, min(WINDOWS, max(1, len(held))))
    return [boxes[part[np.argmax(shares[part])]] for part in parts if len(part)]


def _measured(pixels: NDArray[np.uint8], shown: NDArray[np.bool_]) -> dict[str, float] | None:
    if shown.sum() < 256:
        return None
    density = -np.log10(np.maximum(pixels, 1) / 255.0)
    dyes = (density @ _FROM_RGB)[shown]
    color = np.ptp(pixels, axis=-1)[shown] / 255.0
    gray = density.mean(-1)
    fine = gray - ndimage.gaussian_filter(gray, 1.0)
    coarse = ndimage.gaussian_filter(gray, 1.0) - ndimage.gaussian_filter(gray, 2.0)
    energy = [float(np.sqrt((band[shown] ** 2).mean())) + 1e-4 for band in (fine, coarse)]
    return {
        "haematoxylin": float(dyes[:, 0].mean()),
        "haematoxylin_spread": float(dyes[:, 0].std()),
        "eosin": float(dyes[:, 1].mean()),
        "eosin_spread": float(dyes[:, 1].std()),
        "residual": float(dyes[:, 2].mean()),
        "colour": float(color.mean()),
        "detail": math.log2(energy[0]),
        "sharpness": math.log2(energy[0] / energy[1]),
    }


@dataclass(frozen=True)
class Learnt:
    """The numbers of the slides that a model was made with, and whose slides they are."""

    numbers: tuple[Numbers, ...]
    patients: tuple[str, ...]

    @property
    def enough(self) -> bool:
        """Whether what such slides differ by is known at all."""
        return len(set(self.patients)) >= LEAST_PATIENTS

    @classmethod
    def of(cls, model: ModelFolder) -> "Learnt":
        """Those of a model's slides, as its metrics.json holds them; none in a model of an older version."""
        rows = model.metrics.get("appearance", [])
        return cls(tuple(row["numbers"] for row in rows), tuple(row["patient"] for row in rows))

    def to_list(self) -> list[dict[str, Any]]:
        """For metrics.json."""
        return [
            {"patient": patient, "numbers": dict(numbers)}
            for patient, numbers in zip(self.patients, self.numbers, strict=True)
        ]


def looks_known(learnt: Learnt, new: Numbers | None) -> Verdict:
    """Whether a slide looks like those learnt from: "warning" with what is unlike, "cannot tell" with too few of them.

    A number is unlike as far as it lies from the mean of the known slides, in their standard deviations; the slide as
    far as its most unlike number. The limit is what the known slides themselves reach, each against those of the other
    patients, but for about one of twenty.
    """
    title = "looks like the slides it was trained on"
    if new is None:
        return Verdict(name=title, state="cannot tell", message="no tissue to look at")
    count = len(set(learnt.patients))
    if not learnt.enough:
        message = f"whether a slide looks like those it was trained on cannot be told: they are of {pluralize(count, 'patient')}"
        return Verdict(
            name=title,
            state="cannot tell",
            message=message,
            remedy=f"Train with slides of at least {LEAST_PATIENTS} patients",
        )
    limit = _limit(learnt)
    far = unlike(_table(learnt.numbers), _table([new])[0])
    beyond = sorted(
        ((float(by), name) for by, name in zip(far, NAMES, strict=True) if by > limit), reverse=True
    )
    if not beyond:
        return Verdict(name=title, state="good", message=f"within what slides of {count} patients differ by")
    named = ", ".join(_told(learnt, new, name) for _, name in beyond[:3])
    message = f"{UNLIKE}: {named}"
    return Verdict(
        name=title,
        state="warning",
        message=message,
        remedy="What is found here, and what was promised, may not be relied on",
    )


def unlike(known: NDArray[np.float64], new: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each number of a slide lies from those of known slides (N, K), in their standard deviations: (K,)."""
    least = np.array([amount for _, amount in NAMES.values()])
    spread = np.hypot(known.std(0, ddof=1), least)
    return np.asarray(np.abs(new - known.mean(0)) / spread)


def _limit(learnt: Learnt) -> float:
    """The distance that about one of twenty known slides exceeds, each measured against the other patients'."""
    table, patients = _table(learnt.numbers), np.array(learnt.patients)
    own = [
        float(unlike(table[patients != patient], row).max())
        for row, patient in zip(table, patients, strict=True)
    ]
    place = math.ceil((1 - SHARE) * (len(own) + 1))
    return sorted(own)[min(place, len(own)) - 1]


def _table(rows: Sequence[Numbers]) -> NDArray[np.float64]:
    return np.array([[row[name] for name in NAMES] for row in rows], np.float64)


def _told(learnt: Learnt, new: Numbers, name: str) -> str:
    known = sorted(row[name] for row in learnt.numbers)
    return f"{NAMES[name][0]} ({new[name]:.2f}, there {known[0]:.2f} to {known[-1]:.2f})"
