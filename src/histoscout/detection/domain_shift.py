"""Domain shift: whether a slide's tissue looks like the training slides, measured in a few numbers.

A network is only known to work on tissue like that which it was evaluated on: on slides of another scanner or stain,
guarantees of conformal prediction failed (Olsson 2022, Nature Communications 13:7761). No network is used here.
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

MEASURES: Mapping[str, tuple[str, float]] = MappingProxyType(
    {
        "haematoxylin": ("amount of hematoxylin", 0.02),
        "haematoxylin_spread": ("contrast of hematoxylin", 0.02),
        "eosin": ("amount of eosin", 0.02),
        "eosin_spread": ("contrast of eosin", 0.02),
        "residual": ("color that is neither dye", 0.01),
        "colour": ("strength of color", 0.02),
        "detail": ("amount of fine detail", 0.15),
        "sharpness": ("sharpness", 0.1),
    }
)
"""Each measure in words, and by how much it differs between slides that look alike (optical density, octaves).

The keys are stored in model folders and keep the spelling of histoscout 0.1.0.
"""

OUT_OF_DISTRIBUTION = "out of distribution: the slide differs from the training slides"
MIN_REFERENCE_PATIENTS = 8
"""With fewer, it is not known by how much slides of this kind differ."""

FALSE_ALARM_SHARE = 0.05
"""Share of slides like the training slides that raise the warning."""

SQUARES = 24
SIDE_PX = 128
"""Number and side of the squares that are measured."""

_FROM_RGB = np.linalg.inv(STAIN_VECTORS)

Numbers = Mapping[str, float]


def measure_appearance(slide: Slide, tissue: Tissue, mpp: float) -> dict[str, float] | None:
    """Measure how a slide's tissue looks at the network's resolution.

    At most 24 squares of 128 px with tissue are measured, evenly over the slide, always the same ones.

    Args:
        slide: The slide.
        tissue: Its tissue.
        mpp: Resolution in um/px.

    Returns:
        The median of each of `MEASURES`; None without tissue.
    """
    boxes = _squares(slide, tissue, mpp)
    measured = [_measure(slide.read(box, mpp), tissue.mask_in(box, mpp / slide.mpp)) for box in boxes]
    rows = [row for row in measured if row is not None]
    if not rows:
        return None
    return {name: float(np.median([row[name] for row in rows])) for name in MEASURES}


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
    # the squares are divided into stretches, and each gives its best one
    held = np.flatnonzero(shares > 0.25)
    parts = np.array_split(held, min(SQUARES, max(1, len(held))))
    return [boxes[part[np.argmax(shares[part])]] for part in parts if len(part)]


def _measure(pixels: NDArray[np.uint8], shown: NDArray[np.bool_]) -> dict[str, float] | None:
    """The measures of one square; None if it shows too little tissue."""
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
class AppearanceReference:
    """The measures of a model's training slides.

    Attributes:
        numbers: Measures of each slide.
        patients: Patient of each slide.
    """

    numbers: tuple[Numbers, ...]
    patients: tuple[str, ...]

    @property
    def enough(self) -> bool:
        """Whether there are enough patients to know by how much such slides differ."""
        return len(set(self.patients)) >= MIN_REFERENCE_PATIENTS

    @classmethod
    def of(cls, model: ModelFolder) -> "AppearanceReference":
        """The reference in a model's metrics.json; empty for models of older versions."""
        rows = model.metrics.get("domain_shift", [])
        return cls(tuple(row["numbers"] for row in rows), tuple(row["patient"] for row in rows))

    def to_list(self) -> list[dict[str, Any]]:
        """The values for metrics.json."""
        return [
            {"patient": patient, "numbers": dict(numbers)}
            for patient, numbers in zip(self.patients, self.numbers, strict=True)
        ]


def check_appearance(reference: AppearanceReference, new: Numbers | None) -> Verdict:
    """Check whether a slide looks like the training slides.

    The distance of a measure is that from the mean of the training slides, in their standard deviations; that of the
    slide is its largest one. The limit is what training slides themselves reach, each against those of other patients,
    except about one in twenty.

    Args:
        reference: Measures of the training slides.
        new: Measures of the slide; None without tissue.

    Returns:
        A warning that names the measures beyond the limit; "cannot tell" with too few training patients.
    """
    title = "looks like the training slides"
    if new is None:
        return Verdict(name=title, state="cannot tell", message="there is no tissue")
    count = len(set(reference.patients))
    if not reference.enough:
        message = f"training slides of {pluralize(count, 'patient')} are too few to tell whether a slide is out of distribution"
        return Verdict(
            name=title,
            state="cannot tell",
            message=message,
            remedy=f"Train with slides of at least {MIN_REFERENCE_PATIENTS} patients",
        )
    limit = _limit(reference)
    far = standardized_distance(_table(reference.numbers), _table([new])[0])
    beyond = sorted(
        ((float(by), name) for by, name in zip(far, MEASURES, strict=True) if by > limit), reverse=True
    )
    if not beyond:
        return Verdict(
            name=title,
            state="good",
            message=f"within the differences between slides of {pluralize(count, 'patient')}",
        )
    named = ", ".join(_describe(reference, new, name) for _, name in beyond[:3])
    message = f"{OUT_OF_DISTRIBUTION}: {named}"
    return Verdict(
        name=title,
        state="warning",
        message=message,
        remedy="Detections, operating points and guarantees may not hold on this slide",
    )


def standardized_distance(known: NDArray[np.float64], new: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of measures from those of known slides, in their standard deviations.

    Args:
        known: Measures of known slides, (N, K).
        new: Measures of a slide, (K,).

    Returns:
        (K,) float64.
    """
    least = np.array([amount for _, amount in MEASURES.values()])
    spread = np.hypot(known.std(0, ddof=1), least)
    return np.asarray(np.abs(new - known.mean(0)) / spread)


def _limit(reference: AppearanceReference) -> float:
    """The distance that about one in twenty known slides exceeds, each against those of other patients."""
    table, patients = _table(reference.numbers), np.array(reference.patients)
    own = [
        float(standardized_distance(table[patients != patient], row).max())
        for row, patient in zip(table, patients, strict=True)
    ]
    place = math.ceil((1 - FALSE_ALARM_SHARE) * (len(own) + 1))
    return sorted(own)[min(place, len(own)) - 1]


def _table(rows: Sequence[Numbers]) -> NDArray[np.float64]:
    return np.array([[row[name] for name in MEASURES] for row in rows], np.float64)


def _describe(reference: AppearanceReference, new: Numbers, name: str) -> str:
    known = sorted(row[name] for row in reference.numbers)
    return f"{MEASURES[name][0]} ({new[name]:.2f}, in training {known[0]:.2f} to {known[-1]:.2f})"
