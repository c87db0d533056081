"""Recognize copies of a slide and tissue that two slides share, under any file name.

A `Fingerprint` is a thumbnail of 16 x 16 gray values: it finds copies of whole slides after renaming, compression or
rescaling. `Landmarks` are small patches at the places where hematoxylin is densest: the same places in a copy
that was cropped elsewhere, compressed, mirrored or turned. Two slides that share several of them share tissue.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from histoscout.io.inputs import real_path
from histoscout.io.names import slide_key
from histoscout.slides.slide import Slide
from histoscout.tissue.artifacts import OPTICAL_DENSITY
from histoscout.tissue.mask import Tissue

FINGERPRINT_PX = 16
"""Side of a fingerprint: enough pixels to tell slides apart, too few to show a patient's tissue."""

COPY_CORRELATION = 0.995
"""Slides whose fingerprints correlate at least this much are copies of one another."""

SIZE_TOLERANCE = 0.01
"""Share by which the sizes of two copies may differ."""

MIN_CONTRAST = 1.0
"""Standard deviation in gray levels below which a slide looks like any other empty one."""

LANDMARK_MPP = 8.0
"""um/px at which landmarks are searched and compared."""

NEST_UM = 24.0
"""Sigma of the blur whose peaks are landmarks: about the size of a nest of nuclei."""

LANDMARK_DISTANCE_UM = 96.0
"""Landmarks of a slide are at least this far apart."""

LANDMARK_REACH = 12
"""Pixels to each side of a landmark that its patch covers; every second one is kept."""

PATCH = LANDMARK_REACH + 1
"""Side of a landmark's patch in pixels."""

MAX_LANDMARKS = 400
"""Landmarks kept of one slide."""

MAX_COHORT_LANDMARKS = 12_000
"""Landmarks compared in one cohort; with many slides, fewer of each are compared."""

LANDMARK_CORRELATION = 0.94
"""Correlation from which two patches show the same place."""

MIN_SHARED = 4
"""Landmarks that two slides of the same tissue share at least."""

Patches = NDArray[np.float32]


