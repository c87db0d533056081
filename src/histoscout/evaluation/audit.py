"""The surest false alarms, laid before a reader: where not everything was annotated, some of them are lesions."""

import csv
import io
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from histoscout.annotations.geojson import write_geojson
from histoscout.cohort.case import Case
from histoscout.cohort.labelled import labelled_regions
from histoscout.cohort.open_case import open_case
from histoscout.evaluation.audit_table import TABLE
from histoscout.evaluation.compare import Finding, SlideLesions
from histoscout.evaluation.cutout import Outlined, cut_out
from histoscout.evaluation.false_alarms import PLACES, Place
from histoscout.files import replacing, write_text
from histoscout.geometry.regions import Region, Regions
from histoscout.recipe import Classes
from histoscout.slides.slide import Slide

QUESTION = "audit: ?"
"""The class of a finding that is to be judged, as the reader sees it in QuPath."""

COLUMNS = (
    "number",
    "slide",
    "id",
    "score",
    "lies on",
    "area_mm2",
    "x_um",
    "y_um",
    "picture",
    "verdict",
    "comment",
)


@dataclass(frozen=True)
class Question:
    """A finding to be judged: its number in the audit, from 1 for the surest, and the slide it is on."""

    number: int
    slide: str
    finding: Finding

    @property
    def picture(self) -> str:
        """The name of its picture."""
        return f"{self.number:04d} {self.slide}.png"


def questions(
    slides: Mapping[str, SlideLesions],
    most: int,
    asked_before: Container[str] = frozenset(),
    places: Container[Place] = tuple(PLACES),
) -> list[Question]:
    """The false alarms with the highest scores of all slides (by name), at most so many, the surest first.

    Those whose ids are in `asked_before` are left out, and those that do not lie on one of the `places`.
    """
    rows = [
        (slide, lesions.findings[number])
        for slide, lesions in slides.items()
        for number in lesions.false_alarms()
        if lesions.findings[number].region.id not in asked_before
        and lesions.findings[number].lies_on.place in places
    ]
    rows.sort(key=lambda row: (-row[1].score, row[0], row[1].region.id))
    return [Question(number, *row) for number, row in enumerate(rows[:most], start=1)]


def write_audit(asked: Sequence[Question], folder: Path, mpp: Mapping[str, float]) -> None:
    """Write what a reader needs to judge, but for the pictures: a table, and a file for QuPath for each slide.

    The table has an empty column "verdict". In SLIDE.geojson each finding has the class "audit: ?" and the name
    "audit NUMBER": the reader gives it another class and exports the objects again. `mpp` in um per level-0 px
    of each slide. What is there is replaced.
    """
    for slide in dict.fromkeys(question.slide for question in asked):
        regions = Regions.of(_to_judge(question) for question in asked if question.slide == slide)
        write_geojson(regions, folder / f"{slide}.geojson")
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_row(question, mpp[question.slide]) for question in asked)
    write_text(folder / TABLE, text.getvalue())


def _to_judge(question: Question) -> Region:
    region = question.finding.region
    return replace(
        region, label=QUESTION, properties={**region.properties, "name": f"audit {question.number}"}
    )


def _row(question: Question, mpp: float) -> tuple[object, ...]:
    region = question.finding.region
    centre = region.outline.centroid
    numbers = (region.area_mm2(mpp), centre.x * mpp, centre.y * mpp)
    return (
        question.number,
        question.slide,
        region.id,
        f"{question.finding.score:.4f}",
        str(question.finding.lies_on),
        *(f"{number:.6g}" for number in numbers),
        f"pictures/{question.picture}",
        "",
        "",
    )


def write_pictures(asked: Sequence[Question], slide: Slide, drawn: Regions, folder: Path) -> None:
    """Cut a picture for each question, all on this slide, with what was drawn there (level-0 px) in black."""
    for question in asked:
        with replacing(folder / "pictures" / question.picture) as temporary:
            region = question.finding.region
            shown = Outlined(drawn, Regions.of([region]))
            cut_out(slide, region.outline, shown).save(temporary, format="PNG")


@dataclass(frozen=True)
class AuditPlan:
    """Where to write an audit, how many questions to ask at most, and which findings not to ask about (ids, places)."""

    folder: Path
    most: int
    asked_before: Container[str] = frozenset()
    places: Container[Place] = tuple(PLACES)


def lay_out_audit(
    lesions: Mapping[str, SlideLesions], cases: Mapping[str, Case], classes: Classes, plan: AuditPlan
) -> list[Question]:
    """Write the audit of some slides (by the names they have in it): its table, a file for QuPath for each slide, and pictures.

    What is there is replaced: ask `verdicts.refuse_lost_verdicts` first. Raises SlideError, AnnotationError, OutputError.
    """
    asked = questions(lesions, plan.most, plan.asked_before, plan.places)
    mpp: dict[str, float] = {}
    for name, case in cases.items():
        if here := [question for question in asked if question.slide == name]:
            with open_case(case) as slide:
                mpp[name] = slide.mpp
                drawn = labelled_regions(case, classes, slide).regions
                write_pictures(here, slide, drawn, plan.folder)
    write_audit(asked, plan.folder, mpp)
    return asked
