"""Synthetic patients: one number decides stain, texture and the mix of structures."""

import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

DIFFICULTY = "1"
"""Version of the drawing. Whatever changes a pixel or an outline of any slide changes this too."""

MPP = 0.5
"""Resolution of every synthetic slide, um/px."""

Mix = Literal["both", "look-alikes", "udh"]
"""Which filled ducts a patient has: UDH and look-alikes, look-alikes alone, or mostly UDH."""

MIXES: tuple[Mix, ...] = ("both", "both", "both", "look-alikes", "udh", "both", "look-alikes", "both")
"""Mix of patient `number % 8`: five have both, two have look-alikes without any UDH, one is rich in UDH."""


@dataclass(frozen=True, kw_only=True)
class StructureDensity:
    """Structures of each kind per mm2 of slide.

    Attributes:
        udh: Ducts with usual ductal hyperplasia.
        adh: Look-alikes (atypical hyperplasia).
        unclear: Ducts between the two.
        normal: Normal ducts.
        lobules: Lobules.
        lymphocytes: Nests of lymphocytes.
        vessels: Vessels.
    """

    udh: float
    adh: float
    unclear: float
    normal: float
    lobules: float
    lymphocytes: float
    vessels: float


@dataclass(frozen=True, kw_only=True)
class Patient:
    """What all slides of one synthetic patient share.

    Attributes:
        number: The number that decides all other values.
        mix: Which filled ducts there are.
        density: Structures per mm2.
        hematoxylin: Optical density of hematoxylin in R, G and B, of length 1.
        eosin: Optical density of eosin in R, G and B, of length 1.
        hematoxylin_gain: Factor on the amount of hematoxylin.
        eosin_gain: Factor on the amount of eosin.
        white: RGB color of bare glass, 0 to 255.
        nucleus_scale: Factor on the diameter of nuclei.
        fiber_scale: Factor on the distance between collagen fibers.
        tissue_share: Share of the slide that is tissue.
        fat_share: Share of the tissue between the structures that is fat.
    """

    number: int
    mix: Mix
    density: StructureDensity
    hematoxylin: tuple[float, float, float]
    eosin: tuple[float, float, float]
    hematoxylin_gain: float
    eosin_gain: float
    white: tuple[float, float, float]
    nucleus_scale: float
    fiber_scale: float
    tissue_share: float
    fat_share: float


def random_stream(*keys: int) -> np.random.Generator:
    """Return the random generator of some keys, which always starts the same.

    The version of the drawing is part of the key, so that another version never repeats a slide.

    Args:
        *keys: Whole numbers.
    """
    return np.random.default_rng([zlib.crc32(DIFFICULTY.encode()), *keys])


def make_patient(number: int) -> Patient:
    """Return the synthetic patient of a number, always the same one.

    Args:
        number: Number of the patient, 0 or more. It alone decides the mix of structures (see `MIXES`), so that a
            cohort can be split with every mix on each side; all else is drawn at random from it.

    Returns:
        The patient.
    """
    rng = random_stream(1, number)
    mix = MIXES[number % len(MIXES)]
    # the order of the arguments is the order of the random draws
    return Patient(
        number=number,
        mix=mix,
        density=_draw_density(mix, rng),
        hematoxylin=_jitter_stain((0.5626, 0.7201, 0.4062), rng),
        eosin=_jitter_stain((0.2159, 0.8012, 0.5581), rng),
        hematoxylin_gain=float(rng.uniform(0.8, 1.25)),
        eosin_gain=float(rng.uniform(0.75, 1.25)),
        white=(float(rng.uniform(236, 246)), float(rng.uniform(235, 245)), float(rng.uniform(237, 247))),
        nucleus_scale=float(rng.uniform(0.92, 1.1)),
        fiber_scale=float(rng.uniform(0.75, 1.35)),
        tissue_share=float(rng.uniform(0.62, 0.8)),
        fat_share=float(rng.uniform(0.02, 0.2)),
    )


def _draw_density(mix: Mix, rng: np.random.Generator) -> StructureDensity:
    udh, adh = {"both": (0.88, 2.3), "look-alikes": (0.0, 3.0), "udh": (1.5, 1.3)}[mix]
    return StructureDensity(
        udh=udh * float(rng.uniform(0.75, 1.25)),
        adh=adh * float(rng.uniform(0.75, 1.25)),
        unclear=0.24 * float(rng.uniform(0.0, 2.0)),
        normal=float(rng.uniform(0.8, 1.8)),
        lobules=float(rng.uniform(0.5, 1.2)),
        lymphocytes=float(rng.uniform(0.3, 1.0)),
        vessels=float(rng.uniform(0.8, 2.0)),
    )


def _jitter_stain(vector: tuple[float, float, float], rng: np.random.Generator) -> tuple[float, float, float]:
    """Return a stain vector a few degrees off, of length 1."""
    jittered = np.clip(np.asarray(vector) + rng.normal(0, 0.035, 3), 0.02, None)
    jittered /= np.linalg.norm(jittered)
    return (float(jittered[0]), float(jittered[1]), float(jittered[2]))
