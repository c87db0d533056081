"""What each fault is, what it did, and what would have caught it."""

import math
from typing import Any

from histoscout.report.blocks import Block, Cell, Figure, Heading, Picture, Table, Text
from histoscout.report.numbers import amount, share, typeset, with_interval
from histoscout.report.page import Section
from histoscout.study.bench import Bench
from histoscout.study.faults import FAULTS, flips
from histoscout.study.report.figures import exhibit, masks_as_run
from histoscout.study.report.tables import judged_of, test_of

Found = dict[str, Any]
LEARNING = "unet at a sane rate, true validation"
"""How runs of a U-Net begin that can learn: everything else as it was run."""

MEASURES = ("F1, own labels", "AP, truth, test tiles", "AP, truth, whole slides")


def fault_section(found: Found, bench: Bench) -> Section:
    """Each fault in plain words, with what this study measured of it."""
    recipe = bench.recipe("unet")
    shown = exhibit(bench.slides(recipe), recipe)
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (f"{letter} {fault.name}", *map(typeset, (fault.what, _measured(letter, found), fault.guard)))
        for letter, fault in FAULTS.items()
    )
    blocks: list[Block] = [
        Table(
            ("fault", "what happens", "what it did here", "what says so today"),
            rows,
            "A to H are faults of the code, I to K choices that the paper states. D was in the U-Net with ResNet50 only, E in one rerun.",
        ),
        Picture(
            masks_as_run(shown),
            "A tile; its mask as it is; displaced (A); last polygon only (B); both. The mask should lie on the lesion.",
            "A tile and four masks of it.",
        ),
    ]
    blocks += ablation_blocks(found["ablation"])
    return Section(
        "Why it failed: each fault", "Switched on and off, one by one, and what it did.", tuple(blocks)
    )


def _measured(letter: str, found: Found) -> str:
    """A sentence with this study's figures."""
    return SAID[letter](found)


def _a(found: Found) -> str:
    displaced, placed = (
        found["runs"][f"{LEARNING}, {name}"] for name in ("displaced masks", "masks in place")
    )
    ap = [whole_ap(result) for result in (displaced, placed)]
    return (
        f"displaced masks overlap the lesions with an IoU of {share(found['masks']['A']['iou'])}; at a sane learning rate and with "
        f"weights chosen by the test tiles' own loss, the U-Net's AP over whole slides is {share(ap[0])} with them and {share(ap[1])} with "
        "masks in place (one seed)"
    )


def whole_ap(result: Found) -> float | None:
    """AP over all tissue of the slides that every run is judged on; None if the run was not."""
    found: float | None = next(iter(result["whole"].values()), {"ap": None})["ap"]
    return found


def _b(found: Found) -> str:
    seen = found["masks"]["B"]
    harm = "hardly any harm" if seen["iou"] > 0.97 else "some harm"
    return f"{harm}: an IoU of {share(seen['iou'], 3)} with the outlines, {share(seen['spoilt'])} of the tiles with a lesion are changed"


def _c(found: Found) -> str:
    result = found["runs"]["unet, as run"]
    curve = [row["tune_loss"] for row in result["curve"] if math.isfinite(row.get("tune_loss", math.nan))]
    real = amount(judged_of(result)["test loss"])
    last = f"{curve[-1]:.3f}" if curve else "no number"
    kept, true = (
        share(test_of(found["runs"][f"{name}, masks in place"])["truth"]["recall"], 3)
        for name in ("unet at a sane rate", LEARNING)
    )
    return (
        f"the last point of the U-Net's test curve says {last}; the weights kept by it have {real} on the test tiles themselves. At a sane "
        f"rate, with masks in place, it keeps weights from before the network has learnt: recall {kept}, with the true loss {true}"
    )


def _d(found: Found) -> str:
    run, one = (
        test_of(found["runs"][f"resnet50-unet, {name}"])["own"]
        for name in ("as run", "as run but one sigmoid")
    )
    return f"recall {share(run['recall'], 3)} as run, {share(one['recall'], 3)} with one sigmoid: whatever was learnt, nearly all was called lesion"


