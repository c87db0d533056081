"""The paper's tables with ours beside them."""

from typing import Any

from histoscout.evaluation.pixels.counts import Confusion
from histoscout.report.blocks import Block, Cell, Table, Text
from histoscout.report.numbers import NOT_ESTIMABLE, amount
from histoscout.report.numbers import share as shown
from histoscout.report.page import Section
from histoscout.study import protocol
from histoscout.study.metrics import averaged, figures
from histoscout.study.protocol import MODELS, Printed

Found = dict[str, Any]
NAMES = ("accuracy", "precision", "recall", "f1")
HEAD = ("accuracy", "precision", "recall", "F1")


def share(value: float | None, digits: int = 2) -> str:
    """A share; a dash where there is nothing to divide by, such as the precision of a run that calls nothing lesion."""
    text = shown(value, digits)
    return "" if text == NOT_ESTIMABLE else text


COLUMNS = (
    ("as run", "as it was run: with every fault that this run had"),
    ("as stated", "as the paper states it: faults of the code off, its tiles, patients and start kept"),
    ("mended", "all faults off: wider tiles, split by patient, normalisation, a sane learning rate"),
    ("as run but one sigmoid", "as it was run, the second sigmoid alone taken out"),
)


def judged_of(result: Found, epochs: int | None = None) -> Found:
    """What a run was worth at some epochs of the paper, or at its end."""
    found: Found = result["epochs"][str(epochs)] if epochs else list(result["epochs"].values())[-1]
    return found


def test_of(result: Found) -> Found:
    """The figures that the run would call "test"."""
    found: Found = judged_of(result)["test"]
    return found


def main_section(found: Found) -> Section:
    """Paper, as run, as stated and mended, one below the other for each network."""
    rows: list[tuple[Cell, ...]] = []
    for model in ("unet", "resnet50-unet", "densenet121", "densenet121-unet"):
        rows += _rows_of(found, model)
    rows.append(_our_row(found))
    head = ("test set", *HEAD, "recall, truth", "precision, truth", "AP, truth", "AP, whole slides")
    caption = (
        "Accuracy to F1 against the masks that the run itself was given; then against the outlines as they are. The last column "
        "is over all tissue of the slides outside the study, the same for every run. What a run calls its test set is not the "
        "same in every row: with metrics-on-all it holds the training tiles too."
    )
    sentence = "Every network beside the paper's printed figures."
    explained = " ".join(f"{name.capitalize()}: {what}." for name, what in COLUMNS)
    return Section(
        "The whole in one table",
        sentence,
        (Table(head, tuple(rows), caption, (len(rows) - 1,)), Text(explained)),
    )


def _rows_of(found: Found, model: str) -> list[tuple[Cell, ...]]:
    title = MODELS[model].title
    rows: list[tuple[Cell, ...]] = [(f"{title}: paper", *_printed(PRINTED[model]), "", "", "", "")]
    for column, _ in COLUMNS:
        result = found["runs"].get(f"{model}, {column}")
        if result is not None:
            judged = test_of(result)
            truth = judged["truth"]
            whole = result["whole"].get("referee") or result["whole"].get("left out") or {}
            rows.append(
                (
                    f"{title}: {column}",
                    *(share(judged["own"][name], 4) for name in NAMES),
                    share(truth["recall"], 3),
                    share(truth["precision"], 3),
                    share(truth["ap"], 3),
                    share(whole["ap"], 3) if whole else "",
                )
            )
    return rows


def _our_row(found: Found) -> tuple[Cell, ...]:
    whole = found["ours"]["whole"].get("referee") or found["ours"]["whole"]["left out"]
    pixel = found["ours"]["pixel"]
    return (
        "our recipe, patients never seen",
        "",
        "",
        "",
        "",
        share(pixel["recall"]["value"], 3),
        share(pixel["precision"]["value"], 3),
        share(pixel["ap"]["value"], 3),
        share(whole["ap"], 3),
    )


PRINTED: dict[str, Printed | None] = {
    "unet": protocol.TABLE_1[(100, "test")],
    "resnet50-unet": protocol.TABLE_2[(100, "test")],
    "densenet121": protocol.TABLE_3,
    "densenet121-unet": None,
}


def _printed(row: Printed | None) -> tuple[str, ...]:
    if row is None:
        return ("not printed", "", "about 0", "")
    return tuple(share(getattr(row, name), 4) for name in NAMES)


def table_sections(found: Found) -> tuple[Section, ...]:
    """Tables 1, 2 and 3."""
    return (
        Section(
            "The paper's Table 1: U-Net, learning rate 1e-6",
            "In the paper hardly a lesion pixel is found; accuracy is high because most pixels are no lesion.",
            (_by_epochs(found, "unet", protocol.TABLE_1), _reading_1(found)),
        ),
        Section(
            "The paper's Table 2: U-Net with a ResNet50 encoder, learning rate 1e-6",
            "In the paper nearly everything is called lesion: recall near 1, precision at the prevalence.",
            (_by_epochs(found, "resnet50-unet", protocol.TABLE_2), _reading_2(found)),
        ),
        Section(
            "The paper's Table 3: DenseNet121, has the tile UDH or not",
            "Averaged over the classes, as printed, and for UDH alone, which is what was asked.",
            _table_3(found),
        ),
    )


