"""The whole study: slides, every run, our recipe, and one report.

Every step keeps its result in the output folder, so that an interrupted study can be resumed.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from histoscout.cohort.case import open_case
from histoscout.cohort.cohort import Cohort
from histoscout.errors import OutputError
from histoscout.io.files import read_text, write_text
from histoscout.io.inputs import parse_json
from histoscout.progress import NoProgress, Progress
from histoscout.study import protocol
from histoscout.study.ablation import run_ablation
from histoscout.study.context import StudyContext, choose_tile_um, median_lesion_um, select_cases
from histoscout.study.planning import PlannedRun, plan_runs, time_epochs, working_recipe_minutes
from histoscout.study.protocol import ablation_runs, main_runs
from histoscout.study.report.page import write_report
from histoscout.study.report.pictures import mask_agreement
from histoscout.study.run import train_run
from histoscout.study.slides import SCALES, Scale, draw_study_cohort, find_bracs
from histoscout.study.working_recipe import run_working_recipe
from histoscout.training.setup import make_fabric


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """Slides, size and extent of a study.

    Attributes:
        data: A BRACS download with the paper's slides.
        cohort: Other slides; without `data` and `cohort`, synthetic slides are drawn.
        scale: How large the study is.
        faults: Whether the ablation of the faults is made too.
        seeds: Trainings of each set of faults in the ablation.
        weights: Initial weights of the ResNet50; None for those of the scale.
        device: "auto", "cpu", "cuda" or "mps".
        progress: Receives progress.
    """

    data: Path | None = None
    cohort: Cohort | None = None
    scale: Scale = SCALES["quick"]
    faults: bool = False
    seeds: int = 3
    weights: str | None = None
    device: str = "auto"
    progress: Progress = field(default_factory=NoProgress)


@dataclass(frozen=True)
class Study:
    """The results of a study.

    Attributes:
        results: What study.json holds.
        report: Path of the report.
    """

    results: dict[str, Any]
    report: Path


def repeat_study(out: Path, options: StudyOptions | None = None) -> Study:
    """Make the whole study in a folder, or what is missing of it.

    Args:
        out: A new folder, or one of an interrupted study; study.json and report.html are written last.
        options: Slides, size and extent; None for the defaults.

    Returns:
        Results and report.

    Raises:
        CohortError: Slides are missing.
        OutputError: The folder holds something else.
    """
    options = options or StudyOptions()
    # faults in the slides are reported before the folder is claimed
    cohort = _read_cohort(options)
    if cohort is not None:
        select_cases(cohort)
    _claim_folder(out, options)
    context = _open_context(out, options, cohort)
    # the runs of the main tables, in an order in which a classifier comes before the run that needs it
    runs = main_runs()
    run_results = {}
    for number, (name, run) in enumerate(runs.items(), start=1):
        context.progress.note(f"run {number} of {len(runs)}: {name}")
        run_results[name] = train_run(run, context)
    # all else, and the report
    recipe = context.recipe("unet")
    results: dict[str, Any] = {
        "paper": protocol.TITLE,
        "scale": _describe_scale(context),
        "slides": _describe_slides(context, run_results["unet, as stated"]),
        "masks": mask_agreement(context.study_slides(recipe), recipe),
        "runs": run_results,
        "ours": run_working_recipe(context, options.device),
        "epoch times": time_epochs(context),
        "ablation": run_ablation(context, options.seeds) if options.faults else _read_earlier_ablation(out),
    }
    write_text(out / "study.json", json.dumps(results, indent=1) + "\n")
    report = out / "report.html"
    write_report(results, context, report)
    return Study(results, report)


def plan_study(out: Path, options: StudyOptions) -> tuple[list[PlannedRun], float]:
    """Plan a study without writing or drawing anything.

    Args:
        out: The folder that the study would be made in; finished runs there take no time.
        options: Slides, size and extent.

    Returns:
        The runs with steps and minutes, and the minutes of all else.

    Raises:
        CohortError: Slides are missing.
    """
    cohort = _read_cohort(options)
    cases, referees = select_cases(cohort) if cohort else ((), ())
    scale = options.scale
    context = StudyContext(
        cases=cases,
        referees=referees,
        scale=scale,
        tile_um=choose_tile_um(cases, scale) if cases else protocol.TILE_UM,
        # random weights take the same time, and need no download
        weights="none",
        fabric=make_fabric(options.device, "float32"),
        out=out,
        progress=options.progress,
    )
    runs = list(main_runs().items())
    if options.faults:
        runs += [(run.name, run) for run in ablation_runs(options.seeds)]
    planned = plan_runs(runs, context)
    # drawing takes 0.45 s per mm2, and each run some seconds for reading and writing
    mosaic = scale.mosaic
    drawing = mosaic.rows * mosaic.columns * 3.5 * mosaic.mm2 * 0.45 / 60 if cohort is None else 0.0
    return planned, drawing + working_recipe_minutes(scale, options.device) + len(planned) * 0.1


def _read_cohort(options: StudyOptions) -> Cohort | None:
    """Return BRACS or the user's own cohort; None for synthetic slides."""
    return find_bracs(options.data) if options.data is not None else options.cohort


