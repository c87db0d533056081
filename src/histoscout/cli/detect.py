"""`histoscout detect MODEL SLIDES -o OUT`."""

from pathlib import Path

import typer

from histoscout.cli.options import MovedSlides


def detect(
    model: Path = typer.Argument(help="A model folder.", show_default=False),
    slides: list[Path] = typer.Argument(
        help="Slides, folders of slides, a cohort.csv, or a QuPath project.", show_default=False
    ),
    out: Path = typer.Option(..., "-o", "--out", help="Where to write what is found."),
    moved: MovedSlides = None,
    within: str | None = typer.Option(None, help="Look only inside outlines of this class."),
    threshold: float | None = typer.Option(None, min=0, max=1, help="Instead of the model's own."),
    at: str | None = typer.Option(
        None, help='Keep regions of such a score: "1 FP/cm2", "sensitivity 0.9", "precision 0.8", "miss 0.1".'
    ),
    operating: Path | None = typer.Option(
        None, help="For --at: scores of this model that evaluate wrote; without, its tuning patients."
    ),
    mpp: float | None = typer.Option(None, help="um/px, for slides that do not say."),
    device: str = typer.Option("auto", help="auto, cpu, cuda, mps, openvino or torch."),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Say what would be done and how long it would take."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Do finished slides again."),
    quiet: bool = typer.Option(False, "--quiet", help="Say only what must be seen."),
) -> None:
    """Find lesions on slides: GeoJSON for QuPath, heatmaps, lesions.csv, and a ledger of every slide."""
    from histoscout.cli.console import Console
    from histoscout.cli.tables import ledger_table
    from histoscout.cohort.cohort import read_cohort
    from histoscout.detection.detect import DetectOptions
    from histoscout.detection.detect import detect as run

    cohorts = [read_cohort(path, moved) for path in slides]
    cases = [case for cohort in cohorts for case in cohort.cases]
    with Console(quiet) as console:
        for note in dict.fromkeys(note for cohort in cohorts for note in cohort.notes):
            console.note(note)
        chosen = DetectOptions(
            device=device,
            within=within,
            dry_run=dry_run,
            overwrite=overwrite,
            threshold=threshold,
            mpp=mpp,
            at=at,
            operating=operating,
            progress=console,
        )
        rows = run(model, cases, out, chosen)
    typer.echo(ledger_table(rows))
    typer.echo(f"written to {out}" if not dry_run else "nothing was written")
    if any(row.state == "failed" for row in rows):
        raise typer.Exit(1)
