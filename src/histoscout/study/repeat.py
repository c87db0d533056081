"""The study, whole: slides, every run as it was and as it is stated, our recipe, and one report of it all.

Every step keeps its result in the folder when it is done, so that a study which was stopped goes on where it was.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from histoscout.cohort.cohort import Cohort
from histoscout.errors import OutputError
from histoscout.files import write_text
from histoscout.progress import Progress, Silent
from histoscout.slides.open import open_slide
from histoscout.study import paper
from histoscout.study.ablation import run_ablation
from histoscout.study.bench import Bench, lesion_um, side_for, study_cases
from histoscout.study.ours import our_recipe
from histoscout.study.page import write_report
from histoscout.study.pictures import mask_agreement
from histoscout.study.plan import KEPT, TILES_A_LESION, Expected, PlannedRun, our_minutes, plan_runs
from histoscout.study.runs import ablation_runs, main_runs
from histoscout.study.scale import SCALES, Scale
from histoscout.study.slides import bracs, built_in
from histoscout.study.stopwatch import epoch_times
from histoscout.study.train_run import train_run
from histoscout.training.device import choose_fabric


@dataclass(frozen=True)
class StudyOptions:
    """On which slides (none given: the built-in ones), how large, with how much beside the main table."""

    data: Path | None = None  # a BRACS download
    cohort: Cohort | None = None
    scale: Scale = SCALES["quick"]
    faults: bool = False  # also the ablation
    seeds: int = 3
    weights: str | None = None  # where the ResNet50 starts; None: as the scale says
    device: str = "auto"
    progress: Progress = field(default_factory=Silent)


@dataclass(frozen=True)
class Study:
    """Everything that was found, as it stands in study.json, and the report."""

    found: dict[str, Any]
    report: Path


def repeat_study(out: Path, options: StudyOptions | None = None) -> Study:
    """Make the whole study in the folder `out`, or what is missing of it; study.json and report.html are written last.

    Raises OutputError if the folder holds something else, CohortError if slides are missing.
    """
    options = options or StudyOptions()
    given = given_slides(options)  # before the folder is claimed: slides may be missing
    if given is not None:
        study_cases(given)
    claim(out, options)
    bench = open_bench(out, options, given)
    results = {}
    runs = main_runs()
    for number, (name, run) in enumerate(runs.items(), start=1):
        bench.progress.note(f"run {number} of {len(runs)}: {name}")
        results[name] = train_run(run, bench)
    found: dict[str, Any] = {
        "paper": paper.TITLE,
        "scale": about_scale(bench),
        "slides": about_slides(bench, results["unet, as stated"]),
        "masks": mask_agreement(bench.slides(bench.recipe("unet")), bench.recipe("unet")),
        "runs": results,
        "ours": our_recipe(bench, options.device),
        "epoch times": epoch_times(bench),
        "ablation": run_ablation(bench, options.seeds) if options.faults else earlier_ablation(out),
    }
    write_text(out / "study.json", json.dumps(found, indent=1) + "\n")
    report = out / "report.html"
    write_report(found, bench, report)
    return Study(found, report)


def claim(out: Path, options: StudyOptions) -> None:
    """Note in the folder what is studied there, or find that it is the same; OutputError if it is not."""
    marker = out / "plan.json"
    source = options.data or (options.cohort.where if options.cohort else "built-in")
    wanted = {
        "slides": str(source),
        "scale": options.scale.name,
        "weights": options.weights or options.scale.weights,
    }
    if marker.exists():
        if json.loads(marker.read_text("utf-8")) != wanted:
            fault = "holds a study of other slides or of another scale"
            raise OutputError(out, fault, "Give another folder with -o")
        return
    if out.is_dir() and any(out.iterdir()):
        raise OutputError(out, "is not empty and holds no study", "Give a new folder with -o")
    write_text(marker, json.dumps(wanted) + "\n")


def open_bench(out: Path, options: StudyOptions, given: Cohort | None = None) -> Bench:
    """The slides, the built-in ones if none are given, and what all runs share."""
    cases, referees = study_cases(given or drawn_slides(out, options))
    scale, weights = options.scale, options.weights or options.scale.weights
    fabric = choose_fabric(options.device, "float32")
    return Bench(cases, referees, scale, side_for(cases, scale), weights, fabric, out, options.progress)


def given_slides(options: StudyOptions) -> Cohort | None:
    """BRACS or the user's own cohort; None for the built-in slides."""
    return bracs(options.data) if options.data is not None else options.cohort


def drawn_slides(out: Path, options: StudyOptions) -> Cohort:
    """The built-in slides, drawn if they are not there yet."""
    options.progress.start("drawing the built-in slides", 4)
    cohort = built_in(out / "cohort", options.scale.mosaic, options.progress.advance)
    options.progress.done()
    return cohort


