"""Pictures cut from the study's slides: a tile, its masks, and the tiles that the filter keeps."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.network.detector import GRAY
from histoscout.recipe import Recipe
from histoscout.report.blocks import Block, Picture, Pictures
from histoscout.report.page import Section
from histoscout.study import protocol
from histoscout.study.context import StudyContext
from histoscout.study.faults import MaskFunction, mask_function
from histoscout.study.tiles import Tile, filter_tiles, find_masked_tiles, tile_grid
from histoscout.tissue.mask import find_tissue

TILE_PICTURE_PX = 256
"""Side of a tile in a picture."""

OVERVIEW_PX = 900
"""Longer side of a whole slide in a picture."""

GAP = 8
GAP_GRAY = 128
"""Width and gray value of the gap between pictures; gray, since masks are black and white."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class ExampleTile:
    """A tile for the report.

    Attributes:
        tile: The tile.
        slides: The study's slides.
        recipe: The recipe whose resolution is shown.
    """

    tile: Tile
    slides: Sequence[LabeledSlide]
    recipe: Recipe

    @property
    def picture(self) -> Pixels:
        """The tile, enlarged."""
        return _enlarge(self.slides[self.tile.slide].picture(self.tile.box, self.recipe.patches.mpp))

    def mask_picture(self, make_mask: MaskFunction) -> Pixels:
        """Return its mask as some function makes it, in black and white, enlarged."""
        mask = make_mask(self.slides[self.tile.slide], self.tile.box, self.recipe.patches.mpp)
        return _enlarge(np.repeat(((mask == 1) * 255).astype(np.uint8)[..., None], 3, axis=2))


def picture_section(context: StudyContext) -> Section:
    """Return the section with the paper's Figures 4, 5 and 6.

    Args:
        context: Context of the study.
    """
    recipe = context.recipe("unet")
    slides = context.study_slides(recipe)
    example = choose_example_tile(slides, recipe)
    # Figure 5 on a whole slide, Figures 4 and 6 on a tile
    overview, counts = draw_filter(slides[0], recipe, (protocol.LOWEST_STD, protocol.STD))
    blocks: tuple[Block, ...] = (
        Picture(
            data=overview,
            caption=f"The paper's Figure 5. A slide, the tiles kept at a standard deviation of 3 ({counts[0]:,}) and of 12.5 ({counts[1]:,}); what is "
            "dropped is dark. The higher threshold should keep tissue and drop glass.",
            alt="A slide three times: whole, and with dropped tiles darkened at two thresholds.",
        ),
        Pictures(
            (
                Picture(
                    data=draw_tile_and_mask(example),
                    caption="The paper's Figure 4. A tile and its mask: white is lesion.",
                    alt="A tile of tissue and a mask.",
                ),
                Picture(
                    data=draw_gray_tile(example),
                    caption="The paper's Figure 6. The tile as weighted sum of red, green and blue.",
                    alt="A tile in color and gray.",
                ),
            )
        ),
    )
    return Section(
        title="Pictures",
        sentence="Tiles, masks and the filter: the paper's Figures 4, 5 and 6.",
        blocks=blocks,
    )


def choose_example_tile(slides: Sequence[LabeledSlide], recipe: Recipe) -> ExampleTile:
    """Return the tile whose area is nearest to half lesion: there a displaced mask shows best.

    Args:
        slides: The slides.
        recipe: The recipe.
    """
    tiles = filter_tiles(slides, recipe)
    has_mask = find_masked_tiles(tiles, slides, mask_function(frozenset()), recipe=recipe)
    candidates = [tiles[index] for index in np.flatnonzero(has_mask)] or tiles
    mpp = recipe.patches.mpp
    shares = [float((slides[tile.slide].mask(tile.box, mpp) == 1).mean()) for tile in candidates]
    return ExampleTile(candidates[int(np.argmin(np.abs(np.array(shares) - 0.5)))], slides, recipe)


def draw_tile_and_mask(example: ExampleTile) -> bytes:
    """Return Figure 4 as PNG: a tile and its mask.

    Args:
        example: The example tile.
    """
    return _to_png(_side_by_side(example.picture, example.mask_picture(mask_function(frozenset()))))


