"""Pictures cut from the slides: a tile and its mask, the tiles that the filter keeps, a tile in grey."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histoscout.detection.labelled import LabelledSlide
from histoscout.detection.tissue import find_tissue
from histoscout.network.graph import GREY
from histoscout.recipe import Recipe
from histoscout.study.faults import MaskFunction, masks
from histoscout.study.tiles import Tile, kept_tiles, tile_grid, with_mask

SHOWN_PX = 256  # side of a tile as it is shown
OVERVIEW_PX = 900
GAP, GREY_GAP = 8, 128  # grey: masks are black and white

Picture = NDArray[np.uint8]


def png(pixels: Picture) -> bytes:
    """Pixels as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def enlarged(pixels: Picture, side: int = SHOWN_PX) -> Picture:
    """A tile or a mask at the size it is shown, its pixels still to be seen."""
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST))


def beside(*parts: Picture) -> Picture:
    """Pictures of one height side by side, a grey gap between them."""
    gap = np.full((parts[0].shape[0], GAP, 3), GREY_GAP, np.uint8)
    row = np.concatenate([one for part in parts for one in (part, gap)][:-1], axis=1)
    return np.pad(row, ((GAP // 2, GAP // 2), (GAP // 2, GAP // 2), (0, 0)), constant_values=GREY_GAP)


def as_picture(mask: NDArray[np.uint8]) -> Picture:
    """A mask in black and white."""
    return np.repeat(((mask == 1) * 255).astype(np.uint8)[..., None], 3, axis=2)


@dataclass(frozen=True)
class Exhibit:
    """A tile that is shown: where it is, and what it is on."""

    tile: Tile
    slides: Sequence[LabelledSlide]
    recipe: Recipe

    @property
    def picture(self) -> Picture:
        return enlarged(self.slides[self.tile.slide].picture(self.tile.box, self.recipe.windows.mpp))

    def mask(self, made: MaskFunction) -> Picture:
        """Its mask, as some function makes it."""
        found = made(self.slides[self.tile.slide], self.tile.box, self.recipe.windows.mpp)
        return enlarged(as_picture(found))


def exhibit(slides: Sequence[LabelledSlide], recipe: Recipe) -> Exhibit:
    """The first tile of which a lesion covers about half: there a displaced mask shows best."""
    tiles = kept_tiles(slides, recipe)
    chosen = [tiles[i] for i in np.flatnonzero(with_mask(tiles, slides, masks(frozenset()), recipe))] or tiles
    shares = [float((slides[tile.slide].mask(tile.box, recipe.windows.mpp) == 1).mean()) for tile in chosen]
    return Exhibit(chosen[int(np.argmin(np.abs(np.array(shares) - 0.5)))], slides, recipe)


def tile_and_mask(shown: Exhibit) -> bytes:
    """Figure 4: a tile and its mask."""
    return png(beside(shown.picture, shown.mask(masks(frozenset()))))


def masks_as_run(shown: Exhibit) -> bytes:
    """The same tile, its mask as it is, displaced, and with the last polygon only."""
    made = (masks(frozenset(faults)) for faults in ("", "A", "B", "AB"))
    return png(beside(shown.picture, *(shown.mask(one) for one in made)))


def grey_tile(shown: Exhibit) -> bytes:
    """Figure 6: a tile in colour and as the weighted sum of its colours."""
    grey = np.round(shown.picture @ np.array(GREY)).astype(np.uint8)
    return png(beside(shown.picture, np.repeat(grey[..., None], 3, axis=2)))


def filtered(labelled: LabelledSlide, recipe: Recipe, thresholds: Sequence[float]) -> tuple[bytes, list[int]]:
    """Figure 5: a slide, and beside it what the filter keeps at each threshold; how many tiles these are."""
    pixels, mpp = labelled.slide.overview(OVERVIEW_PX)
    scale, parts, counts = mpp / labelled.slide.mpp, [pixels], []
    for threshold in thresholds:
        choices = recipe.tissue.model_copy(update={"std": threshold})
        same = threshold == labelled.recipe.tissue.std
        tissue = labelled.tissue if same else find_tissue(labelled.slide, choices, recipe.windows)
        shares = tissue.shares(tile_grid(labelled, recipe))
        kept = tissue.mask_of(labelled.slide.box, scale)[: pixels.shape[0], : pixels.shape[1]]
        dimmed = (pixels // 5 + 24).astype(np.uint8)
        parts.append(np.where(kept[..., None], pixels, dimmed))
        counts.append(int((shares > 0.5).sum()))
    return png(beside(*parts)), counts


def mask_agreement(slides: Sequence[LabelledSlide], recipe: Recipe) -> dict[str, dict[str, float]]:
    """How well faulty masks fit the outlines over all kept tiles: IoU, and the share of tiles with a mask they spoil."""
    tiles, found = kept_tiles(slides, recipe), {}
    for faults in ("A", "B", "AB"):
        made, shared, either, spoilt, marked = masks(frozenset(faults)), 0, 0, 0, 0
        for tile in tiles:
            labelled = slides[tile.slide]
            own, truth = (
                made_by(labelled, tile.box, recipe.windows.mpp) == 1 for made_by in (made, LabelledSlide.mask)
            )
            shared, either = shared + int((own & truth).sum()), either + int((own | truth).sum())
            marked += bool(truth.any())
            spoilt += bool(truth.any() and (own != truth).any())
        found[faults] = {"iou": shared / max(1, either), "spoilt": spoilt / max(1, marked)}
    return found
