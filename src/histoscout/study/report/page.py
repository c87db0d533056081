"""The report of the study, from its answer down to every table and figure of the paper."""

from pathlib import Path

from PIL import Image

from histoscout.report.blocks import (
    Block,
    BulletList,
    Facts,
    Heading,
    Note,
    Picture,
    Pictures,
    Table,
    Text,
    VerdictList,
)
from histoscout.report.evaluation.pictures import to_jpeg
from histoscout.report.formatting import format_fraction, format_number, format_units
from histoscout.report.page import Page, Section, write_page
from histoscout.study import protocol
from histoscout.study.context import StudyContext
from histoscout.study.report.curves import curve_section
from histoscout.study.report.faults import LEARNING, fault_section, whole_slide_ap
from histoscout.study.report.pictures import picture_section
from histoscout.study.report.tables import (
    Results,
    main_section,
    metrics_on_test_set,
    table_sections,
    variant_section,
)
from histoscout.verdict import Verdict

OVERLAY_PX = 1100
"""Longer side of an overlay, px."""


def write_report(results: Results, context: StudyContext, path: Path) -> None:
    """Write the report of a study as one HTML file.

    Args:
        results: What study.json holds.
        context: What all runs share; pictures are cut from its slides.
        path: The HTML file.
    """
    write_page(study_page(results, context), path)


def study_page(results: Results, context: StudyContext) -> Page:
    """Return the page, from the answer and its basis to the outlook.

    Args:
        results: Results of the study.
        context: Context of the study.
    """
    sections = (
        _basis_section(results),
        main_section(results),
        _expectation_section(results),
        *table_sections(results),
        fault_section(results, context),
        variant_section(results),
        picture_section(context),
        curve_section(results),
        _working_recipe_section(results, context.out / "ours" / "scores" / "overlays"),
        _times_section(results),
        _outlook_section(),
        _counterparts_section(),
    )
    return Page(
        title="A study of UDH on breast biopsies, repeated",
        lead=_lead(results),
        sections=sections,
        kind="histoscout study",
    )


def _lead(results: Results) -> str:
    runs, ours = results["runs"], results["ours"]
    unet, resnet = (metrics_on_test_set(runs[f"{name}, as run"])["own"] for name in ("unet", "resnet50-unet"))
    counts = ours["lesion"]["counts"]
    # our recipe beside the U-Net on the same slides
    place = "left out" if "left out" in ours["whole"] else "referee"
    theirs = runs["unet, as run"]["whole"].get(place)
    our_ap = ours["whole"][place]["ap"]
    comparison = ""
    if theirs and theirs["ap"] and our_ap:
        comparison = (
            f" Over all tissue of the left-out patient, its pixel AP is {format_fraction(our_ap)}; that of the U-Net as run, "
            f"which was trained on tiles of this patient, is {format_fraction(theirs['ap'])} (guessing: {format_fraction(theirs['prevalence'])})."
        )
    return (
        f"As it was run, the U-Net finds a share of {format_fraction(unet['recall'], 4)} of the lesion pixels, and the U-Net with a "
        f"ResNet50 encoder {format_fraction(resnet['recall'], 4)}, with a precision of {format_fraction(resnet['precision'], 3)} where "
        f"{format_fraction(resnet['prevalence'], 3)} of all pixels are lesion. Below, the faults of code and protocol are switched on "
        f"and off, and the effect of each is reported, also where there is none. On the same slides, split by patient, the recipe at "
        f"the end finds {counts['true_positives']} of {counts['lesions']} lesions of test patients, with {counts['false_positives']} "
        f"false positives.{comparison}"
    )


