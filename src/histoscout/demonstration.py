"""The whole pipeline on synthetic slides: draw a cohort, train, evaluate, report."""

from dataclasses import dataclass
from pathlib import Path

from histoscout.cohort.cohort import read_cohort
from histoscout.evaluation.evaluate import EvaluateOptions, Scores, evaluate
from histoscout.io.files import StrPath, package_file
from histoscout.network.model_folder import ModelFolder
from histoscout.progress import NoProgress, Progress
from histoscout.recipe import Recipe
from histoscout.report.evaluation.page import write_report
from histoscout.synthetic.cohort import write_synthetic_cohort
from histoscout.training.train import TrainOptions, train

PATIENTS = 18
"""Patients of the synthetic cohort; each has one slide."""

SLIDE_SIZE = (4096, 4096)
"""Height and width of a synthetic slide, in level-0 px."""


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What a demo wrote.

    Attributes:
        cohort: The table of the synthetic cohort.
        model: The trained model.
        scores: Its scores on the test patients.
        report: The HTML report.
    """

    cohort: Path
    model: ModelFolder
    scores: Scores
    report: Path


def demo(
    out: StrPath,
    *,
    device: str = "auto",
    progress: Progress | None = None,
    recipe: Recipe | None = None,
    patients: int = PATIENTS,
    slide_size: tuple[int, int] = SLIDE_SIZE,
) -> Demo:
    """Train a detector on synthetic slides and evaluate it on patients it was not trained on.

    A second call with the same folder does only what is missing.

    Args:
        out: Folder for all results: cohort/, model/ and scores/ with report.html.
        device: Where to compute: "auto", "cpu", "cuda" or "mps".
        progress: Shows how far the work is.
        recipe: The recipe to train with; `demo_recipe()` by default.
        patients: Number of synthetic patients, at least three.
        slide_size: Height and width of each slide in level-0 px.

    Returns:
        The paths of cohort and report, the model and its scores.

    Raises:
        OutputError: If `out` holds something else, or cannot be written.

    Example:
        The demo itself takes some minutes; its recipe is there at once.

        >>> from pathlib import Path
        >>> from histoscout.demonstration import demo, demo_recipe
        >>> demo_recipe().classes.positive
        'UDH'
        >>> result = demo(Path("histoscout-demo"))  # doctest: +SKIP
        >>> result.scores.lesion["sensitivity"].value > 0.5  # doctest: +SKIP
        True
    """
    out = Path(out)
    progress = progress or NoProgress()
    # draw the cohort: slides, annotations and the table
    progress.start("drawing synthetic slides", patients)
    table = write_synthetic_cohort(
        out / "cohort",
        patients=patients,
        size=slide_size,
        on_slide=lambda done, total: progress.advance(),
    )
    progress.done()

    # train on some patients and evaluate on the others
    cohort = read_cohort(table)
    train_options = TrainOptions(device=device, progress=progress)
    model = train(cohort, out / "model", recipe or demo_recipe(), train_options)
    evaluate_options = EvaluateOptions(device=device, progress=progress)
    scores = evaluate(model, cohort, out / "scores", evaluate_options)

    progress.start("writing the report", 1)
    report = write_report(scores, out / "scores", cohort, model)
    progress.advance()
    progress.done()
    return Demo(cohort=table, model=model, scores=scores, report=report)


def demo_recipe() -> Recipe:
    """The recipe for the synthetic cohort that comes with the package."""
    return Recipe.read(package_file("demonstration.toml"))