def earlier_ablation(out: Path) -> dict[str, Any] | None:
    """The ablation of an earlier call into the same folder, if there was one."""
    written = out / "study.json"
    found = json.loads(written.read_text("utf-8")) if written.exists() else {}
    ablation: dict[str, Any] | None = found.get("ablation")
    return ablation


def about_scale(bench: Bench) -> dict[str, Any]:
    """What is made smaller, and what is held to the paper's values."""
    lesion, scale = lesion_um(bench.cases), bench.scale
    steps = scale.steps_for(paper.EPOCHS[0], paper.TRAINING_TILES)
    return {
        "name": scale.name,
        "tile_px": [paper.TILE_PX, scale.tile_px],
        "tile_um": [paper.SIDE_UM, bench.side_um],
        "lesion_um": [paper.LESION_UM, round(lesion, 1)],
        "view_per_lesion": [round(paper.VIEW, 3), round(bench.side_um / lesion, 3)],
        "narrower": scale.narrower,
        "steps_for_50_epochs": [paper.EPOCHS[0] * paper.STEPS_PER_EPOCH, steps],
        "learning_rate": [paper.RATE, scale.rate(paper.RATE, paper.EPOCHS[0], steps)],
        "rate_times_steps": [
            paper.rate_times_steps(paper.RATE, paper.EPOCHS[0]),
            scale.rate(paper.RATE, paper.EPOCHS[0], steps) * steps,
        ],
        "batch": [paper.BATCH, paper.BATCH],
        "resnet50_weights": ["imagenet", bench.weights],
        "device": str(bench.fabric.device),
    }


def about_slides(bench: Bench, stated: dict[str, Any]) -> dict[str, Any]:
    """How many tiles there are, how many with lesions, and how much of the drawn tiles is lesion; the paper's beside."""
    side = bench.side_um
    grid = 0
    for case in bench.cases:
        with open_slide(case.slide, case.mpp) as slide:
            grid += int(slide.box.width * slide.mpp // side) * int(slide.box.height * slide.mpp // side)
    judged = list(stated["epochs"].values())[-1]
    return {
        "names": [case.name for case in bench.cases],
        "patients": list(bench.patients),
        "left_out": bench.left_out,
        "referees": [case.name for case in bench.referees],
        "built_in": any(case.site == "built-in" for case in bench.cases),
        "tiles": [paper.TILES, grid],
        "kept": [paper.KEPT_RATIO * paper.TILES_WITH_MASK, stated["tiles"]],
        "with_mask": [paper.TILES_WITH_MASK, stated["tiles_with_mask"]],
        "tile_share": [paper.TILES_WITH_MASK / paper.TILES, stated["tiles_with_mask"] / max(1, grid)],
        "kept_share": [1 / paper.KEPT_RATIO, stated["tiles_with_mask"] / max(1, stated["tiles"])],
        "pixel_share": [paper.PREVALENCE["Table 1"], judged["train"]["truth"]["prevalence"]],
    }


def plan_study(out: Path, options: StudyOptions) -> tuple[list[PlannedRun], float]:
    """What would be trained, with steps and minutes, and the minutes of all else; writes nothing, draws nothing."""
    given = given_slides(options)
    cases, referees = study_cases(given) if given else ((), ())
    side = side_for(cases, options.scale) if cases else paper.SIDE_UM
    weights = "none"  # the same arithmetic, and nothing is downloaded to plan
    fabric = choose_fabric(options.device, "float32")
    bench = Bench(cases, referees, options.scale, side, weights, fabric, out, options.progress)
    expected = expected_tiles(bench)
    named: Iterable[tuple[str, Any]] = main_runs().items()
    ablation = [(run.name, run) for run in ablation_runs(options.seeds)] if options.faults else []
    planned = plan_runs([*named, *ablation], bench, expected)
    mosaic = options.scale.mosaic
    drawing = mosaic.rows * mosaic.columns * 3.5 * mosaic.mm2 * 0.45 / 60 if given is None else 0.0
    return planned, drawing + our_minutes(options.scale, options.device) + len(planned) * 0.1


def expected_tiles(bench: Bench) -> Expected:
    """How many tiles there will be: of the slides if they are there, else of the mosaics that will be drawn."""
    if not bench.cases:
        mosaic = bench.scale.mosaic
        fragments = mosaic.rows * mosaic.columns
        tiles = 3 * fragments * mosaic.mm2 * 1e6 / bench.side_um**2
        lesions = sum(mosaic.lesions[:3])
        return Expected(tiles * KEPT, lesions * TILES_A_LESION, tiles * KEPT * 0.5)
    grid = 0.0
    for case in bench.cases:
        with open_slide(case.slide, case.mpp) as slide:
            grid += slide.box.area * slide.mpp**2 / bench.side_um**2
    with_mask = paper.TILES_WITH_MASK / paper.TILES * grid
    return Expected(grid * KEPT, with_mask, grid * KEPT / 2)
