"""`Review`: the folder with the log of a review, and what is derived from it."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from histoscout.annotations.found import read_found
from histoscout.annotations.geojson import write_geojson
from histoscout.cohort.annotated_slide import REVIEWED
from histoscout.detection.results import ResultFolder
from histoscout.errors import ReviewError
from histoscout.geometry.regions import Region, Regions, valid_outline
from histoscout.review.log import LOG, LogContent, append, locked_log, read_log
from histoscout.review.operation import VERDICTS, Operation, check_operation
from histoscout.review.state import SlideReview, replay, undone_operations

FOLDER = "review"
"""Name of the folder of a review, in a folder of results."""

OUTCOME_CLASSES: Mapping[str, str] = MappingProxyType(
    {"reject": "rejected", "unclear": "unclear", "differ": "differ", "open": "found"}
)
"""What a region's class is derived to in GeoJSON ("UDH: rejected"); accepted regions keep the class itself."""

_DERIVED = tuple(f": {derived}" for derived in OUTCOME_CLASSES.values())

Findings = Callable[[str], Regions]
"""Slide name -> the regions that a detector found on it."""


def found_class(label: str) -> str:
    """The class itself where a label is derived from it: "UDH" for "UDH: found" and "UDH: rejected".

    Args:
        label: A class.
    """
    return next((label.removesuffix(end) for end in _DERIVED if label.endswith(end)), label)


def no_findings(slide: str) -> Regions:
    """The findings on a slide that no detector looked at: none.

    Args:
        slide: Name of the slide.
    """
    return Regions()


