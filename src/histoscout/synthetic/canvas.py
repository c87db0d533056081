"""The canvas of a synthetic slide: rounded shapes, amounts of dye, and their colors.

Structures are drawn into a `SquareFrame` around their `Blob`, then pasted on the `StainCanvas`; `dyes_to_rgb` turns
the finished canvas into the colors that a scanner records (Beer-Lambert law).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from shapely.geometry import Polygon

from histoscout.synthetic.patient import MPP, Patient

Field = NDArray[np.float32]
"""An image of one value per pixel, (H, W) float32."""

Shape = tuple[int, int]
"""Height and width of an array."""


def resize_field(field: Field, shape: Shape) -> Field:
    """Return the field resized to another shape by bilinear interpolation.

    Args:
        field: A field of values.
        shape: Height and width.
    """
    image = Image.fromarray(np.ascontiguousarray(field, dtype=np.float32))
    return np.array(image.resize((shape[1], shape[0]), Image.Resampling.BILINEAR), dtype=np.float32)


def smooth_noise(rng: np.random.Generator, shape: Shape, scale: float) -> Field:
    """Return smooth value noise, whose blobs are about `scale` pixels wide.

    Args:
        rng: Random generator; advanced by the call.
        shape: Height and width of the result, px.
        scale: Width of the blobs, px.

    Returns:
        (H, W) float32 with mean 0 and standard deviation about 1.
    """
    rows, columns = (int(np.ceil(side / scale)) + 4 for side in shape)
    coarse = rng.standard_normal((rows, columns), dtype=np.float32)
    size = (round(columns * scale), round(rows * scale))
    fine = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
    # a random crop hides the lattice of the coarse noise
    top, left = (int(rng.integers(int(scale), int(2 * scale) + 1)) for _ in range(2))
    return fine[top : top + shape[0], left : left + shape[1]] * np.float32(1.35)


def grain(rng: np.random.Generator, shape: Shape, sigma: float, tile: int = 512) -> Field:
    """Return fine noise of standard deviation 1, repeated every `tile` pixels.

    Args:
        rng: Random generator; advanced by the call.
        shape: Height and width of the result, px.
        sigma: Standard deviation of the Gaussian blur, px; 0 for white noise.
        tile: Side of the pattern that repeats, px. The repeat is too fine to be visible.

    Returns:
        (H, W) float32.
    """
    pattern = rng.standard_normal((tile, tile), dtype=np.float32)
    if sigma > 0:
        pattern = ndimage.gaussian_filter(pattern, sigma, mode="wrap")
    pattern /= pattern.std()
    repeats = (-(-shape[0] // tile), -(-shape[1] // tile))
    return np.tile(pattern, repeats)[: shape[0], : shape[1]]


def contour_streaks(rng: np.random.Generator, height: Field, period: float) -> Field:
    """Return streaks that follow the contour lines of a height field, such as collagen fibers.

    Args:
        rng: Random generator; advanced by the call.
        height: (H, W) field whose contour lines the streaks follow.
        period: Distance between two streaks, in units of `height`.

    Returns:
        (H, W) float32 from 0 to 1.
    """
    # a random profile of two widths, looked up by height
    profile = ndimage.gaussian_filter1d(rng.standard_normal(4096), 2.0, mode="wrap")
    profile += 0.8 * ndimage.gaussian_filter1d(rng.standard_normal(4096), 8.0, mode="wrap") * 2.0
    profile = ((profile - profile.min()) / (profile.max() - profile.min())).astype(np.float32)
    index = (height * np.float32(8.0 / period)).astype(np.int32)
    index &= 4095
    return np.take(profile, index)


def cellular_noise(rng: np.random.Generator, shape: Shape, spacing: float) -> Field:
    """Return the distance to the walls of a foam, such as fat (Worley's cellular noise, 1996).

    Args:
        rng: Random generator; advanced by the call.
        shape: Height and width of the result, px.
        spacing: Distance between the cells of the foam, px.

    Returns:
        (H, W) float32, px: half the difference of the distances to the two nearest of jittered points.
    """
    rows, columns = (int(side / spacing) + 4 for side in shape)
    jitter = rng.uniform(0.08, 0.92, (2, rows, columns)).astype(np.float32)
    y = np.arange(shape[0], dtype=np.float32) / np.float32(spacing) + 1
    x = np.arange(shape[1], dtype=np.float32) / np.float32(spacing) + 1
    row, column = y.astype(np.intp), x.astype(np.intp)

    # the two nearest points lie in the 3 x 3 lattice cells around each pixel; 81 is farther than any of them
    nearest = np.full(shape, 81.0, dtype=np.float32)
    second = nearest.copy()
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            cell = np.ix_(row + down, column + right)
            offset_y = (y - (row + down).astype(np.float32))[:, None] - jitter[0][cell]
            offset_x = (x - (column + right).astype(np.float32))[None, :] - jitter[1][cell]
            squared = offset_y**2 + offset_x**2
            second = np.minimum(second, np.maximum(nearest, squared))
            nearest = np.minimum(nearest, squared)
    return (np.sqrt(second) - np.sqrt(nearest)) * np.float32(spacing / 2)


PX_PER_UM = round(1 / MPP)
"""Level-0 pixels per um."""

STEPS_PER_UNIT = 80.0
"""Amounts of dye are rounded to 1/80; 1 is that of a typical nucleus, or of dense collagen."""


@dataclass(frozen=True)
class Blob:
    """A rounded, uneven shape: the outline of a duct, a lobule, a vessel or a follicle.

    Attributes:
        y: Center, um from the top of the slide.
        x: Center, um from the left of the slide.
        radii: (N,) distances from the center to the outline, um, at even angles from 0 to 2 pi.
    """

    y: float
    x: float
    radii: NDArray[np.float64]

    @property
    def reach(self) -> float:
        """The largest radius, um."""
        return float(self.radii.max())


@dataclass(frozen=True)
class SquareFrame:
    """A square part of a slide, in whole um, so that it holds whole pixels.

    Attributes:
        top: Upper edge, um.
        left: Left edge, um.
        side: Side of the square, um.
    """

    top: int
    left: int
    side: int


@dataclass(frozen=True)
class StainCanvas:
    """The amounts of hematoxylin and eosin of a slide; drawn on in place.

    Attributes:
        hematoxylin: (H, W) float32 at `MPP`.
        eosin: (H, W) float32 at `MPP`.
    """

    hematoxylin: Field
    eosin: Field

    @property
    def shape(self) -> Shape:
        """Height and width, px."""
        height, width = self.hematoxylin.shape
        return (height, width)


def random_blob(rng: np.random.Generator, y: float, x: float, *, radius: float, bumps: float = 0.1) -> Blob:
    """Return an uneven oval.

    Args:
        rng: Random generator; advanced by the call.
        y: Center, um from the top of the slide.
        x: Center, um from the left of the slide.
        radius: Radius of the circle of equal area, um.
        bumps: Relative deviation from a circle.

    Returns:
        A blob with 720 radii.
    """
    angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    order = np.arange(2, 9)
    weight = bumps * np.array([1.0, 0.75, 0.5, 0.35, 0.22, 0.16, 0.1]) * rng.normal(0, 1, 7).clip(-1.6, 1.6)
    waves = weight[:, None] * np.cos(order[:, None] * angle + rng.uniform(0, 2 * np.pi, (7, 1)))
    shape = np.exp(waves.sum(axis=0))
    return Blob(y, x, radius * shape / np.sqrt((shape**2).mean()))


def frame_around(blob: Blob, margin: float) -> SquareFrame:
    """Return the square frame that holds a blob and `margin` um around it.

    Args:
        blob: The blob.
        margin: Margin in um.
    """
    half = int(np.ceil(blob.reach + margin))
    return SquareFrame(round(blob.y) - half, round(blob.x) - half, 2 * half)


def depth_inside(blob: Blob, frame: SquareFrame) -> Field:
    """Return the signed depth of each point of a frame inside a blob.

    Args:
        blob: The shape.
        frame: The part of the slide to compute.

    Returns:
        (side, side) float32 at 1 um/px: um to the outline, below 0 outside.
    """
    axis = np.arange(frame.side) + 0.5
    y, x = np.meshgrid(axis + frame.top - blob.y, axis + frame.left - blob.x, indexing="ij")
    angle = np.mod(np.arctan2(y, x), 2 * np.pi)
    count = len(blob.radii)
    # where the outline is oblique to the radius, it is nearer than along the radius
    slope = np.gradient(np.concatenate([blob.radii[-1:], blob.radii, blob.radii[:1]]), 2 * np.pi / count)[
        1:-1
    ]
    cosine = 1 / np.sqrt(1 + (slope / blob.radii) ** 2)
    index = np.minimum((angle / (2 * np.pi) * count).astype(np.intp), count - 1)
    depth: Field = ((blob.radii[index] - np.hypot(y, x)) * cosine[index]).astype(np.float32)
    return depth


def blob_polygon(blob: Blob) -> Polygon:
    """Return the exact outline of a blob as a polygon in level-0 px.

    Args:
        blob: The blob.
    """
    angle = np.linspace(0, 2 * np.pi, len(blob.radii), endpoint=False)[::4]
    radii = blob.radii[::4]
    points = np.stack([blob.x + radii * np.cos(angle), blob.y + radii * np.sin(angle)], axis=1) / MPP
    return Polygon(np.round(points, 2))


def to_pixel_grid(field: Field) -> Field:
    """Return a field of 1 um/px at the resolution of the slide.

    Args:
        field: A field of values.
    """
    return resize_field(field, (field.shape[0] * PX_PER_UM, field.shape[1] * PX_PER_UM))


def soft_mask(depth: Field, width: float = 0.7) -> Field:
    """Return 1 inside (depth above 0) and 0 outside, with an edge about `width` um wide.

    Args:
        depth: Depth inside a shape in um.
        width: Width of the edge in um.
    """
    cover: Field = np.clip(depth / np.float32(2 * width) + np.float32(0.5), 0, 1)
    return cover


def crop_canvas(canvas: StainCanvas, frame: SquareFrame) -> StainCanvas | None:
    """Return the part of a canvas under a frame as a view; None if the frame is off the slide.

    Args:
        canvas: The canvas.
        frame: The frame.
    """
    rows, columns, _ = _overlap(canvas, frame)
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return None
    return StainCanvas(canvas.hematoxylin[rows, columns], canvas.eosin[rows, columns])


def crop_to_canvas(field: Field, canvas: StainCanvas, frame: SquareFrame) -> Field:
    """Return the part of a field drawn for a frame that is on the canvas.

    Args:
        field: A field of values.
        canvas: The canvas.
        frame: The frame.
    """
    _, _, inside = _overlap(canvas, frame)
    return field[inside]


def paste(canvas: StainCanvas, frame: SquareFrame, cover: Field, *, hematoxylin: Field, eosin: Field) -> None:
    """Paste a drawn structure on the canvas in place; parts outside the canvas are cut off.

    Args:
        canvas: The canvas to draw on.
        frame: The part of the slide that the other fields show.
        cover: Opacity; where it is 1, the structure hides what is below.
        hematoxylin: Amount of hematoxylin, shaped as `cover`.
        eosin: Amount of eosin, shaped as `cover`.
    """
    below = crop_canvas(canvas, frame)
    if below is None:
        return
    cover = crop_to_canvas(cover, canvas, frame)
    for target, field in ((below.hematoxylin, hematoxylin), (below.eosin, eosin)):
        target *= 1 - cover
        target += crop_to_canvas(field, canvas, frame) * cover


def add_noise(canvas: StainCanvas, rng: np.random.Generator) -> None:
    """Add camera noise and the grain of tissue in place, so that no area is perfectly flat.

    Args:
        canvas: The canvas.
        rng: Random generator.
    """
    noise = grain(rng, canvas.shape, 0.6)
    canvas.eosin[...] += noise * (np.float32(0.03) + np.float32(0.08) * canvas.eosin)


def dyes_to_rgb(hematoxylin: Field, eosin: Field, patient: Patient) -> NDArray[np.uint8]:
    """Return the RGB colors of amounts of dye in a patient's stain (Beer-Lambert law).

    Args:
        hematoxylin: (H, W) amounts of hematoxylin.
        eosin: (H, W) amounts of eosin.
        patient: The patient whose stain vectors and white point apply.

    Returns:
        (H, W, 3) uint8. The colors come from a table of all 65,536 pairs of rounded amounts, which is much faster
        than one exponential per pixel.
    """
    # the color of every pair of amounts
    steps = (np.arange(256) + 0.5) / STEPS_PER_UNIT
    blue = steps[:, None] * np.asarray(patient.hematoxylin) * patient.hematoxylin_gain
    pink = steps[:, None] * np.asarray(patient.eosin) * patient.eosin_gain * 0.55
    light = np.exp(-(blue[:, None, :] + pink[None, :, :])) * np.asarray(patient.white)
    table: NDArray[np.uint8] = np.rint(light).clip(0, 255).astype(np.uint8).reshape(-1, 3)
    # hematoxylin in the high byte of the index, eosin in the low byte
    index = _quantize(hematoxylin).astype(np.uint16)
    index <<= 8
    index |= _quantize(eosin)
    colors: NDArray[np.uint8] = table[index]
    return colors


def _quantize(amount: Field) -> NDArray[np.uint8]:
    steps: NDArray[np.uint8] = np.clip(amount * np.float32(STEPS_PER_UNIT), 0, 255).astype(np.uint8)
    return steps


def _overlap(canvas: StainCanvas, frame: SquareFrame) -> tuple[slice, slice, tuple[slice, slice]]:
    """Return the canvas' rows and columns under a frame, and the same part within the frame."""
    top, left, side = frame.top * PX_PER_UM, frame.left * PX_PER_UM, frame.side * PX_PER_UM
    rows = slice(max(top, 0), min(top + side, canvas.shape[0]))
    columns = slice(max(left, 0), min(left + side, canvas.shape[1]))
    inside = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
    return rows, columns, inside
