"""The surest false alarms, laid before a reader: where not everything was annotated, some of them are lesions.

What a reader said of findings, read back from the audit's table or from QuPath, and applied.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.annotations.read import format_of
from histoscout.cohort.annotated_slide import labeled_regions
from histoscout.cohort.case import Case, open_case
from histoscout.detection.overlay import Outlined, cut_out
from histoscout.errors import AnnotationError, OutputError
from histoscout.evaluation.lesions.compare import PLACES, Finding, Place, SlideLesions, compare_lesions
from histoscout.evaluation.reference import Ground
from histoscout.geometry.regions import Region, Regions
from histoscout.io.files import replacing, write_text
from histoscout.io.tables import TABLE, read_audit_table
from histoscout.recipe import ClassConfig, plain
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
    center = region.outline.centroid
    numbers = (region.area_mm2(mpp), center.x * mpp, center.y * mpp)
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
    lesions: Mapping[str, SlideLesions], cases: Mapping[str, Case], classes: ClassConfig, plan: AuditPlan
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
                drawn = labeled_regions(case, classes, slide).regions
                write_pictures(here, slide, drawn, plan.folder)
    write_audit(asked, plan.folder, mpp)
    return asked


Judgement = Literal["lesion", "unclear", "no lesion"]
WORDS: Mapping[str, Judgement] = MappingProxyType(
    {
        **dict.fromkeys(("lesion", "yes", "y", "true", "1"), "lesion"),
        **dict.fromkeys(("unclear", "unsure", "maybe", "ignore"), "unclear"),
        **dict.fromkeys(
            ("no lesion", "not lesion", "not a lesion", "no", "n", "false", "0", "none"), "no lesion"
        ),
    }
)
UNJUDGED = frozenset({"", "?", plain(QUESTION)})
_NAME = re.compile(r"audit \d+")
_OUTLINES = frozenset({".geojson", ".geojson.gz", ".json", ".json.gz"})


@dataclass(frozen=True)
class Said:
    """What a reader wrote of a finding, a word or the name of a class, and in which row or object of a file."""

    id: str
    slide: str
    word: str
    where: str
    region: Region | None = None


@dataclass(frozen=True)
class Verdicts:
    """The judgement of each finding by its id; the finding's slide and outline, where a file has them.

    `unjudged` findings were asked about and have no verdict.
    """

    judged: Mapping[str, Judgement]
    regions: Mapping[str, tuple[str, Region]]
    unjudged: int


def read_verdicts(path: Path, classes: ClassConfig, drawn: Iterable[str] = ()) -> Verdicts:
    """Read a reader's verdicts: an audit's folder, its table, or GeoJSON exported from QuPath.

    A verdict is "lesion" (or yes), "no lesion" (or no) or "unclear", or a class: the recipe's positive class
    means a lesion, its classes to be ignored unclear, its other classes and those in `drawn` no lesion. What is
    empty or still "audit: ?" is not judged. Of GeoJSON only objects named "audit NUMBER" count: it may hold the
    slide's other outlines too. AnnotationError lists every word that is not understood, and every finding that
    is judged in two ways.
    """
    said = _said_in(path)
    negative = frozenset(plain(label) for label in drawn)
    judged: dict[str, Judgement] = {}
    problems: list[str] = []
    for one in said:
        judgement = judgement_of(one.word, classes, negative)
        if judgement is None and plain(one.word) not in UNJUDGED:
            problems.append(f"  {one.where}: {one.word!r} is not understood")
        elif judgement is not None and judged.setdefault(one.id, judgement) != judgement:
            problems.append(f"  {one.where}: {judgement}, but {judged[one.id]} elsewhere")
    if problems:
        listed = "\n".join(problems)
        fault = f"{len(problems)} verdicts cannot be used\n{listed}\n "
        raise AnnotationError(
            path, fault, f"Write lesion, no lesion or unclear, or the class {classes.positive}"
        )
    regions = {one.id: (one.slide, one.region) for one in said if one.region is not None}
    return Verdicts(judged, regions, len({one.id for one in said} - judged.keys()))


def judgement_of(word: str, classes: ClassConfig, negative: Container[str] = frozenset()) -> Judgement | None:
    """What a word or a class means; None for no verdict, and for what is neither known nor in `negative`."""
    spoken = plain(word)
    if spoken in UNJUDGED:
        return None
    if spoken in WORDS:
        return WORDS[spoken]
    known = classes.canonical(word)
    if known in (classes.positive, "ignore"):
        return "lesion" if known == classes.positive else "unclear"
    if known == "reviewed":
        return None
    return "no lesion" if known is not None or spoken in negative else None


def _said_in(path: Path) -> list[Said]:
    if path.is_dir():
        return [*_table(path / TABLE), *(one for file in _beside(path) for one in _objects(file))]
    if format_of(path) in _OUTLINES:
        return _objects(path)
    asked = _table(path)
    known = {one.id for one in asked}
    outlines = [one for file in _beside(path.parent) for one in _objects(file) if one.id in known]
    return [*asked, *(replace(one, word="") for one in outlines)]


def _beside(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if format_of(file) in _OUTLINES)


def _objects(path: Path) -> list[Said]:
    """The verdicts in a file of outlines, taken as that of the slide it is named after."""
    slide = path.name.removesuffix(format_of(path) or "")
    named = [
        (str(region.properties.get("name", "")).strip(), region) for region in read_geojson(path).regions
    ]
    return [
        Said(region.id, slide, region.label, f"{path.name}, {name}", region)
        for name, region in named
        if _NAME.fullmatch(name)
    ]


def _table(path: Path) -> list[Said]:
    """The verdicts in a table, as a spreadsheet may have saved it."""
    rows = read_audit_table(path, ("id", "slide", "verdict"))
    return [
        Said(row["id"], row["slide"], row["verdict"], f"row {number}")
        for number, row in enumerate(rows, start=2)
        if row["id"]
    ]


def refuse_lost_verdicts(folder: Path, overwrite: bool) -> None:
    """OutputError if writing an audit here would replace one: at all, or, if `overwrite`, one with verdicts.

    One that cannot be read may hold verdicts, and is not replaced either.
    """
    table = folder / TABLE
    outlines = _beside(folder) if folder.is_dir() else []
    if not table.exists() and not outlines:
        return
    if not overwrite:
        remedy = "Give its verdicts with --verdicts, move it away, or --overwrite it"
        raise OutputError(folder, "holds an audit already", remedy)
    remedy = "Move it to another place first"
    try:
        rows = read_audit_table(table, ("verdict",)) if table.exists() else []
        words = [
            *(row["verdict"] for row in rows),
            *(one.word for file in outlines for one in _objects(file)),
        ]
    except AnnotationError as error:
        fault = f"holds an audit whose verdicts cannot be read and would be lost ({error})"
        raise OutputError(folder, fault, remedy) from error
    if any(plain(word) not in UNJUDGED for word in words):
        raise OutputError(folder, "holds an audit with verdicts, which would be lost", remedy)


def audited_lesions(ground: Ground, lesions: SlideLesions, verdicts: Verdicts) -> SlideLesions:
    """The same findings compared again, with the truth of the slide as a reader has corrected it."""
    found = Regions.of(finding.region for finding in lesions.findings)
    return compare_lesions(with_verdicts(ground, found, verdicts), found, lesions.threshold)


def verdict_notes(verdicts: Verdicts, slides: Mapping[str, SlideLesions], where: Path) -> list[str]:
    """What was judged, in words; AnnotationError if no verdict is of a finding on these slides (by name)."""
    here = {finding.region.id for slide in slides.values() for finding in slide.findings}
    here |= {id for id, (slide, _) in verdicts.regions.items() if slide in slides}
    used = Counter(judgement for id, judgement in verdicts.judged.items() if id in here)
    if not used:
        raise AnnotationError(
            where,
            "holds no verdict on a finding of these slides",
            "Give the verdicts of an audit of this model and these slides",
        )
    listed = ", ".join(f"{count} {judgement}" for judgement, count in used.most_common())
    notes = [f"a reader judged {used.total()} findings: {listed}; {verdicts.unjudged} were left unjudged"]
    if strangers := len(verdicts.judged) - used.total():
        notes.append(f"{strangers} verdicts are of findings that are not on these slides")
    return notes


def with_verdicts(ground: Ground, found: Regions, verdicts: Verdicts) -> Ground:
    """The truth of a slide as a reader has corrected it.

    Findings judged a lesion become lesions, those that are unclear become areas to be ignored; no lesion changes
    nothing. The outline is that of the finding of this id, or of the verdicts' own file if it is not found any
    more.
    """
    elsewhere = {id: region for id, (slide, region) in verdicts.regions.items() if slide == ground.name}
    here = {**elsewhere, **{region.id: region for region in found}}
    labels: dict[Judgement, str] = {"lesion": ground.recipe.classes.positive, "unclear": "ignore"}
    judged = {id: verdicts.judged[id] for id in here if id in verdicts.judged}
    added = [
        replace(here[id], label=labels[judgement], score=None)
        for id, judgement in judged.items()
        if judgement in labels
    ]
    return replace(ground, regions=Regions.of([*ground.regions, *added]))
