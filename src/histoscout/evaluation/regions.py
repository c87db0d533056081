"""Two sets of outlines compared: what anybody found against what somebody drew, without a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from histoscout.annotations.read import FORMATS, format_of
from histoscout.cohort.annotated_slide import is_mask, labeled_regions, open_labeled, without_unseen
from histoscout.cohort.case import Case
from histoscout.cohort.cohort import Cohort, read_cohort
from histoscout.detection.overlay import draw_overlay
from histoscout.errors import CohortError
from histoscout.evaluation.evaluate import judge_each
from histoscout.evaluation.protocol import Exam, given, refuse_other_scores
from histoscout.evaluation.reference import Ground
from histoscout.evaluation.scores import Scores
from histoscout.evaluation.scores_io import write_scores
from histoscout.evaluation.slide_metrics import SlideScores, judge_regions
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Regions
from histoscout.io.notes import Told
from histoscout.progress import Progress, Silent
from histoscout.recipe import ClassConfig, Recipe
from histoscout.tissue.mask import Tissue, all_of

FINDER = "regions"


@dataclass(frozen=True)
class ComparedSlide:
    """One slide with two sets of outlines: what is true, and what was found.

    `box` is the slide in level-0 px of `mpp` um each. Without `tissue` all of the box counts. A slide without a
    patient is a patient of its own.
    """

    name: str
    truth: Regions
    found: Regions
    box: Box
    mpp: float
    patient: str = ""
    site: str | None = None
    tissue: Tissue | None = None


def score_regions(
    slides: Sequence[ComparedSlide], positive: str | None = None, recipe: Recipe | None = None
) -> Scores:
    """How well found outlines agree with drawn ones: lesion figures, and figures of pixels found or not.

    `positive` is the class that is looked for (the recipe's if None); class names are understood as the recipe's
    `classes` say, found regions of other classes are left out. The recipe's `windows.mpp` is the size of a pixel,
    in um. Needs no slide files, no model and no torch.
    """
    recipe = _looking_for(positive, recipe)
    return Scores(_exam(recipe), tuple(_judge(slide, recipe) for slide in slides))


def _looking_for(positive: str | None, recipe: Recipe | None) -> Recipe:
    recipe = recipe or Recipe()
    return recipe if positive is None else recipe.with_choices({"classes.positive": positive})


def _exam(recipe: Recipe) -> Exam:
    return Exam(
        FINDER,
        "given",
        recipe.classes.positive,
        threshold=1.0,
        apart=False,
        probabilities=False,
        classes=recipe.classes,
    )


def _judge(slide: ComparedSlide, recipe: Recipe) -> SlideScores:
    tissue = slide.tissue or all_of(slide.box, slide.mpp, recipe.tissue.mpp)
    truth, _ = without_unseen(_in_words(slide.truth, recipe.classes), slide.box)
    ground = Ground(slide.name, slide.patient or slide.name, truth, tissue, slide.mpp, recipe)
    found = _in_words(slide.found, recipe.classes).labeled(recipe.classes.positive)
    return replace(judge_regions(ground, found), site=slide.site)


def _in_words(regions: Regions, classes: ClassConfig) -> Regions:
    return regions.relabeled(lambda label: classes.canonical(label) or label)


# ---------------------------------------------------------------- files


@dataclass(frozen=True)
class CompareOptions:
    """What is looked for, and who is told: a class, or a recipe that says what each class is called.

    `overwrite` replaces scores of something else.
    """

    positive: str | None = None
    recipe: Recipe | None = None
    progress: Progress = field(default_factory=Silent)
    overwrite: bool = False


def evaluate_regions(
    found: Path, cohort: Cohort | Path, out: Path, options: CompareOptions | None = None
) -> Scores:
    """Compare outlines in files with those drawn on the slides of a cohort.

    `found` is a folder with a file of outlines for each slide, of the slide's name (or what `detect` wrote, with
    its folder `regions`), in any format of outlines; pictures of classes are converted first. Test slides only, if the cohort names a split. Only
    tissue counts. Writes scores.json, slides.csv and overlays. A slide without a file in `found` is told in the
    notes, not taken as one where nothing was found.
    """
    options = options or CompareOptions()
    cohort = read_cohort(cohort) if isinstance(cohort, Path) else cohort
    recipe = _looking_for(options.positive, options.recipe)
    refuse_other_scores(out, _exam(recipe), options.overwrite)
    chosen = given(cohort)
    files = _files(found, chosen.cases)
    judge = partial(_judge_files, files, recipe, out / "overlays")
    judged, told = judge_each(chosen.cases, judge, options.progress)
    scores = Scores(_exam(recipe), judged, (*cohort.notes, *chosen.notes, *told))
    write_scores(scores, out)
    return scores


def _files(folder: Path, cases: Sequence[Case]) -> dict[str, Path]:
    """The file of outlines of each slide, by the slide's name; CohortError if there is none at all."""
    inside = folder / "regions"
    listed = sorted((inside if inside.is_dir() else folder).iterdir()) if folder.is_dir() else []
    stems = {path.name.removesuffix(format_of(path) or ""): path for path in listed if _is_outlines(path)}
    files = {case.name: stems[case.name] for case in cases if case.name in stems}
    if not files:
        raise CohortError(
            folder,
            "is neither a model folder nor a folder with outlines of these slides",
            f"Give a model, or a folder with a file for each slide, such as {cases[0].name}.geojson",
        )
    return files


def _is_outlines(path: Path) -> bool:
    return format_of(path) in FORMATS and not is_mask(path)


def _judge_files(
    files: Mapping[str, Path], recipe: Recipe, overlays: Path, case: Case, told: Told
) -> SlideScores:
    if (found := files.get(case.name)) is None:
        raise CohortError(
            case.slide, "no file of found outlines has its name", "Add one, empty if nothing was found"
        )
    labeled, notes = open_labeled(case, recipe)
    with labeled.slide:
        ground = Ground.of(labeled)
        read = labeled_regions(replace(case, annotations=found), recipe.classes, labeled.slide)
        regions = read.regions.labeled(recipe.classes.positive)
        told.add(case.name, *notes, *read.notes)
        draw_overlay(labeled.slide, regions, ground.positive, overlays / f"{case.name}.png")
        return replace(judge_regions(ground, regions), site=case.site)
