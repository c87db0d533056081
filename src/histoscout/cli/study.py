"""`histoscout study -o STUDY`, and its results as plain tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from histoscout.cli.options import Quiet, TrainingDevice, echo

if TYPE_CHECKING:
    from histoscout.study.planning import PlannedRun


def study(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for all results.")],
    data: Annotated[Path | None, typer.Option(help="BRACS download with slides 1494, 1496 and 1286.")] = None,
    cohort: Annotated[
        Path | None, typer.Option(help="Other slides with UDH annotations: cohort.csv or folder.")
    ] = None,
    scale: Annotated[
        str, typer.Option(help="quick: < 1 h on 2 cores; full: the paper's size, for a GPU.")
    ] = "quick",
    faults: Annotated[
        bool, typer.Option("--faults", help="Also study the effect of each fault alone (takes hours).")
    ] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings per set of faults, with --faults.")] = 3,
    weights: Annotated[
        str | None, typer.Option(help='Initial weights of the ResNet50: "imagenet", "none" or a file.')
    ] = None,
    device: TrainingDevice = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be run and estimate the time.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Replicate the study this project started from.

    Runs it as it was run and as it is described, beside a recipe that works.
    """
    from histoscout.cohort.cohort import read_cohort
    from histoscout.errors import CohortError
    from histoscout.study.slides import get_scale

    if data is not None and cohort is not None:
        raise CohortError("--data and --cohort", "both options name slides", "Give one of them")
    size = get_scale(scale)
    cases = None if cohort is None else read_cohort(cohort)

    # these imports load torch: faults in the options are reported first
    from histoscout.cli.console import Console, show_cohort
    from histoscout.study.study import StudyOptions, plan_study, repeat_study

    with Console(quiet) as console:
        if cases is not None:
            show_cohort(console, cases)
        options = StudyOptions(
            data=data,
            cohort=cases,
            scale=size,
            faults=faults,
            seeds=seeds,
            weights=weights,
            device=device,
            progress=console,
        )
        if dry_run:
            echo(plan_table(*plan_study(out, options)))
            return
        result = repeat_study(out, options)
    echo(study_table(result.results))
    echo(f"scores: {out / 'study.json'}\nreport: {result.report}")


def study_table(results: dict[str, Any]) -> str:
    """Format the results of a study: one line per run, then the recipe that works.

    Args:
        results: What study.json holds.

    Returns:
        A plain text table and a sentence on lesions.
    """
    from histoscout.cli.tables import table
    from histoscout.io.notes import pluralize

    head = ("run", "precision", "recall", "F1", "AP, reference", "AP, whole slides")
    rows: list[tuple[object, ...]] = []
    for name, result in results["runs"].items():
        test = list(result["epochs"].values())[-1]["test"]
        whole = next(iter(result["whole"].values()), {"ap": None})
        own = (test["own"][key] for key in ("precision", "recall", "f1"))
        rows.append((name, *own, test["truth"]["ap"], whole["ap"]))

    # our recipe, on patients it was not trained on
    ours = results["ours"]
    whole = next(iter(reversed(ours["whole"].values())))
    pixel = (ours["pixel"][key]["value"] for key in ("precision", "recall", "dice", "ap"))
    rows.append(("our recipe, test patients", *pixel, whole["ap"]))
    counts = ours["lesion"]["counts"]
    lesions = (
        f"our recipe: {counts['true_positives']} of {pluralize(counts['lesions'], 'lesion')} detected, "
        f"{pluralize(counts['false_positives'], 'false positive')}"
    )
    return f"{table(head, rows)}\n\n{lesions}"


def plan_table(planned: "Sequence[PlannedRun]", other_minutes: float) -> str:
    """Format the plan of a study: one line per run, then the total time.

    Args:
        planned: The runs with their steps and minutes.
        other_minutes: Time for slides, the recipe that works, and figures.

    Returns:
        A plain text table and the total.
    """
    from histoscout.cli.tables import table

    rows: list[tuple[object, ...]] = [
        (planned_run.name, planned_run.run.letters, planned_run.steps, f"{planned_run.minutes:.1f}")
        for planned_run in planned
    ]
    rows.append(("slides, our recipe, figures", "", "", f"{other_minutes:.1f}"))
    total = sum(planned_run.minutes for planned_run in planned) + other_minutes
    head = ("run", "faults", "steps", "minutes")
    return f"{table(head, rows)}\n\nabout {total:.0f} minutes in all; dry run: nothing was written"
