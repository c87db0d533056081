"""The report of the study, from its answer down to every table and figure of the paper.

The section of the study's report on a recipe that works.
"""

from pathlib import Path

from PIL import Image

from histoscout.report.blocks import (
    Block,
    Facts,
    Heading,
    Note,
    Picture,
    Pictures,
    Points,
    Table,
    Text,
    Verdicts,
)
from histoscout.report.evaluation.pictures import jpeg
from histoscout.report.numbers import amount, share, typeset
from histoscout.report.page import Page, Section, write_page
from histoscout.study import protocol
from histoscout.study.bench import Bench
from histoscout.study.report.faults import LEARNING, fault_section, whole_ap
from histoscout.study.report.figures import curve_section, picture_section
from histoscout.study.report.tables import Found, main_section, table_sections, test_of, variant_section
from histoscout.verdict import Verdict

LONGEST_PX = 1100


def our_section(found: Found, overlays: Path) -> Section:
    """What the ordinary recipe finds on the same slides; `overlays` is the folder of what it outlined on each."""
    ours = found["ours"]
    counts, pixel = ours["lesion"]["counts"], ours["pixel"]
    facts: tuple[tuple[str, str], ...] = (
        ("learnt from", ", ".join(ours["patients"]["learnt from"])),
        ("judged on", "the patient left out" + (" and the referee" if found["slides"]["referees"] else "")),
        ("a window shows", typeset(f"{ours['window_um']:g} um")),
        ("steps", f"{ours['steps']:,}"),
        ("pixel AP", share(pixel["ap"]["value"], 3)),
        ("pixel Dice at the threshold chosen in training", share(pixel["dice"]["value"], 3)),
        ("lesions found", f"{counts['found']} of {counts['lesions']}"),
        ("false regions", str(counts["false"])),
    )
    rows = tuple(
        (
            row["patient"],
            share(row["ap"], 3),
            share(row["dice"], 3),
            f"{row['found']} of {row['lesions']}",
            str(row["false"]),
        )
        for row in ours["per_patient"]
    )
    verdicts = tuple(Verdict.from_dict(one) for one in ours["sanity_checks"])
    blocks: list[Block] = [
        Facts(facts),
        Table(
            ("patient", "pixel AP", "Dice", "lesions found", "false regions"),
            rows,
            f"Patient by patient. {typeset(ours['lesion']['rule'])}",
        ),
        Pictures(tuple(map(_overlay, sorted(overlays.glob("*.png"))))),
        Points(tuple(ours["claims"]), "What may and may not be claimed"),
    ]
    if verdicts:
        blocks += [Heading("What the guards said before its first step"), Verdicts(verdicts)]
    sentence = "The same slides, learnt from by the ordinary `train` with a split by patient, judged by the ordinary `evaluate`."
    return Section("A recipe that works", sentence, tuple(blocks))


def _overlay(path: Path) -> Picture:
    """What was found on a slide, over what was drawn there, small enough for a page."""
    with Image.open(path) as image:
        shown = image.convert("RGB")
    shown.thumbnail((LONGEST_PX, LONGEST_PX))
    caption = f"{path.stem}: drawn outlines in black, found ones in colour. A lesion that is found has both."
    return Picture(jpeg(shown), caption, f"Outlines drawn and found on {path.stem}.")


def write_report(found: Found, bench: Bench, path: Path) -> None:
    """Write the report of a study as one HTML file."""
    write_page(study_page(found, bench), path)


def study_page(found: Found, bench: Bench) -> Page:
    """The page: the answer, what it stands on, the tables, why it failed, the figures, a recipe that works, the outlook."""
    sections = (
        _basis(found),
        main_section(found),
        _expected(found),
        *table_sections(found),
        fault_section(found, bench),
        variant_section(found),
        picture_section(bench),
        curve_section(found),
        our_section(found, bench.out / "ours" / "scores" / "overlays"),
        _times(found),
        _outlook(),
        _counterparts(),
    )
    return Page(
        "A study of UDH on breast biopsies, made again", _in_short(found), sections, "histoscout study"
    )


def _in_short(found: Found) -> str:
    runs, ours = found["runs"], found["ours"]
    unet, resnet = (test_of(runs[f"{name}, as run"])["own"] for name in ("unet", "resnet50-unet"))
    place = "left out" if "left out" in ours["whole"] else "referee"
    there, here = runs["unet, as run"]["whole"].get(place), ours["whole"][place]
    counts = ours["lesion"]["counts"]
    compared = ""
    if there and there["ap"] and here["ap"]:
        compared = (
            f" Over all tissue of the patient left out, its pixel AP is {share(here['ap'])}; that of the U-Net as run, "
            f"which had learnt from tiles of this patient, is {share(there['ap'])} (guessing: {share(there['prevalence'])})."
        )
    return (
        f"As it was run, the U-Net finds a share of {share(unet['recall'], 4)} of the lesion pixels, and the U-Net with a "
        f"ResNet50 encoder {share(resnet['recall'], 4)}, with a precision of {share(resnet['precision'], 3)} where "
        f"{share(resnet['prevalence'], 3)} of all pixels are lesion. Below, the faults of code and protocol are switched on "
        f"and off, and what each did is told, also where it did nothing. On the same slides, split by patient, the recipe at "
        f"the end finds {counts['found']} of {counts['lesions']} lesions of patients it has not seen, with {counts['false']} "
        f"false regions.{compared}"
    )


