"""The report of a cross-validation: metrics of each recipe, and their differences."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from histoscout.evaluation.bootstrap import MIN_PATIENTS, ConfidenceInterval
from histoscout.evaluation.lesions.froc import sensitivity_metric
from histoscout.evaluation.out_of_fold import Crossval, RecipeResult, pixels_to_area
from histoscout.evaluation.pixels.counts import PixelCounts
from histoscout.io.files import StrPath
from histoscout.io.notes import pluralize
from histoscout.report.blocks import Block, BulletList, Cell, Facts, Table
from histoscout.report.formatting import (
    DASH,
    Estimate,
    estimate_text,
    format_estimate,
    format_fraction,
    format_number,
)
from histoscout.report.page import Page, Section, write_page

PIXEL_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "ap": "AP",
        "dice": "Dice",
        "dice_per_patient": "Dice, mean over patients",
        "precision_px": "precision",
        "recall_px": "recall",
        "prevalence": "prevalence",
    }
)
PROBABILITY_COLUMNS: Mapping[str, str] = MappingProxyType(
    {"auroc": "AUROC", "ece": "ECE", "brier_skill": "Brier skill"}
)
LESION_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "sensitivity": "sensitivity",
        "precision": "precision",
        "fp_per_cm2": "FP per cm\u00b2",
        "froc_per_cm2": "mean FROC sensitivity",
        sensitivity_metric(5.0, "cm2"): "sensitivity at 5 FP per cm\u00b2",
        sensitivity_metric(10.0, "cm2"): "at 10 FP per cm\u00b2",
    }
)
"""Metrics, and their names above a column."""

RATES = frozenset({"fp_per_cm2"})
"""Metrics that are no fractions."""


def write_crossval_report(result: Crossval, out: StrPath) -> Path:
    """Write the report of a cross-validation as one HTML file.

    Args:
        result: What `crossval` returns.
        out: The folder for report.html.

    Returns:
        The path of report.html.

    Raises:
        OutputError: If the file cannot be written.

    Example:
        A cross-validation takes a while; the report is written at once.

        >>> from pathlib import Path
        >>> from histoscout import crossval, write_crossval_report
        >>> result = crossval(Path("cohort.csv"), Path("folds"), {"plan": None})  # doctest: +SKIP
        >>> write_crossval_report(result, Path("folds"))  # doctest: +SKIP
        PosixPath('folds/report.html')
        >>> write_crossval_report.__name__
        'write_crossval_report'
    """
    out = Path(out)
    path = out / "report.html"
    write_page(crossval_page(result), path)
    return path


def crossval_page(result: Crossval) -> Page:
    """Compose the page of a cross-validation.

    Args:
        result: What `crossval` returns.

    Returns:
        The page: metrics, differences, folds, patients, and how to read them.
    """
    sections = [
        Section(
            title="Metrics",
            sentence="On patients the models were not trained on, pooled over all folds.",
            blocks=_metric_tables(result),
        )
    ]
    if result.differences:
        sections.append(
            Section(
                title="Comparison of recipes",
                sentence="Paired: all recipes are evaluated on the same patients.",
                blocks=_difference_tables(result),
            )
        )
    sections += [
        Section(
            title="Folds",
            sentence="Each fold by itself. The AP of a fold does not compare scores of different models.",
            blocks=(_fold_table(result),),
        ),
        Section(
            title="Patients",
            sentence="The AP of each patient shows who is difficult for which recipe.",
            blocks=(_patient_table(result),),
        ),
        Section(
            title="Data and limitations",
            sentence="The results hold for these recipes and slides only.",
            blocks=_data_blocks(result),
        ),
    ]
    title = "Comparison of recipes by cross-validation" if len(result.recipes) > 1 else "Cross-validation"
    return Page(
        title=title,
        lead=_lead(result),
        sections=tuple(sections),
        kind=f"histoscout cross-validation for {result.positive}",
    )


def comparison_text(first: str, second: str, difference: ConfidenceInterval) -> str:
    """Say which of two recipes has the higher AP, as far as the confidence interval allows.

    Args:
        first: The name of one recipe.
        second: The name of the other.
        difference: The AP of the second minus that of the first.

    Returns:
        A sentence.
    """
    low = difference.low
    high = difference.high
    if low is None or high is None:
        return f"With fewer than {MIN_PATIENTS} patients, {first} and {second} cannot be compared."
    if low > 0 or high < 0:
        better, worse = (second, first) if low > 0 else (first, second)
        return f"{better} has a higher AP than {worse} (the 95\u00a0% CI of the difference excludes 0)."
    return (
        f"The APs of {first} and {second} do not differ significantly (the 95\u00a0% CI of the difference "
        "includes 0)."
    )


def _lead(result: Crossval) -> str:
    recipes = [
        f"{recipe.name}: AP {estimate_text(_estimate(result.metrics[recipe.name]['ap'], 'ap'))}"
        for recipe in result.recipes
    ]
    patients = pluralize(len(result.patients), "patient")
    sentences = [f"{patients}, {pluralize(len(result.folds), 'fold')}. {'; '.join(recipes)}."]
    for (first, second), metrics in result.differences.items():
        sentences.append(comparison_text(first, second, metrics["ap"]))
    return " ".join(sentences)


def _metric_tables(result: Crossval) -> tuple[Block, ...]:
    few = len(result.patients) < MIN_PATIENTS
    ci = f"A 95\u00a0% CI needs {MIN_PATIENTS} patients." if few else "Brackets: 95\u00a0% CI over patients."
    captions = (
        (PIXEL_COLUMNS, "Tissue pixels, weighted by area."),
        (PROBABILITY_COLUMNS, "Pixel probabilities. A low ECE means that they can be taken literally."),
        (
            LESION_COLUMNS,
            "Lesions, matched one to one. Sensitivity, precision and FP (false positives) are at the "
            "threshold of each "
            "fold.",
        ),
    )
    tables = []
    for columns, caption in captions:
        rows: list[tuple[Cell, ...]] = []
        for recipe in result.recipes:
            metrics = result.metrics[recipe.name]
            rows.append((recipe.name, *(_estimate(metrics[name], name) for name in columns)))
        tables.append(Table(head=("recipe", *columns.values()), rows=tuple(rows), caption=f"{caption} {ci}"))
    return tuple(tables)


def _difference_tables(result: Crossval) -> tuple[Block, ...]:
    tables = []
    for columns, subject in (
        (PIXEL_COLUMNS, "tissue pixels"),
        (PROBABILITY_COLUMNS, "probabilities"),
        (LESION_COLUMNS, "lesions"),
    ):
        # the prevalence is that of the patients, whatever the recipe
        shown = {name: title for name, title in columns.items() if name != "prevalence"}
        rows: list[tuple[Cell, ...]] = [
            (f"{second} minus {first}", *(_estimate(metrics[name], name) for name in shown))
            for (first, second), metrics in result.differences.items()
        ]
        caption = (
            f"Differences for {subject}. A CI that includes 0 is compatible with chance; by chance, one CI "
            "in twenty "
            "excludes 0."
        )
        tables.append(Table(head=("", *shown.values()), rows=tuple(rows), caption=caption))
    return tuple(tables)


def _fold_table(result: Crossval) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for recipe in result.recipes:
        for fold in recipe.folds:
            pixel = fold.scores.pixels.to_row(fold.scores.threshold)
            rows.append(
                (
                    f"{recipe.name}, {fold.number}",
                    ", ".join(fold.scores.patients),
                    ", ".join(fold.tune_patients),
                    f"{fold.mpp:g}",
                    f"{fold.steps:,}",
                    format_fraction(fold.scores.threshold),
                    _fraction_cell(pixel["ap"]),
                    _fraction_cell(pixel["dice"]),
                )
            )
    return Table(
        head=(
            "recipe, fold",
            "test patients",
            "tuning patients",
            "\u00b5m/px",
            "steps",
            "threshold",
            "AP",
            "Dice",
        ),
        rows=tuple(rows),
        caption="Weights and thresholds were chosen on the tuning patients.",
    )


def _patient_table(result: Crossval) -> Table:
    counts_by_recipe = [_pixels_by_patient(recipe, result.slides) for recipe in result.recipes]
    rows: list[tuple[Cell, ...]] = []
    for patient in result.patients:
        prevalence = next((counts[patient].prevalence for counts in counts_by_recipe), None)
        aps = [_fraction_cell(counts[patient].ap) for counts in counts_by_recipe]
        rows.append((patient, _fraction_cell(prevalence), *aps))
    head = ("patient", "prevalence", *(f"AP, {recipe.name}" for recipe in result.recipes))
    return Table(head=head, rows=tuple(rows), caption="A dash means that the patient has no lesions.")


def _pixels_by_patient(recipe: RecipeResult, slides: tuple[str, ...]) -> dict[str, PixelCounts]:
    counts: dict[str, PixelCounts] = {}
    for fold, slide in recipe.slides:
        if slide.name in slides:
            before = counts.get(slide.patient, PixelCounts.empty())
            counts[slide.patient] = before + pixels_to_area(slide.pixels, fold.mpp)
    return counts


def _data_blocks(result: Crossval) -> tuple[Block, ...]:
    slides = [slide for _, slide in result.recipes[0].slides if slide.name in result.slides]
    facts = Facts(
        (
            ("target class", result.positive),
            ("patients", f"{len(result.patients)}"),
            ("slides", f"{len(result.slides)}"),
            ("lesions", f"{sum(len(slide.lesions.lesions) for slide in slides)}"),
            ("tissue", f"{format_number(sum(slide.tissue_mm2 for slide in slides))} mm\u00b2"),
            ("folds", "; ".join(", ".join(patients) for patients in result.folds.patients)),
        )
    )
    pooled = (
        "AP and FROC compare probabilities across folds as if all models were calibrated alike. If they are "
        "not, pooled "
        "values are lower than those of single folds."
    )
    selection = (
        "A recipe that is chosen by these results looks better than it is: evaluate it once more on "
        "other patients."
    )
    return (facts, BulletList((*result.notes, pooled, selection), "Limitations"))


def _estimate(interval: ConfidenceInterval, name: str) -> Estimate:
    estimate = format_estimate(interval, is_fraction=name not in RATES)
    return Estimate(estimate.value) if interval.low is None else estimate


def _fraction_cell(value: float | None) -> str:
    return DASH if value is None else format_fraction(value)