def _basis_section(results: Results) -> Section:
    slides, scale = results["slides"], results["scale"]
    # rows: the paper beside this study, values that are held marked as such
    rows = (
        ("tiles in the grids of the slides", *map(_number, slides["tiles"])),
        ("tiles that the filter keeps (standard deviation at least 12.5)", *map(_number, slides["kept"])),
        ("tiles with a mask", *map(_number, slides["with_mask"])),
        ("their share of all tiles", *(format_fraction(value, 4) for value in slides["tile_share"])),
        ("their share of the tiles kept", *(format_fraction(value, 4) for value in slides["kept_share"])),
        (
            "share of lesion pixels in the sampled tiles",
            *(format_fraction(value, 3) for value in slides["pixel_share"]),
        ),
        ("side of a tile, px", *map(_number, scale["tile_px"])),
        ("side of a tile, \u00b5m", *(format_number(value) for value in scale["tile_um"])),
        ("width of a lesion, \u00b5m", *(format_number(value) for value in scale["lesion_um"])),
        (
            "tile width per lesion width (held)",
            *(format_fraction(value, 3) for value in scale["view_per_lesion"]),
        ),
        ("steps that replace 50 epochs", *map(_number, scale["steps_for_50_epochs"])),
        ("learning rate of the main runs", *(f"{value:.2e}" for value in scale["learning_rate"])),
        ("learning rate x steps (held)", *(format_number(value) for value in scale["rate_times_steps"])),
        ("batch", *map(_number, scale["batch"])),
        ("initial weights of the ResNet50", *scale["resnet50_weights"]),
    )
    caption = "What is held to the paper's values, and what is smaller here. The paper's tiles kept follow from its Table 3."
    blocks: list[Block] = [
        Facts(_facts(results)),
        Table(head=("", "paper", "here"), rows=rows, caption=caption),
    ]
    # what synthetic slides cannot show
    if slides["built_in"]:
        blocks.append(
            Note(
                "These slides are synthetic: drawn tissue with duct-like lesions and look-alikes. They show what the protocol and its "
                "faults do, but not how hard real UDH is. To use the slides of BRACS themselves, give `--data`."
            )
        )
    if scale["narrower"] > 1:
        blocks.append(
            Text(
                f"Networks whose widths a recipe chooses are {scale['narrower']} times narrower; the encoders ResNet50 and "
                "DenseNet121 are as published."
            )
        )
    return Section(
        title="What was studied",
        sentence="Slides, size, and what is held to the paper's values.",
        blocks=tuple(blocks),
    )


def _facts(results: Results) -> tuple[tuple[str, str], ...]:
    slides, scale = results["slides"], results["scale"]
    return (
        ("paper", results["paper"]),
        ("slides", ", ".join(slides["names"])),
        ("patients", f"{len(slides['patients'])}: {', '.join(slides['patients'])}"),
        ("test patient of our recipe", slides["left_out"]),
        ("slides outside the study, for evaluation only", ", ".join(slides["referees"]) or "none"),
        ("scale", f"{scale['name']}, computed on {scale['device']} in float32"),
    )


def _number(value: float) -> str:
    return f"{round(value):,}"


def _expectation_section(results: Results) -> Section:
    """What was expected before the first run, and what came."""
    runs, whole = results["runs"], results["ours"]["whole"]
    unet, resnet, one_sigmoid, densenet = (
        metrics_on_test_set(runs[name])["own"]
        for name in (
            "unet, as run",
            "resnet50-unet, as run",
            "resnet50-unet, as run but one sigmoid",
            "densenet121-unet, as run",
        )
    )
    # slides that both were evaluated on
    their_ap = runs["unet, as run"]["whole"].get("left out", {}).get("ap") or 0.0
    our_ap = (whole.get("left out") or whole["referee"])["ap"] or 0.0
    # one row per expectation
    rows = (
        (
            "U-Net as run: recall below 0.01",
            format_fraction(unet["recall"], 4),
            _yes_no((unet["recall"] or 0) < 0.01),
        ),
        (
            "U-Net + ResNet50 as run: recall above 0.98, precision within 0.02 of the prevalence",
            _recall_and_precision(resnet),
            _yes_no(_calls_everything_lesion(resnet)),
        ),
        (
            "the same with one sigmoid: not so",
            _recall_and_precision(one_sigmoid),
            _yes_no(not _calls_everything_lesion(one_sigmoid)),
        ),
        (
            "U-Net + DenseNet121 as run: essentially zero",
            format_fraction(densenet["recall"], 4),
            _yes_no((densenet["recall"] or 0) < 0.01),
        ),
        _mask_row(
            runs,
            "unet at a sane rate",
            "at a sane rate, masks in place raise the U-Net's AP over whole slides",
        ),
        _mask_row(runs, LEARNING, "the same with weights chosen by the loss on the test tiles themselves"),
        (
            "our recipe's pixel AP is at least three times that of the U-Net as run, on the left-out patient",
            f"{format_fraction(our_ap, 3)} beside {format_fraction(their_ap, 3)}",
            _yes_no(our_ap >= 3 * their_ap),
        ),
    )
    table = Table(
        head=("expected", "result", "as expected"), rows=rows, caption="On these slides, at this scale."
    )
    return Section(
        title="What was expected",
        sentence="Written down before the first run, beside the results.",
        blocks=(table,),
    )


