"""What a reader changed in QuPath: regions that come back are compared with the review, by id.

A region that nobody touched has the class "UDH: found". Another class is a verdict, another outline an edit, a region that
is gone is no lesion, and one that nobody knows was drawn. Ids of other forms than a UUID are lost in QuPath: it sees and
returns the UUID that stands for them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

import shapely

from histoscout.annotations.geojson import ANNOTATION, object_type
from histoscout.cohort.annotated_slide import REVIEWED
from histoscout.geometry.regions import Outline, Region, Regions
from histoscout.io.notes import count_and_list
from histoscout.review.operation import Kind, Operation
from histoscout.review.review import Review, found_class
from histoscout.review.state import Decision, ReviewedRegion, SlideReview
from histoscout.review.statement import is_area, read_statement, region_key, same_outline

ChangeKind = Literal["accepted", "other class", "edited", "no lesion", "unclear", "added", "area"]

OVERLAP = 0.5
"""Share of the smaller outline from which a new region replaces one that is gone: it was split, merged or redrawn."""

_VERDICTS: Mapping[Decision, Kind] = MappingProxyType(
    {"accept": "accept", "reject": "reject", "unclear": "unclear"}
)


@dataclass(frozen=True)
class Change:
    """One change, and the operation that takes it over.

    Attributes:
        kind: What was changed.
        operation: The operation of the review.
    """

    kind: ChangeKind
    operation: Operation


@dataclass(frozen=True)
class SlideChanges:
    """What came back for a slide.

    Attributes:
        slide: Name of the slide.
        changes: The changes, in the order they are to be recorded.
        notes: Notes for the user on what is not taken.
    """

    slide: str
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> Counter[ChangeKind]:
        """How many changes of each kind there are."""
        return Counter(change.kind for change in self.changes)


@dataclass(frozen=True, kw_only=True)
class Returned:
    """The regions of a slide as they came back.

    Attributes:
        slide: Name of the slide.
        regions: All objects of the file, in level-0 px.
        reader: Initials of who edited them.
        given: The regions as QuPath got them, if that is known. Without, only findings count as deleted when they are
            gone, since nobody knows whether the file ever held what was drawn elsewhere.
        references: Annotations of the cohort that QuPath showed as well; they are not taken.
        findings: The findings under the classes that their file has; without, they are called "UDH: found".
    """

    slide: str
    regions: Regions
    reader: str
    given: Regions | None = None
    references: Regions = field(default_factory=Regions)
    findings: Regions = field(default_factory=Regions)


def find_changes(review: Review, returned: Returned) -> SlideChanges:
    """Compare regions that came back from QuPath with the review.

    Nothing is recorded. Comparing again after the changes were recorded finds none.

    Args:
        review: The review.
        returned: What came back.

    Returns:
        The changes, and notes on what is not taken.
    """
    return _Comparison(review, returned).run()


def record_changes(review: Review, changes: Iterable[SlideChanges]) -> int:
    """Record changes in a review.

    Args:
        review: The review.
        changes: What `find_changes` found.

    Returns:
        How many of them conflict with what others did in the meantime: they are kept as conflicts and change nothing.

    Raises:
        ReviewError: A change cannot be recorded.
        OutputError: The log cannot be written.
    """
    conflicts = 0
    for slide in changes:
        ids = {change.operation.id for change in slide.changes}
        if slide.changes:
            review.record_all([change.operation for change in slide.changes])
        conflicts += sum(conflict.id in ids for conflict in review.slide(slide.slide).conflicts)
    return conflicts


class _Comparison:
    """The comparison of one slide."""

    def __init__(self, review: Review, returned: Returned) -> None:
        self.returned = returned
        self.slide, self.reader = returned.slide, returned.reader
        self.state: SlideReview = review.slide(self.slide)
        self.findings = {region.id: region for region in review.findings(self.slide)}
        raw = {region.id: region for region in returned.findings}
        shown = review.regions(self.slide) if returned.given is None else returned.given
        # results of earlier versions have no "found" in their classes: what they call a finding says nothing
        self.given = {
            region.id: raw.get(region.id, region)
            if returned.given is None and region.id not in self.state.regions and not self.state.no_lesion
            else region
            for region in shown
        }
        self.outlines: dict[str, list[Outline]] = {}
        for region in self.findings.values():
            self.outlines[region.id] = [region.outline]
        for operation in review.operations(self.slide):
            for region in operation.regions if operation.kind != "area" else ():
                self.outlines.setdefault(region.id, []).append(region.outline)
        for identity, region in self.given.items():
            if region.label != REVIEWED:
                self.outlines.setdefault(identity, []).append(region.outline)
        self.ids = {region_key(identity): identity for identity in self.outlines}
        self.changes: list[Change] = []
        self.left_out: dict[str, list[str]] = {}

    def run(self) -> SlideChanges:
        """Compare all regions."""
        references = {region_key(region.id): region for region in self.returned.references}
        areas = [area.outline for area in self.state.areas.values()]
        known: dict[str, Region] = {}
        unknown: list[Region] = []
        seen: set[str] = set()
        for region in self.returned.regions:
            key = region_key(region.id)
            if key in seen:
                self._leave_out("copies of regions under the same id", region)
                continue
            seen.add(key)
            if key in self.ids:
                known[self.ids[key]] = region
            elif key in references:
                if not same_outline(region.outline, references[key].outline):
                    self._leave_out(
                        "annotations of the cohort that were changed; change them in their own file", region
                    )
            elif is_area(region.label):
                if not any(same_outline(region.outline, area) for area in areas):
                    self._add_area(region)
            else:
                unknown.append(region)
        missing = [identity for identity in self.given if self._is_gone(identity, known)]
        unknown = self._match_by_outline(unknown, missing, known, references)
        for identity, region in known.items():
            self._compare(identity, region)
        drawn = [region for region in unknown if self._is_drawn(region)]
        gone = [identity for identity in missing if identity not in known]
        self._find_replacements(gone, drawn)
        for identity in gone:
            self._change("no lesion", "delete", identity)
        for region in drawn:
            self._add(region)
        notes = tuple(f"{reason}: {count_and_list(names)}" for reason, names in self.left_out.items())
        return SlideChanges(self.slide, tuple(self.changes), notes)

    # ------------------------------------------------------------ regions that are known

    def _compare(self, identity: str, region: Region) -> None:
        """Find what was changed on a region that the review knows."""
        reviewed = self.state.regions.get(identity)
        if reviewed is not None and reviewed.replaced_by:
            self._leave_out("regions that were split or merged since the file was written", region)
            return
        said = read_statement(region.label)
        if not region.label.strip():
            self._leave_out("regions whose class was removed; give them a class to judge them", region)
        before = self._label(identity)
        moved = not any(same_outline(region.outline, outline) for outline in self.outlines[identity])
        if moved and said.decision in (None, "accept"):
            label = said.label if said.decision else before
            self._change("edited", "edit", identity, (Region(region.outline, label, id=identity),))
            return
        given = self.given.get(identity)
        if said.decision is None or (given is not None and read_statement(given.label) == said):
            return
        own = None if reviewed is None else reviewed.verdicts.get(self.reader)
        if own is not None and own.decision == said.decision and said.label in ("", own.label):
            return
        if said.decision == "accept":
            if said.label == before:
                self._change("accepted", "accept", identity)
            else:
                self._change("other class", "reclass", identity, label=said.label)
        else:
            kind: ChangeKind = "no lesion" if said.decision == "reject" else "unclear"
            self._change(kind, _VERDICTS[said.decision], identity)

    def _is_gone(self, identity: str, known: Mapping[str, Region]) -> bool:
        """Whether a region that QuPath got is missing in the file, and nobody rejected it yet."""
        if identity in known or self.given[identity].label == REVIEWED:
            return False
        reviewed = self.state.regions.get(identity)
        if reviewed is not None and not reviewed.exists:
            return False
        if self.returned.given is None and reviewed is not None and reviewed.origin == "drawn":
            self._leave_out("regions drawn since that are not in the file, kept", reviewed.region)
            return False
        own = None if reviewed is None else reviewed.verdicts.get(self.reader)
        rejected = own is not None and own.decision == "reject"
        return not rejected and self.state.outcome(identity) != "reject"

    def _label(self, identity: str) -> str:
        """The class of a region that the review knows."""
        if identity in self.state.regions:
            return self.state.regions[identity].region.label
        region = self.findings.get(identity) or self.given[identity]
        return found_class(region.label)

    # ------------------------------------------------------------ regions that are new

    def _match_by_outline(
        self,
        unknown: Sequence[Region],
        missing: Sequence[str],
        known: dict[str, Region],
        references: Mapping[str, Region],
    ) -> list[Region]:
        """Find regions again that lost their id, as in versions of QuPath before 0.4; the rest is new."""
        places = [
            (identity, outline)
            for identity in dict.fromkeys((*missing, *self.outlines))
            if identity not in known
            for outline in self.outlines[identity]
        ]
        tree = shapely.STRtree([outline for _, outline in places])
        left = shapely.STRtree([region.outline for region in references.values()])
        shown = list(references.values())
        rest = []
        for region in unknown:
            same = (
                places[index][0]
                for index in sorted(tree.query(region.outline))
                if places[index][0] not in known and same_outline(region.outline, places[index][1])
            )
            if (identity := next(same, None)) is not None:
                known[identity] = region
            elif not any(
                same_outline(region.outline, shown[index].outline) for index in left.query(region.outline)
            ):
                rest.append(region)
        return rest

    def _is_drawn(self, region: Region) -> bool:
        """Whether an unknown region was drawn by a person under a class."""
        if object_type(region) != ANNOTATION:
            self._leave_out("detections, cells and tiles, which nobody drew", region)
        elif not region.label.strip():
            self._leave_out("outlines without a class; give them one in QuPath", region)
        elif read_statement(region.label).decision is None:
            self._leave_out("findings of another detection", region)
        else:
            return True
        return False

    def _find_replacements(self, gone: list[str], drawn: list[Region]) -> None:
        """Take new outlines in place of regions that are gone: split, merged or drawn again."""
        accepted = [region for region in drawn if read_statement(region.label).decision == "accept"]
        tree = shapely.STRtree([region.outline for region in accepted])
        pairs = [
            (identity, accepted[index].id)
            for identity in gone
            for index in sorted(tree.query(self.outlines[identity][-1]))
            if _overlap(self.outlines[identity][-1], accepted[index].outline)
        ]
        by_gone, by_drawn = Counter(one for one, _ in pairs), Counter(one for _, one in pairs)
        regions = {region.id: region for region in drawn}
        for identity in list(gone):
            new = [regions[one] for source, one in pairs if source == identity]
            if not new or any(by_drawn[region.id] > 1 for region in new):
                continue
            if len(new) == 1:
                edited = Region(new[0].outline, new[0].label, id=identity)
                self._change("edited", "edit", identity, (edited,))
            else:
                self._change("edited", "split", identity, tuple(_plain(region) for region in new))
            gone.remove(identity)
            for region in new:
                drawn.remove(region)
        for region in list(drawn):
            sources = [source for source, one in pairs if one == region.id and source in gone]
            if len(sources) > 1 and all(by_gone[source] == 1 for source in sources):
                self._change("edited", "merge", sources, (_plain(region),))
                drawn.remove(region)
                for source in sources:
                    gone.remove(source)

    def _add(self, region: Region) -> None:
        said = read_statement(region.label)
        if said.decision == "accept":
            operation = Operation(kind="add", reader=self.reader, slide=self.slide, regions=(_plain(region),))
            self.changes.append(Change("added", operation))
            return
        # somebody drew what is no lesion, or unclear
        kind: ChangeKind = "no lesion" if said.decision == "reject" else "unclear"
        verdict = _VERDICTS[said.decision or "unclear"]
        plain = replace(_plain(region), label=said.label)
        operation = Operation(
            kind=verdict, reader=self.reader, slide=self.slide, sources=(region.id,), regions=(plain,)
        )
        self.changes.append(Change(kind, operation))

    def _add_area(self, region: Region) -> None:
        operation = Operation(
            kind="area",
            reader=self.reader,
            slide=self.slide,
            regions=(replace(_plain(region), label=REVIEWED),),
        )
        self.changes.append(Change("area", operation))

    # ------------------------------------------------------------ what is found

    def _change(
        self,
        kind: ChangeKind,
        operation: Kind,
        sources: str | Sequence[str],
        regions: tuple[Region, ...] = (),
        label: str = "",
    ) -> None:
        """Keep a change of regions that the review knows, with the version that QuPath got."""
        ids = (sources,) if isinstance(sources, str) else tuple(sources)
        seen = () if regions else tuple(self.given[one] for one in ids if self._is_new(one))
        made = Operation(
            kind=operation,
            reader=self.reader,
            slide=self.slide,
            sources=ids,
            regions=(*regions, *(replace(_plain(one), label=found_class(one.label)) for one in seen)),
            versions={one: self._version(one) for one in ids},
            label=label,
        )
        self.changes.append(Change(kind, made))

    def _is_new(self, identity: str) -> bool:
        """Whether neither detector nor review knows a region any more that QuPath got."""
        return identity not in self.findings and identity not in self.state.regions

    def _version(self, identity: str) -> str:
        """The version of a region that QuPath got."""
        if self.returned.given is not None and identity in self.given:
            return str(self.given[identity].properties.get("version", ""))
        reviewed: ReviewedRegion | None = self.state.regions.get(identity)
        return "" if reviewed is None else reviewed.version

    def _leave_out(self, reason: str, region: Region) -> None:
        name = str(region.properties.get("name") or region.label or region.id)
        self.left_out.setdefault(reason, []).append(name)


def _overlap(first: Outline, second: Outline) -> bool:
    """Whether two outlines share half of the smaller one."""
    shared: float = first.intersection(second).area
    return shared >= OVERLAP * min(first.area, second.area)


def _plain(region: Region) -> Region:
    """A region that a person drew: without score and properties of the file."""
    return Region(region.outline, region.label, id=region.id)
