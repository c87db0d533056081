"""Small pictures of lesions and findings for a page: which are shown, and their files."""

import io
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import matplotlib
import numpy as np
from PIL import Image, ImageFont

from histoscout.evaluation.cutout import LETTERS, Outlined, cut_out
from histoscout.geometry.regions import Outline
from histoscout.slides.slide import Slide

Thing = TypeVar("Thing")


def balanced(
    things: Sequence[Thing], patient_of: Callable[[Thing], Hashable], most: int
) -> tuple[Thing, ...]:
    """The first things, at most so many, but no second one of a patient before each patient had a first.

    Things come in order of interest and stay in it.
    """
    seen: Counter[Hashable] = Counter()
    ranked = []
    for place, thing in enumerate(things):
        patient = patient_of(thing)
        ranked.append((seen[patient], place))
        seen[patient] += 1
    return tuple(things[place] for place in sorted(place for _, place in sorted(ranked)[:most]))


def shuffled(things: Iterable[Thing], seed: int) -> list[Thing]:
    """The things in an order that depends on the seed alone."""
    listed = list(things)
    return [listed[place] for place in np.random.default_rng(seed).permutation(len(listed))]


def crop(slide: Slide, focus: Outline, outlined: Outlined) -> bytes:
    """The surroundings of an outline (level-0 px) with all outlines there, as a JPEG; see `cut_out`."""
    font = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return jpeg(cut_out(slide, focus, outlined, ImageFont.truetype(font, LETTERS)))


def jpeg(image: Image.Image, quality: int = 82) -> bytes:
    """The picture as a JPEG file."""
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=quality, optimize=True)
    return file.getvalue()
