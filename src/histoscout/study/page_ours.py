"""The section of the study's report on a recipe that works."""

from pathlib import Path

from PIL import Image

from histoscout.report.blocks import Block, Facts, Heading, Picture, Pictures, Points, Table, Verdicts
from histoscout.report.gallery import jpeg
from histoscout.report.numbers import share, typeset
from histoscout.report.page import Section
from histoscout.study.page_tables import Found
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
    verdicts = tuple(Verdict(**one) for one in ours["guards"])
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
