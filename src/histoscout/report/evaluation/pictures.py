"""The sections of an evaluation's report that show slides: hits, misses and false alarms, and every slide's overlay.

Small pictures of lesions and findings for a page: which are shown, and their files.
"""

import io
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import matplotlib
import numpy as np
from PIL import Image, ImageFont

from histoscout.cohort.annotated_slide import labeled_regions
from histoscout.cohort.case import Case, open_case
from histoscout.detection.overlay import LETTERS, Outlined, cut_out, overlay
from histoscout.evaluation.lesions.compare import SlideLesions
from histoscout.evaluation.slide_metrics import SlideScores
from histoscout.geometry.regions import Outline, Region, Regions
from histoscout.recipe import ClassConfig
from histoscout.report.blocks import (
    Block,
    Card,
    Cell,
    Gallery,
    Heading,
    Link,
    Note,
    Picture,
    Pictures,
    Table,
    Text,
)
from histoscout.report.evaluation.figures import Measured
from histoscout.report.numbers import amount, share
from histoscout.report.page import Section, slug
from histoscout.slides.slide import Slide

Thing = TypeVar("Thing")


def balanced(
    things: Sequence[Thing], patient_of: Callable[[Thing], Hashable], most: int
) -> tuple[Thing, ...]:
    """The first things, at most so many, but no second one of a patient before each patient had a first.

    Things come in order of interest and stay in it.
    """
    seen: Counter[Hashable] = Counter()
    ranked = []
    for place, thing in enumerate(things):
        patient = patient_of(thing)
        ranked.append((seen[patient], place))
        seen[patient] += 1
    return tuple(things[place] for place in sorted(place for _, place in sorted(ranked)[:most]))


def shuffled(things: Iterable[Thing], seed: int) -> list[Thing]:
    """The things in an order that depends on the seed alone."""
    listed = list(things)
    return [listed[place] for place in np.random.default_rng(seed).permutation(len(listed))]


def crop(slide: Slide, focus: Outline, outlined: Outlined) -> bytes:
    """The surroundings of an outline (level-0 px) with all outlines there, as a JPEG; see `cut_out`."""
    font = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return jpeg(cut_out(slide, focus, outlined, ImageFont.truetype(font, LETTERS)))


def jpeg(image: Image.Image, quality: int = 82) -> bytes:
    """The picture as a JPEG file."""
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=quality, optimize=True)
    return file.getvalue()


HITS, MISSES, FALSE_ALARMS = 8, 12, 12
"""At most so many crops of each kind."""

OVERLAYS = ((12, 900), (40, 600), (100, 400))
"""Up to so many slides, overlays are so many px long; of more slides only the first are shown."""

SEED = 0


@dataclass(frozen=True)
class Sight:
    """Something to show: what is in the middle, on which slide, and what is said of it."""

    slide: SlideScores
    focus: Outline
    title: str
    facts: tuple[str, ...]


def gallery_section(measured: Measured) -> Section | None:
    """Hits, misses and false alarms as they look; None without slides to cut them from."""
    slides = measured.scores.slides
    if not measured.cases or not slides:
        return None
    positive = measured.scores.exam.positive
    shown = (
        (
            "Hits",
            f"Lesions of {positive} that were found, drawn at random: do the outlines agree?",
            balanced(shuffled(_hits(slides), SEED), _patient, HITS),
        ),
        (
            "Misses",
            "Lesions that were not found, the largest first: what do they have in common?",
            balanced(sorted(_misses(slides), key=lambda sight: -sight.focus.area), _patient, MISSES),
        ),
        (
            "False alarms",
            "Findings that are no lesion, the surest first. Is it really none?",
            balanced(_false_alarms(slides), _patient, FALSE_ALARMS),
        ),
    )
    crops = _crops(measured, [sight for _, _, sights in shown for sight in sights])
    blocks: list[Block] = []
    for title, caption, sights in shown:
        cards = tuple(crops[id(sight)] for sight in sights if id(sight) in crops)
        blocks += [Gallery(title, caption, cards)] if cards else [Heading(title), Text("None.")]
    sentence = (
        "Thin dark lines were drawn, thick coloured ones found. Few of each kind, no second one of a patient before "
        "each patient had a first."
    )
    return Section("Hits, misses, false alarms", sentence, tuple(blocks))


def _patient(sight: Sight) -> str:
    return sight.slide.patient


def _hits(slides: Sequence[SlideScores]) -> Iterator[Sight]:
    for slide in slides:
        for lesion, finding in slide.lesions.hits():
            drawn, found = slide.lesions.lesions[lesion].region, slide.lesions.findings[finding]
            shared = drawn.outline.intersection(found.region.outline).area
            iou = shared / (drawn.outline.area + found.region.outline.area - shared)
            facts = (f"score {share(found.score)}", f"shared area (IoU) {share(iou)}", _size(slide, drawn))
            yield Sight(slide, drawn.outline, slide.name, facts)