def _basis(found: Found) -> Section:
    slides, scale = found["slides"], found["scale"]
    rows = (
        ("tiles in the grids of the slides", *map(_number, slides["tiles"])),
        ("tiles that the filter keeps (standard deviation at least 12.5)", *map(_number, slides["kept"])),
        ("tiles with a mask", *map(_number, slides["with_mask"])),
        ("their share of all tiles", *(share(value, 4) for value in slides["tile_share"])),
        ("their share of the tiles kept", *(share(value, 4) for value in slides["kept_share"])),
        ("share of lesion pixels in the drawn tiles", *(share(value, 3) for value in slides["pixel_share"])),
        ("side of a tile, px", *map(_number, scale["tile_px"])),
        ("side of a tile, \u00b5m", *(amount(value) for value in scale["tile_um"])),
        ("width of a lesion, \u00b5m", *(amount(value) for value in scale["lesion_um"])),
        ("tile side for each lesion width (held)", *(share(value, 3) for value in scale["view_per_lesion"])),
        ("steps that make 50 epochs", *map(_number, scale["steps_for_50_epochs"])),
        ("learning rate of the main runs", *(f"{value:.2e}" for value in scale["learning_rate"])),
        ("learning rate x steps (held)", *(amount(value) for value in scale["rate_times_steps"])),
        ("batch", *map(_number, scale["batch"])),
        ("ResNet50 starts from", *scale["resnet50_weights"]),
    )
    caption = "What is held to the paper's values, and what is smaller here. The paper's tiles kept follow from its Table 3."
    blocks: list[Block] = [Facts(_facts(found)), Table(("", "paper", "here"), rows, caption)]
    if slides["built_in"]:
        blocks.append(
            Note(
                "These are built-in slides: drawn tissue with duct-like lesions and look-alikes. They show what the protocol "
                "and its faults do; how hard real UDH is they cannot tell. `--data` takes the slides of BRACS themselves."
            )
        )
    if scale["narrower"] > 1:
        blocks.append(
            Text(
                f"Networks whose widths a recipe chooses are {scale['narrower']} times narrower; the encoders ResNet50 and "
                "DenseNet121 are as published."
            )
        )
    return Section("What was studied", "Slides, size, and what is held to the paper's values.", tuple(blocks))


def _facts(found: Found) -> tuple[tuple[str, str], ...]:
    slides, scale = found["slides"], found["scale"]
    return (
        ("paper", found["paper"]),
        ("slides", ", ".join(slides["names"])),
        ("patients", f"{len(slides['patients'])}: {', '.join(slides['patients'])}"),
        ("patient our recipe never sees", slides["left_out"]),
        ("slides outside the study, only judged on", ", ".join(slides["referees"]) or "none"),
        ("scale", f"{scale['name']}, computed on {scale['device']} in float32"),
    )


def _number(value: float) -> str:
    return f"{round(value):,}"


def _expected(found: Found) -> Section:
    """What was expected before the first run, and what came."""
    runs, whole = found["runs"], found["ours"]["whole"]
    unet, resnet, one, dense = (
        test_of(runs[name])["own"]
        for name in (
            "unet, as run",
            "resnet50-unet, as run",
            "resnet50-unet, as run but one sigmoid",
            "densenet121-unet, as run",
        )
    )
    theirs = runs["unet, as run"]["whole"].get("left out", {}).get("ap") or 0.0
    ours = (whole.get("left out") or whole["referee"])["ap"] or 0.0
    rows = (
        ("U-Net as run: recall below .01", share(unet["recall"], 4), _met((unet["recall"] or 0) < 0.01)),
        (
            "U-Net + ResNet50 as run: recall above .98, precision within .02 of the prevalence",
            f"{share(resnet['recall'], 4)}; {share(resnet['precision'], 3)} at {share(resnet['prevalence'], 3)}",
            _met(_all_called(resnet)),
        ),
        (
            "the same with one sigmoid: not so",
            f"{share(one['recall'], 4)}; {share(one['precision'], 3)} at {share(one['prevalence'], 3)}",
            _met(not _all_called(one)),
        ),
        (
            "U-Net + DenseNet121 as run: essentially zero",
            share(dense["recall"], 4),
            _met((dense["recall"] or 0) < 0.01),
        ),
        _masks_back(
            runs,
            "unet at a sane rate",
            "at a sane rate, masks in place raise the U-Net's AP over whole slides",
        ),
        _masks_back(runs, LEARNING, "the same with weights chosen by the loss on the test tiles themselves"),
        (
            "our recipe's pixel AP is at least three times that of the U-Net as run, on the patient left out",
            f"{share(ours, 3)} beside {share(theirs, 3)}",
            _met(ours >= 3 * theirs),
        ),
    )
    sentence = "Written down before the first run; what came is what came."
    return Section(
        "What was expected",
        sentence,
        (Table(("expected", "found", "so?"), rows, "On these slides, at this scale."),),
    )