def _claim_folder(out: Path, options: StudyOptions) -> None:
    """Write the marker file, or check that the folder's marker states the same."""
    marker = out / "plan.json"
    source = options.data or (options.cohort.where if options.cohort else "built-in")
    # what makes results comparable: slides, scale and weights
    content = {
        "slides": str(source),
        "scale": options.scale.name,
        "weights": options.weights or options.scale.weights,
    }
    if marker.exists():
        if parse_json(read_text(marker)) != content:
            fault = "the folder holds a study of other slides, of another scale or with other weights"
            raise OutputError(out, fault, "Choose another folder with -o")
        return
    if out.is_dir() and any(out.iterdir()):
        raise OutputError(out, "the folder is not empty and holds no study", "Choose a new folder with -o")
    write_text(marker, json.dumps(content) + "\n")


def _open_context(out: Path, options: StudyOptions, cohort: Cohort | None) -> StudyContext:
    """Return what all runs share; synthetic slides are drawn if there is no cohort."""
    scale = options.scale
    if cohort is None:
        options.progress.start("drawing the synthetic slides", 4)
        cohort = draw_study_cohort(out / "cohort", scale.mosaic, options.progress.advance)
        options.progress.done()
    # the width of a tile follows from the lesions on the slides
    cases, referees = select_cases(cohort)
    return StudyContext(
        cases=cases,
        referees=referees,
        scale=scale,
        tile_um=choose_tile_um(cases, scale),
        weights=options.weights or scale.weights,
        fabric=make_fabric(options.device, "float32"),
        out=out,
        progress=options.progress,
    )


def _read_earlier_ablation(out: Path) -> dict[str, Any] | None:
    """Return the ablation of an earlier call with the same folder, if there was one."""
    study_file = out / "study.json"
    results = parse_json(read_text(study_file)) if study_file.exists() else {}
    ablation: dict[str, Any] | None = results.get("ablation")
    return ablation


def _describe_scale(context: StudyContext) -> dict[str, Any]:
    """Return what is made smaller and what is held; pairs are the paper's value and ours."""
    scale = context.scale
    lesion = median_lesion_um(context.cases)
    epochs = protocol.EPOCHS[0]
    steps = scale.count_steps(epochs, protocol.TRAINING_TILES)
    # smaller copies keep rate times steps
    rate = scale.learning_rate(protocol.LEARNING_RATE, epochs, steps)
    return {
        "name": scale.name,
        "tile_px": [protocol.TILE_PX, scale.tile_px],
        "tile_um": [protocol.TILE_UM, context.tile_um],
        "lesion_um": [protocol.LESION_UM, round(lesion, 1)],
        "view_per_lesion": [round(protocol.VIEW_PER_LESION, 3), round(context.tile_um / lesion, 3)],
        "narrower": scale.narrower,
        "steps_for_50_epochs": [epochs * protocol.STEPS_PER_EPOCH, steps],
        "learning_rate": [protocol.LEARNING_RATE, rate],
        "rate_times_steps": [protocol.rate_times_steps(protocol.LEARNING_RATE, epochs), rate * steps],
        "batch": [protocol.BATCH, protocol.BATCH],
        "resnet50_weights": ["imagenet", context.weights],
        "device": str(context.fabric.device),
    }


def _describe_slides(context: StudyContext, stated: dict[str, Any]) -> dict[str, Any]:
    """Return numbers of tiles, and shares of lesions; pairs are the paper's value and ours.

    Args:
        context: What all runs share.
        stated: The result of the U-Net's run as stated.
    """
    tile_um = context.tile_um
    grid = 0
    for case in context.cases:
        with open_case(case) as slide:
            # incomplete tiles are dropped
            rows = int(slide.box.height * slide.mpp // tile_um)
            grid += rows * int(slide.box.width * slide.mpp // tile_um)
    last = list(stated["epochs"].values())[-1]
    with_mask = stated["tiles_with_mask"]
    return {
        "names": [case.name for case in context.cases],
        "patients": list(context.patients),
        "left_out": context.left_out,
        "referees": [case.name for case in context.referees],
        "built_in": any(case.site == "built-in" for case in context.cases),
        "tiles": [protocol.TILES, grid],
        "kept": [protocol.KEPT_RATIO * protocol.TILES_WITH_MASK, stated["tiles"]],
        "with_mask": [protocol.TILES_WITH_MASK, with_mask],
        "tile_share": [protocol.TILES_WITH_MASK / protocol.TILES, with_mask / max(1, grid)],
        "kept_share": [1 / protocol.KEPT_RATIO, with_mask / max(1, stated["tiles"])],
        "pixel_share": [protocol.PREVALENCE["Table 1"], last["train"]["truth"]["prevalence"]],
    }
