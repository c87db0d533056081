"""What a network says of every place on a slide, computed, kept and written."""

import struct
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from histoscout.detection.grid import WindowPlan
from histoscout.detection.inference import Blend, Read, answers_for, let_go, room
from histoscout.errors import OutputError
from histoscout.geometry.box import Box
from histoscout.io.files import atomic_write
from histoscout.network.engines import Engine
from histoscout.slides.slide import Slide
from histoscout.tissue.mask import Tissue

LEVELS = 256
"""Probabilities are kept as 0..255."""

TILE = 512
NAMESPACE = "histoscout/heatmap"

_Levels = NDArray[np.uint8]


@dataclass(frozen=True)
class Heatmap:
    """The probability of each label at each place of a slide; 0 where nobody looked.

    `values` uint8 (C, H, W), 255 meaning certain, in memory or in a file; cells of `mpp` um cover `box`
    (level-0 px), the last row and column perhaps a little more or less. `seen` windows were looked at.
    """

    box: Box
    mpp: float
    slide_mpp: float
    slide_name: str
    labels: tuple[str, ...]
    values: NDArray[np.uint8]
    seen: int

    @property
    def scale(self) -> float:
        """Level-0 px per cell."""
        return self.mpp / self.slide_mpp

    def levels(self, label: str) -> NDArray[np.uint8]:
        """0..255 of one label: uint8 (H, W)."""
        levels: NDArray[np.uint8] = self.values[self.labels.index(label)]
        return levels

    def probability(self, label: str) -> NDArray[np.float32]:
        """The probability of one label: float32 (H, W), made anew on each call."""
        return self.levels(label).astype(np.float32) / np.float32(LEVELS - 1)


def level_of(threshold: float) -> int:
    """The lowest level of a heatmap that counts as found at a threshold in [0, 1]."""
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
    """Look at every window and lay the answers side by side, blended where windows overlap.

    Reader threads run ahead of the engine. Memory holds a strip of one window's height across the slide;
    the map itself goes to a file if it is large. With its `tissue`, marks that hide it are covered before the engine looks. The result depends neither on the order of the boxes nor
    on the number of threads. An engine that answers for whole tiles gives cells of one stride.
    `on_window(done, total)` is called as windows are finished. What `slide.read` raises, this raises.
    """
    cell_px = 1 if engine.answers == "pixels" else plan.stride_px
    patch = max(1, round(plan.side_px / cell_px))
    mpp = plan.mpp * cell_px
    scale = mpp / slide.mpp
    shape = slide.box.shape(scale)
    places = sorted({_cell(box, slide.box, scale): box for box in boxes}.items())
    values = room((len(engine.labels), *shape), plan.scratch)
    overlap = max(0, patch - max(1, round(plan.stride_px / cell_px)))
    blend = Blend(values, patch, overlap)
    answers = answers_for(engine, _reader(slide, tissue), [box for _, box in places], plan)
    for done, ((cell, _), answer) in enumerate(zip(places, answers, strict=True), start=1):
        blend.add(*cell, answer)
        on_window(done, len(places))
    blend.finish()
    return Heatmap(slide.box, mpp, slide.mpp, slide.name, tuple(engine.labels), values, len(places))


def _reader(slide: Slide, tissue: Tissue | None) -> Read:
    if tissue is None:
        return slide.read
    return lambda box, mpp: tissue.hide_artifacts(slide.read(box, mpp), box, mpp / slide.mpp)


def _cell(box: Box, whole: Box, scale: float) -> tuple[int, int]:
    return round((box.y - whole.y) / scale), round((box.x - whole.x) / scale)


# ---------------------------------------------------------------- on disk


def write_heatmap(heatmap: Heatmap, path: Path) -> None:
    """Save a heatmap as OME-TIFF: a channel for each label, 0..255, with its um/px and place on the slide."""
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


def read_heatmap(path: Path) -> Heatmap:
    """Read a heatmap that `write_heatmap` wrote, into a file if it is large; OutputError if it is damaged."""
    try:
        with tifffile.TiffFile(path) as file:
            facts, labels = _facts(file.ome_metadata or "")
            pages = [file.pages[number] for number in range(len(labels))]
            values = room((len(labels), *pages[0].shape), path.parent)
            for page, plane in zip(pages, values, strict=True):
                page.asarray(out=plane)
        return Heatmap(
            box=Box(*(float(facts[name]) for name in ("x", "y", "width", "height"))),
            mpp=float(facts["mpp"]),
            slide_mpp=float(facts["slide_mpp"]),
            slide_name=facts["slide"],
            labels=labels,
            values=values,
            seen=int(facts["windows"]),
        )
    except (
        OSError,
        ValueError,
        KeyError,
        IndexError,
        struct.error,  # tifffile, on a file that ends in its first bytes
        ElementTree.ParseError,
        tifffile.TiffFileError,
    ) as error:
        raise OutputError(
            path, f"cannot be read as a heatmap ({error})", "Run detect again to make it anew"
        ) from error


def _metadata(heatmap: Heatmap) -> dict[str, object]:
    box = heatmap.box
    facts: dict[str, str | float] = {
        "slide": heatmap.slide_name,
        "mpp": heatmap.mpp,
        "slide_mpp": heatmap.slide_mpp,
        "windows": heatmap.seen,
    }
    place = {"x": box.x, "y": box.y, "width": box.width, "height": box.height}
    return {
        "axes": "CYX",
        "UUID": str(
            uuid.uuid5(uuid.NAMESPACE_URL, f"{NAMESPACE}/{heatmap.slide_name}")
        ),  # same run, same bytes
        "Name": heatmap.slide_name,
        "PhysicalSizeX": heatmap.mpp,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": heatmap.mpp,
        "PhysicalSizeYUnit": "µm",
        "Channel": {"Name": list(heatmap.labels)},
        "MapAnnotation": {"Namespace": NAMESPACE, **{k: _said(v) for k, v in {**facts, **place}.items()}},
    }


def _said(value: str | float) -> str:
    return value if isinstance(value, str) else repr(value)


def _facts(xml: str) -> tuple[dict[str, str], tuple[str, ...]]:
    tree = ElementTree.fromstring(xml)
    facts = {entry.attrib["K"]: entry.text or "" for entry in tree.iterfind(".//{*}MapAnnotation//{*}M")}
    return facts, tuple(channel.attrib["Name"] for channel in tree.iterfind(".//{*}Channel"))


def _pyramid(values: _Levels, scratch: Path) -> list[_Levels]:
    """The values (C, H, W) and ever smaller copies, each the mean of 2 x 2 cells, down to one tile."""
    scratch.mkdir(parents=True, exist_ok=True)
    levels = [values]
    while max(levels[-1].shape[1:]) > TILE and min(levels[-1].shape[1:]) > 1:
        levels.append(_halved(levels[-1], scratch))
    return levels


def _halved(values: _Levels, scratch: Path) -> _Levels:
    labels, height, width = values.shape
    half = room((labels, height // 2, width // 2), scratch)
    for top in range(0, half.shape[1], TILE):
        rows = min(TILE, half.shape[1] - top)
        strip = values[:, 2 * top : 2 * (top + rows), : 2 * half.shape[2]]
        quarters = strip.reshape(labels, rows, 2, half.shape[2], 2)
        half[:, top : top + rows] = (quarters.sum((2, 4), dtype=np.uint16) + 2) // 4
        let_go(values)
        let_go(half)
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
            let_go(level)