def _by_epochs(found: Found, model: str, printed: Any) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for epochs in protocol.EPOCHS:
        for set_name in ("train", "test"):
            name = f"{epochs} epochs, {set_name}"
            if (epochs, set_name) in printed:
                rows.append((f"{name}: paper", *_printed(printed[(epochs, set_name)]), ""))
            for column, _ in COLUMNS:
                result = found["runs"].get(f"{model}, {column}")
                if result is not None and str(epochs) in result["epochs"]:
                    own = judged_of(result, epochs)[set_name]["own"]
                    rows.append(
                        (
                            f"{name}: {column}",
                            *(share(own[key], 4) for key in NAMES),
                            share(own["prevalence"], 3),
                        )
                    )
    return Table(
        ("", *HEAD, "prevalence"),
        tuple(rows),
        "Over pixels, against the run's own masks, at .5. Without a precision, nothing was called lesion.",
    )


def _reading_1(found: Found) -> Text:
    run, stated, mended = (found["runs"][f"unet, {name}"] for name in ("as run", "as stated", "mended"))
    return Text(
        f"With displaced masks or with masks in place, at this learning rate the U-Net {_moved(stated)}: as stated it recalls "
        f"{share(test_of(stated)['truth']['recall'], 4)} of the lesion pixels, as run {share(test_of(run)['own']['recall'], 4)}. "
        f"Its AP against the outlines is {share(test_of(stated)['truth']['ap'])} as stated and "
        f"{share(test_of(mended)['truth']['ap'])} with all faults mended, on test tiles of prevalence "
        f"{share(test_of(stated)['truth']['prevalence'])} and {share(test_of(mended)['truth']['prevalence'])}. The mended runs learn from "
        "one patient and keep the weights of the lowest loss on the other, as the study kept those of the lowest test loss: with "
        f"{mended['train_tiles']} tiles to learn from that loss jumps from one look to the next, and what is called lesion at .5 is a "
        "matter of luck. Of their figures, read AP."
    )


def _moved(result: Found) -> str:
    losses = [row["train_loss"] for row in result["curve"] if "train_loss" in row]
    return (
        f"goes from a loss of {losses[0]:.3f} to {losses[-1]:.3f} and no further"
        if losses
        else "does not train"
    )


def _reading_2(found: Found) -> Text:
    run, one = (
        test_of(found["runs"][f"resnet50-unet, {name}"])["own"]
        for name in ("as run", "as run but one sigmoid")
    )
    same = abs((run["precision"] or 0) - run["prevalence"]) < 0.02 and (run["recall"] or 0) > 0.98
    answer = "This is the signature of Table 2" if same else "This is not the signature of Table 2"
    return Text(
        f"As run, recall is {share(run['recall'], 4)} and precision {share(run['precision'], 3)} at a prevalence of "
        f"{share(run['prevalence'], 3)}. {answer}: a sigmoid of a sigmoid is above .5 whatever the network has learnt, but "
        f"where float32 rounds it to exactly .5. With the second sigmoid alone taken out, recall is {share(one['recall'], 4)} and "
        f"precision {share(one['precision'], 3)}."
    )


def _table_3(found: Found) -> tuple[Block, ...]:
    rows: list[tuple[Cell, ...]] = [
        ("averaged: paper", *_printed(protocol.TABLE_3), ""),
        ("UDH alone: paper", *_printed(protocol.TABLE_3_UDH), share(1 / protocol.KEPT_RATIO, 4)),
    ]
    for column in ("as run", "as stated"):
        every = found["runs"][f"densenet121, {column}"]["all tiles"]["own"]
        seen = Confusion(**every["confusion"])
        rows.append((f"averaged: {column}", *(share(averaged(seen)[name], 4) for name in NAMES), ""))
        alone = figures(seen)
        rows.append(
            (
                f"UDH alone: {column}",
                *(share(alone[name], 4) for name in NAMES),
                share(alone["prevalence"], 4),
            )
        )
    text = (
        "The paper's averages follow exactly from a recall of .776 for UDH, a specificity of .868 and one tile with UDH in 46; its "
        "text gives the 78 % to the other class. For UDH alone that is a precision of .116: of nine tiles that are called UDH, one is."
    )
    return Table(
        ("", *HEAD, "prevalence"),
        tuple(rows),
        "Over every tile that the filter kept, training tiles among them.",
    ), Text(text)


def variant_section(found: Found) -> Section:
    """The U-Net in grey, on one slide, at other learning rates."""
    rows: list[tuple[Cell, ...]] = []
    for name, result in found["runs"].items():
        if name.startswith(("unet in", "unet on", "unet at", "unet-rerun")):
            judged, own = judged_of(result), test_of(result)["own"]
            rows.append(
                (
                    name,
                    f"{result['learning_rate']:.2e}",
                    f"{judged['steps']:,}",
                    *(share(own[key], 4) for key in ("precision", "recall", "f1")),
                    share(test_of(result)["truth"]["ap"], 3),
                    judged["stopped"] or _last_loss(result),
                )
            )
    head = (
        "U-Net",
        "learning rate here",
        "steps",
        "precision",
        "recall",
        "F1",
        "AP, truth",
        "training loss at the end",
    )
    text = (
        "The paper says of greyscale and of one slide that the loss did not fall below .5, and of rates above 1e-6 that the test loss "
        "did not settle; 1e-2 was interrupted. Rates here are those that keep rate x steps, so the larger ones are very large steps."
    )
    return Section(
        "Variants",
        "Greyscale, one slide, other learning rates, the rerun.",
        (Table(head, tuple(rows), "At 50 or 100 epochs of the paper."), Text(text)),
    )


def _last_loss(result: Found) -> str:
    losses = [row["train_loss"] for row in result["curve"] if "train_loss" in row]
    return amount(losses[-1]) if losses else ""
