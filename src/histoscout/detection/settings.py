"""Options of a detection run, and what stays the same for all of its slides."""

import hashlib
import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from histoscout.cohort.case import Case
from histoscout.detection.grid import WindowPlan
from histoscout.detection.operating_point import (
    OperatingPoint,
    OperatingPoints,
    OperatingTarget,
    choose_operating_point,
)
from histoscout.detection.pipeline import SlideSurvey
from histoscout.detection.results import LedgerRow, ResultFolder
from histoscout.errors import ModelError
from histoscout.io.files import sha256
from histoscout.io.inputs import open_regular
from histoscout.network.engines import Engine, open_engine
from histoscout.network.model_folder import ModelFolder
from histoscout.progress import NoProgress, Progress
from histoscout.slides.scale import SAME_MPP
from histoscout.slides.slide import Slide

SAMPLED_BYTES = 1 << 16
"""Bytes of a slide file that are hashed at its start, middle and end."""


@dataclass(frozen=True, kw_only=True)
class DetectOptions:
    """Options of `detect`.

    Attributes:
        device: "auto", "cpu", "cuda", "mps", "openvino" or "torch".
        within: Examine only areas of this annotated class.
        dry_run: Write nothing and estimate the time.
        overwrite: Replace results of finished slides.
        threshold: Probability from which a place is detected, instead of the model's.
        workers: Threads that read windows.
        mpp: um/px of slides that do not state it.
        at: An operating target such as "1 FP/cm2"; only regions of a score that meets it are kept.
        operating_points: A folder of scores that `evaluate` wrote, from which the score is read instead of from the
            model's tuning set.
        progress: Where progress is shown.

    Example:
        >>> from histoscout import DetectOptions
        >>> DetectOptions(at="sensitivity 0.9").at
        'sensitivity 0.9'
    """

    device: str = "auto"
    within: str | None = None
    dry_run: bool = False
    overwrite: bool = False
    threshold: float | None = None
    workers: int | None = None
    mpp: float | None = None
    at: str | None = None
    operating_points: Path | None = None
    progress: Progress | None = None


@dataclass(frozen=True, kw_only=True)
class DetectionContext:
    """What stays the same for all slides of a detection run.

    Attributes:
        model: The model.
        output: Where results are written.
        options: The options.
        settings: Hash of everything that changes the results.
        operating_point: The score threshold, if the options ask for an operating target.
        engines: The engine, once it is opened.
    """

    model: ModelFolder
    output: ResultFolder
    options: DetectOptions
    settings: str
    operating_point: OperatingPoint | None = None
    engines: list[Engine] = field(default_factory=list)

    @property
    def progress(self) -> Progress:
        """Where progress is shown."""
        return self.options.progress or NoProgress()

    @property
    def threshold(self) -> float:
        """Probability from which a place is detected."""
        chosen = self.options.threshold
        return self.model.detection_threshold if chosen is None else chosen

    @property
    def plan(self) -> WindowPlan:
        """How windows are read and predicted."""
        scratch = None if self.options.dry_run else self.output.folder
        return WindowPlan.of(self.model.recipe, self.options.workers, scratch)

    def engine(self) -> Engine:
        """The engine, opened at the first call: a run with nothing left to do needs none."""
        if not self.engines:
            batch = self.model.recipe.detection.batch_size
            note = self.progress.note
            self.engines.append(open_engine(self.model, self.options.device, batch=batch, on_note=note))
        return self.engines[0]

    def close(self) -> None:
        """Close the engine."""
        for engine in self.engines:
            engine.close()


def choose_point(model: ModelFolder, options: DetectOptions) -> OperatingPoint | None:
    """Choose the score threshold for the operating target of the options.

    Args:
        model: The model.
        options: The options.

    Returns:
        The operating point; None without a target.

    Raises:
        ModelError: If the target is not valid or cannot be met.
    """
    if options.at is None:
        if options.operating_points is not None:
            fault = "operating points have no effect without an operating target"
            raise ModelError(options.operating_points, fault, 'Add --at, such as --at "1 FP/cm2"')
        return None
    target = OperatingTarget.parse(options.at)
    if options.threshold is not None:
        fault = "an operating target needs regions at the model's own threshold"
        raise ModelError(f'--at "{options.at}"', fault, "Give either --at or --threshold")
    # without scores, the table of the tuning set is used
    if options.operating_points is None:
        values = model.metrics.get("operating_points")
        if values is None:
            fault = (
                "the model has no operating points: it was trained on image classification data, or by an older "
                "version"
            )
            remedy = "Train again, or evaluate it and give its scores with --operating-points SCORES"
            raise ModelError(model.path, fault, remedy)
        table = OperatingPoints.from_dict(values, model.path)
        return choose_operating_point(table, target, model.path)
    table = OperatingPoints.read(options.operating_points)
    if table.model != model.hash:
        fault = f"these are scores of the model {table.model or 'of another folder'}, not of {model.hash}"
        raise ModelError(options.operating_points, fault, "Give scores of this model")
    return choose_operating_point(table, target, options.operating_points)


