"""The page of a check: the verdicts first, then what stands on the slides, then every slide with its outlines."""

from collections.abc import Sequence
from pathlib import Path

from histoscout.checks.alignment.slides import AS_GIVEN
from histoscout.checks.integrity import ClassRow
from histoscout.checks.run import Checks, Looked
from histoscout.cohort.case import open_case
from histoscout.detection.overlay import overlay
from histoscout.report.blocks import (
    Block,
    Cell,
    Facts,
    Link,
    Note,
    Picture,
    Pictures,
    Points,
    Table,
    Verdicts,
)
from histoscout.report.evaluation.pictures import jpeg
from histoscout.report.numbers import amount, count
from histoscout.report.page import Page, Section, slug, write_page

LONGEST_PX = ((12, 800), (60, 460))
"""Up to so many slides, pictures are so large; beyond the last, further slides have a row and no picture."""

MOST_NOTES = 40


def write_check(checks: Checks, path: Path) -> None:
    """Write what a check found as one HTML file; OutputError where that cannot be."""
    write_page(check_page(checks), path)


def check_page(checks: Checks) -> Page:
    """The page: may this cohort be trusted?"""
    sections = [
        Section(
            "Verdicts",
            "The gravest first; each that is not good says what to do.",
            (Verdicts(checks.verdicts),),
        ),
        _cohort(checks),
        _fit(checks),
        _sheet(checks),
    ]
    if notes := (*checks.notes, *_notes_of(checks.slides)):
        blocks: list[Block] = [Points(notes[:MOST_NOTES])]
        if len(notes) > MOST_NOTES:
            blocks.append(Note(f"{len(notes) - MOST_NOTES} more notes are not shown."))
        sections.append(Section("Notes", "What the readers mended, assumed or left out.", tuple(blocks)))
    return Page(
        "Can this cohort be trusted?",
        _lead(checks),
        tuple(sections),
        f"histoscout check of {Path(checks.where).name}",
    )


def _lead(checks: Checks) -> str:
    bad = [verdict.name for verdict in checks.verdicts if verdict.state == "failed"]
    unsure = [verdict.name for verdict in checks.verdicts if verdict.state in ("warning", "cannot tell")]
    basis = f"{count(len(checks.slides), 'slide')}, {count(len(checks.verdicts), 'question')}."
    if bad:
        return f"No: these failed: {'; '.join(bad)}. Mend them before training. {basis}"
    if unsure:
        return f"Nothing failed. Look at these yourself: {'; '.join(unsure)}. {basis}"
    return f"Yes, as far as can be measured: nothing was found. {basis}"


def _cohort(checks: Checks) -> Section:
    patients = {slide.read.case.patient for slide in checks.slides}
    tissue = sum(slide.tissue_mm2 for slide in checks.slides)
    facts = Facts(
        (
            ("slides", f"{len(checks.slides)}"),
            ("patients", f"{len(patients)}"),
            ("outlines", f"{sum(row.outlines for row in checks.classes):,}"),
            ("tissue", f"{amount(tissue)} mm\u00b2"),
        )
    )
    blocks: list[Block] = [facts]
    if checks.classes:
        blocks.append(_by_class(checks.classes))
        blocks.append(
            Table(
                ("class", "patient", "slide", "outlines", "area, mm\u00b2"),
                tuple(
                    (row.label, row.patient, row.slide, f"{row.outlines:,}", amount(row.area_mm2))
                    for row in checks.classes
                ),
                "Every class on every slide, as typed: look for classes that are rare or on one patient only.",
            )
        )
    return Section("What is there", "Classes, slides and patients.", tuple(blocks))


def _by_class(rows: Sequence[ClassRow]) -> Table:
    labels = sorted({row.label for row in rows})
    cells: list[tuple[Cell, ...]] = []
    for label in labels:
        mine = [row for row in rows if row.label == label]
        cells.append(
            (
                label,
                f"{len({row.patient for row in mine})}",
                f"{len({row.slide for row in mine})}",
                f"{sum(row.outlines for row in mine):,}",
                amount(sum(row.area_mm2 for row in mine)),
            )
        )
    return Table(
        ("class", "patients", "slides", "outlines", "area, mm\u00b2"),
        tuple(cells),
        "A class on few patients can hardly be learnt, and not be judged.",
    )


def _fit(checks: Checks) -> Section:
    rows: list[tuple[Cell, ...]] = []
    for slide in checks.slides:
        if AS_GIVEN not in slide.alignment.fits:
            continue
        fits = slide.alignment.fits
        best = max(
            (name for name in fits if name != AS_GIVEN and fits[name].z == fits[name].z),
            key=lambda name: fits[name].z,
            default="",
        )
        other = f"{best} ({fits[best].z:.1f})" if best else "\u2013"
        given = fits[AS_GIVEN].z
        rows.append(
            (
                Link(slide.name, _anchor(slide)),
                "\u2013" if given != given else f"{given:.1f}",
                other,
                slide.alignment.verdict.state,
                slide.alignment.verdict.message,
            )
        )
    sentence = (
        "How much better the outlines explain the stain where they are than the same outlines laid elsewhere, in "
        "standard deviations; beside it the best of the known mistakes, undone."
    )
    if not rows:
        return Section(
            "Do outlines fit the tissue?", sentence, (Note("No slide has outlines to ask about."),)
        )
    table = Table(
        ("slide", "as given", "best other", "verdict", "what the pixels say"),
        tuple(rows),
        "As given should stand well above everything else.",
    )
    return Section("Do outlines fit the tissue?", sentence, (table,))


def _anchor(slide: Looked) -> str:
    return f"picture-{slug(slide.name)}"


def _sheet(checks: Checks) -> Section:
    sentence = (
        "Every slide with its outlines, in the colours of their classes: do they lie on what they mean?"
    )
    shown = [slide for slide in checks.slides if not slide.read.fault][: LONGEST_PX[-1][0]]
    longest = next((px for most, px in LONGEST_PX if len(shown) <= most), LONGEST_PX[-1][1])
    pictures = tuple(_picture(slide, longest) for slide in shown)
    blocks: list[Block] = [Pictures(pictures)] if pictures else []
    if faults := [one.read.fault for one in checks.slides if one.read.fault]:
        blocks.append(Points(tuple(faults), "Slides that cannot be shown"))
    if len(shown) + len(faults) < len(checks.slides):
        blocks.append(Note(f"{len(checks.slides) - len(shown) - len(faults)} more slides are not shown."))
    return Section("Contact sheet", sentence, tuple(blocks))


def _picture(slide: Looked, longest: int) -> Picture:
    with open_case(slide.read.case) as opened:
        image = overlay(opened, slide.read.regions, None, longest, letters=30, said="drawn")
    read = slide.read
    told = f"{slide.name}: {count(len(read.regions), 'outline')}"
    if AS_GIVEN in slide.alignment.fits:
        told += f"; do they fit: {slide.alignment.verdict.state}"
    return Picture(jpeg(image, 78), f"{told}.", f"{slide.name} with its outlines", _anchor(slide))


def _notes_of(slides: Sequence[Looked]) -> list[str]:
    return [f"{slide.name}: {note}" for slide in slides for note in (*slide.read.odd, *slide.read.notes)]
