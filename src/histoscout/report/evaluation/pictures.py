"""The sections of an evaluation report that show slides: example crops and overlays."""

import io
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import matplotlib
import numpy as np
from PIL import Image, ImageFont

from histoscout.cohort.annotated_slide import annotated_only, labeled_regions
from histoscout.cohort.case import Case, open_case
from histoscout.detection.overlay import (
    ANNOTATED,
    FALSE_POSITIVE,
    FONT_PX,
    FOUND,
    MISSED,
    NOT_COUNTED,
    OTHER_CLASS,
    OutlinesToDraw,
    OutlineStyle,
    render_crop,
    render_styled,
)
from histoscout.evaluation.lesions.matching import PRIMARY_RULE, DetectionState
from histoscout.evaluation.lesions.summary import count_lesions
from histoscout.evaluation.slide_metrics import SlideScores
from histoscout.geometry.regions import Outline, Region, Regions
from histoscout.io.notes import pluralize
from histoscout.recipe_sections import ClassConfig
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
from histoscout.report.formatting import DASH, ReportData, format_fraction, format_number
from histoscout.report.page import Section, slug
from histoscout.slides.slide import Slide

Item = TypeVar("Item")

MAX_TRUE_POSITIVES = 8
MAX_FALSE_NEGATIVES = 12
MAX_FALSE_POSITIVES = 12
"""Crops of each kind, at most."""

OVERLAY_SIZES = ((12, 900), (40, 600), (100, 400))
"""The longer side of overlays in px, for up to so many slides; of more slides only the first are shown."""

DETECTION_STYLES: Mapping[DetectionState, OutlineStyle] = MappingProxyType(
    {
        "true positive": FOUND,
        "duplicate": FOUND,
        "false positive": FALSE_POSITIVE,
        "ignored": NOT_COUNTED,
    }
)
"""How detections are drawn."""

SEED = 0
"""For the choice of true positives."""


@dataclass(frozen=True, kw_only=True)
class GalleryItem:
    """A place on a slide to show.

    Attributes:
        slide: The slide and its scores.
        focus: What is in the middle, level-0 px.
        title: What stands below the crop.
        facts: Short facts below the title.
    """

    slide: SlideScores
    focus: Outline
    title: str
    facts: tuple[str, ...]


def gallery_section(data: ReportData) -> Section | None:
    """Compose the section of crops: true positives, false negatives and false positives.

    Args:
        data: Scores and slides.

    Returns:
        The section; None without slides.
    """
    slides = data.scores.slides
    if not data.cases or not slides:
        return None
    positive = data.scores.protocol.positive
    true_positives = shuffle(_true_positives(slides), SEED)
    false_negatives = sorted(_false_negatives(slides), key=lambda item: -item.focus.area)
    kinds = (
        (
            "True positives",
            f"Detected {positive} lesions, a random sample. Do annotation and detection agree?",
            pick_balanced(true_positives, _patient, MAX_TRUE_POSITIVES),
        ),
        (
            "False negatives",
            "Missed lesions, the largest first. What do they have in common?",
            pick_balanced(false_negatives, _patient, MAX_FALSE_NEGATIVES),
        ),
        (
            "False positives",
            "Detections that match no lesion, the highest scores first. Could some be lesions that nobody "
            "annotated?",
            pick_balanced(_false_positives(slides), _patient, MAX_FALSE_POSITIVES),
        ),
    )
    cards = _make_cards(data, [item for _, _, items in kinds for item in items])
    blocks: list[Block] = []
    for title, caption, items in kinds:
        shown = tuple(
            replace(cards[id(item)], title=f"{number}. {item.title}")
            for number, item in enumerate(items, start=1)
            if id(item) in cards
        )
        blocks += [Gallery(title, caption, shown)] if shown else [Heading(title), Text("None.")]
    sentence = (
        "Green: found. Orange: false positive. Red dashes: missed. Gray: not counted. Thin black: annotation. "
        "Thin blue, with its name: another class. Click a picture to enlarge it."
    )
    return Section(title="Example crops", sentence=sentence, blocks=tuple(blocks))


def slide_section(data: ReportData) -> Section:
    """Compose the section of slides: a row of metrics for each, and its overlay.

    Args:
        data: Scores and slides; without slides there are no overlays.

    Returns:
        The section.
    """
    slides = data.scores.slides
    shown = slides[: OVERLAY_SIZES[-1][0]] if data.cases else ()
    longest = next((px for most, px in OVERLAY_SIZES if len(shown) <= most), OVERLAY_SIZES[-1][1])
    pictures = tuple(_overlay_picture(data, slide, longest) for slide in shown)
    table = Table(
        head=("slide", "patient", "tissue, mm\u00b2", "lesions", "detected", "false positives", "Dice"),
        rows=tuple(_slide_row(data, slide, linked=slide in shown) for slide in slides),
        caption="Look for slides that differ from the rest: a few may account for most false negatives or "
        "false positives.",
    )
    blocks: list[Block] = [table, Pictures(pictures)] if pictures else [table]
    if pictures and len(shown) < len(slides):
        more = pluralize(len(slides) - len(shown), "more overlay is", "more overlays are")
        blocks.append(Note(f"{more} in the folder overlays."))
    sentence = "On which slides the detector works well, and on which it does not."
    return Section(title="Results by slide", sentence=sentence, blocks=tuple(blocks))