def settings_hash(model: ModelFolder, options: DetectOptions, point: OperatingPoint | None = None) -> str:
    """Hash everything that changes results: model, recipe, threshold, areas, score threshold.

    Args:
        model: The model.
        options: The options.
        point: The operating point.

    Returns:
        Twelve digits, the same as histoscout 0.1.0 computes.
    """
    # the names in this dictionary are part of the hash: they stay as histoscout 0.1.0 chose them
    choices = {
        "model": model.hash,
        "recipe": model.recipe.identity(),
        "calibration": [
            model.threshold,
            model.temperature,
            *([model.prior_correction] if model.prior_correction else []),
        ],
        "threshold": options.threshold,
        "within": options.within,
        **({} if point is None else {"cut-off": point.score_threshold}),
    }
    return hashlib.sha256(json.dumps(choices, sort_keys=True).encode()).hexdigest()[:12]


def heatmap_settings(model: ModelFolder, options: DetectOptions) -> str:
    """Hash everything that changes heatmaps: the settings without any threshold.

    Args:
        model: The model.
        options: The options.

    Returns:
        Twelve digits; those of `settings_hash` for a run without --threshold and --at.
    """
    return settings_hash(model, replace(options, threshold=None))


def file_hash(case: Case) -> str:
    """Hash a slide's file: its size, and samples from its start, middle and end.

    Slides of several GB are not read as a whole.

    Args:
        case: The case.

    Returns:
        Twelve digits; empty if the file cannot be read, which opening it reports.
    """
    try:
        with open_regular(case.slide) as file:
            size = file.seek(0, os.SEEK_END)
            digest = hashlib.sha256(str(size).encode())
            for place in (0, size // 2, max(0, size - SAMPLED_BYTES)):
                file.seek(place)
                digest.update(file.read(SAMPLED_BYTES))
            # another image of the same file is another slide
            if case.series:
                digest.update(f"series {case.series}".encode())
    except OSError:
        return ""
    return digest.hexdigest()[:12]


def has_same_scale(case: Case, row: LedgerRow) -> bool:
    """Whether a slide was examined at the um/px that a case gives.

    Args:
        case: The case.
        row: The row of its slide in the ledger.

    Returns:
        True if they are the same, or the case gives none.
    """
    return case.mpp is None or (row.mpp is not None and abs(case.mpp / row.mpp - 1) <= SAME_MPP)


def area_hash(case: Case, options: DetectOptions) -> str:
    """Hash the annotations that limit what is examined, and how a mask is read.

    Args:
        case: The case.
        options: The options.

    Returns:
        Twelve digits; empty if the whole slide is examined.
    """
    if options.within is None or case.annotations is None or not case.annotations.is_file():
        return ""
    content = json.dumps([sha256(case.annotations), case.mask_labels, case.mask_threshold])
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def begun_row(context: DetectionContext, case: Case) -> LedgerRow:
    """Make the ledger row of a slide before it is opened, with hashes of the content that will be read.

    Args:
        context: The run.
        case: The case.

    Returns:
        A row of the state "begun".
    """
    return LedgerRow(
        slide=case.name,
        state="begun",
        file_hash=file_hash(case),
        area=area_hash(case, context.options),
        model=context.model.hash,
        settings=context.settings,
    )


def planned_row(context: DetectionContext, begun: LedgerRow, slide: Slide, survey: SlideSurvey) -> LedgerRow:
    """Make the ledger row of a slide that is surveyed but not yet examined.

    Args:
        context: The run.
        begun: The row from before the slide was opened.
        slide: The slide.
        survey: Its tissue and windows.

    Returns:
        A row of the state "planned".
    """
    return replace(
        begun,
        state="planned",
        reason="; ".join(survey.notes),
        windows=len(survey.boxes),
        tissue_mm2=round(survey.tissue.area_mm2, 4),
        pen_mm2=round(survey.tissue.artifact_mm2["pen"], 4),
        blur_mm2=round(survey.tissue.artifact_mm2["out of focus"], 4),
        mpp=slide.mpp,
        mpp_source=slide.mpp_source,
        heatmap_settings=heatmap_settings(context.model, context.options),
        operating_target="" if context.operating_point is None else context.operating_point.summary,
    )