def _e(found: Found) -> str:
    losses = [
        row["train_loss"] for row in found["runs"]["unet-rerun, as run"]["curve"] if "train_loss" in row
    ]
    return (
        f"the rerun's training loss goes from {losses[0]:.3f} to {losses[-1]:.3f}: it never learnt"
        if losses
        else "no losses"
    )


def _f(found: Found) -> str:
    down, across = flips(0, 0, frozenset("F"))
    way = (
        " and ".join(word for word, yes in (("upside down", down), ("mirrored", across)) if yes)
        or "not at all"
    )
    return f"every tile is flipped {way}: one view of each instead of four. By itself it spoils nothing that is measured at .5"


def _g(found: Found) -> str:
    result = found["runs"]["unet, as run"]
    return (
        f"{result['tiles_in_both']} distinct tiles are in training and test alike; with a network that learns nothing that changes "
        "little; one that learns would be flattered"
    )


def _h(found: Found) -> str:
    judged = judged_of(found["runs"][f"{LEARNING}, masks in place"])
    both, alone = (judged[name]["own"]["f1"] for name in ("test", "test tiles only"))
    return (
        f"where the U-Net learns, F1 is {share(both)} over all tiles and {share(alone)} over the test tiles"
    )


def _i(found: Found) -> str:
    stated, mended = (test_of(found["runs"][f"unet, {name}"])["truth"] for name in ("as stated", "mended"))
    return (
        f"with masks in place and this start the U-Net recalls {share(stated['recall'], 4)} at an AP of {share(stated['ap'])}; with all "
        f"mended {share(mended['recall'], 3)} at {share(mended['ap'])}"
    )


def _j(found: Found) -> str:
    slides = found["slides"]
    return f"{len(slides['names'])} slides are of {len(slides['patients'])} patients: no statement about others can follow, however good the figure"


def _k(found: Found) -> str:
    scale = found["scale"]
    return f"a tile shows {share(scale['view_per_lesion'][1])} of a lesion's width, as in the paper; our recipe sees {found['ours']['window_um']:g} um"


SAID = {"A": _a, "B": _b, "C": _c, "D": _d, "E": _e, "F": _f, "G": _g, "H": _h, "I": _i, "J": _j, "K": _k}


def ablation_blocks(ablation: Found | None) -> list[Block]:
    """The tables of the ablation, or how to get them."""
    if ablation is None:
        text = "Each fault alone, and all but each, over several seeds: `histoscout study --faults` with the same folder adds that table here."
        return [Heading("Ablation"), Text(text)]
    sets: tuple[tuple[Cell, ...], ...] = tuple(
        (f"{row['model']}: {row['what']}", *(_cell(row[name]) for name in MEASURES))
        for row in ablation["sets"]
    )
    differences: tuple[tuple[Cell, ...], ...] = tuple(
        (
            f"{row['model']}: {FAULTS[row['fault']].name} {row['change']}",
            *(_cell(row[name]) for name in MEASURES),
            _verdict(row),
        )
        for row in ablation["differences"]
    )
    seeds = f"{ablation['seeds']} seeds; in brackets where the mean lies 95 times of 100 (Student)."
    return [
        Heading("Ablation"),
        Table(("faults", *MEASURES), sets, f"Every set of faults. {seeds}"),
        Table(
            ("change", *MEASURES, "in words"),
            differences,
            f"What taking one fault out of all brings, and what one alone costs, paired by seed. {seeds}",
        ),
    ]


def _cell(spread: Found) -> Figure:
    return with_interval(spread["mean"], spread["low"], spread["high"], 3)


def _verdict(row: Found) -> str:
    """Whether the whole-slide AP is moved beyond the noise of the seeds."""
    seen = row[MEASURES[2]]
    if seen["low"] is None:
        return "one seed: cannot tell"
    if seen["low"] > 0:
        return "helps" if row["change"] != "alone" else "raises the AP"
    if seen["high"] < 0:
        return "hurts" if row["change"] == "alone" else "lowers the AP"
    return "no effect beyond the noise of the seeds"
