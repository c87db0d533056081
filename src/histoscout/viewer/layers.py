"""What is drawn over a slide: heatmaps in color, regions at any threshold, reference annotations and tissue."""

import io
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histoscout.annotations.polygons import outline_to_geojson
from histoscout.cohort.annotated_slide import read_annotated_regions
from histoscout.detection.heatmap import Heatmap, read_heatmap
from histoscout.evaluation.lesions.matching import (
    MATCHING_RULES,
    PRIMARY_RULE,
    find_overlaps,
    match_detections,
)
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions, valid_outline
from histoscout.geometry.vectorize import mask_to_polygons
from histoscout.recipe_sections import PatchConfig, TissueConfig
from histoscout.slides.slide import Slide
from histoscout.tissue.mask import find_tissue
from histoscout.viewer.library import ViewedSlide
from histoscout.viewer.tiles import tile_box

COLOR_MAPS: Mapping[str, tuple[tuple[int, int, int], ...]] = MappingProxyType(
    {
        "heat": ((0, 0, 120), (0, 160, 200), (255, 220, 0), (220, 0, 0)),
        "viridis": ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)),
        "gray": ((0, 0, 0), (255, 255, 255)),
    }
)
"""Colors of the lowest to the highest probability."""

FAINTEST = 8
"""Levels of a heatmap below this are not drawn."""

OPEN_HEATMAPS = 2
"""Heatmaps that are kept in memory."""


class OpenHeatmaps:
    """Heatmaps that were read lately."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._heatmaps: OrderedDict[str, Heatmap] = OrderedDict()

    def read(self, viewed: ViewedSlide) -> Heatmap | None:
        """The heatmap of a slide; None without.

        Args:
            viewed: The slide.

        Raises:
            OutputError: The file is damaged.
        """
        path = viewed.heatmap
        if path is None:
            return None
        with self._lock:
            if viewed.key not in self._heatmaps:
                self._heatmaps[viewed.key] = read_heatmap(path)
            self._heatmaps.move_to_end(viewed.key)
            while len(self._heatmaps) > OPEN_HEATMAPS:
                self._heatmaps.popitem(last=False)
            return self._heatmaps[viewed.key]


def palette(name: str) -> NDArray[np.uint8]:
    """The colors of all 256 levels of a heatmap.

    Args:
        name: A name from `COLOR_MAPS`.

    Returns:
        (256, 3) uint8.
    """
    stops = np.array(COLOR_MAPS[name], np.float64)
    places = np.linspace(0, 255, len(stops))
    colors = [np.interp(np.arange(256), places, channel) for channel in stops.T]
    return np.round(np.stack(colors, axis=1)).astype(np.uint8)


def heatmap_tile(
    slide: Slide, heatmap: Heatmap, label: str, address: tuple[int, int, int], colors: str
) -> bytes | None:
    """A tile of a heatmap as PNG; places of low probability are transparent.

    Args:
        slide: The slide.
        heatmap: Its heatmap.
        label: The class.
        address: Level, column and row, as those of the slide's own tiles.
        colors: A name from `COLOR_MAPS`.

    Returns:
        PNG; None if there is no such tile.
    """
    place = tile_box(slide, *address)
    if place is None:
        return None
    box, scale = place
    levels = _sample(heatmap.levels(label), heatmap, box, scale)
    image = Image.fromarray(levels).convert("P")
    image.putpalette(palette(colors).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=bytes(0 if level < FAINTEST else 255 for level in range(256)))
    return buffer.getvalue()


def _sample(levels: NDArray[np.uint8], heatmap: Heatmap, box: Box, scale: float) -> NDArray[np.uint8]:
    """The cells at the centers of the pixels of a box; 0 outside the heatmap."""
    rows, columns = box.shape(scale)
    y = np.floor((box.y + (np.arange(rows) + 0.5) * scale - heatmap.box.y) / heatmap.scale).astype(int)
    x = np.floor((box.x + (np.arange(columns) + 0.5) * scale - heatmap.box.x) / heatmap.scale).astype(int)
    height, width = levels.shape
    sampled = np.array(levels[np.ix_(np.clip(y, 0, height - 1), np.clip(x, 0, width - 1))])
    sampled[(y < 0) | (y >= height)] = 0
    sampled[:, (x < 0) | (x >= width)] = 0
    return sampled


def region_around(found: Regions, place: tuple[float, float]) -> Region | None:
    """The region that holds a place.

    Args:
        found: Regions.
        place: x and y in level-0 px.
    """
    x, y = place
    here = found.intersecting(Box(x, y, 0.01, 0.01))
    return here[0] if len(here) else None


# ---------------------------------------------------------------- annotations


def read_reference(viewed: ViewedSlide, slide: Slide) -> tuple[Regions, tuple[str, ...]]:
    """The reference annotations of a slide, and notes on them.

    Args:
        viewed: The slide.
        slide: The same, open.

    Raises:
        AnnotationError: The file cannot be read.
    """
    if viewed.case.annotations is None:
        return Regions(), ()
    annotations = read_annotated_regions(viewed.case, viewed.case.annotations, slide)
    return annotations.regions, annotations.notes


def compare_with_reference(found: Regions, reference: Regions) -> tuple[list[str], list[bool]]:
    """Tell true positives from false ones, and which annotations were missed.

    Args:
        found: Detected regions.
        reference: Annotations of the classes that are detected.

    Returns:
        What each region counts as, and whether each annotation was found.
    """
    pairs = find_overlaps(reference, found)
    fits = MATCHING_RULES[PRIMARY_RULE].fits(pairs, reference, found)
    scores = np.array([1.0 if region.score is None else region.score for region in found], np.float64)
    matching = match_detections(pairs, fits, scores)
    return list(matching.states), [detection is not None for detection in matching.detection_of]


def tissue_outlines(slide: Slide) -> dict[str, list[dict[str, Any]]]:
    """Outlines of the tissue, and of pen marks and bad focus that detection leaves out.

    Args:
        slide: The slide.

    Returns:
        Geometries in level-0 px, under "tissue" and "skipped".
    """
    tissue = find_tissue(slide, TissueConfig(), PatchConfig())
    masks = {"tissue": tissue.mask, "skipped": tissue.artifact_mask}
    return {
        name: [
            outline_to_geojson(valid_outline(piece.simplify(tissue.scale)) or piece)
            for piece in mask_to_polygons(mask, tissue.box, tissue.scale)
        ]
        for name, mask in masks.items()
    }


def regions_to_json(regions: Sequence[Region], mpp: float) -> list[dict[str, Any]]:
    """Regions as the page reads them.

    Args:
        regions: The regions.
        mpp: um per level-0 px.

    Returns:
        Plain values: id, class, score, area, outline in level-0 px, and what a review says of it.
    """
    return [
        {
            "id": region.id,
            "label": region.label,
            "score": region.score,
            "area": region.area_mm2(mpp),
            "outline": outline_to_geojson(region.outline),
            **{
                name: str(region.properties[name])
                for name in ("verdict", "reader", "version")
                if name in region.properties
            },
        }
        for region in regions
    ]
