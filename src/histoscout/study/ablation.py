"""The ablation of the faults: all, each alone, all but each, and none, over several seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from histoscout.study.context import StudyContext
from histoscout.study.faults import FAULTS
from histoscout.study.protocol import MODELS, Run, ablation_runs
from histoscout.study.run import train_run


@dataclass(frozen=True)
class SeedMean:
    """The mean of a metric over seeds with its 95 % confidence interval (Student's t).

    Attributes:
        mean: Mean over seeds.
        low: Lower limit; None with one seed.
        high: Upper limit; None with one seed.
    """

    mean: float
    low: float | None
    high: float | None

    @classmethod
    def from_values(cls, values: Sequence[float]) -> "SeedMean":
        """Compute mean and interval of one value per seed."""
        mean = float(np.mean(values))
        if len(values) < 2:
            return cls(mean, None, None)
        # Student's t, since the deviation is estimated from few seeds
        quantile = float(stats.t.ppf(0.975, len(values) - 1))
        reach = float(quantile * np.std(values, ddof=1) / math.sqrt(len(values)))
        return cls(mean, mean - reach, mean + reach)


def run_ablation(context: StudyContext, seeds: int) -> dict[str, Any]:
    """Make every run that is missing, then the table.

    Args:
        context: What all runs share; each run's result is kept in its folder.
        seeds: Trainings of each set of faults.

    Returns:
        The table; see `tabulate_ablation`.
    """
    runs = ablation_runs(seeds)
    results = []
    for number, run in enumerate(runs, start=1):
        context.progress.note(f"ablation {number} of {len(runs)}: {run.name}")
        results.append(train_run(run, context))
    return tabulate_ablation(runs, results)


def tabulate_ablation(runs: Sequence[Run], results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Tabulate the runs of the ablation.

    Args:
        runs: The runs.
        results: The result of each run.

    Returns:
        "seeds"; "sets": every set of faults with its metrics over the seeds; and "differences": what each fault
        changed, paired by seed.
    """
    metrics: dict[tuple[str, str], list[dict[str, float]]] = {}
    for run, result in zip(runs, results, strict=True):
        metrics.setdefault((run.model, run.letters), []).append(ablation_metrics(result))
    sets = [
        {"model": model, "faults": letters, "what": describe_faults(model, letters)} | _seed_means(by_seed)
        for (model, letters), by_seed in metrics.items()
    ]
    models = list(dict.fromkeys(run.model for run in runs))
    return {
        "seeds": len({run.seed for run in runs}),
        "sets": sets,
        "differences": _differences(models, metrics),
    }


def ablation_metrics(result: dict[str, Any]) -> dict[str, float]:
    """Return F1 of one run as it computed it, and AP on its test tiles and on whole slides.

    Args:
        result: A result file of a run.
    """
    last = list(result["epochs"].values())[-1]
    whole = next(iter(result["whole"].values()), {"ap": None})
    metrics = {
        "F1, own labels": last["test"]["own"]["f1"],
        "AP, truth, test tiles": last["test tiles only"]["truth"]["ap"],
        "AP, truth, whole slides": whole["ap"],
    }
    return {name: 0.0 if value is None else float(value) for name, value in metrics.items()}


def describe_faults(model: str, letters: str) -> str:
    """Return a set of faults in words: all of a model, none, one alone, or all but some.

    Args:
        model: Name of the model.
        letters: Letters of the faults.
    """
    all_faults = MODELS[model].all_faults
    faults = frozenset() if letters == "none" else frozenset(letters)
    if faults == all_faults:
        return "all that the run had"
    if not faults:
        return "none"
    if len(faults) == 1:
        return f"{FAULTS[letters].name} alone"
    missing = ", ".join(FAULTS[letter].name for letter in sorted(all_faults - faults))
    return f"all but {missing}"


def _differences(
    models: Sequence[str], metrics: dict[tuple[str, str], list[dict[str, float]]]
) -> list[dict[str, Any]]:
    """Return the effect of removing each fault from all and of adding it alone, paired by seed."""
    rows = []
    for model in models:
        all_faults = MODELS[model].all_faults
        for letter in sorted(all_faults):
            # the changed set of faults, and the set that it is compared with
            comparisons = {
                "removed": (all_faults - {letter}, all_faults),
                "alone": (frozenset(letter), frozenset[str]()),
                "removed at a sane rate": (all_faults - {letter, "I"}, all_faults - {"I"}),
                "removed at a sane rate, true validation": (
                    all_faults - {letter, "I", "C"},
                    all_faults - {"I", "C"},
                ),
            }
            for change, (changed, reference) in comparisons.items():
                changed_metrics = metrics.get((model, Run(model, changed).letters))
                reference_metrics = metrics.get((model, Run(model, reference).letters))
                if changed_metrics and reference_metrics and changed != reference:
                    by_seed = [
                        {name: after[name] - before[name] for name in after}
                        for after, before in zip(changed_metrics, reference_metrics, strict=True)
                    ]
                    rows.append({"model": model, "fault": letter, "change": change} | _seed_means(by_seed))
    return rows


def _seed_means(by_seed: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Return mean and interval of each metric."""
    return {name: vars(SeedMean.from_values([metrics[name] for metrics in by_seed])) for name in by_seed[0]}
