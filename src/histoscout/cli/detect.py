"""`histoscout detect MODEL SLIDES -o OUT`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from histoscout.cli.options import (
    ClassProperty,
    Device,
    MovedSlides,
    OperatingPoints,
    OperatingTarget,
    Quiet,
    Series,
    SlideMpp,
    Verbose,
    echo,
)


def detect(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model folder.")],
    slides: Annotated[
        list[Path],
        typer.Argument(
            metavar="SLIDES", help="Slides, folders of slides, a cohort.csv, or a QuPath project."
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results.")],
    moved: MovedSlides = None,
    within: Annotated[str | None, typer.Option(help="Search only inside annotations of this class.")] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Probability threshold.", show_default="the model's")
    ] = None,
    at: OperatingTarget = None,
    operating: OperatingPoints = None,
    mpp: SlideMpp = None,
    series: Series = None,
    device: Device = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done and estimate the time.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Detect on finished slides again.")] = False,
    verbose: Verbose = False,
    class_property: ClassProperty = None,
    quiet: Quiet = False,
) -> None:
    """Detect lesions on slides.

    Writes GeoJSON for QuPath, heatmaps, lesions.csv, and a ledger of all slides. Re-run the same command to
    resume.
    """
    from histoscout.cli.console import Console, command_line, show_cohort, show_next
    from histoscout.cli.tables import ledger_table
    from histoscout.cohort.cohort import read_cohort
    from histoscout.detection.detect import DetectOptions
    from histoscout.detection.detect import detect as run
    from histoscout.detection.results import find_results

    cohorts = [read_cohort(path, moved).reading(class_property) for path in slides]
    cases = [case for cohort in cohorts for case in cohort.cases]
    if series is not None:
        cases = [case if case.series is not None else replace(case, series=series) for case in cases]
    with Console(quiet) as console:
        for cohort in cohorts:
            # annotations matter only where they limit what is examined
            if within is None:
                for note in cohort.notes:
                    console.note(note)
            else:
                show_cohort(console, cohort)
        options = DetectOptions(
            device=device,
            within=within,
            dry_run=dry_run,
            overwrite=overwrite,
            threshold=threshold,
            mpp=mpp,
            at=at,
            operating_points=operating,
            progress=console,
        )
        rows = run(model, cases, out, options)
    echo(ledger_table(rows, verbose=verbose))
    if dry_run:
        echo("dry run: nothing was written")
        show_next(f"{command_line('detect', model, *slides, '-o', out)}   (and the other options)")
    else:
        output = find_results(out, rows[0].settings)
        echo(f"results: {output.folder}")
        if done := next((row for row in rows if row.state == "done" and row.regions), None):
            show_next(f"in QuPath, open {done.slide} and drag {output.regions(done.slide)} onto it")
    if any(row.state == "failed" for row in rows):
        raise typer.Exit(1)