def pick_balanced(
    items: Sequence[Item], patient_of: Callable[[Item], Hashable], most: int
) -> tuple[Item, ...]:
    """Pick the first items, but no second one of a patient before each patient has one.

    Args:
        items: Items in order of interest.
        patient_of: Gives the patient of an item.
        most: How many to pick, at most.

    Returns:
        The items that were picked, in their order.
    """
    counts: Counter[Hashable] = Counter()
    ranked = []
    for place, item in enumerate(items):
        patient = patient_of(item)
        ranked.append((counts[patient], place))
        counts[patient] += 1
    return tuple(items[place] for place in sorted(place for _, place in sorted(ranked)[:most]))


def shuffle(items: Iterable[Item], seed: int) -> list[Item]:
    """Shuffle items in an order that depends on the seed alone.

    Args:
        items: The items.
        seed: The random seed.

    Returns:
        All items.
    """
    listed = list(items)
    return [listed[place] for place in np.random.default_rng(seed).permutation(len(listed))]


def crop_jpeg(slide: Slide, focus: Outline, outlined: OutlinesToDraw) -> bytes:
    """Crop a slide around an outline, with annotations and detections drawn on it.

    Args:
        slide: The open slide.
        focus: What is in the middle, level-0 px.
        outlined: Annotations and detections of the slide.

    Returns:
        A JPEG file.
    """
    font = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return to_jpeg(render_crop(slide, focus, outlined, ImageFont.truetype(font, FONT_PX)))


def to_jpeg(image: Image.Image, quality: int = 82) -> bytes:
    """Encode an image as a JPEG file.

    Args:
        image: The image.
        quality: JPEG quality, 1 to 95.

    Returns:
        The file.
    """
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=quality, optimize=True)
    return file.getvalue()


@contextmanager
def open_slide_regions(data: ReportData, scores: SlideScores) -> Iterator[tuple[Slide, OutlinesToDraw]]:
    """Open a slide with its annotations, and its detections at the threshold in use.

    Args:
        data: Slides, and the classes of the model.
        scores: The slide to open.

    Yields:
        The slide and its regions.
    """
    case = next(case for case in data.cases if case.name == scores.name)
    with open_case(case) as slide:
        yield slide, OutlinesToDraw(Regions(), Regions(), _styled(data, case, scores, slide))


def _styled(
    data: ReportData, case: Case, scores: SlideScores, slide: Slide
) -> tuple[tuple[Region, OutlineStyle], ...]:
    """Every annotation and every detection in use, each in the style of what became of it."""
    lesions, positive = scores.lesions, data.scores.protocol.positive
    states = lesions.matchings[PRIMARY_RULE].states
    detected = [
        (detection.region, DETECTION_STYLES[states[number]])
        for number, detection in enumerate(lesions.detections)
        if lesions.is_in_use(number)
    ]
    missed = [(lesions.lesions[number].region, MISSED) for number in lesions.false_negatives()]
    found = set(range(len(lesions.lesions))) - set(lesions.false_negatives())
    annotated = [(lesions.lesions[number].region, ANNOTATED) for number in sorted(found)]
    # what is left: other classes, and areas to ignore
    others = [
        (replace(region, label="not counted") if region.label == "ignore" else region, OTHER_CLASS)
        for region in _annotations(data, case, slide)
        if region.label != positive
    ]
    return (*detected, *missed, *annotated, *others)


def _annotations(data: ReportData, case: Case, slide: Slide) -> Regions:
    """The annotations of a slide under the names of the recipe."""
    protocol = data.scores.protocol
    if data.model is not None:
        classes = data.model.recipe.classes
    else:
        classes = protocol.classes or ClassConfig(positive=protocol.positive)
    regions = labeled_regions(case, classes, slide).regions
    return annotated_only(regions)


def _patient(item: GalleryItem) -> str:
    return item.slide.patient


def _true_positives(slides: Sequence[SlideScores]) -> Iterator[GalleryItem]:
    for slide in slides:
        for lesion_number, detection_number in slide.lesions.true_positives():
            lesion = slide.lesions.lesions[lesion_number].region
            detection = slide.lesions.detections[detection_number]
            overlap = lesion.outline.intersection(detection.region.outline).area
            iou = overlap / (lesion.outline.area + detection.region.outline.area - overlap)
            facts = (
                f"score {format_fraction(detection.score)}",
                f"IoU {format_fraction(iou)}",
                _area_text(slide, lesion),
            )
            yield GalleryItem(slide=slide, focus=lesion.outline, title=slide.name, facts=facts)