def _misses(slides: Sequence[SlideScores]) -> Iterator[Sight]:
    for slide in slides:
        inside = {one.id: one.score for one in slide.outlined}
        for number in slide.lesions.missed():
            lesion = slide.lesions.lesions[number]
            said = inside.get(lesion.region.id)
            facts = [_size(slide, lesion.region)]
            facts += [] if said is None else [f"mean probability inside {share(said)}"]
            facts += ["found in pieces"] if number in slide.lesions.splits else []
            facts += ["outside the tissue looked at"] if lesion.outside_tissue else []
            facts += ["found together with others"] if _merged(slide.lesions, number) else []
            yield Sight(slide, lesion.region.outline, slide.name, tuple(facts))


def _merged(lesions: SlideLesions, number: int) -> bool:
    return any(number in several for several in lesions.merges.values())


def _false_alarms(slides: Sequence[SlideScores]) -> list[Sight]:
    """The surest first, whatever the slide."""
    sights = []
    for slide in slides:
        for number in slide.lesions.false_alarms():
            finding = slide.lesions.findings[number]
            facts = (f"score {share(finding.score)}", f"on {finding.lies_on}", _size(slide, finding.region))
            sights.append((finding.score, Sight(slide, finding.region.outline, slide.name, facts)))
    return [sight for _, sight in sorted(sights, key=lambda one: -one[0])]


def _size(slide: SlideScores, region: Region) -> str:
    return f"{amount(region.area_mm2(slide.mpp), 2)} mm\u00b2"


def _crops(measured: Measured, sights: Sequence[Sight]) -> dict[int, Card]:
    """A card for each sight, by its identity; each slide is opened once."""
    cards = {}
    for scores in dict.fromkeys(sight.slide.name for sight in sights):
        mine = [sight for sight in sights if sight.slide.name == scores]
        with opened(measured, mine[0].slide) as (slide, outlined):
            for sight in mine:
                patient = f"patient: {sight.slide.patient}" if sight.slide.patient != sight.title else ""
                facts = tuple(fact for fact in (patient, *sight.facts) if fact)
                alt = f"Crop of {sight.title}: {', '.join(facts)}"
                cards[id(sight)] = Card(crop(slide, sight.focus, outlined), sight.title, alt, facts)
    return cards


@contextmanager
def opened(measured: Measured, scores: SlideScores) -> Iterator[tuple[Slide, Outlined]]:
    """A slide, with all outlines drawn on it and what was found on it at the threshold in use."""
    case = next(case for case in measured.cases if case.name == scores.name)
    with open_case(case) as slide:
        lesions = scores.lesions
        used = [one.region for number, one in enumerate(lesions.findings) if lesions.in_use(number)]
        yield slide, Outlined(_drawn(measured, case, slide), Regions.of(used))


def _drawn(measured: Measured, case: Case, slide: Slide) -> Regions:
    exam = measured.scores.exam
    if measured.model is not None:
        classes = measured.model.recipe.classes
    else:
        classes = exam.classes or ClassConfig(positive=exam.positive)
    drawn = labeled_regions(case, classes, slide).regions
    return drawn.where(lambda region: region.label != "ignore")


def slide_section(measured: Measured) -> Section:
    """Every slide: a row of figures, and its overlay where there is a slide to show."""
    slides = measured.scores.slides
    shown = slides[: OVERLAYS[-1][0]] if measured.cases else ()
    longest = next((px for most, px in OVERLAYS if len(shown) <= most), OVERLAYS[-1][1])
    pictures = tuple(_overlay(measured, slide, longest) for slide in shown)
    rows = tuple(_row(measured, slide, linked=slide in shown) for slide in slides)
    table = Table(
        ("slide", "patient", "tissue, mm\u00b2", "lesions", "found", "false alarms", "Dice"),
        rows,
        "Look for slides that differ from the rest: a few of them may make most of the misses or false alarms.",
    )
    blocks: list[Block] = [table, Pictures(pictures)] if pictures else [table]
    if pictures and len(shown) < len(slides):
        blocks.append(Note(f"{len(slides) - len(shown)} more overlays lie in the folder overlays/."))
    return Section("Slide by slide", "Which slides went well, and which did not.", tuple(blocks))


def _row(measured: Measured, slide: SlideScores, *, linked: bool) -> tuple[Cell, ...]:
    lesions = slide.lesions
    dice = slide.pixels.at(measured.scores.threshold).dice
    return (
        Link(slide.name, _anchor(measured, slide)) if linked else slide.name,
        slide.patient,
        amount(slide.tissue_mm2),
        f"{len(lesions.lesions)}",
        f"{len(lesions.hits())}",
        f"{len(lesions.false_alarms())}",
        share(dice) if slide.pixels.positive.any() else "\u2013",
    )


def _anchor(measured: Measured, slide: SlideScores) -> str:
    return f"slide-{measured.scores.slides.index(slide) + 1}-{slug(slide.name)}"


def _overlay(measured: Measured, scores: SlideScores, longest: int) -> Picture:
    with opened(measured, scores) as (slide, outlined):
        positive = outlined.drawn.labeled(measured.scores.exam.positive)
        picture = jpeg(overlay(slide, outlined.found, positive, longest, letters=30), 78)
    lesions = scores.lesions
    said = (
        f"{scores.name}: {len(lesions.hits())} of {len(lesions.lesions)} lesions found, "
        f"{len(lesions.false_alarms())} false alarms."
    )
    return Picture(picture, said, f"Overlay of {scores.name}", _anchor(measured, scores))
