"""Images whose pixel values are classes: 0 is background, 255 is ignored, the user names the rest."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from histoscout.annotations.label_pixels import label_facts, read_pixels
from histoscout.annotations.qupath import stable_id
from histoscout.annotations.read import Annotations
from histoscout.errors import AnnotationError
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions
from histoscout.geometry.trace import trace

BACKGROUND, IGNORED = 0, 255
MOST_VALUES = 64  # an image with more values than this is a photograph, or has one value for each object


def read_label_image(
    path: Path,
    labels: Mapping[int, str] | None = None,
    threshold: int | None = None,
    scale: float | None = None,
) -> Annotations:
    """Read an image of classes as regions: one for each connected piece of a value, traced along its pixels.

    `labels` names the values; 0 is background, 255 becomes "ignore" unless named, and other values that are
    not named become labels by their number, as a note says. An image that histoscout wrote names its values and
    its scale itself. With `threshold`, grey values from it on count as
    1 and all below as 0: needed for JPEG, whose values waver. `scale` is level-0 px per pixel of the image;
    outlines are in level-0 px. AnnotationError for a file that is no image, has colours rather than classes,
    or cannot be read.
    """
    values = read_pixels(path, threshold)
    facts = label_facts(path)
    given = labels or facts.labels
    names = {1: "1", **given} if threshold is not None else dict(given)
    scale = scale or facts.scale or 1.0
    found = [int(value) for value in np.unique(values) if value != BACKGROUND]
    if len(found) > MOST_VALUES:
        raise AnnotationError(
            path,
            f"has {len(found)} values, too many for classes",
            "Give a threshold (column mask_threshold, or --threshold)",
        )
    regions = [
        region for value in found for region in _regions(values == value, _name(value, names), scale, value)
    ]
    return Annotations(Regions.of(regions), tuple(_notes(found, given)))


def _regions(mask: NDArray[np.bool_], label: str, scale: float, value: int) -> list[Region]:
    height, width = mask.shape
    outlines = trace(mask, Box(0, 0, width * scale, height * scale), scale)
    return [
        Region(outline, label, id=stable_id(f"value {value}, piece {number}, {outline.bounds}"))
        for number, outline in enumerate(outlines, 1)
    ]


def _name(value: int, names: Mapping[int, str]) -> str:
    return names.get(value, "ignore" if value == IGNORED else str(value))


def _notes(found: list[int], labels: Mapping[int, str]) -> list[str]:
    notes = []
    if not found:
        notes.append("nothing but background in this image")
    if nameless := [str(value) for value in found if value not in labels and value != IGNORED]:
        notes.append(
            f"values without a name are labels by their number: {', '.join(nameless)} (column mask_labels, or --values)"
        )
    if absent := [f"{value} ({name})" for value, name in labels.items() if value not in found]:
        notes.append(f"values that do not occur: {', '.join(absent)}")
    return notes