def draw_fault_masks(example: ExampleTile) -> bytes:
    """Return a PNG of a tile and its mask: correct, displaced, with the last polygon only, both.

    Args:
        example: The example tile.
    """
    functions = (mask_function(frozenset(faults)) for faults in ("", "A", "B", "AB"))
    return _to_png(
        _side_by_side(example.picture, *(example.mask_picture(function) for function in functions))
    )


def draw_gray_tile(example: ExampleTile) -> bytes:
    """Return Figure 6 as PNG: a tile in color and as the weighted sum of its colors.

    Args:
        example: The example tile.
    """
    gray = np.round(example.picture @ np.array(GRAY)).astype(np.uint8)
    return _to_png(_side_by_side(example.picture, np.repeat(gray[..., None], 3, axis=2)))


def draw_filter(
    labeled: LabeledSlide, recipe: Recipe, thresholds: Sequence[float]
) -> tuple[bytes, list[int]]:
    """Draw Figure 5: a slide, and beside it what the filter keeps at each threshold.

    Args:
        labeled: The slide.
        recipe: The recipe of the filter.
        thresholds: Standard deviations from which tiles are kept.

    Returns:
        A PNG, and the number of kept tiles at each threshold.
    """
    pixels, mpp = labeled.slide.overview(OVERVIEW_PX)
    scale = mpp / labeled.slide.mpp
    dimmed = (pixels // 5 + 24).astype(np.uint8)
    parts = [pixels]
    counts = []
    for threshold in thresholds:
        # the slide's own tissue, where it was found with the same threshold
        tissue = labeled.tissue
        if threshold != labeled.recipe.tissue.min_std:
            choices = recipe.tissue.model_copy(update={"min_std": threshold})
            tissue = find_tissue(labeled.slide, choices, recipe.patches)
        kept = tissue.mask_in(labeled.slide.box, scale)[: pixels.shape[0], : pixels.shape[1]]
        parts.append(np.where(kept[..., None], pixels, dimmed))
        counts.append(int((tissue.fractions(tile_grid(labeled, recipe)) > 0.5).sum()))
    return _to_png(_side_by_side(*parts)), counts


def mask_agreement(slides: Sequence[LabeledSlide], recipe: Recipe) -> dict[str, dict[str, float]]:
    """Compute how well faulty masks agree with the correct ones over all kept tiles.

    Args:
        slides: The study's slides.
        recipe: The recipe of the tiles.

    Returns:
        For the faults "A", "B" and "AB": "iou", and "changed", the share of tiles with a lesion that they change.
    """
    tiles = filter_tiles(slides, recipe)
    mpp = recipe.patches.mpp
    agreement = {}
    for faults in ("A", "B", "AB"):
        make_mask = mask_function(frozenset(faults))
        intersection = union = masked = changed = 0
        for tile in tiles:
            labeled = slides[tile.slide]
            # pixels of both masks, and whether the tile differs at all
            faulty = make_mask(labeled, tile.box, mpp) == 1
            truth = labeled.mask(tile.box, mpp) == 1
            intersection += int((faulty & truth).sum())
            union += int((faulty | truth).sum())
            masked += bool(truth.any())
            changed += bool(truth.any() and (faulty != truth).any())
        agreement[faults] = {"iou": intersection / max(1, union), "changed": changed / max(1, masked)}
    return agreement


def _to_png(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def _enlarge(pixels: Pixels) -> Pixels:
    """Return a tile or a mask at the size of a picture, its pixels still visible."""
    size = (TILE_PICTURE_PX, TILE_PICTURE_PX)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST))


def _side_by_side(*parts: Pixels) -> Pixels:
    """Return pictures of one height side by side, with a gray gap between and around them."""
    # a gap after every part but the last
    gap = np.full((parts[0].shape[0], GAP, 3), GAP_GRAY, np.uint8)
    row = np.concatenate([pixels for part in parts for pixels in (part, gap)][:-1], axis=1)
    half = GAP // 2
    return np.pad(row, ((half, half), (half, half), (0, 0)), constant_values=GAP_GRAY)