@dataclass(frozen=True)
class Fingerprint:
    """A thumbnail of a slide that recognizes copies under another name or after compression.

    Attributes:
        name: Name of the slide.
        patient: The slide's patient.
        size_um: Width and height in um.
        gray: 16 x 16 gray values in hexadecimal.
        path: The slide file, where it is known. It is not written to model folders.
        series: The number of the image in that file.
    """

    name: str
    patient: str
    size_um: tuple[float, float]
    gray: str
    path: Path | None = None
    series: int = 0

    @classmethod
    def of(cls, slide: Slide, patient: str) -> Self:
        """Read the fingerprint of a slide from its overview.

        Args:
            slide: An open slide.
            patient: The slide's patient.

        Returns:
            The fingerprint, with the path of the slide.

        Raises:
            SlideError: If the slide cannot be read.
        """
        pixels, _ = slide.overview(256)
        gray = Image.fromarray(pixels).convert("L")
        small = gray.resize((FINGERPRINT_PX, FINGERPRINT_PX), Image.Resampling.BOX)
        return cls(
            name=slide.name,
            patient=patient,
            size_um=(slide.box.width * slide.mpp, slide.box.height * slide.mpp),
            gray=small.tobytes().hex(),
            path=slide.path,
            series=slide.series or 0,
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read a fingerprint from the values of `to_dict`.

        Args:
            values: The values.
        """
        width, height = values["size_um"]
        return cls(
            name=values["name"], patient=values["patient"], size_um=(width, height), gray=values["grey"]
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for metrics.json, without the path: model folders are passed on to others."""
        return {"name": self.name, "patient": self.patient, "size_um": list(self.size_um), "grey": self.gray}

    def _image(self) -> tuple[Path | None, int]:
        """The image of a file that this is the fingerprint of."""
        return None if self.path is None else real_path(self.path), self.series

    def is_copy_of(self, other: "Fingerprint") -> bool:
        """Whether both are the same file, or look like images of the same glass slide.

        Args:
            other: Fingerprint of another slide.

        Returns:
            True for the same path and series, or for the same size (within 1 %) and a correlation of at least 0.995. Slides
            without contrast are copies only if their names and gray values are equal.
        """
        if self.path is not None and self._image() == other._image():
            return True
        sides = zip(self.size_um, other.size_um, strict=True)
        if any(abs(own - its) > SIZE_TOLERANCE * its for own, its in sides):
            return False
        first, second = _centered(self.gray), _centered(other.gray)
        if min(first.std(), second.std()) < MIN_CONTRAST:
            return self.gray == other.gray and slide_key(self.name) == slide_key(other.name)
        return float((first * second).mean() / (first.std() * second.std())) >= COPY_CORRELATION


def _centered(gray: str) -> NDArray[np.float64]:
    """The gray values of a fingerprint less their mean."""
    values = np.frombuffer(bytes.fromhex(gray), np.uint8).astype(np.float64)
    centered: NDArray[np.float64] = values - values.mean()
    return centered


@dataclass(frozen=True, kw_only=True)
class Landmarks:
    """What a slide shows at the places where its hematoxylin is densest.

    Attributes:
        slide: Name of the slide.
        patient: The slide's patient.
        split: The slide's split, "" if it has none.
        patches: float32 (N, 13, 13), densest place first; each patch has mean 0 and length 1.
    """

    slide: str
    patient: str
    split: str
    patches: Patches


def find_landmarks(slide: Slide, tissue: Tissue, patient: str, split: str = "") -> Landmarks:
    """Find the landmarks of a slide.

    Args:
        slide: An open slide.
        tissue: Its tissue mask.
        patient: The slide's patient.
        split: The slide's split, "" if it has none.

    Returns:
        At most `MAX_LANDMARKS` landmarks.

    Raises:
        SlideError: If the slide cannot be read.
    """
    scale = LANDMARK_MPP / slide.mpp
    density = OPTICAL_DENSITY[slide.read(slide.box, LANDMARK_MPP)].mean(-1)
    mask = tissue.mask_in(slide.box, scale)[: density.shape[0], : density.shape[1]]
    # Landmarks are the peaks of the blurred density in the tissue.
    smooth = ndimage.gaussian_filter(density, NEST_UM / LANDMARK_MPP)
    spacing = round(2 * LANDMARK_DISTANCE_UM / LANDMARK_MPP) + 1
    peaks = (smooth == ndimage.maximum_filter(smooth, spacing)) & mask
    rows, columns = np.nonzero(peaks)
    # Peaks at the edge of the slide have no whole patch around them.
    inner = (
        (np.minimum(rows, columns) >= LANDMARK_REACH)
        & (rows < smooth.shape[0] - LANDMARK_REACH)
        & (columns < smooth.shape[1] - LANDMARK_REACH)
    )
    rows, columns = rows[inner], columns[inner]
    densest = np.argsort(-smooth[rows, columns])[:MAX_LANDMARKS]
    # The landmark is in the very middle of its patch, so that a mirrored slide has the mirrored patches.
    picture = ndimage.gaussian_filter(density, 1.0)
    reach = LANDMARK_REACH
    patches = np.array(
        [
            picture[row - reach : row + reach + 1 : 2, column - reach : column + reach + 1 : 2]
            for row, column in zip(rows[densest], columns[densest], strict=True)
        ],
        np.float32,
    ).reshape(-1, PATCH, PATCH)
    patches -= patches.mean((1, 2), keepdims=True)
    length = np.sqrt((patches**2).sum((1, 2), keepdims=True))
    patches = (patches / np.maximum(length, 1e-6)).astype(np.float32)
    return Landmarks(slide=slide.name, patient=patient, split=split, patches=patches)


def count_shared_landmarks(first: Landmarks, second: Landmarks) -> int:
    """Count the landmarks of one slide that the other shows too.

    Args:
        first: Landmarks of one slide.
        second: Landmarks of another slide.

    Returns:
        The count in that of the eight orientations, the same for all landmarks, that matches best.
    """
    if not len(first.patches) or not len(second.patches):
        return 0
    other = second.patches.reshape(len(second.patches), -1).T
    counts = []
    for mirrored in (first.patches, first.patches[:, ::-1]):
        for quarter_turns in range(4):
            turned = np.rot90(mirrored, quarter_turns, (1, 2)).reshape(len(mirrored), -1)
            counts.append(int(((turned @ other).max(1) >= LANDMARK_CORRELATION).sum()))
    return max(counts)


@dataclass(frozen=True)
class SharedTissue:
    """Two slides that show the same piece of tissue.

    Attributes:
        first: Landmarks of one slide.
        second: Landmarks of the other.
        landmarks: How many landmarks they share.
    """

    first: Landmarks
    second: Landmarks
    landmarks: int


def find_shared_tissue(slides: Sequence[Landmarks]) -> list[SharedTissue]:
    """Find all pairs of slides that share tissue.

    Args:
        slides: The landmarks of each slide. With many slides only the densest landmarks of each are compared.

    Returns:
        The pairs with at least `MIN_SHARED` landmarks in common.
    """
    most = max(MIN_SHARED * 8, MAX_COHORT_LANDMARKS // max(1, len(slides)))
    compared = [replace(slide, patches=slide.patches[:most]) for slide in slides]
    pairs = []
    for number, first in enumerate(compared):
        for second in compared[number + 1 :]:
            if (count := count_shared_landmarks(first, second)) >= MIN_SHARED:
                pairs.append(SharedTissue(first, second, count))
    return pairs