class Review:
    """A review of slides by one or several readers: a log of operations, from which everything else is derived.

    Several processes and threads may use the same folder at once: operations are appended one at a time, and each
    access sees what others appended. The detector's own files are only read.

    A page works like this: `slide(name)` and `regions(name)` show a slide; `record(operation)` saves what the reader
    does, with the `version` of each source as the page showed it, and returns the new state. If the operation is in
    `conflicts` of that state, somebody else changed the region in between: show both and let the reader do it again
    (with the present version) or `undo` it. Write GeoJSON (`write_geojson`) when the reader leaves a slide, not after
    each operation; the log alone holds everything.

    Attributes:
        folder: The folder of the review.

    Example:
        >>> from pathlib import Path
        >>> import shapely
        >>> found = Regions.of([Region(shapely.box(0, 0, 9, 9), "UDH", 0.9, id="r1")])
        >>> review = Review(Path("review"), lambda slide: found)
        >>> accept = Operation(kind="accept", reader="AB", slide="A1", sources=("r1",), versions={"r1": ""})
        >>> review.record(accept).regions["r1"].outcome
        'accept'
        >>> Review(Path("review")).slide("A1").regions["r1"].region.score
        0.9
        >>> review.undo("A1", "AB").regions
        {}
    """

    def __init__(self, folder: Path, findings: Findings = no_findings) -> None:
        """Open a review; nothing is written until the first operation.

        Args:
            folder: The folder of the review.
            findings: Reads the findings on a slide. Without, regions that were judged are known from the log alone.
        """
        self.folder = folder
        self._findings = findings
        # what was read of the log so far, shared by the threads of a server
        self._guard = threading.Lock()
        self._content = LogContent((), 0)
        self._by_slide: dict[str, list[Operation]] = {}
        self._states: dict[str, SlideReview] = {}

    @classmethod
    def of_results(cls, output: ResultFolder, folder: Path | None = None) -> "Review":
        """Open the review of what a detector found.

        Args:
            output: The folder of results.
            folder: The folder of the review; None for the folder `review` in that of the results.
        """

        def findings(slide: str) -> Regions:
            path = output.regions(slide)
            return read_found(path) if path.is_file() else Regions()

        return cls(folder or output.folder / FOLDER, findings)

    # ------------------------------------------------------------ reading

    @property
    def log(self) -> Path:
        """The log."""
        return self.folder / LOG

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on the log, such as torn lines."""
        with self._guard:
            self._read_on()
            return self._content.notes

    @property
    def slides(self) -> tuple[str, ...]:
        """The slides on which anybody did anything, sorted."""
        with self._guard:
            self._read_on()
            return tuple(sorted(self._by_slide))

    @property
    def readers(self) -> tuple[str, ...]:
        """Initials of all readers, sorted."""
        with self._guard:
            self._read_on()
            return tuple(sorted({operation.reader for operation in self._content.operations}))

    def operations(self, slide: str) -> tuple[Operation, ...]:
        """All operations on a slide, in the order of the log.

        Args:
            slide: Name of the slide.
        """
        with self._guard:
            self._read_on()
            return tuple(self._by_slide.get(slide, ()))

    def slide(self, name: str) -> SlideReview:
        """The state of a slide.

        Args:
            name: Name of the slide.

        Returns:
            What all operations on it amount to; an empty state if there are none.

        Raises:
            ReviewError: The log cannot be read.
        """
        with self._guard:
            self._read_on()
            return self._state(name)

    def findings(self, slide: str) -> Regions:
        """What the detector found on a slide, as it found it; a class "UDH: found" is "UDH" here.

        Args:
            slide: Name of the slide.
        """
        return self._findings(slide).relabel(found_class)

    def regions(self, slide: str) -> Regions:
        """The regions of a slide as they are after the review, for display and for QuPath.

        Accepted, edited and drawn regions have their class; others a derived one: "UDH: found" if nobody judged it,
        "UDH: rejected", "UDH: unclear", or "UDH: differ" if readers disagree. Areas that were looked through have the
        class "reviewed". The properties `verdict`, `reader` and `version` say how a region came to it; deleted,
        split and merged regions are left out, except deleted detections, which are rejected.

        Args:
            slide: Name of the slide.

        Returns:
            Findings first, in their own order, then new regions and areas.
        """
        state = self.slide(slide)
        found = [region for region in self.findings(slide) if region.id not in state.regions]
        shown = [_shown(region, state) for region in found]
        shown += [
            _shown(reviewed.region, state)
            for reviewed in state.regions.values()
            if not reviewed.replaced_by and (reviewed.exists or reviewed.origin == "detection")
        ]
        shown += [
            Region(area.outline, REVIEWED, id=identity, properties={"reader": area.reader})
            for identity, area in state.areas.items()
        ]
        return Regions.of(shown)

    def _read_on(self) -> None:
        """Take in what was appended since; a log that became shorter was replaced and is read anew."""
        size = self.log.stat().st_size if self.log.is_file() else 0
        if size < self._content.size:
            self._content, self._by_slide, self._states = LogContent((), 0), {}, {}
        if size == self._content.size:
            return
        new = read_log(self.log, self._content.size)
        for operation in new.operations:
            self._by_slide.setdefault(operation.slide, []).append(operation)
            self._states.pop(operation.slide, None)
        self._content = LogContent(
            self._content.operations + new.operations, new.size, self._content.torn + new.torn
        )

    def _state(self, slide: str) -> SlideReview:
        if slide not in self._states:
            self._states[slide] = replay(slide, self._by_slide.get(slide, ()))
        return self._states[slide]

    # ------------------------------------------------------------ writing

    def record(self, operation: Operation) -> SlideReview:
        """Save an operation; when this returns, it is on the disk.

        Outlines are made valid. A verdict on a detection is saved together with the detection, so that the log says
        what was judged even if the detector runs again. An operation that is already in the log (by id) is not saved
        twice, so that a page may send it again after a broken connection.

        Args:
            operation: The operation.

        Returns:
            The state of its slide. If it is in `conflicts`, a source was changed since the reader saw it: it is saved,
            but changes nothing.

        Raises:
            ReviewError: The operation is incomplete, names a region that does not exist, uses an id again, or undoes
                what others built on.
            OutputError: It could not be saved.
        """
        return self.record_all([operation])

    def record_all(self, operations: Sequence[Operation]) -> SlideReview:
        """Save operations on one slide together, such as those of a file that came back from QuPath.

        Args:
            operations: At least one; none of them acts on what another one makes.

        Returns:
            The state of their slide, see `record`.

        Raises:
            ReviewError: As `record`; then none of them is saved.
            OutputError: They could not be saved.
        """
        checked = []
        for operation in operations:
            check_operation(operation)
            regions = tuple(_valid(region) for region in operation.regions)
            checked.append(replace(operation, regions=regions))
        slide = operations[0].slide
        if len(operations) > 1 and any(one.slide != slide or one.kind == "undo" for one in operations):
            fault = "operations on several slides, or an undo among others"
            raise ReviewError(slide, fault, "Record them one by one")
        with self._guard, locked_log(self.log) as descriptor:
            self._read_on()
            state = self._state(slide)
            saved = {earlier.id for earlier in self._by_slide.get(slide, ())}
            new = [operation for operation in checked if operation.id not in saved]
            found = {region.id: region for region in self.findings(slide)} if new else {}
            complete = []
            for operation in new:
                if operation.kind == "undo":
                    self._check_undo(operation)
                    complete.append(operation)
                else:
                    complete.append(_with_sources(operation, state, found))
            if complete:
                append(descriptor, self.log, *complete)
                self._read_on()
            return self._state(slide)

    def undo(self, slide: str, reader: str) -> SlideReview:
        """Undo the last operation of a reader on a slide that is not undone yet.

        Args:
            slide: Name of the slide.
            reader: Initials of the reader.

        Returns:
            The state of the slide.

        Raises:
            ReviewError: There is nothing to undo, or others built on it.
            OutputError: It could not be saved.
        """
        own = self.operations(slide)
        undone = undone_operations(own)
        for operation in reversed(own):
            if operation.reader == reader and operation.kind != "undo" and operation.id not in undone:
                return self.record(Operation(kind="undo", reader=reader, slide=slide, undoes=operation.id))
        raise ReviewError(slide, f"there is nothing of {reader} to undo", "Do something first")

    def _check_undo(self, operation: Operation) -> None:
        """Refuse to undo what is not there, or what a later operation was done on top of."""
        own = self._by_slide.get(operation.slide, [])
        undone = undone_operations(own)
        target = next((earlier for earlier in own if earlier.id == operation.undoes), None)
        if target is None or target.id in undone:
            raise ReviewError(operation.slide, "there is no such operation to undo", "Load the slide again")
        made = {region.id for region in target.regions}
        conflicts = {conflict.id for conflict in self._state(operation.slide).conflicts}
        for later in own[own.index(target) + 1 :]:
            builds = target.id in later.versions.values() or (
                target.kind in ("add", "split", "merge") and made & set(later.sources)
            )
            if builds and later.id not in undone | conflicts and target.kind != "undo":
                fault = f"{later.kind} by {later.reader} was done on top of this"
                raise ReviewError(operation.slide, fault, "Undo that first")

    def write_geojson(self, slides: Iterable[str] | None = None) -> list[Path]:
        """Write the state of slides as GeoJSON that QuPath opens, each file completely or not at all.

        Args:
            slides: Names of the slides; None for all that anybody did anything on.

        Returns:
            The files: SLIDE.geojson in the folder of the review.

        Raises:
            OutputError: A file cannot be written.
        """
        written = []
        for slide in self.slides if slides is None else slides:
            path = self.folder / f"{slide}.geojson"
            write_geojson(self.regions(slide), path)
            written.append(path)
        return written


def _with_sources(operation: Operation, state: SlideReview, found: Mapping[str, Region]) -> Operation:
    """The operation with the detections it judges, as they were found; refused if they do not exist."""
    seen = {region.id for region in operation.regions}
    known = found.keys() | state.regions.keys()
    if taken := (seen - set(operation.sources)) & known:
        raise ReviewError(operation.slide, f"the id {min(taken)} is used already", "Give a new id")
    # a verdict may bring its region, as from a file of another program
    may_bring = operation.kind in (*VERDICTS, "delete")
    if unknown := set(operation.sources) - known - (seen if may_bring else set()):
        raise ReviewError(operation.slide, f"there is no region {min(unknown)}", "Load the slide again")
    regions = [
        replace(region, score=found[region.id].score) if region.id in found else region
        for region in operation.regions
    ]
    untouched = [
        found[source]
        for source in operation.sources
        if source in found and source not in seen and source not in state.regions
    ]
    return replace(operation, regions=(*regions, *untouched))


def _valid(region: Region) -> Region:
    outline = region.outline if region.outline.is_valid else valid_outline(region.outline)
    if outline is None or outline.area <= 0:
        raise ReviewError(f"region {region.id}", "it has no area", "Draw an outline that encloses something")
    return replace(region, outline=outline, label=found_class(region.label))


def _shown(region: Region, state: SlideReview) -> Region:
    """A region under the class that its review derives."""
    reviewed = state.regions.get(region.id)
    outcome = state.outcome(region.id)
    label = region.label if reviewed is None else reviewed.label
    derived = OUTCOME_CLASSES.get(outcome)
    readers = sorted(reviewed.verdicts if reviewed is not None and reviewed.verdicts else state.no_lesion)
    how = {
        "verdict": outcome,
        "reader": ", ".join(readers),
        "version": "" if reviewed is None else reviewed.version,
    }
    name = f"{label}: {derived}" if derived and label else derived or label
    properties = {**region.properties, **{key: value for key, value in how.items() if value}}
    return replace(region, label=name, properties=properties)
