"""From amounts of the two dyes to the colours a scanner records (Beer-Lambert)."""

import numpy as np
from numpy.typing import NDArray

from histoscout.phantom.noise import Field
from histoscout.phantom.patient import Patient

STEPS_PER_UNIT = 80.0
"""Amounts are rounded to 1/80; 1 is that of a typical nucleus, or of dense collagen."""


def coloured(haematoxylin: Field, eosin: Field, who: Patient) -> NDArray[np.uint8]:
    """Return the colours (H, W, 3) of tissue that holds these amounts of dye, in this patient's stain.

    One table of all pairs of amounts: 65,536 colours worked out once instead of one exponential a pixel.
    """
    index = _steps(haematoxylin).astype(np.uint16)
    index <<= 8
    index |= _steps(eosin)
    colours: NDArray[np.uint8] = _table(who)[index]
    return colours


def _steps(amount: Field) -> NDArray[np.uint8]:
    steps: NDArray[np.uint8] = np.clip(amount * np.float32(STEPS_PER_UNIT), 0, 255).astype(np.uint8)
    return steps


def _table(who: Patient) -> NDArray[np.uint8]:
    steps = (np.arange(256) + 0.5) / STEPS_PER_UNIT
    blue = steps[:, None] * np.asarray(who.haematoxylin) * who.haematoxylin_gain
    pink = steps[:, None] * np.asarray(who.eosin) * who.eosin_gain * 0.55
    light = np.exp(-(blue[:, None, :] + pink[None, :, :])) * np.asarray(who.white)
    table: NDArray[np.uint8] = np.rint(light).clip(0, 255).astype(np.uint8).reshape(-1, 3)
    return table
