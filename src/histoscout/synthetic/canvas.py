"""Random fields: what gives tissue its cloudy, fibrous or foamy look.

From amounts of the two dyes to the colours a scanner records (Beer-Lambert).

The slide while it is being drawn: two amounts of dye at each pixel.

Rounded, uneven shapes: the outline of a duct, a lobule, a vessel or a follicle.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from shapely.geometry import Polygon

from histoscout.synthetic.patient import MPP, Patient

Field = NDArray[np.float32]
Shape = tuple[int, int]


def enlarged(field: Field, shape: Shape) -> Field:
    """Return the field stretched to another shape, smoothly."""
    image = Image.fromarray(np.ascontiguousarray(field, dtype=np.float32))
    return np.array(image.resize((shape[1], shape[0]), Image.Resampling.BILINEAR), dtype=np.float32)


def cloud(rng: np.random.Generator, shape: Shape, scale: float) -> Field:
    """Return a smooth random field with blobs about `scale` pixels wide; mean 0, deviation about 1."""
    rows, columns = (int(np.ceil(side / scale)) + 4 for side in shape)
    coarse = rng.standard_normal((rows, columns), dtype=np.float32)
    size = (round(columns * scale), round(rows * scale))
    fine = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
    top, left = (int(rng.integers(int(scale), int(2 * scale) + 1)) for _ in range(2))
    return fine[top : top + shape[0], left : left + shape[1]] * np.float32(1.35)


def grain(rng: np.random.Generator, shape: Shape, sigma: float, tile: int = 512) -> Field:
    """Return fine noise of deviation 1, repeated every `tile` pixels (no eye finds the repeat)."""
    patch = rng.standard_normal((tile, tile), dtype=np.float32)
    if sigma > 0:
        patch = ndimage.gaussian_filter(patch, sigma, mode="wrap")
    patch /= patch.std()
    repeats = (-(-shape[0] // tile), -(-shape[1] // tile))
    return np.tile(patch, repeats)[: shape[0], : shape[1]]


def contours(rng: np.random.Generator, height: Field, period: float) -> Field:
    """Return streaks that run along the contour lines of a height field, `period` heights apart; 0 to 1."""
    line = ndimage.gaussian_filter1d(rng.standard_normal(4096), 2.0, mode="wrap")
    line += 0.8 * ndimage.gaussian_filter1d(rng.standard_normal(4096), 8.0, mode="wrap") * 2.0
    line = ((line - line.min()) / (line.max() - line.min())).astype(np.float32)
    index = (height * np.float32(8.0 / period)).astype(np.int32)
    index &= 4095
    return np.take(line, index)


def foam(rng: np.random.Generator, shape: Shape, spacing: float) -> Field:
    """Return the distance, in pixels, to the walls of a foam with cells about `spacing` pixels apart.

    Worley's cellular noise (1996): half the difference of the distances to the nearest two of jittered
    points.
    """
    rows, columns = (int(side / spacing) + 4 for side in shape)
    jitter = rng.uniform(0.08, 0.92, (2, rows, columns)).astype(np.float32)
    y = np.arange(shape[0], dtype=np.float32) / np.float32(spacing) + 1
    x = np.arange(shape[1], dtype=np.float32) / np.float32(spacing) + 1
    row, column = y.astype(np.intp), x.astype(np.intp)
    nearest = np.full(shape, 81.0, dtype=np.float32)
    second = nearest.copy()
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            cell = np.ix_(row + down, column + right)
            off_y = (y - (row + down).astype(np.float32))[:, None] - jitter[0][cell]
            off_x = (x - (column + right).astype(np.float32))[None, :] - jitter[1][cell]
            away = off_y**2 + off_x**2
            second = np.minimum(second, np.maximum(nearest, away))
            nearest = np.minimum(nearest, away)
    return (np.sqrt(second) - np.sqrt(nearest)) * np.float32(spacing / 2)


STEPS_PER_UNIT = 80.0
"""Amounts are rounded to 1/80; 1 is that of a typical nucleus, or of dense collagen."""


def colored(hematoxylin: Field, eosin: Field, who: Patient) -> NDArray[np.uint8]:
    """Return the colours (H, W, 3) of tissue that holds these amounts of dye, in this patient's stain.

    One table of all pairs of amounts: 65,536 colours worked out once instead of one exponential a pixel.
    """
    index = _steps(hematoxylin).astype(np.uint16)
    index <<= 8
    index |= _steps(eosin)
    colors: NDArray[np.uint8] = _table(who)[index]
    return colors


def _steps(amount: Field) -> NDArray[np.uint8]:
    steps: NDArray[np.uint8] = np.clip(amount * np.float32(STEPS_PER_UNIT), 0, 255).astype(np.uint8)
    return steps


def _table(who: Patient) -> NDArray[np.uint8]:
    steps = (np.arange(256) + 0.5) / STEPS_PER_UNIT
    blue = steps[:, None] * np.asarray(who.hematoxylin) * who.hematoxylin_gain
    pink = steps[:, None] * np.asarray(who.eosin) * who.eosin_gain * 0.55
    light = np.exp(-(blue[:, None, :] + pink[None, :, :])) * np.asarray(who.white)
    table: NDArray[np.uint8] = np.rint(light).clip(0, 255).astype(np.uint8).reshape(-1, 3)
    return table


@dataclass(frozen=True)
class Blob:
    """A shape round a centre.

    `y`, `x` in um from the top left of the slide; `radii` in um at even angles from 0 to 2 pi.
    """

    y: float
    x: float
    radii: NDArray[np.float64]

    @property
    def reach(self) -> float:
        """The largest radius, um."""
        return float(self.radii.max())


@dataclass(frozen=True)
class Frame:
    """A square piece of a slide, um: a whole number of um at each side, so that it holds whole pixels."""

    top: int
    left: int
    side: int


def blob(rng: np.random.Generator, y: float, x: float, radius: float, bumps: float = 0.1) -> Blob:
    """Return an uneven oval of about `radius` um; `bumps` is how far it is from a circle, relatively."""
    angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    order = np.arange(2, 9)
    weight = bumps * np.array([1.0, 0.75, 0.5, 0.35, 0.22, 0.16, 0.1]) * rng.normal(0, 1, 7).clip(-1.6, 1.6)
    waves = weight[:, None] * np.cos(order[:, None] * angle + rng.uniform(0, 2 * np.pi, (7, 1)))
    shape = np.exp(waves.sum(axis=0))
    return Blob(y, x, radius * shape / np.sqrt((shape**2).mean()))


def frame(of: Blob, margin: float) -> Frame:
    """Return the square that holds a blob with `margin` um round it."""
    half = int(np.ceil(of.reach + margin))
    return Frame(round(of.y) - half, round(of.x) - half, 2 * half)


def depth(of: Blob, within: Frame) -> Field:
    """Return how deep each point of a frame lies inside a blob, at 1 um/px: um, below 0 outside."""
    axis = np.arange(within.side) + 0.5
    y, x = np.meshgrid(axis + within.top - of.y, axis + within.left - of.x, indexing="ij")
    angle = np.mod(np.arctan2(y, x), 2 * np.pi)
    count = len(of.radii)
    slope = np.gradient(np.concatenate([of.radii[-1:], of.radii, of.radii[:1]]), 2 * np.pi / count)[1:-1]
    square = 1 / np.sqrt(1 + (slope / of.radii) ** 2)
    index = np.minimum((angle / (2 * np.pi) * count).astype(np.intp), count - 1)
    inside: Field = ((of.radii[index] - np.hypot(y, x)) * square[index]).astype(np.float32)
    return inside


def outline(of: Blob, grow: float = 0.0) -> Polygon:
    """Return the exact outline of a blob as a polygon in level-0 pixels, `grow` um larger."""
    angle = np.linspace(0, 2 * np.pi, len(of.radii), endpoint=False)[::4]
    radii = of.radii[::4] + grow
    points = np.stack([of.x + radii * np.cos(angle), of.y + radii * np.sin(angle)], axis=1) / MPP
    return Polygon(np.round(points, 2))


UM = round(1 / MPP)
"""Pixels to the um."""


@dataclass(frozen=True)
class Canvas:
    """Amounts of haematoxylin and eosin, (H, W) each at `MPP`; drawn on in place."""

    hematoxylin: Field
    eosin: Field

    @property
    def shape(self) -> Shape:
        """Height and width, px."""
        height, width = self.hematoxylin.shape
        return (height, width)


def fine(field: Field) -> Field:
    """Return a field of 1 um/px at the resolution of the slide."""
    return enlarged(field, (field.shape[0] * UM, field.shape[1] * UM))


def soft(depth: Field, width: float = 0.7) -> Field:
    """Return 1 inside (depth above 0), 0 outside, with an edge about `width` um wide."""
    cover: Field = np.clip(depth / np.float32(2 * width) + np.float32(0.5), 0, 1)
    return cover


def under(canvas: Canvas, where: Frame) -> Canvas | None:
    """Return the part of a canvas under a frame, to be drawn on; None beside the slide."""
    rows, columns, _ = _overlap(canvas, where)
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return None
    return Canvas(canvas.hematoxylin[rows, columns], canvas.eosin[rows, columns])


def part(drawn: Field, canvas: Canvas, where: Frame) -> Field:
    """Return the part of a piece, drawn for a frame, that lies on the canvas."""
    _, _, piece = _overlap(canvas, where)
    return drawn[piece]


def paste(canvas: Canvas, where: Frame, cover: Field, hematoxylin: Field, eosin: Field) -> None:
    """Put a drawn piece on the canvas: where `cover` is 1 it hides what was there. What sticks out is cut."""
    below = under(canvas, where)
    if below is None:
        return
    cover = part(cover, canvas, where)
    for whole, drawn in ((below.hematoxylin, hematoxylin), (below.eosin, eosin)):
        whole *= 1 - cover
        whole += part(drawn, canvas, where) * cover


def add_noise(canvas: Canvas, rng: np.random.Generator) -> None:
    """Add the noise of the camera and the grain of tissue, so that no area is perfectly flat."""
    noise = grain(rng, canvas.shape, 0.6)
    canvas.eosin[...] += noise * (np.float32(0.03) + np.float32(0.08) * canvas.eosin)


def _overlap(canvas: Canvas, where: Frame) -> tuple[slice, slice, tuple[slice, slice]]:
    top, left, side = where.top * UM, where.left * UM, where.side * UM
    rows = slice(max(top, 0), min(top + side, canvas.shape[0]))
    columns = slice(max(left, 0), min(left + side, canvas.shape[1]))
    return (
        rows,
        columns,
        (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)),
    )
