"""The page of `histoscout check`: check results, cohort, alignment, annotated slides."""

from collections.abc import Sequence
from pathlib import Path

from histoscout.checks.alignment.slides import AS_GIVEN
from histoscout.checks.integrity import ClassCount
from histoscout.checks.run import CheckedSlide, Checks
from histoscout.cohort.case import open_case
from histoscout.detection.overlay import render_overlay
from histoscout.io.notes import pluralize
from histoscout.report.blocks import (
    Block,
    BulletList,
    Cell,
    Facts,
    Link,
    Note,
    Picture,
    Pictures,
    Table,
    VerdictList,
)
from histoscout.report.evaluation.pictures import to_jpeg
from histoscout.report.formatting import DASH, format_number
from histoscout.report.page import Page, Section, slug, write_page

PICTURE_SIZES = ((12, 800), (60, 460))
"""The longer side of pictures in px, for up to so many slides; further slides have no picture."""

MAX_NOTES = 40


def write_check(checks: Checks, path: Path) -> None:
    """Write the page of a check as one HTML file.

    Args:
        checks: What `check_cohort` returns.
        path: The file; an existing one is replaced.

    Raises:
        OutputError: If the file cannot be written.
        SlideError: If a slide cannot be read any more.
    """
    write_page(check_page(checks), path)


def check_page(checks: Checks) -> Page:
    """Compose the page of a check.

    Args:
        checks: What `check_cohort` returns.

    Returns:
        The page.
    """
    sections = [
        Section(
            title="Check results",
            sentence="Failures come first. A result that is not good says what to do.",
            blocks=(VerdictList(checks.verdicts),),
        ),
        _cohort_section(checks),
        _alignment_section(checks),
        _picture_section(checks),
    ]
    slide_notes = (
        f"{slide.name}: {note}"
        for slide in checks.slides
        for note in (*slide.loaded.odd, *slide.loaded.notes)
    )
    if notes := (*checks.notes, *slide_notes):
        blocks: list[Block] = [BulletList(notes[:MAX_NOTES])]
        if len(notes) > MAX_NOTES:
            more = pluralize(len(notes) - MAX_NOTES, "more note is", "more notes are")
            blocks.append(Note(f"{more} not shown."))
        sentence = "What was repaired, assumed or left out when files were read."
        sections.append(Section(title="Notes", sentence=sentence, blocks=tuple(blocks)))
    return Page(
        title="Check of a cohort",
        lead=_lead(checks),
        sections=tuple(sections),
        kind=f"histoscout check of {Path(checks.where).name}",
    )


def _lead(checks: Checks) -> str:
    """The result in a paragraph."""
    failed = [verdict.name for verdict in checks.verdicts if verdict.state == "failed"]
    unsure = [verdict.name for verdict in checks.verdicts if verdict.state in ("warning", "cannot tell")]
    basis = f"{pluralize(len(checks.slides), 'slide')}, {pluralize(len(checks.verdicts), 'check')}."
    if failed:
        number = pluralize(len(failed), "check")
        return f"{number} failed: {'; '.join(failed)}. Fix this before training. {basis}"
    if unsure:
        return f"No check failed. Please review: {'; '.join(unsure)}. {basis}"
    return f"All checks passed: no problem was found. {basis}"


def _cohort_section(checks: Checks) -> Section:
    """Classes, slides and patients."""
    patients = {slide.loaded.case.patient for slide in checks.slides}
    tissue = sum(slide.tissue_mm2 for slide in checks.slides)
    facts = Facts(
        (
            ("slides", f"{len(checks.slides)}"),
            ("patients", f"{len(patients)}"),
            ("annotations", f"{sum(row.annotations for row in checks.classes):,}"),
            ("tissue", f"{format_number(tissue)} mm\u00b2"),
        )
    )
    blocks: list[Block] = [facts]
    if checks.classes:
        blocks.append(_class_table(checks.classes))
        rows = tuple(
            (row.label, row.patient, row.slide, f"{row.annotations:,}", format_number(row.area_mm2))
            for row in checks.classes
        )
        blocks.append(
            Table(
                head=("class", "patient", "slide", "annotations", "area, mm\u00b2"),
                rows=rows,
                caption="Each class on each slide, spelled as in the files. Look for classes that are rare, "
                "or that occur in "
                "one patient only.",
            )
        )
    return Section(title="Cohort", sentence="Classes, slides and patients.", blocks=tuple(blocks))


