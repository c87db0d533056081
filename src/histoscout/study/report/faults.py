"""Report section on the faults: what each is, what it did, and what prevents it."""

import math
from typing import Any

from histoscout.report.blocks import Block, Cell, Heading, Picture, Table, Text
from histoscout.report.formatting import (
    Estimate,
    format_fraction,
    format_number,
    format_units,
    fraction_with_ci,
)
from histoscout.report.page import Section
from histoscout.study.context import StudyContext
from histoscout.study.faults import FAULTS, draw_flips
from histoscout.study.report.pictures import choose_example_tile, draw_fault_masks
from histoscout.study.report.tables import evaluation_at, metrics_on_test_set

Results = dict[str, Any]
"""What study.json holds, or the result of one run."""

LEARNING = "unet at a sane rate, true validation"
"""Start of the names of the U-Net's runs that can learn: all else is as it was run."""

MEASURES = ("F1, own labels", "AP, truth, test tiles", "AP, truth, whole slides")
"""Metrics in the tables of the ablation, as study.json names them."""


def fault_section(results: Results, context: StudyContext) -> Section:
    """Return the section on the faults.

    Args:
        results: What study.json holds.
        context: What all runs share; an example tile is cut from its slides.

    Returns:
        Each fault in plain words with what this study measured of it, and the ablation.
    """
    recipe = context.recipe("unet")
    example = choose_example_tile(context.study_slides(recipe), recipe)
    # one row per fault, with a sentence on what this study measured
    rows: list[tuple[Cell, ...]] = []
    for letter, fault in FAULTS.items():
        texts = (fault.effect, _MEASURED[letter](results), fault.safeguard)
        rows.append((f"{letter} {fault.name}", *map(format_units, texts)))
    blocks: list[Block] = [
        Table(
            head=("fault", "what happens", "what it did here", "what prevents it today"),
            rows=tuple(rows),
            caption="A to H are faults of the code, I to K choices that the paper states. D was in the U-Net with ResNet50 only, E in one rerun.",
        ),
        Picture(
            data=draw_fault_masks(example),
            caption="A tile; its mask as it is; displaced (A); last polygon only (B); both. The mask should be on the lesion.",
            alt="A tile and four masks of it.",
        ),
    ]
    return Section(
        title="Why it failed: each fault",
        sentence="Each fault switched on and off, and what it did.",
        blocks=(*blocks, *ablation_blocks(results["ablation"])),
    )


def whole_slide_ap(result: Results) -> float | None:
    """Return a run's AP over all tissue of whole slides; None if it was not evaluated there.

    Args:
        result: A result file of a run.
    """
    ap: float | None = next(iter(result["whole"].values()), {"ap": None})["ap"]
    return ap


def ablation_blocks(ablation: Results | None) -> list[Block]:
    """Return the tables of the ablation; without one, how to make it.

    Args:
        ablation: Results of the ablation; None if it was not run.
    """
    if ablation is None:
        text = (
            "To add a table of each fault alone, and of all but each, over several seeds, run `histoscout study --faults` with "
            "the same folder."
        )
        return [Heading("Ablation"), Text(text)]
    # every set of faults with its metrics
    sets: tuple[tuple[Cell, ...], ...] = tuple(
        (f"{row['model']}: {row['what']}", *(_estimate(row[name]) for name in MEASURES))
        for row in ablation["sets"]
    )
    # the effect of each fault, with a conclusion in words
    differences: tuple[tuple[Cell, ...], ...] = tuple(
        (
            f"{row['model']}: {FAULTS[row['fault']].name} {row['change']}",
            *(_estimate(row[name]) for name in MEASURES),
            _conclusion(row),
        )
        for row in ablation["differences"]
    )
    seeds = f"Means over {ablation['seeds']} seeds; 95 % confidence interval of the mean (Student's t) in brackets."
    return [
        Heading("Ablation"),
        Table(head=("faults", *MEASURES), rows=sets, caption=f"Every set of faults. {seeds}"),
        Table(
            head=("change", *MEASURES, "in words"),
            rows=differences,
            caption=f"Effect of removing one fault from all, and of one fault alone, paired by seed. {seeds}",
        ),
    ]


def _estimate(seed_mean: Results) -> Estimate:
    return fraction_with_ci(seed_mean["mean"], seed_mean["low"], seed_mean["high"], 3)


def _conclusion(row: Results) -> str:
    """Return whether the AP on whole slides changes beyond the noise of the seeds."""
    difference = row[MEASURES[2]]
    if difference["low"] is None:
        return "one seed: cannot be judged"
    if difference["low"] > 0:
        return "helps" if row["change"] != "alone" else "raises the AP"
    if difference["high"] < 0:
        return "hurts" if row["change"] == "alone" else "lowers the AP"
    return "no effect beyond the noise of the seeds"


# ---------------------------------------------------------------- what this study measured of each fault