def _masks_back(runs: Found, name: str, expected: str) -> tuple[str, str, str]:
    """What masks in place do to a U-Net that can learn."""
    displaced, placed = (
        whole_ap(runs[f"{name}, {which}"]) or 0.0 for which in ("displaced masks", "masks in place")
    )
    said = f"{expected} (one seed; `--faults` tells the noise)"
    return said, f"{share(displaced, 3)} to {share(placed, 3)}", _met(placed > displaced)


def _all_called(own: dict[str, float | None]) -> bool:
    return (own["recall"] or 0) > 0.98 and abs((own["precision"] or 0) - (own["prevalence"] or 0)) < 0.02


def _met(yes: bool) -> str:
    return "yes" if yes else "no"


def _times(found: Found) -> Section:
    rows = tuple(
        (
            f"{row['px']} px",
            str(row["batch"]),
            amount(row["seconds"]) + ("" if row["measured"] else " (worked out)"),
            amount(row["seconds"] / 3600),
        )
        for row in found["epoch times"]
    )
    caption = (
        "The paper's U-Net at its full width, one epoch over the tiles of one slide (1,213). Times worked out follow from the "
        "largest step that was measured, by the number of pixels."
    )
    blocks = (
        Table(("input", "batch", "seconds an epoch", "hours"), rows, caption),
        Table(("machine", "input", "time for an epoch"), protocol.EPOCH_TIMES, "What the paper reports."),
    )
    sentence = f"The paper's hour an epoch on a laptop, beside {found['scale']['device']} of this machine."
    return Section("How long an epoch takes", sentence, blocks)


def _outlook() -> Section:
    text = (
        "The paper names more slides, better hyper-parameters, domain adaptation for sparse regions, and information beside "
        "RGB, such as spatial transcriptomics, as ways on.\n\n"
        "More slides and hyper-parameters: this is what `train`, `crossval` and `evaluate` are for; what each patient more "
        "brings can be measured there, with intervals over patients.\n\n"
        "Domain adaptation: histoscout varies stain, brightness, blur and scale in training, which is a common first step "
        "against differences between laboratories. It does no unsupervised adaptation to a new laboratory's slides: nothing in "
        "it learns from slides without outlines. Such a step would enter where training windows are read (`windows/`), as a "
        "second stream of pictures beside the labelled one, with a loss of its own in `network/losses.py`.\n\n"
        "Spatial transcriptomics and other modalities: histoscout reads pictures with red, green and blue, and outlines; gene "
        "counts it does not read. Spots with counts could enter as labelled regions (a spot is an outline with properties, and "
        "outlines keep theirs), so that classes known from genes can be learnt today. Counts as an input of the network would "
        "need a slide source with more than three channels and an encoder for them: `slides/` and `network/graph.py` are the "
        "places, and neither is prepared for it.\n\n"
        "Deciding when to look closer (the paper cites Reinforced Auto-Zoom): windows here are wider and coarser than the "
        "paper's, which already shows a whole lesion; detection at two resolutions is not part of this study."
    )
    return Section("The paper's outlook", "What it hopes for, and what there is today.", (Text(text),))


def _counterparts() -> Section:
    rows = (
        (
            "Figures 1 to 3",
            "architectures",
            "published drawings, not repeated; the recipes in study/recipes/ state them",
        ),
        ("Figure 4", "tile and mask", "Pictures"),
        ("Figure 5", "filter at 3 and 12.5", "Pictures"),
        ("Figure 6", "greyscale tile", "Pictures"),
        ("Table 1, Figures 7 and 8", "U-Net", "The paper's Table 1; Curves and matrices"),
        ("Table 2, Figures 9, 10 and 16", "U-Net + ResNet50", "The paper's Table 2; Curves and matrices"),
        ("Table 3, Figures 11 and 12", "DenseNet121 classifier", "The paper's Table 3; Curves and matrices"),
        ("Figure 13", "U-Net + DenseNet121", "Curves and matrices"),
        ("Figures 14 and 15", "other learning rates", "Variants; Curves and matrices"),
        ("Sections 7.1, 8.1", "greyscale, one slide, times", "Variants; How long an epoch takes"),
    )
    return Section(
        "Where each table and figure of the paper is",
        "Every one has its counterpart here, or a sentence why not.",
        (Table(("paper", "shows", "here"), rows, "Sections of this page."),),
    )
