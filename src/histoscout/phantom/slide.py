"""Draw one synthetic slide: everything on it follows from two numbers."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from histoscout.geometry.regions import Regions
from histoscout.phantom import artefacts, marks, stroma
from histoscout.phantom.canvas import Canvas, add_noise
from histoscout.phantom.ducts import draw_duct
from histoscout.phantom.glands import draw_lobule, draw_normal
from histoscout.phantom.layout import Kind, Placed, plan
from histoscout.phantom.nests import draw_lymphocytes, draw_vessel
from histoscout.phantom.patient import MPP, Patient, patient_of, stream
from histoscout.phantom.stain import coloured

Draw = Callable[[Canvas, Placed, Patient, np.random.Generator], None]

# In this order: a later one hides an earlier one where they meet.
DRAWN_BY: dict[Kind, Draw] = {
    "Vessel": draw_vessel,
    "Lymphocytes": draw_lymphocytes,
    "Lobule": draw_lobule,
    "Normal": draw_normal,
    "unclear": draw_duct,
    "ADH": draw_duct,
    "UDH": draw_duct,
}


@dataclass(frozen=True)
class PhantomSlide:
    """A synthetic slide and all that is known of it.

    `pixels` uint8 RGB (H, W, 3) at `mpp` um/px. `regions` are outlined and labelled as a pathologist would;
    `truth` holds the exact outline of every structure ("UDH", "ADH", "unclear", "Normal", "Lobule",
    "Lymphocytes", "Vessel"); `artefacts` where it is spoilt ("pen", "fold", "blur"). All outlines in level-0
    px.
    """

    pixels: NDArray[np.uint8]
    mpp: float
    regions: Regions
    truth: Regions
    artefacts: Regions


def draw(seed: int, patient: int, size: tuple[int, int] = (4096, 4096)) -> PhantomSlide:
    """Draw a slide of a patient; `seed` tells the slides of one patient apart; `size` is height, width in px.

    The same numbers give the same slide, byte for byte, as long as `DIFFICULTY` stays the same.
    """
    return draw_patient(patient_of(patient), seed, size)


def draw_patient(who: Patient, seed: int, size: tuple[int, int] = (4096, 4096)) -> PhantomSlide:
    """Draw a slide of somebody who need not be one of the numbered patients: with other counts of structures, say."""
    patient = who.number
    height, width = (-(-side // 2) for side in size)  # a um is two pixels
    layout = plan(who, (height, width), stream(2, patient, seed))
    canvas = stroma.drawn(who, layout, stream(3, patient, seed))
    for order, (kind, draw_one) in enumerate(DRAWN_BY.items()):
        for number, one in enumerate(layout.structures):
            if one.kind == kind:
                draw_one(canvas, one, who, stream(4, patient, seed, order, number))
    spoilt = artefacts.planned((height, width), stream(5, patient, seed))
    artefacts.spoil(canvas, spoilt)
    add_noise(canvas, stream(7, patient, seed))
    pixels = coloured(canvas.haematoxylin, canvas.eosin, who)
    artefacts.write_on(pixels, spoilt)
    rng = stream(6, patient, seed)
    return PhantomSlide(
        pixels[: size[0], : size[1]], MPP, marks.by_hand(layout, rng), marks.truth(layout, rng), spoilt
    )
