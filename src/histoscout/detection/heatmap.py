"""Heatmaps: the probability of each class at every place of a slide, computed, read and written."""

import json
import math
import os
import struct
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from histoscout.annotations.xml import xml_text
from histoscout.detection.grid import WindowPlan
from histoscout.detection.inference import (
    ReadBox,
    StripBlender,
    allocate_map,
    predict_windows,
    release_memory,
)
from histoscout.errors import OutputError
from histoscout.geometry.box import Box
from histoscout.io.files import StrPath, atomic_write
from histoscout.io.inputs import parse_json
from histoscout.network.engines import Engine
from histoscout.slides.slide import Slide
from histoscout.tissue.mask import Tissue

LEVELS = 256
"""Probabilities are stored as 0..255."""

TILE = 512
"""Side of a tile of the TIFF."""

NAMESPACE = "histoscout/heatmap"
"""Namespace of the annotation in the OME-XML."""

_Levels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Heatmap:
    """The probability of each class at each place of a slide; 0 where no window was examined.

    Attributes:
        box: The part of the slide it covers, in level-0 px; the last row and column may cover a little more or less.
        mpp: Side of a cell in um.
        slide_mpp: um per level-0 px.
        slide_name: Name of the slide.
        labels: The classes, the positive one first.
        values: Probabilities 0..255, (C, H, W) uint8, in memory or in a file.
        windows: Number of windows that were examined.

    Example:
        >>> import numpy as np
        >>> from histoscout import Box, Heatmap
        >>> values = np.full((1, 2, 2), 255, np.uint8)
        >>> heatmap = Heatmap(box=Box(0, 0, 16, 16), mpp=4.0, slide_mpp=0.5, slide_name="A1", labels=("UDH",),
        ...                   values=values, windows=1)
        >>> heatmap.scale, float(heatmap.probability("UDH").max())
        (8.0, 1.0)
    """

    box: Box
    mpp: float
    slide_mpp: float
    slide_name: str
    labels: tuple[str, ...]
    values: NDArray[np.uint8]
    windows: int

    @property
    def scale(self) -> float:
        """Level-0 px per cell."""
        return self.mpp / self.slide_mpp

    def levels(self, label: str) -> NDArray[np.uint8]:
        """Levels 0..255 of one class, (H, W) uint8."""
        levels: NDArray[np.uint8] = self.values[self.labels.index(label)]
        return levels

    def probability(self, label: str) -> NDArray[np.float32]:
        """Probabilities of one class, (H, W) float32, computed at each call."""
        return self.levels(label).astype(np.float32) / np.float32(LEVELS - 1)


def threshold_level(threshold: float) -> int:
    """The lowest level of a heatmap that counts as detected at a threshold.

    Args:
        threshold: Probability in [0, 1].

    Returns:
        A level 0..255.
    """
    return int(np.ceil(round(threshold * (LEVELS - 1), 6)))


