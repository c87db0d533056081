"""`histoscout study -o STUDY`."""

from pathlib import Path

import typer


def study(
    out: Path = typer.Option(..., "-o", "--out", help="Where to put everything."),
    data: Path | None = typer.Option(None, help="A BRACS download, with slides 1494, 1496 and 1286."),
    cohort: Path | None = typer.Option(
        None, help="Other slides with outlines of UDH: cohort.csv or a folder."
    ),
    scale: str = typer.Option(
        "quick", help="quick: under an hour on 2 cores; full: the paper's size, for a GPU."
    ),
    faults: bool = typer.Option(
        False, "--faults", help="Also switch each fault on alone and off alone: hours."
    ),
    seeds: int = typer.Option(3, min=1, help="Trainings of each set of faults, with --faults."),
    weights: str | None = typer.Option(None, help='Where the ResNet50 starts: "imagenet", "none" or a file.'),
    device: str = typer.Option("auto", help="auto, cpu, cuda or mps."),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Say what would be run, and about how long; write nothing."
    ),
    quiet: bool = typer.Option(False, "--quiet", help="Say only what must be seen."),
) -> None:
    """Repeat the study this project starts from: as it was run, as it is stated, and beside a recipe that works."""
    from histoscout.cohort.cohort import read_cohort
    from histoscout.errors import CohortError
    from histoscout.study.slides import scale_named

    if data is not None and cohort is not None:
        raise CohortError("--data and --cohort", "both name slides", "Give one of them")
    size = scale_named(scale)
    cases = None if cohort is None else read_cohort(cohort)

    from histoscout.cli.console import Console  # what follows loads torch: mistakes are told before
    from histoscout.cli.study_tables import plan_table, study_table
    from histoscout.study.study import StudyOptions, plan_study, repeat_study

    with Console(quiet) as console:
        options = StudyOptions(data, cases, size, faults, seeds, weights, device, console)
        if dry_run:
            typer.echo(plan_table(*plan_study(out, options)))
            return
        made = repeat_study(out, options)
    typer.echo(study_table(made.found))
    typer.echo(f"figures: {out / 'study.json'}\nreport:  {made.report}")
