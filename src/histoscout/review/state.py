"""The state of a slide under review: what its operations amount to, in the order of the log."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from histoscout.geometry.regions import Outline, Region
from histoscout.review.operation import VERDICTS, Operation

Decision = Literal["accept", "reject", "unclear"]
Outcome = Literal["accept", "reject", "unclear", "differ", "open"]
Origin = Literal["detection", "drawn"]


@dataclass(frozen=True)
class Judgment:
    """What one reader thinks of a region.

    Attributes:
        decision: Whether it is what its class says.
        label: The class that the reader gave it.
        time: When.
        comment: What the reader remarks.
    """

    decision: Decision
    label: str
    time: str = ""
    comment: str = ""

    @property
    def answer(self) -> str:
        """The verdict in one word, to compare readers by: the class, "no lesion" or "unclear"."""
        return {"accept": self.label, "reject": "no lesion", "unclear": "unclear"}[self.decision]


def outcome_of(verdicts: Mapping[str, Judgment]) -> Outcome:
    """What readers found together.

    Args:
        verdicts: The verdict of each reader.

    Returns:
        Their decision; "differ" if they disagree on decision or class, "open" without a verdict.
    """
    if len({verdict.answer for verdict in verdicts.values()}) > 1:
        return "differ"
    return next((verdict.decision for verdict in verdicts.values()), "open")


@dataclass(frozen=True, kw_only=True)
class ReviewedRegion:
    """A region that a reader judged or changed.

    Attributes:
        region: The region as it is now.
        origin: Whether a detector found it or a reader drew it.
        version: Id of the operation that last changed its outline; "" while it is as the detector found it.
        verdicts: The last verdict of each reader, by initials.
        edited: Whether a reader changed its outline.
        deleted: Whether a reader deleted it; a deleted detection is no lesion.
        replaced_by: Ids of the regions that it was split or merged into.
    """

    region: Region
    origin: Origin
    version: str = ""
    verdicts: Mapping[str, Judgment] = field(default_factory=dict)
    edited: bool = False
    deleted: bool = False
    replaced_by: tuple[str, ...] = ()

    @property
    def exists(self) -> bool:
        """Whether the region is still there: not deleted, split or merged."""
        return not self.deleted and not self.replaced_by

    @property
    def outcome(self) -> Outcome:
        """What the readers found together: "differ" if they disagree, "open" if nobody judged it."""
        return outcome_of(self.verdicts)

    @property
    def label(self) -> str:
        """The class that the readers agree on, else that of the region."""
        labels = {verdict.label for verdict in self.verdicts.values() if verdict.decision == "accept"}
        return labels.pop() if len(labels) == 1 else self.region.label


@dataclass(frozen=True)
class ReviewedArea:
    """An area that a reader looked through.

    Attributes:
        outline: The area, in level-0 px.
        reader: Initials of the reader.
        time: When.
    """

    outline: Outline
    reader: str
    time: str = ""


@dataclass(frozen=True, kw_only=True)
class SlideReview:
    """The state of one slide.

    Attributes:
        slide: Name of the slide.
        regions: Every region that was judged, changed or drawn, by id; also those deleted, split and merged.
        areas: Areas that were looked through, by the id of their operation.
        no_lesion: When each reader said that the slide has no lesion, by initials. What they did not judge is then
            rejected by them.
        conflicts: Operations on a region that was changed in between, in another browser say. They change nothing
            until somebody does them again, or undoes them.

    Example:
        >>> import shapely
        >>> from histoscout import Region
        >>> found = Region(shapely.box(0, 0, 9, 9), "UDH", 0.9, id="r1")
        >>> accept = Operation(kind="accept", reader="AB", slide="A1", sources=("r1",), regions=(found,))
        >>> replay("A1", [accept]).regions["r1"].outcome
        'accept'
    """

    slide: str
    regions: Mapping[str, ReviewedRegion] = field(default_factory=dict)
    areas: Mapping[str, ReviewedArea] = field(default_factory=dict)
    no_lesion: Mapping[str, str] = field(default_factory=dict)
    conflicts: tuple[Operation, ...] = ()

    def outcome(self, region: str) -> Outcome:
        """What the readers found of a region, whether they judged it or said that the slide has no lesion.

        Args:
            region: Id of a region, judged or not.
        """
        judged = self.regions.get(region)
        verdicts = {} if judged is None else dict(judged.verdicts)
        for reader, time in self.no_lesion.items():
            verdicts.setdefault(reader, Judgment("reject", "", time))
        return outcome_of(verdicts)

    @property
    def existing(self) -> tuple[ReviewedRegion, ...]:
        """The regions that are still there."""
        return tuple(reviewed for reviewed in self.regions.values() if reviewed.exists)

    @property
    def started(self) -> bool:
        """Whether anybody did anything on this slide."""
        return bool(self.regions or self.areas or self.no_lesion or self.conflicts)


# ---------------------------------------------------------------- replay


def replay(slide: str, operations: Iterable[Operation]) -> SlideReview:
    """Replay the operations on a slide.

    Operations on different regions, and verdicts of different readers, lead to the same state in any order.

    Args:
        slide: Name of the slide; operations on other slides are left out.
        operations: The operations, in the order of the log.

    Returns:
        The state after them.
    """
    own = [operation for operation in operations if operation.slide == slide]
    undone = undone_operations(own)
    regions: dict[str, ReviewedRegion] = {}
    areas: dict[str, ReviewedArea] = {}
    no_lesion: dict[str, str] = {}
    conflicts: list[Operation] = []
    for operation in own:
        if operation.kind == "undo" or operation.id in undone:
            continue
        if operation.kind == "area":
            areas[operation.id] = ReviewedArea(operation.regions[0].outline, operation.reader, operation.time)
        elif operation.kind == "no lesion":
            no_lesion[operation.reader] = operation.time
        elif is_outdated(operation, regions):
            conflicts.append(operation)
        else:
            regions.update(_apply(operation, regions))
    return SlideReview(
        slide=slide, regions=regions, areas=areas, no_lesion=no_lesion, conflicts=tuple(conflicts)
    )


def undone_operations(operations: Sequence[Operation]) -> frozenset[str]:
    """Ids of the operations that are undone; an undo that is undone itself does not count.

    Args:
        operations: The operations, in the order of the log.
    """
    undone: set[str] = set()
    for operation in reversed(operations):
        if operation.kind == "undo" and operation.id not in undone:
            undone.add(operation.undoes)
    return frozenset(undone)


def is_outdated(operation: Operation, regions: Mapping[str, ReviewedRegion]) -> bool:
    """Whether a source of an operation was changed since its reader saw it.

    Args:
        operation: The operation.
        regions: The regions as they are.
    """
    return any(
        source in operation.versions
        and operation.versions[source] != (regions[source].version if source in regions else "")
        for source in operation.sources
    )


def _apply(operation: Operation, regions: Mapping[str, ReviewedRegion]) -> dict[str, ReviewedRegion]:
    """The regions that an operation changes or makes, as they are after it."""
    before = {source: _source(operation, source, regions) for source in operation.sources}
    known = {source: reviewed for source, reviewed in before.items() if reviewed is not None}
    if operation.kind in VERDICTS:
        return {source: _judge(reviewed, operation) for source, reviewed in known.items()}
    if operation.kind == "delete":
        return {
            source: replace(_judge(reviewed, operation), version=operation.id, deleted=True)
            for source, reviewed in known.items()
        }
    if operation.kind == "edit":
        new = operation.regions[0]
        old = known.get(new.id)
        score = new.score if old is None else old.region.score
        changed = ReviewedRegion(
            region=replace(new, score=score, properties={} if old is None else old.region.properties),
            origin="detection" if old is None else old.origin,
            version=operation.id,
            verdicts={} if old is None else old.verdicts,
            edited=True,
        )
        return {new.id: _judge(changed, operation)}

    # add, split and merge make new regions, which their reader takes for what they are drawn as
    made = {
        region.id: _judge(
            ReviewedRegion(
                region=region,
                origin="drawn" if operation.kind == "add" else _origin(known),
                version=operation.id,
                edited=operation.kind != "add",
            ),
            operation,
        )
        for region in operation.regions
        if region.id not in operation.sources
    }
    ids = tuple(made)
    gone = {
        source: replace(reviewed, version=operation.id, replaced_by=ids) for source, reviewed in known.items()
    }
    return {**gone, **made}


def _source(
    operation: Operation, source: str, regions: Mapping[str, ReviewedRegion]
) -> ReviewedRegion | None:
    """A region that is acted on; a detection that nobody touched yet is in the operation, as its reader saw it."""
    if source in regions:
        return regions[source]
    seen = next((region for region in operation.regions if region.id == source), None)
    return None if seen is None else ReviewedRegion(region=seen, origin="detection")


def _origin(known: Mapping[str, ReviewedRegion]) -> Origin:
    """Where a region that was split or merged comes from."""
    return "drawn" if known and all(one.origin == "drawn" for one in known.values()) else "detection"


_DECISIONS: Mapping[str, Decision] = MappingProxyType(
    {"reject": "reject", "delete": "reject", "unclear": "unclear"}
)


def _judge(reviewed: ReviewedRegion, operation: Operation) -> ReviewedRegion:
    """A region with the verdict that an operation implies: who outlines a region accepts it."""
    verdict = Judgment(
        _DECISIONS.get(operation.kind, "accept"),
        operation.label or reviewed.region.label,
        operation.time,
        operation.comment,
    )
    return replace(reviewed, verdicts={**reviewed.verdicts, operation.reader: verdict})
