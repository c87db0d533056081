"""The paper's figures, drawn again from real runs.

The paper's figures of training and result, drawn from a run: losses by epoch, confusion matrices.

Pictures cut from the slides: a tile and its mask, the tiles that the filter keeps, a tile in grey.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.network.detector import GRAY
from histoscout.recipe import Recipe
from histoscout.report.blocks import Block, Heading, Picture, Pictures
from histoscout.report.page import Section
from histoscout.report.plots import confusion
from histoscout.report.svg import drawing, light
from histoscout.study import protocol
from histoscout.study.bench import Bench
from histoscout.study.faults import MaskFunction, masks
from histoscout.study.report.tables import judged_of
from histoscout.study.tiles import Tile, kept_tiles, tile_grid, with_mask
from histoscout.tissue.mask import find_tissue

LABELS = ("UDH", "rest")
LARGE = 5.0  # losses beyond this are shown on a logarithmic scale: a training that bursts


def losses(result: dict[str, Any], *, until: int | None = None, accuracy: bool = False) -> bytes:
    """Loss of training and test by the paper's epochs; the dotted line is what guessing the base rate gives.

    `until` an epoch of the paper only; with `accuracy` also the accuracy at each validation.
    """
    epochs = max(int(one) for one in result["epochs"])
    each = epochs / result["steps"][-1]
    rows = [row for row in result["curve"] if until is None or row["step"] * each <= until + 1e-9]
    base = base_loss(result)
    with drawing() as made:
        axes = made.axes
        for column, name in (("train_loss", "training"), ("tune_loss", "test, as the run computed it")):
            points = [
                (row["step"] * each, row[column]) for row in rows if math.isfinite(row.get(column, math.nan))
            ]
            if points:
                axes.plot(*zip(*points, strict=True), label=name)
        if base is not None:
            axes.axhline(
                base, color=light("muted"), linestyle=":", linewidth=1, label=f"guessing: {base:.3f}"
            )
        if accuracy:
            points = [(int(step) * each, value) for step, value in result["accuracies"].items()]
            axes.plot(*zip(*sorted(points), strict=True), label="accuracy, test")
        if axes.get_ylim()[1] > LARGE:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.set_xlabel("epochs of the paper")
        axes.set_ylabel("loss")
    return made.svg


def base_loss(result: dict[str, Any]) -> float | None:
    """The loss of answering the base rate everywhere: the entropy of the share of positives, own labels."""
    if "all tiles" in result:  # the classifier learns from as many tiles of one kind as of the other
        return math.log(2)
    prevalence: float | None = next(iter(result["epochs"].values()))["train"]["own"]["prevalence"]
    if not prevalence or prevalence == 1:
        return None
    return -prevalence * math.log(prevalence) - (1 - prevalence) * math.log(1 - prevalence)


def matrix(judged: dict[str, Any], set_name: str, kind: str = "own", *, normalized: bool = True) -> bytes:
    """A confusion matrix: of rows what is there, of columns what was found; as shares of the row or as numbers."""
    seen = judged[set_name][kind]["confusion"]
    return matrix_of(seen, normalized=normalized)


def matrix_of(seen: dict[str, float], *, normalized: bool) -> bytes:
    """The same of counts by name."""
    counts = [[int(seen["hits"]), int(seen["misses"])], [int(seen["alarms"]), int(seen["rests"])]]
    return confusion(LABELS, counts, of_row=normalized)


SHOWN_PX = 256  # side of a tile as it is shown
OVERVIEW_PX = 900
GAP, GRAY_GAP = 8, 128  # grey: masks are black and white

Pixels = NDArray[np.uint8]


def png(pixels: Pixels) -> bytes:
    """Pixels as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def enlarged(pixels: Pixels, side: int = SHOWN_PX) -> Pixels:
    """A tile or a mask at the size it is shown, its pixels still to be seen."""
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST))


