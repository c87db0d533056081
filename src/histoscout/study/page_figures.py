"""The paper's figures, drawn again from real runs."""

from typing import Any

from histoscout.report.blocks import Block, Heading, Picture, Pictures
from histoscout.report.page import Section
from histoscout.study import paper
from histoscout.study.bench import Bench
from histoscout.study.curves import losses, matrix, matrix_of
from histoscout.study.page_tables import judged_of
from histoscout.study.pictures import exhibit, filtered, grey_tile, tile_and_mask

Found = dict[str, Any]


def picture_section(bench: Bench) -> Section:
    """Figures 4, 5 and 6."""
    recipe = bench.recipe("unet")
    slides = bench.slides(recipe)
    shown = exhibit(slides, recipe)
    overview, counts = filtered(slides[0], recipe, (paper.LOWEST_STD, paper.STD))
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
                    grey_tile(shown),
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
        for epochs in paper.EPOCHS
    )
    matrices = tuple(
        Picture(
            matrix(judged_of(result, epochs), set_name),
            f"{column}, {epochs} epochs, {set_name}: shares of each row. A good model has 1 on the diagonal.",
            "A confusion matrix of lesion and rest.",
        )
        for epochs in paper.EPOCHS
        for set_name in ("train", "test")
    )
    raw = Picture(
        matrix(judged_of(result, paper.EPOCHS[0]), "test", normalised=False),
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
            matrix_of(seen, normalised=False),
            "All tiles, as run: numbers of tiles.",
            "A confusion matrix in tiles.",
        ),
        Picture(
            matrix_of(seen, normalised=True),
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
    for rate in sorted(paper.RATES):
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
