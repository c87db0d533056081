"""What a run of detection was asked to do, and with what."""

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from histoscout.cohort.case import Case
from histoscout.detection.grid import WindowPlan
from histoscout.detection.operating_point import Operating, OperatingPoint, Wish, choose
from histoscout.detection.pipeline import Sight
from histoscout.detection.results import LedgerRow, Output
from histoscout.errors import ModelError
from histoscout.io.files import sha256
from histoscout.network.engines import Engine, open_engine
from histoscout.network.model_folder import ModelFolder
from histoscout.progress import Progress, NoProgress
from histoscout.slides.slide import Slide

SAMPLED_BYTES = 1 << 16


@dataclass(frozen=True)
class DetectOptions:
    """How to detect.

    `within`: look only inside outlines of this class. `dry_run` writes nothing and estimates the time.
    `overwrite` does finished slides again. `threshold` instead of the model's. `workers` are threads that
    read. `mpp` in um/px for slides that do not say. `at`: a wish ("1 FP/cm2"), by which only regions of a
    certain score are kept; it is read off the model's tuning patients, or off the patients of the scores (a
    folder that `evaluate` wrote) given as `operating`.
    """

    device: str = "auto"
    within: str | None = None
    dry_run: bool = False
    overwrite: bool = False
    threshold: float | None = None
    workers: int | None = None
    mpp: float | None = None
    at: str | None = None
    operating: Path | None = None
    progress: Progress | None = None


@dataclass(frozen=True)
class Job:
    """What stays the same for all slides of a run of detection."""

    model: ModelFolder
    output: Output
    options: DetectOptions
    settings: str
    point: OperatingPoint | None = None
    engines: list[Engine] = field(default_factory=list)

    @property
    def progress(self) -> Progress:
        return self.options.progress or NoProgress()

    @property
    def threshold(self) -> float:
        chosen = (self.options.threshold, self.model.recipe.detection.threshold, self.model.threshold)
        return next(value for value in chosen if value is not None)

    @property
    def plan(self) -> WindowPlan:
        scratch = None if self.options.dry_run else self.output.folder
        return WindowPlan.of(self.model.recipe, self.options.workers, scratch)

    def engine(self) -> Engine:
        """The engine, opened when it is first needed: a run with nothing left to do needs none."""
        if not self.engines:
            batch = self.model.recipe.detection.batch_size
            self.engines.append(open_engine(self.model, self.options.device, batch=batch))
        return self.engines[0]

    def close(self) -> None:
        for engine in self.engines:
            engine.close()


def point_of(model: ModelFolder, options: DetectOptions) -> OperatingPoint | None:
    """The cut-off for the wish, if there is one; ModelError if it is not understood or cannot be met."""
    if options.at is None:
        if options.operating is not None:
            raise ModelError(
                options.operating, "scores without a wish change nothing", 'Add --at, such as --at "1 FP/cm2"'
            )
        return None
    wish = Wish.parse(options.at)
    if options.threshold is not None:
        fault = "a wish is read off outlines at the model's own threshold"
        raise ModelError(f'--at "{options.at}"', fault, "Give either --at or --threshold")
    if options.operating is None:
        return choose(_own_table(model), wish, model.path)
    table = Operating.read(options.operating)
    if table.model != model.hash:
        fault = f"holds scores of the model {table.model or 'of another folder'}, not of {model.hash}"
        raise ModelError(options.operating, fault, "Give scores of this model")
    return choose(table, wish, options.operating)


def _own_table(model: ModelFolder) -> Operating:
    values = model.metrics.get("operating")
    if values is None:
        fault = "does not say what each score gave on its tuning patients: it has learnt from images of one class each, or is of an older version"
        remedy = "Train anew, or evaluate it and give its scores with --operating SCORES"
        raise ModelError(model.path, fault, remedy)
    return Operating.from_dict(values, model.path)


def settings_of(model: ModelFolder, options: DetectOptions, point: OperatingPoint | None = None) -> str:
    """Twelve digits that stand for everything that changes what is found: model, recipe, threshold, area, cut-off."""
    choices = {
        "model": model.hash,
        "recipe": model.recipe.to_toml(),
        "calibration": [model.threshold, model.temperature, *([model.prior_correction] if model.prior_correction else [])],
        "threshold": options.threshold,
        "within": options.within,
        **({} if point is None else {"cut-off": point.cut_off}),
    }
    return hashlib.sha256(json.dumps(choices, sort_keys=True).encode()).hexdigest()[:12]


def file_hash(case: Case) -> str:
    """Twelve digits that stand for the slide's file: its size, and what lies at its beginning, middle and end.

    Empty where it cannot be read. Slides of several GB are not read as a whole for it.
    """
    try:
        with case.slide.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            digest = hashlib.sha256(str(size).encode())
            for place in (0, size // 2, max(0, size - SAMPLED_BYTES)):
                file.seek(place)
                digest.update(file.read(SAMPLED_BYTES))
    except OSError:
        return ""  # what keeps it from being opened is told when the slide's turn comes
    return digest.hexdigest()[:12]


def area_of(case: Case, options: DetectOptions) -> str:
    """Twelve digits that stand for the outlines within which is looked, and how a mask is read; empty if it is everywhere."""
    if options.within is None or case.annotations is None or not case.annotations.is_file():
        return ""
    read_as = json.dumps([sha256(case.annotations), case.mask_labels, case.mask_threshold])
    return hashlib.sha256(read_as.encode()).hexdigest()[:12]


def row_of(job: Job, case: Case, slide: Slide, sight: Sight) -> LedgerRow:
    """The ledger row of a slide that is only looked over yet."""
    return LedgerRow(
        slide=case.name,
        state="planned",
        reason="; ".join(sight.notes),
        windows=len(sight.boxes),
        tissue_mm2=round(sight.tissue.area_mm2, 4),
        pen_mm2=round(sight.tissue.artifact_mm2["pen"], 4),
        blur_mm2=round(sight.tissue.artifact_mm2["out of focus"], 4),
        mpp=slide.mpp,
        mpp_source=slide.mpp_source,
        file_hash=file_hash(case),
        area=area_of(case, job.options),
        model=job.model.hash,
        settings=job.settings,
        at="" if job.point is None else job.point.words,
    )
