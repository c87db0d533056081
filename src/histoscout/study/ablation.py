"""What each fault did: all that a run had, each alone, all but each, none; several seeds, with intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from histoscout.study.bench import Bench
from histoscout.study.faults import FAULTS
from histoscout.study.protocol import MODELS, Run, ablation_runs
from histoscout.study.run import train_run


@dataclass(frozen=True)
class Spread:
    """A figure over seeds: its mean, and where the mean of many more seeds would lie 95 times of 100 (Student)."""

    mean: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        if len(values) < 2:
            return cls(float(np.mean(values)), None, None)
        reach = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))
        mean = float(np.mean(values))
        return cls(mean, mean - reach, mean + reach)


def run_ablation(bench: Bench, seeds: int) -> dict[str, Any]:
    """Make every run that is missing, then the table; each run's result is kept when it is done."""
    runs = ablation_runs(seeds)
    results = []
    for number, run in enumerate(runs, start=1):
        bench.progress.note(f"ablation {number} of {len(runs)}: {run.name}")
        results.append(train_run(run, bench))
    return tabulated(runs, results)


def tabulated(runs: Sequence[Run], results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Every set of faults with its figures over the seeds, and what each fault changed, paired by seed."""
    seeds = len({run.seed for run in runs})
    return {"seeds": seeds, "sets": _sets(runs, results), "differences": _differences(runs, results)}


def figures_of(result: dict[str, Any]) -> dict[str, float]:
    """Of one run: F1 as it saw it, AP on its test tiles and on whole slides against the outlines as they are."""
    judged = list(result["epochs"].values())[-1]
    whole = next(iter(result["whole"].values()), {"ap": None})
    found = {
        "F1, own labels": judged["test"]["own"]["f1"],
        "AP, truth, test tiles": judged["test tiles only"]["truth"]["ap"],
        "AP, truth, whole slides": whole["ap"],
    }
    return {name: 0.0 if value is None else float(value) for name, value in found.items()}


def _by_set(
    runs: Sequence[Run], results: Sequence[dict[str, Any]]
) -> dict[tuple[str, str], list[dict[str, float]]]:
    """The figures of each model and fault set, seed by seed."""
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for run, result in zip(runs, results, strict=True):
        found.setdefault((run.model, run.letters), []).append(figures_of(result))
    return found


def _sets(runs: Sequence[Run], results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"model": model, "faults": letters, "what": words_for(model, letters)}
        | {name: vars(Spread.of([one[name] for one in figures])) for name in figures[0]}
        for (model, letters), figures in _by_set(runs, results).items()
    ]


def _differences(runs: Sequence[Run], results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each fault: what taking it out of all brings, and what putting it in alone costs; paired by seed."""
    found, rows = _by_set(runs, results), []
    for model in dict.fromkeys(run.model for run in runs):
        had = MODELS[model].had
        for letter in sorted(had):
            pairs = {
                "taken out": (had - {letter}, had),
                "alone": (frozenset(letter), frozenset[str]()),
                "taken out at a sane rate": (had - {letter, "I"}, had - {"I"}),
                "taken out at a sane rate, true validation": (had - {letter, "I", "C"}, had - {"I", "C"}),
            }
            for change, sets in pairs.items():
                with_it, without = (found.get((model, Run(model, one).letters)) for one in sets)
                if with_it and without and sets[0] != sets[1]:
                    rows.append(
                        {"model": model, "fault": letter, "change": change} | _paired(with_it, without)
                    )
    return rows


def _paired(ones: Sequence[dict[str, float]], others: Sequence[dict[str, float]]) -> dict[str, Any]:
    return {
        name: vars(Spread.of([one[name] - other[name] for one, other in zip(ones, others, strict=True)]))
        for name in ones[0]
    }


def words_for(model: str, letters: str) -> str:
    """A fault set in words: all it had, none, one alone, all but some."""
    had, chosen = MODELS[model].had, frozenset() if letters == "none" else frozenset(letters)
    if chosen == had:
        return "all that the run had"
    if not chosen:
        return "none"
    if len(chosen) == 1:
        return f"{FAULTS[letters].name} alone"
    missing = ", ".join(FAULTS[letter].name for letter in sorted(had - chosen))
    return f"all but {missing}"