def _measured_a(results: Results) -> str:
    displaced, in_place = (
        format_fraction(whole_slide_ap(results["runs"][f"{LEARNING}, {name}"]))
        for name in ("displaced masks", "masks in place")
    )
    return (
        f"displaced masks overlap the lesions with an IoU of {format_fraction(results['masks']['A']['iou'])}; at a sane learning "
        f"rate and with weights chosen by the test tiles' own loss, the U-Net's AP over whole slides is {displaced} with them "
        f"and {in_place} with masks in place (one seed)"
    )


def _measured_b(results: Results) -> str:
    agreement = results["masks"]["B"]
    harm = "hardly any harm" if agreement["iou"] > 0.97 else "some harm"
    return (
        f"{harm}: an IoU of {format_fraction(agreement['iou'], 3)} with the outlines, {format_fraction(agreement['changed'])} of "
        "the tiles with a lesion are changed"
    )


def _measured_c(results: Results) -> str:
    result = results["runs"]["unet, as run"]
    curve = [row["tune_loss"] for row in result["curve"] if math.isfinite(row.get("tune_loss", math.nan))]
    reported = f"{curve[-1]:.3f}" if curve else "not finite"
    actual = format_number(evaluation_at(result)["test loss"])
    kept, true = (
        format_fraction(metrics_on_test_set(results["runs"][f"{name}, masks in place"])["truth"]["recall"], 3)
        for name in ("unet at a sane rate", LEARNING)
    )
    return (
        f"the last point of the U-Net's test curve is {reported}; the weights chosen by this curve have a loss of {actual} on the "
        "test tiles themselves. At a sane rate, with masks in place, it chooses weights from before the network has learned: "
        f"recall is {kept}, with the true loss {true}"
    )


def _measured_d(results: Results) -> str:
    as_run, one_sigmoid = (
        format_fraction(metrics_on_test_set(results["runs"][f"resnet50-unet, {name}"])["own"]["recall"], 3)
        for name in ("as run", "as run but one sigmoid")
    )
    return (
        f"recall is {as_run} as run, {one_sigmoid} with one sigmoid: nearly everything was called lesion, whatever the network "
        "had learned"
    )


def _measured_e(results: Results) -> str:
    curve = results["runs"]["unet-rerun, as run"]["curve"]
    losses = [row["train_loss"] for row in curve if "train_loss" in row]
    if not losses:
        return "no losses"
    return f"the rerun's training loss changes from {losses[0]:.3f} to {losses[-1]:.3f}: it never learned"


def _measured_f(results: Results) -> str:
    vertical, horizontal = draw_flips(0, 0, frozenset("F"))
    ways = [word for word, is_flipped in (("upside down", vertical), ("mirrored", horizontal)) if is_flipped]
    way = " and ".join(ways) or "not at all"
    return f"every tile is flipped {way}: one view of each instead of four. By itself it harms no metric at a threshold of 0.5"


def _measured_g(results: Results) -> str:
    shared = results["runs"]["unet, as run"]["tiles_in_both"]
    return (
        f"{shared} distinct tiles are both in training and in test; with a network that learns nothing this changes little; "
        "one that learns would be flattered"
    )


def _measured_h(results: Results) -> str:
    last = evaluation_at(results["runs"][f"{LEARNING}, masks in place"])
    both, test_only = (format_fraction(last[name]["own"]["f1"]) for name in ("test", "test tiles only"))
    return f"where the U-Net learns, F1 is {both} over all tiles and {test_only} over the test tiles"


def _measured_i(results: Results) -> str:
    stated, repaired = (
        metrics_on_test_set(results["runs"][f"unet, {name}"])["truth"] for name in ("as stated", "repaired")
    )
    return (
        f"with masks in place and this start the U-Net has a recall of {format_fraction(stated['recall'], 4)} at an AP of "
        f"{format_fraction(stated['ap'])}; with all faults repaired {format_fraction(repaired['recall'], 3)} at "
        f"{format_fraction(repaired['ap'])}"
    )


def _measured_j(results: Results) -> str:
    slides, patients = len(results["slides"]["names"]), len(results["slides"]["patients"])
    return f"{slides} slides are of {patients} patients: they support no statement about others, however good the metric"


def _measured_k(results: Results) -> str:
    share = format_fraction(results["scale"]["view_per_lesion"][1])
    return (
        f"a tile shows {share} of a lesion's width, as in the paper; a patch of our recipe shows "
        f"{results['ours']['patch_um']:g} um"
    )


_MEASURED = {
    "A": _measured_a,
    "B": _measured_b,
    "C": _measured_c,
    "D": _measured_d,
    "E": _measured_e,
    "F": _measured_f,
    "G": _measured_g,
    "H": _measured_h,
    "I": _measured_i,
    "J": _measured_j,
    "K": _measured_k,
}