def _mask_row(runs: Results, name: str, expected: str) -> tuple[str, str, str]:
    """The effect of masks in place on a U-Net that can learn."""
    displaced, in_place = (
        whole_slide_ap(runs[f"{name}, {which}"]) or 0.0 for which in ("displaced masks", "masks in place")
    )
    change = f"{format_fraction(displaced, 3)} to {format_fraction(in_place, 3)}"
    return f"{expected} (one seed; `--faults` shows the noise)", change, _yes_no(in_place > displaced)


def _recall_and_precision(own: Results) -> str:
    precision = f"{format_fraction(own['precision'], 3)} at {format_fraction(own['prevalence'], 3)}"
    return f"{format_fraction(own['recall'], 4)}; {precision}"


def _calls_everything_lesion(own: Results) -> bool:
    return (own["recall"] or 0) > 0.98 and abs((own["precision"] or 0) - (own["prevalence"] or 0)) < 0.02


def _yes_no(yes: bool) -> str:
    return "yes" if yes else "no"


def _working_recipe_section(results: Results, overlays: Path) -> Section:
    """What our recipe finds on the same slides; `overlays` is the folder of its overlays."""
    ours = results["ours"]
    counts, pixel = ours["lesion"]["counts"], ours["pixel"]
    tested = "the left-out patient" + (" and the referee" if results["slides"]["referees"] else "")
    # data, training and results in short
    facts: tuple[tuple[str, str], ...] = (
        ("training patients", ", ".join(ours["patients"]["training"])),
        ("test patients", tested),
        ("width of a patch", format_units(f"{ours['patch_um']:g} um")),
        ("steps", f"{ours['steps']:,}"),
        ("pixel AP", format_fraction(pixel["ap"]["value"], 3)),
        ("pixel Dice at the threshold chosen in training", format_fraction(pixel["dice"]["value"], 3)),
        ("lesions found", f"{counts['true_positives']} of {counts['lesions']}"),
        ("false positives", str(counts["false_positives"])),
    )
    # the same by patient
    rows = tuple(
        (
            row["patient"],
            format_fraction(row["ap"], 3),
            format_fraction(row["dice"], 3),
            f"{row['true_positives']} of {row['lesions']}",
            str(row["false_positives"]),
        )
        for row in ours["per_patient"]
    )
    blocks: list[Block] = [
        Facts(facts),
        Table(
            head=("patient", "pixel AP", "Dice", "lesions found", "false positives"),
            rows=rows,
            caption=f"By patient. {format_units(ours['lesion']['rule'])}",
        ),
        Pictures(tuple(map(_overlay_picture, sorted(overlays.glob("*.png"))))),
        BulletList(tuple(ours["claims"]), "What these results support, and what they do not"),
    ]
    # failed checks of our own training are shown, not hidden
    verdicts = tuple(Verdict.from_dict(verdict) for verdict in ours["sanity_checks"])
    if verdicts:
        blocks += [Heading("Sanity checks before the first step"), VerdictList(verdicts)]
    sentence = "The same slides, trained on by the ordinary `train` with a split by patient, evaluated by the ordinary `evaluate`."
    return Section(title="A recipe that works", sentence=sentence, blocks=tuple(blocks))


