"""Who the synthetic patients are: one number gives stain, texture and the mix of structures."""

import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

DIFFICULTY = "1"
"""Version of the drawing. Whatever changes a pixel or an outline of any slide changes this too."""

MPP = 0.5
"""Resolution of every phantom slide, um/px."""

Mix = Literal["both", "look-alikes", "udh"]

# Of eight patients in a row five have both, two have look-alikes without any UDH, one is rich in UDH.
MIXES: tuple[Mix, ...] = ("both", "both", "both", "look-alikes", "udh", "both", "look-alikes", "both")


@dataclass(frozen=True)
class Counts:
    """How many structures of each kind there are on a square millimetre of slide."""

    udh: float
    adh: float
    unclear: float
    normal: float
    lobules: float
    lymphocytes: float
    vessels: float


@dataclass(frozen=True)
class Patient:
    """What all slides of one patient share. Lengths in um, stain amounts as factors round 1."""

    number: int
    mix: Mix
    counts: Counts
    hematoxylin: tuple[float, float, float]
    eosin: tuple[float, float, float]
    hematoxylin_gain: float
    eosin_gain: float
    white: tuple[float, float, float]
    nucleus: float
    fibre: float
    tissue: float
    fat: float


def stream(*keys: int) -> np.random.Generator:
    """Return the random numbers that belong to some keys, the same ones each time.

    The version of the drawing is part of the key, so that another version never repeats a slide.
    """
    return np.random.default_rng([zlib.crc32(DIFFICULTY.encode()), *keys])


def patient_of(number: int) -> Patient:
    """Return the patient of this number: always the same one.

    The mix of structures follows from the number alone (see `MIXES`), so that a cohort can be split with
    every mix on each side; all else is drawn at random from `number`.
    """
    rng = stream(1, number)
    mix = MIXES[number % len(MIXES)]
    return Patient(
        number=number,
        mix=mix,
        counts=_counts(mix, rng),
        hematoxylin=_turned((0.5626, 0.7201, 0.4062), rng),
        eosin=_turned((0.2159, 0.8012, 0.5581), rng),
        hematoxylin_gain=float(rng.uniform(0.8, 1.25)),
        eosin_gain=float(rng.uniform(0.75, 1.25)),
        white=(float(rng.uniform(236, 246)), float(rng.uniform(235, 245)), float(rng.uniform(237, 247))),
        nucleus=float(rng.uniform(0.92, 1.1)),
        fibre=float(rng.uniform(0.75, 1.35)),
        tissue=float(rng.uniform(0.62, 0.8)),
        fat=float(rng.uniform(0.02, 0.2)),
    )


def _counts(mix: Mix, rng: np.random.Generator) -> Counts:
    filled = {"both": (0.88, 2.3), "look-alikes": (0.0, 3.0), "udh": (1.5, 1.3)}[mix]
    return Counts(
        udh=filled[0] * float(rng.uniform(0.75, 1.25)),
        adh=filled[1] * float(rng.uniform(0.75, 1.25)),
        unclear=0.24 * float(rng.uniform(0.0, 2.0)),
        normal=float(rng.uniform(0.8, 1.8)),
        lobules=float(rng.uniform(0.5, 1.2)),
        lymphocytes=float(rng.uniform(0.3, 1.0)),
        vessels=float(rng.uniform(0.8, 2.0)),
    )


def _turned(vector: tuple[float, float, float], rng: np.random.Generator) -> tuple[float, float, float]:
    """Return a stain vector a few degrees off, of length one."""
    turned = np.clip(np.asarray(vector) + rng.normal(0, 0.035, 3), 0.02, None)
    turned /= np.linalg.norm(turned)
    return (float(turned[0]), float(turned[1]), float(turned[2]))