def _false_negatives(slides: Sequence[SlideScores]) -> Iterator[GalleryItem]:
    for slide in slides:
        probabilities = {annotation.id: annotation.score for annotation in slide.scored_annotations}
        for number in slide.lesions.false_negatives():
            lesion = slide.lesions.lesions[number]
            facts = [_area_text(slide, lesion.region)]
            probability = probabilities.get(lesion.region.id)
            if probability is not None:
                facts.append(f"mean probability {format_fraction(probability)}")
            if number in slide.lesions.splits:
                facts.append("detected in pieces")
            if lesion.outside_tissue:
                facts.append("outside the detected tissue")
            if any(number in merged for merged in slide.lesions.merges.values()):
                facts.append("merged with others")
            yield GalleryItem(slide=slide, focus=lesion.region.outline, title=slide.name, facts=tuple(facts))


def _false_positives(slides: Sequence[SlideScores]) -> list[GalleryItem]:
    """False positives of all slides, the highest scores first."""
    items = []
    for slide in slides:
        for number in slide.lesions.false_positives():
            detection = slide.lesions.detections[number]
            outline = detection.region.outline
            facts = (
                f"score {format_fraction(detection.score)}",
                f"on {detection.location}",
                _area_text(slide, detection.region),
            )
            item = GalleryItem(slide=slide, focus=outline, title=slide.name, facts=facts)
            items.append((detection.score, item))
    return [item for _, item in sorted(items, key=lambda scored: -scored[0])]


def _area_text(slide: SlideScores, region: Region) -> str:
    return f"{format_number(region.area_mm2(slide.mpp), 2)} mm\u00b2"


def _place_text(item: GalleryItem) -> str:
    """Where a crop is, as QuPath shows it."""
    x, y = item.focus.centroid.x, item.focus.centroid.y
    mpp = item.slide.mpp
    return f"x {x:,.0f}, y {y:,.0f} px ({x * mpp:,.0f}, {y * mpp:,.0f} \u00b5m)"


def _make_cards(data: ReportData, items: Sequence[GalleryItem]) -> dict[int, Card]:
    """A card for each item, by the item's identity; each slide is opened once."""
    cards = {}
    for name in dict.fromkeys(item.slide.name for item in items):
        on_slide = [item for item in items if item.slide.name == name]
        with open_slide_regions(data, on_slide[0].slide) as (slide, outlined):
            for item in on_slide:
                patient = f"patient: {item.slide.patient}" if item.slide.patient != item.title else ""
                facts = tuple(fact for fact in (patient, *item.facts, _place_text(item)) if fact)
                cards[id(item)] = Card(
                    picture=crop_jpeg(slide, item.focus, outlined),
                    title=item.title,
                    alt=f"Crop of {item.title}: {', '.join(facts)}",
                    facts=facts,
                )
    return cards


def _slide_row(data: ReportData, slide: SlideScores, *, linked: bool) -> tuple[Cell, ...]:
    lesions = slide.lesions
    dice = slide.pixels.metrics_at(data.scores.threshold).dice
    return (
        Link(slide.name, _anchor(data, slide)) if linked else slide.name,
        slide.patient,
        format_number(slide.tissue_mm2),
        f"{len(lesions.lesions)}",
        f"{len(lesions.true_positives())}",
        f"{len(lesions.false_positives())}",
        format_fraction(dice) if slide.pixels.positive.any() else DASH,
    )


def describe_slide(scores: SlideScores, positive: str) -> str:
    """Say what every outline on the picture of a slide is: the numbers add up to all detections.

    Args:
        scores: The slide.
        positive: The class that is detected.

    Returns:
        Sentences on lesions and on detections.
    """
    lesions = scores.lesions
    counts = count_lesions([lesions])
    if not counts.lesions:
        first = f"no {positive} was annotated"
    else:
        first = f"{counts.true_positives} of {pluralize(counts.lesions, 'lesion')} found"
    places = ", ".join(f"{number} on {place}" for place, number in counts.false_positives_on.items())
    parts = [
        f"{counts.true_positives} {'finds' if counts.true_positives == 1 else 'find'} a lesion",
        f"{pluralize(counts.false_positives, 'false positive')}{f' ({places})' if places else ''}",
        *([f"{counts.duplicates} on a lesion found before"] if counts.duplicates else []),
        *([f"{counts.ignored} not counted"] if counts.ignored else []),
    ]
    if not counts.detections:
        return f"{first}. No detection."
    return f"{first}. {pluralize(counts.detections, 'detection')}: {', '.join(parts)}."


def _anchor(data: ReportData, slide: SlideScores) -> str:
    return f"slide-{data.scores.slides.index(slide) + 1}-{slug(slide.name)}"


def _overlay_picture(data: ReportData, scores: SlideScores, longest: int) -> Picture:
    with open_slide_regions(data, scores) as (slide, outlined):
        image = render_styled(slide, outlined.styled, longest, letters=30)
    return Picture(
        data=to_jpeg(image, 78),
        caption=f"{scores.name}: {describe_slide(scores, data.scores.protocol.positive)}",
        alt=f"Overlay of {scores.name}",
        anchor=_anchor(data, scores),
    )