def _overlay_picture(path: Path) -> Picture:
    """Detections on a slide over its annotations, small enough for a page."""
    with Image.open(path) as image:
        overlay = image.convert("RGB")
    overlay.thumbnail((OVERLAY_PX, OVERLAY_PX))
    caption = f"{path.stem}: annotations in black, detections in color. A lesion that is found has both."
    return Picture(data=to_jpeg(overlay), caption=caption, alt=f"Annotations and detections on {path.stem}.")


def _times_section(results: Results) -> Section:
    # this machine, then the machines of the paper
    rows = tuple(
        (
            f"{row['px']} px",
            str(row["batch"]),
            format_number(row["seconds"]) + ("" if row["measured"] else " (estimated)"),
            format_number(row["seconds"] / 3600),
        )
        for row in results["epoch times"]
    )
    caption = (
        "The paper's U-Net at its full width, one epoch over the tiles of one slide (1,213). Estimated times follow from the "
        "largest measured step, by the number of pixels."
    )
    blocks = (
        Table(head=("input", "batch", "seconds per epoch", "hours"), rows=rows, caption=caption),
        Table(
            head=("machine", "input", "time for an epoch"),
            rows=protocol.EPOCH_TIMES,
            caption="What the paper reports.",
        ),
    )
    sentence = f"The paper's hour per epoch on a laptop, beside {results['scale']['device']} on this machine."
    return Section(title="How long an epoch takes", sentence=sentence, blocks=blocks)


def _outlook_section() -> Section:
    text = (
        "As next steps the paper names more slides, better hyperparameters, domain adaptation for sparse regions, and "
        "information beside RGB, such as spatial transcriptomics.\n\n"
        "More slides and hyperparameters: this is what `train`, `crossval` and `evaluate` are for; they measure what each "
        "additional patient brings, with confidence intervals over patients.\n\n"
        "Domain adaptation: histoscout varies stain, brightness, blur and scale in training, which is a common first step "
        "against differences between laboratories. It does no unsupervised adaptation to a new laboratory's slides: it does not "
        "learn from slides without annotations. Such a step would belong where training patches are read (`sampling/`), as a second "
        "stream of images beside the annotated one, with a loss of its own in `network/losses.py`.\n\n"
        "Spatial transcriptomics and other modalities: histoscout reads images with red, green and blue, and annotations; it does "
        "not read gene counts. Spots with counts could be read as labeled regions (a spot is a polygon with properties, and "
        "regions keep their properties), so classes known from genes can be learned today. Counts as an input of the network would "
        "need slides with more than three channels and an encoder for them, in `slides/` and `network/`; neither is prepared "
        "for it.\n\n"
        "Deciding when to look closer (the paper cites Reinforced Auto-Zoom): patches here are wider and coarser than the "
        "paper's, and already show a whole lesion; detection at two resolutions is not part of this study."
    )
    return Section(
        title="The paper's outlook",
        sentence="What the paper hopes for, and what exists today.",
        blocks=(Text(text),),
    )


def _counterparts_section() -> Section:
    rows = (
        (
            "Figures 1 to 3",
            "architectures",
            "published drawings, not repeated; the recipes in study/recipes/ state them",
        ),
        ("Figure 4", "tile and mask", "Pictures"),
        ("Figure 5", "filter at 3 and 12.5", "Pictures"),
        ("Figure 6", "grayscale tile", "Pictures"),
        ("Table 1, Figures 7 and 8", "U-Net", "The paper's Table 1; Curves and matrices"),
        ("Table 2, Figures 9, 10 and 16", "U-Net + ResNet50", "The paper's Table 2; Curves and matrices"),
        ("Table 3, Figures 11 and 12", "DenseNet121 classifier", "The paper's Table 3; Curves and matrices"),
        ("Figure 13", "U-Net + DenseNet121", "Curves and matrices"),
        ("Figures 14 and 15", "other learning rates", "Variants; Curves and matrices"),
        ("Sections 7.1, 8.1", "grayscale, one slide, times", "Variants; How long an epoch takes"),
    )
    return Section(
        title="Where each table and figure of the paper is",
        sentence="Each has its counterpart here, or a sentence on why it has none.",
        blocks=(Table(head=("paper", "shows", "here"), rows=rows, caption="Sections of this page."),),
    )