def beside(*parts: Pixels) -> Pixels:
    """Pictures of one height side by side, a grey gap between them."""
    gap = np.full((parts[0].shape[0], GAP, 3), GRAY_GAP, np.uint8)
    row = np.concatenate([one for part in parts for one in (part, gap)][:-1], axis=1)
    return np.pad(row, ((GAP // 2, GAP // 2), (GAP // 2, GAP // 2), (0, 0)), constant_values=GRAY_GAP)


def as_picture(mask: NDArray[np.uint8]) -> Pixels:
    """A mask in black and white."""
    return np.repeat(((mask == 1) * 255).astype(np.uint8)[..., None], 3, axis=2)


@dataclass(frozen=True)
class Exhibit:
    """A tile that is shown: where it is, and what it is on."""

    tile: Tile
    slides: Sequence[LabeledSlide]
    recipe: Recipe

    @property
    def picture(self) -> Pixels:
        return enlarged(self.slides[self.tile.slide].picture(self.tile.box, self.recipe.patches.mpp))

    def mask(self, made: MaskFunction) -> Pixels:
        """Its mask, as some function makes it."""
        found = made(self.slides[self.tile.slide], self.tile.box, self.recipe.patches.mpp)
        return enlarged(as_picture(found))


def exhibit(slides: Sequence[LabeledSlide], recipe: Recipe) -> Exhibit:
    """The first tile of which a lesion covers about half: there a displaced mask shows best."""
    tiles = kept_tiles(slides, recipe)
    chosen = [tiles[i] for i in np.flatnonzero(with_mask(tiles, slides, masks(frozenset()), recipe))] or tiles
    shares = [float((slides[tile.slide].mask(tile.box, recipe.patches.mpp) == 1).mean()) for tile in chosen]
    return Exhibit(chosen[int(np.argmin(np.abs(np.array(shares) - 0.5)))], slides, recipe)


def tile_and_mask(shown: Exhibit) -> bytes:
    """Figure 4: a tile and its mask."""
    return png(beside(shown.picture, shown.mask(masks(frozenset()))))


def masks_as_run(shown: Exhibit) -> bytes:
    """The same tile, its mask as it is, displaced, and with the last polygon only."""
    made = (masks(frozenset(faults)) for faults in ("", "A", "B", "AB"))
    return png(beside(shown.picture, *(shown.mask(one) for one in made)))


def gray_tile(shown: Exhibit) -> bytes:
    """Figure 6: a tile in colour and as the weighted sum of its colours."""
    gray = np.round(shown.picture @ np.array(GRAY)).astype(np.uint8)
    return png(beside(shown.picture, np.repeat(gray[..., None], 3, axis=2)))


def filtered(labeled: LabeledSlide, recipe: Recipe, thresholds: Sequence[float]) -> tuple[bytes, list[int]]:
    """Figure 5: a slide, and beside it what the filter keeps at each threshold; how many tiles these are."""
    pixels, mpp = labeled.slide.overview(OVERVIEW_PX)
    scale, parts, counts = mpp / labeled.slide.mpp, [pixels], []
    for threshold in thresholds:
        choices = recipe.tissue.model_copy(update={"min_std": threshold})
        same = threshold == labeled.recipe.tissue.min_std
        tissue = labeled.tissue if same else find_tissue(labeled.slide, choices, recipe.patches)
        shares = tissue.shares(tile_grid(labeled, recipe))
        kept = tissue.mask_of(labeled.slide.box, scale)[: pixels.shape[0], : pixels.shape[1]]
        dimmed = (pixels // 5 + 24).astype(np.uint8)
        parts.append(np.where(kept[..., None], pixels, dimmed))
        counts.append(int((shares > 0.5).sum()))
    return png(beside(*parts)), counts


def mask_agreement(slides: Sequence[LabeledSlide], recipe: Recipe) -> dict[str, dict[str, float]]:
    """How well faulty masks fit the outlines over all kept tiles: IoU, and the share of tiles with a mask they spoil."""
    tiles, found = kept_tiles(slides, recipe), {}
    for faults in ("A", "B", "AB"):
        made, shared, either, spoilt, marked = masks(frozenset(faults)), 0, 0, 0, 0
        for tile in tiles:
            labeled = slides[tile.slide]
            own, truth = (
                made_by(labeled, tile.box, recipe.patches.mpp) == 1 for made_by in (made, LabeledSlide.mask)
            )
            shared, either = shared + int((own & truth).sum()), either + int((own | truth).sum())
            marked += bool(truth.any())
            spoilt += bool(truth.any() and (own != truth).any())
        found[faults] = {"iou": shared / max(1, either), "spoilt": spoilt / max(1, marked)}
    return found


Found = dict[str, Any]


def picture_section(bench: Bench) -> Section:
    """Figures 4, 5 and 6."""
    recipe = bench.recipe("unet")
    slides = bench.slides(recipe)
    shown = exhibit(slides, recipe)
    overview, counts = filtered(slides[0], recipe, (protocol.LOWEST_STD, protocol.STD))
    blocks: tuple[Block, ...] = (
        Picture(
            overview,
            f"The paper's Figure 5. A slide, the tiles kept at a standard deviation of 3 ({counts[0]:,}) and of 12.5 ({counts[1]:,}); what is "
            "dropped is dark. The higher threshold should leave tissue and drop glass.",
            "A slide three times: whole, and with dropped tiles darkened at two thresholds.",
        ),
        Pictures(
            (
                Picture(
                    tile_and_mask(shown),
                    "The paper's Figure 4. A tile and its mask: white is lesion.",
                    "A tile of tissue and a mask.",
                ),
                Picture(
                    gray_tile(shown),
                    "The paper's Figure 6. The tile as weighted sum of red, green and blue.",
                    "A tile in colour and grey.",
                ),
            )
        ),
    )
    return Section("Pictures", "Tiles, masks and the filter: the paper's Figures 4, 5 and 6.", blocks)


def curve_section(found: Found) -> Section:
    """Figures 7 to 16."""
    runs = found["runs"]
    blocks: list[Block] = []
    for title, name, stated in (
        ("The paper's Figures 7 and 8: U-Net, 1e-6", "unet, as run", "unet, as stated"),
        (
            "The paper's Figures 9, 10 and 16: U-Net + ResNet50, 1e-6",
            "resnet50-unet, as run",
            "resnet50-unet, as stated",
        ),
    ):
        blocks += [
            Heading(title),
            *_of_unet(runs[name], "as run", stale=True),
            *_of_unet(runs[stated], "as stated", stale=False),
        ]
    blocks += [
        Heading("The paper's Figures 11 and 12: DenseNet121 classifier"),
        *_of_classifier(runs["densenet121, as run"]),
    ]
    blocks += [Heading("The paper's Figure 13: U-Net + DenseNet121"), *_of_dense(runs)]
    blocks += [
        Heading("The paper's Figures 14 and 15: U-Net at other learning rates, as run"),
        *_of_rates(runs),
    ]
    sentence = "Losses by epoch and confusion matrices: the paper's Figures 7 to 16. Epochs are the paper's; the steps here are fewer."
    return Section("Curves and matrices", sentence, tuple(blocks))


def _of_unet(result: Found, column: str, *, stale: bool) -> list[Block]:
    lies = (
        " The test curve is not of test pictures: it shows the last training batch beside test masks."
        if stale
        else ""
    )
    curves = tuple(
        Picture(
            losses(result, until=epochs),
            f"Loss, {column}, {epochs} epochs.{lies} A network that learns falls below the dotted line.",
            f"Loss of training and test over {epochs} epochs.",
        )
        for epochs in protocol.EPOCHS
    )
    matrices = tuple(
        Picture(
            matrix(judged_of(result, epochs), set_name),
            f"{column}, {epochs} epochs, {set_name}: shares of each row. A good model has 1 on the diagonal.",
            "A confusion matrix of lesion and rest.",
        )
        for epochs in protocol.EPOCHS
        for set_name in ("train", "test")
    )
    raw = Picture(
        matrix(judged_of(result, protocol.EPOCHS[0]), "test", normalized=False),
        f"{column}, 50 epochs, test: numbers of pixels.",
        "A confusion matrix in numbers of pixels.",
    )
    return [Pictures(curves), Pictures((*matrices, raw))]


def _of_classifier(result: Found) -> list[Block]:
    seen = result["all tiles"]["own"]["confusion"]
    pictures = (
        Picture(
            losses(result, accuracy=True),
            "Loss and validation accuracy. The paper's accuracy is high at once and hardly changes.",
            "Loss and accuracy of the classifier by epoch.",
        ),
        Picture(
            matrix_of(seen, normalized=False),
            "All tiles, as run: numbers of tiles.",
            "A confusion matrix in tiles.",
        ),
        Picture(
            matrix_of(seen, normalized=True),
            "All tiles, as run: shares of each row.",
            "A confusion matrix in shares.",
        ),
    )
    return [Pictures(pictures)]


def _of_dense(runs: Found) -> list[Block]:
    pictures = []
    for column in ("as run", "as stated"):
        result = runs[f"densenet121-unet, {column}"]
        pictures += [
            Picture(
                losses(result),
                f"Loss, {column}. The paper's two curves lie close together.",
                "Loss by epoch.",
            ),
            Picture(
                matrix(judged_of(result), "test"),
                f"{column}, test: shares of each row.",
                "A confusion matrix.",
            ),
        ]
    return [Pictures(tuple(pictures))]


def _of_rates(runs: Found) -> list[Block]:
    pictures = []
    for rate in sorted(protocol.RATES):
        result = runs[f"unet at {rate:g}, as run"]
        stopped = judged_of(result).get("stopped")
        ended = f" No curve at {rate:g}: {stopped}." if stopped and not result["curve"] else ""
        if not ended:
            pictures.append(
                Picture(losses(result), f"Loss at the paper's {rate:g}.", f"Loss by epoch at {rate:g}.")
            )
        pictures.append(
            Picture(
                matrix(judged_of(result), "test"),
                f"{rate:g}, test: shares of each row.{ended}",
                "A confusion matrix.",
            )
        )
    return [Pictures(tuple(pictures))]