def compute_heatmap(
    slide: Slide,
    engine: Engine,
    boxes: Sequence[Box],
    plan: WindowPlan,
    *,
    on_window: Callable[[int, int], None],
    tissue: Tissue | None = None,
) -> Heatmap:
    """Predict all windows and blend the outputs into a heatmap.

    Memory holds a strip of one window's height across the slide; the map itself goes to a file if it is large. The
    result depends neither on the order of the boxes nor on the number of threads.

    Args:
        slide: The slide.
        engine: The opened model; a tile classifier gives cells of `WindowPlan.cell_px`.
        boxes: Windows in level-0 px.
        plan: How windows are read and predicted.
        on_window: Called with the number of finished windows and of all windows.
        tissue: With it, pen marks and blur are covered before the engine sees them.

    Returns:
        The heatmap.

    Raises:
        SlideError: If the slide cannot be read.
    """
    cell_px = 1 if engine.answers == "pixels" else plan.cell_px
    patch = plan.side_px // cell_px
    mpp = plan.mpp * cell_px
    scale = mpp / slide.mpp
    shape = slide.box.shape(scale)
    if engine.answers == "tile":
        # cells are large: rounding would throw away up to half of one at the right and the bottom
        height, width = slide.box.height / scale, slide.box.width / scale
        shape = (max(1, math.ceil(height - 1e-6)), max(1, math.ceil(width - 1e-6)))
    # windows are blended row by row
    cells = sorted({_cell(box, slide.box, scale): box for box in boxes}.items())
    values = allocate_map((len(engine.labels), *shape), plan.scratch)
    overlap = max(0, patch - max(1, round(plan.stride_px / cell_px)))
    blend = StripBlender(values, patch, overlap)
    outputs = predict_windows(engine, _reader(slide, tissue), [box for _, box in cells], plan)
    for done, ((cell, _), output) in enumerate(zip(cells, outputs, strict=True), start=1):
        row, column = cell
        blend.add(row, column, output)
        on_window(done, len(cells))
    blend.finish()
    return Heatmap(
        box=slide.box,
        mpp=mpp,
        slide_mpp=slide.mpp,
        slide_name=slide.name,
        labels=tuple(engine.labels),
        values=values,
        windows=len(cells),
    )


def _reader(slide: Slide, tissue: Tissue | None) -> ReadBox:
    """What reads windows: the slide, with artifacts covered if its tissue is given."""
    if tissue is None:
        return slide.read
    return lambda box, mpp: tissue.hide_artifacts(slide.read(box, mpp), box, mpp / slide.mpp)


def _cell(box: Box, whole: Box, scale: float) -> tuple[int, int]:
    """Row and column of a window's corner."""
    return round((box.y - whole.y) / scale), round((box.x - whole.x) / scale)


# ---------------------------------------------------------------- on disk


def write_heatmap(heatmap: Heatmap, path: Path) -> None:
    """Write a heatmap as OME-TIFF: a channel for each class, with its um/px and position on the slide.

    Args:
        heatmap: The heatmap.
        path: The file, which is replaced if it exists.
    """
    pyramid = _pyramid(heatmap.values, path.parent)
    with atomic_write(path) as temporary, tifffile.TiffWriter(temporary, ome=True, bigtiff=True) as file:
        for number, level in enumerate(pyramid):
            file.write(
                _tiles(level),
                shape=level.shape,
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="minisblack",
                compression="zlib",
                subifds=len(pyramid) - 1 if number == 0 else None,
                subfiletype=int(number > 0),
                metadata=_metadata(heatmap) if number == 0 else None,
            )


def read_heatmap(path: StrPath) -> Heatmap:
    """Read a heatmap that `write_heatmap` wrote.

    Args:
        path: An OME-TIFF file.

    Returns:
        The heatmap; a large one is kept in a file.

    Raises:
        OutputError: If the file is damaged or not a heatmap.

    Example:
        >>> from pathlib import Path
        >>> from histoscout import HistoscoutError, read_heatmap
        >>> try:
        ...     read_heatmap(Path("no-such-file.ome.tiff"))
        ... except HistoscoutError as error:
        ...     print(type(error).__name__)
        OutputError
    """
    path = Path(path)
    try:
        with tifffile.TiffFile(path) as file:
            facts, labels = _facts(file.ome_metadata or "")
            pages = [file.pages[number] for number in range(len(labels))]
            # finished results may lie on a disk that cannot be written to
            scratch = path.parent if os.access(path.parent, os.W_OK) else None
            values = allocate_map((len(labels), *pages[0].shape), scratch)
            for page, plane in zip(pages, values, strict=True):
                page.asarray(out=plane)
        return Heatmap(
            box=Box(*(float(facts[name]) for name in ("x", "y", "width", "height"))),
            mpp=float(facts["mpp"]),
            slide_mpp=float(facts["slide_mpp"]),
            slide_name=facts["slide"],
            labels=labels,
            values=values,
            windows=int(facts["windows"]),
        )
    except (
        OSError,
        ValueError,
        KeyError,
        IndexError,
        # tifffile, on a file that ends in its first bytes
        struct.error,
        ElementTree.ParseError,
        tifffile.TiffFileError,
    ) as error:
        raise OutputError(
            path, f"the heatmap cannot be read ({error})", "Run detect again to make it again"
        ) from error


