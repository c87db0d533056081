"""Tiles of a fixed size, as papers on patches count them: from a table of labeled tiles, or a grid over the tissue.

A detector of regions is compared with published classifiers of patches by the same squares: the score of a tile is the
mean probability in it.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from histoscout.errors import CohortError
from histoscout.evaluation.pixels.counts import Confusion, PixelCounts, ratio
from histoscout.evaluation.pixels.metrics import Metric
from histoscout.evaluation.reference import PredictionRaster, Reference
from histoscout.geometry.box import Box, TileGrid
from histoscout.geometry.rasterize import label_map
from histoscout.io.names import patient_key, slide_key
from histoscout.io.tables import CsvTable, TableSchema, read_table
from histoscout.recipe import IGNORE

MAJORITY = 0.5
"""A tile of a grid is positive if this part of it is annotated, and counts if this part of it is tissue."""

REGION_THRESHOLD = 0.5
"""Where only regions are evaluated, a tile is positive if they cover this part of it."""

MAX_TILE_UM = 10_000.0
"""Sides of tiles at most."""

TILE_TABLE = TableSchema(
    items="tiles",
    columns={
        "slide": ("slide", "wsi", "image", "filename", "file"),
        "patient": ("patient", "patient_id", "case", "case_id"),
        "x": ("x_px", "x", "left", "coord_x"),
        "y": ("y_px", "y", "top", "coord_y"),
        "label": ("label", "class", "target", "positive"),
    },
    required=("x", "y"),
    remedy="Give the columns slide (or patient), x_px and y_px of the upper left corner in level-0 px, and label",
)
"""The table of tiles; the label may also be in a column named after the positive class."""

POSITIVE_CELLS = frozenset({"1", "1.0", "true", "yes", "positive"})
NEGATIVE_CELLS = frozenset({"0", "0.0", "false", "no", "negative", ""})


@dataclass(frozen=True, kw_only=True)
class SlideTiles:
    """The tiles of one slide.

    Attributes:
        corners: Upper left corners in level-0 px, float64 (N, 2): x, y.
        positive: Whether each is of the positive class, bool (N,).
    """

    corners: NDArray[np.float64]
    positive: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class TileSet:
    """Square tiles to score: those of a table, or without one a grid over each slide.

    Attributes:
        tile_um: Side of a tile in um.
        source: What reports name as their origin.
        listed: The tiles of each slide or patient of a table; empty for a grid.
    """

    tile_um: float
    source: str = "a grid over the tissue"
    listed: Mapping[str, SlideTiles] = field(default_factory=dict)

    def of(self, slide: str, patient: str) -> SlideTiles | None:
        """The listed tiles of a slide, by its name or its patient; None if the table has none."""
        names = (slide, slide_key(slide), patient, patient_key(patient))
        return next((self.listed[name] for name in names if name in self.listed), None)


def make_tile_set(table: Path | None, tile_um: float | None, positive: str) -> TileSet | None:
    """Make the set of tiles that an evaluation scores.

    Args:
        table: A table of labeled tiles; None for a grid.
        tile_um: Side of a tile in um; None for no tiles.
        positive: The positive class.

    Returns:
        The tiles; None if neither is given.

    Raises:
        CohortError: The side is missing or impossible, or the table cannot be read.
    """
    if tile_um is None:
        if table is None:
            return None
        raise CohortError(table, "the side of its tiles is not known", "Give it in um: --tile-um 200")
    if not 0 < tile_um <= MAX_TILE_UM:
        fault = f"a tile cannot have a side of {tile_um:g} um"
        raise CohortError("--tile-um", fault, f"Give a number above 0, at most {MAX_TILE_UM:g}")
    if table is None:
        return TileSet(tile_um=tile_um)
    return TileSet(tile_um=tile_um, source=table.name, listed=_read_tiles(table, positive))


def _read_tiles(path: Path, positive: str) -> dict[str, SlideTiles]:
    """The tiles of a table, by slide or patient."""
    # a column named after the class is the label of a table made for it
    names = (*TILE_TABLE.columns["label"], positive.casefold().replace(" ", "_"))
    schema = TableSchema(
        items=TILE_TABLE.items,
        columns={**TILE_TABLE.columns, "label": names},
        required=(*TILE_TABLE.required, "label"),
        remedy=TILE_TABLE.remedy,
    )
    table = read_table(path, schema)
    key = next((name for name in ("slide", "patient") if name in table.columns), None)
    if key is None:
        raise CohortError(path, "the table names neither slides nor patients", TILE_TABLE.remedy)

    rows: dict[str, list[tuple[float, float, bool]]] = {}
    for slide, x, y, label in _cells(table, path, key=key, positive=positive):
        rows.setdefault(slide, []).append((x, y, label))
    return {
        slide: SlideTiles(
            corners=np.array([(x, y) for x, y, _ in tiles], np.float64),
            positive=np.array([label for _, _, label in tiles], bool),
        )
        for slide, tiles in rows.items()
    }


def _cells(
    table: CsvTable, path: Path, *, key: str, positive: str
) -> Iterator[tuple[str, float, float, bool]]:
    """Slide or patient, corner and label of each row."""
    for row in table.rows:
        label = row.cell("label").casefold()
        is_positive = label in POSITIVE_CELLS or label == positive.casefold()
        if not is_positive and label not in NEGATIVE_CELLS:
            fault = f"row {row.number} has the label {row.cell('label')!r}"
            raise CohortError(path, fault, f"Write 1 or {positive!r} for positive tiles, 0 for others")
        try:
            x = float(row.cell("x"))
            y = float(row.cell("y"))
        except ValueError:
            fault = f"row {row.number} has no corner in numbers ({row.cell('x')!r}, {row.cell('y')!r})"
            raise CohortError(path, fault, "Give x_px and y_px in level-0 px") from None
        slide = row.cell(key)
        file = slide.replace("\\", "/").rpartition("/")[2]
        yield (slide_key(file) if key == "slide" else patient_key(slide)), x, y, is_positive


# ---------------------------------------------------------------- scoring


def count_tile_set(tiles: TileSet, reference: Reference, predictions: PredictionRaster) -> PixelCounts | None:
    """Histogram the tiles of a slide by their mean probability.

    Args:
        tiles: The tiles.
        reference: The annotations and tissue of the slide.
        predictions: The predictions on it.

    Returns:
        Histograms of positive and negative tiles; None if the table has no tile of this slide.
    """
    side = tiles.tile_um / reference.mpp
    if tiles.listed:
        chosen = tiles.of(reference.name, reference.patient)
    else:
        chosen = _grid_tiles(reference, side, predictions.mpp / reference.mpp)
    if chosen is None:
        return None
    levels = _mean_levels(chosen.corners, side, reference=reference, predictions=predictions)
    return PixelCounts.from_levels(levels, chosen.positive)


def _mean_levels(
    corners: NDArray[np.float64], side: float, *, reference: Reference, predictions: PredictionRaster
) -> NDArray[np.uint8]:
    """The mean level of each tile: uint8 (N,); where a tile is beyond the slide there is nothing."""
    scale = predictions.mpp / reference.mpp
    rows, columns = reference.box.shape(scale)
    levels = np.zeros(len(corners), np.uint8)
    # tiles of one row of the slide are read together
    order = np.argsort(corners[:, 1], kind="stable").tolist()
    for y, numbers in itertools.groupby(order, key=lambda number: float(corners[number, 1])):
        top, bottom = _span(y - reference.box.y, side, scale=scale, limit=rows)
        box = Box(reference.box.x, reference.box.y + top * scale, columns * scale, (bottom - top) * scale)
        # sums of any columns follow from the running sum, in whole numbers
        strip = predictions.read_rows(box, top, (bottom - top, columns))
        before = np.concatenate([[0], np.cumsum(strip.sum(0, dtype=np.int64))])
        for number in numbers:
            left, right = _span(corners[number, 0] - reference.box.x, side, scale=scale, limit=columns)
            levels[number] = round((before[right] - before[left]) / ((right - left) * (bottom - top)))
    return levels


def _span(start: float, side: float, *, scale: float, limit: int) -> tuple[int, int]:
    """First and last (exclusive) of the cells whose centers are in a stretch, at least one."""
    first = min(max(0, round(start / scale)), limit - 1)
    return first, max(first + 1, min(limit, round((start + side) / scale)))


def _grid_tiles(reference: Reference, side: float, scale: float) -> SlideTiles:
    """The tiles of a grid over a slide that are mostly tissue and not mostly ignored."""
    grid = TileGrid(reference.box, side, side, overflow="drop")
    boxes = [grid[number] for number in range(len(grid))]
    has_tissue = reference.tissue.fractions(boxes) >= MAJORITY
    corners: list[tuple[float, float]] = []
    positive: list[bool] = []
    for row in range(grid.rows):
        numbers = np.flatnonzero(has_tissue[row * grid.columns : (row + 1) * grid.columns]).tolist()
        if not numbers:
            continue
        # the annotations of a row of tiles, painted once
        strip = Box(reference.box.x, grid.tile_at(row, 0).y, grid.columns * side, side)
        mask = label_map(reference.mask_layers, strip, scale)
        for column in numbers:
            left, right = _span(column * side, side, scale=scale, limit=mask.shape[1])
            tile = mask[:, left:right]
            if (tile == IGNORE).mean() <= MAJORITY:
                corners.append((strip.x + column * side, strip.y))
                positive.append(bool((tile == 1).mean() >= MAJORITY))
    return SlideTiles(corners=np.array(corners, np.float64).reshape(-1, 2), positive=np.array(positive, bool))


# ---------------------------------------------------------------- metrics


def balanced_accuracy(counts: Confusion) -> float | None:
    """Mean of sensitivity and specificity; None without positive or negative tiles.

    Args:
        counts: True and false positives and negatives.
    """
    sensitivity = _sensitivity(counts)
    specificity = _specificity(counts)
    return None if sensitivity is None or specificity is None else (sensitivity + specificity) / 2


def _sensitivity(counts: Confusion) -> float | None:
    return ratio(counts.tp, counts.tp + counts.fn)


def _specificity(counts: Confusion) -> float | None:
    return ratio(counts.tn, counts.tn + counts.fp)


TILE_SET_METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "f1": lambda counts, threshold: counts.metrics_at(threshold).dice,
        "balanced_accuracy": lambda counts, threshold: balanced_accuracy(counts.confusion(threshold)),
        "auroc": lambda counts, threshold: counts.auroc,
        "sensitivity": lambda counts, threshold: _sensitivity(counts.confusion(threshold)),
        "specificity": lambda counts, threshold: _specificity(counts.confusion(threshold)),
        "prevalence": lambda counts, threshold: counts.prevalence,
    }
)
"""Metrics of a set of tiles, at the model's threshold where one is needed."""