def _class_table(rows: Sequence[ClassCount]) -> Table:
    cells: list[tuple[Cell, ...]] = []
    for label in sorted({row.label for row in rows}):
        of_class = [row for row in rows if row.label == label]
        cells.append(
            (
                label,
                f"{len({row.patient for row in of_class})}",
                f"{len({row.slide for row in of_class})}",
                f"{sum(row.annotations for row in of_class):,}",
                format_number(sum(row.area_mm2 for row in of_class)),
            )
        )
    return Table(
        head=("class", "patients", "slides", "annotations", "area, mm\u00b2"),
        rows=tuple(cells),
        caption="A class that occurs in few patients is difficult to learn and cannot be evaluated.",
    )


def _alignment_section(checks: Checks) -> Section:
    """How well annotations fit the stain, as given and after undoing known mistakes."""
    rows: list[tuple[Cell, ...]] = []
    for slide in checks.slides:
        fits = slide.alignment.fits
        if AS_GIVEN not in fits:
            continue
        # the best correction; a fit that could not be computed is NaN
        best = max(
            (name for name in fits if name != AS_GIVEN and fits[name].z == fits[name].z),
            key=lambda name: fits[name].z,
            default="",
        )
        as_given = fits[AS_GIVEN].z
        rows.append(
            (
                Link(slide.name, _anchor(slide)),
                DASH if as_given != as_given else f"{as_given:.1f}",
                f"{best} ({fits[best].z:.1f})" if best else DASH,
                slide.alignment.verdict.state,
                slide.alignment.verdict.message,
            )
        )
    title = "Alignment of annotations and tissue"
    sentence = (
        "How much better annotations explain the stain where they are than at other places on the slide, in "
        "standard "
        "deviations; and the same after the best correction of a known mistake, such as a shift or a wrong "
        "scale."
    )
    if not rows:
        return Section(title=title, sentence=sentence, blocks=(Note("No slide has annotations to check."),))
    table = Table(
        head=("slide", "as given", "best correction", "result", "explanation"),
        rows=tuple(rows),
        caption="The value as given should be well above that of any correction.",
    )
    return Section(title=title, sentence=sentence, blocks=(table,))


def _picture_section(checks: Checks) -> Section:
    """Every slide with its annotations."""
    readable = [slide for slide in checks.slides if not slide.loaded.fault]
    shown = readable[: PICTURE_SIZES[-1][0]]
    longest = next((px for most, px in PICTURE_SIZES if len(shown) <= most), PICTURE_SIZES[-1][1])
    pictures = tuple(_picture(slide, longest) for slide in shown)
    blocks: list[Block] = [Pictures(pictures)] if pictures else []
    if faults := [slide.loaded.fault for slide in checks.slides if slide.loaded.fault]:
        blocks.append(BulletList(tuple(faults), "Slides that cannot be read"))
    hidden = len(checks.slides) - len(shown) - len(faults)
    if hidden:
        blocks.append(Note(f"{pluralize(hidden, 'more slide is', 'more slides are')} not shown."))
    sentence = (
        "Every slide with its annotations in the colors of their classes. Are they on the right structures?"
    )
    return Section(title="Slides", sentence=sentence, blocks=tuple(blocks))


def _picture(slide: CheckedSlide, longest: int) -> Picture:
    with open_case(slide.loaded.case) as opened:
        image = render_overlay(opened, slide.loaded.regions, None, longest, letters=30, legend="annotation")
    caption = f"{slide.name}: {pluralize(len(slide.loaded.regions), 'annotation')}"
    if AS_GIVEN in slide.alignment.fits:
        caption += f"; alignment: {slide.alignment.verdict.state}"
    return Picture(
        data=to_jpeg(image, 78),
        caption=f"{caption}.",
        alt=f"{slide.name} with its annotations",
        anchor=_anchor(slide),
    )


def _anchor(slide: CheckedSlide) -> str:
    return f"picture-{slug(slide.name)}"
