"""The whole road on the built-in cohort: draw slides, train, detect on unseen patients, measure, report."""

from dataclasses import dataclass
from pathlib import Path

from histoscout.cohort.cohort import read_cohort
from histoscout.evaluation.evaluate import EvaluateOptions, Scores, evaluate
from histoscout.io.files import packaged
from histoscout.network.model_folder import ModelFolder
from histoscout.progress import Progress, Silent
from histoscout.recipe import Recipe
from histoscout.report.evaluation.page import write_report
from histoscout.synthetic.cohort import write as write_phantoms
from histoscout.training.train import TrainOptions, train

PATIENTS = 18


@dataclass(frozen=True)
class Demo:
    """What the demonstration made, and how good it is."""

    cohort: Path
    model: ModelFolder
    scores: Scores
    report: Path


def demo_recipe() -> Recipe:
    """The recipe that comes with the package for the built-in cohort."""
    return Recipe.read(packaged("demo.toml"))


def demo(out: Path, *, device: str = "auto", progress: Progress | None = None) -> Demo:
    """Make the built-in cohort, train a detector on it, and measure it on slides of patients it has not seen.

    Ends with a report of what came of it. Everything goes to `out`: cohort/, model/, scores/. A second run does only what is missing.
    """
    progress = progress or Silent()
    progress.start("drawing the built-in slides", PATIENTS)
    table = write_phantoms(out / "cohort", patients=PATIENTS, on_slide=lambda done, total: progress.advance())
    progress.done()
    cohort = read_cohort(table)
    model = train(cohort, out / "model", demo_recipe(), TrainOptions(device=device, progress=progress))
    scores = evaluate(model, cohort, out / "scores", EvaluateOptions(device=device, progress=progress))
    progress.start("writing the report", 1)
    report = write_report(scores, out / "scores", cohort, model)
    progress.advance()
    progress.done()
    return Demo(table, model, scores, report)