def _metadata(heatmap: Heatmap) -> dict[str, object]:
    box = heatmap.box
    facts: dict[str, str | float] = {
        "slide": heatmap.slide_name,
        "mpp": heatmap.mpp,
        "slide_mpp": heatmap.slide_mpp,
        "windows": heatmap.windows,
    }
    # names that XML does not keep as they are come back from here
    if not all(label.isprintable() for label in heatmap.labels):
        facts["labels"] = json.dumps(heatmap.labels)
    place = {"x": box.x, "y": box.y, "width": box.width, "height": box.height}
    return {
        "axes": "CYX",
        "UUID": str(
            uuid.uuid5(uuid.NAMESPACE_URL, f"{NAMESPACE}/{heatmap.slide_name}")
        ),  # same run, same bytes
        "Name": xml_text(heatmap.slide_name),
        "PhysicalSizeX": heatmap.mpp,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": heatmap.mpp,
        "PhysicalSizeYUnit": "µm",
        "Channel": {"Name": [xml_text(label) for label in heatmap.labels]},
        "MapAnnotation": {
            "Namespace": NAMESPACE,
            **{k: xml_text(_said(v)) for k, v in {**facts, **place}.items()},
        },
    }


def _said(value: str | float) -> str:
    return value if isinstance(value, str) else repr(value)


def _facts(xml: str) -> tuple[dict[str, str], tuple[str, ...]]:
    tree = ElementTree.fromstring(xml)
    facts = {entry.attrib["K"]: entry.text or "" for entry in tree.iterfind(".//{*}MapAnnotation//{*}M")}
    labels = tuple(channel.attrib["Name"] for channel in tree.iterfind(".//{*}Channel"))
    if "labels" in facts:
        stated = parse_json(facts["labels"])
        if not (isinstance(stated, list) and len(stated) == len(labels)):
            raise ValueError("its labels are not those of its channels")
        labels = tuple(map(str, stated))
    return facts, labels


def _pyramid(values: _Levels, scratch: Path) -> list[_Levels]:
    """The values (C, H, W) and ever smaller copies, each the mean of 2 x 2 cells, down to one tile."""
    scratch.mkdir(parents=True, exist_ok=True)
    levels = [values]
    while max(levels[-1].shape[1:]) > TILE and min(levels[-1].shape[1:]) > 1:
        levels.append(_halved(levels[-1], scratch))
    return levels


def _halved(values: _Levels, scratch: Path) -> _Levels:
    labels, height, width = values.shape
    half = allocate_map((labels, height // 2, width // 2), scratch)
    for top in range(0, half.shape[1], TILE):
        rows = min(TILE, half.shape[1] - top)
        strip = values[:, 2 * top : 2 * (top + rows), : 2 * half.shape[2]]
        quarters = strip.reshape(labels, rows, 2, half.shape[2], 2)
        half[:, top : top + rows] = (quarters.sum((2, 4), dtype=np.uint16) + 2) // 4
        release_memory(values)
        release_memory(half)
    return half


def _tiles(level: _Levels) -> Iterator[_Levels]:
    """Whole tiles, row by row, channel by channel."""
    for plane in level:
        for top in range(0, plane.shape[0], TILE):
            for left in range(0, plane.shape[1], TILE):
                part = plane[top : top + TILE, left : left + TILE]
                tile = np.zeros((TILE, TILE), np.uint8)
                tile[: part.shape[0], : part.shape[1]] = part
                yield tile
            release_memory(level)
