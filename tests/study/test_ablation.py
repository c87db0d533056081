from typing import Any

import pytest

from histoscout.report.blocks import Table
from histoscout.report.page import Page, Section, render
from histoscout.study.ablation import SeedMean, describe_faults, tabulate_ablation
from histoscout.study.protocol import Run, ablation_runs
from histoscout.study.report.faults import ablation_blocks


def result_of(run: Run) -> dict[str, Any]:
    """A result as if only displaced masks did harm: 0.3 of the AP, and a little noise by seed."""
    ap = (0.4 if "A" in run.faults else 0.7) + 0.01 * run.seed
    test = {"own": {"f1": 0.5}, "truth": {"ap": ap}}
    return {"epochs": {"100": {"test": test, "test tiles only": test}}, "whole": {"referee": {"ap": ap}}}


def test_only_the_harmful_fault_has_an_effect() -> None:
    runs = ablation_runs(3)
    table = tabulate_ablation(runs, [result_of(run) for run in runs])
    assert table["seeds"] == 3
    assert len(table["sets"]) == len(ablation_runs(1))
    heading, sets, differences = ablation_blocks(table)
    assert isinstance(sets, Table)
    assert isinstance(differences, Table)
    conclusions = {str(row[0]): str(row[-1]) for row in differences.rows}
    assert conclusions["unet: displaced-masks removed"] == "helps"
    assert conclusions["unet: displaced-masks alone"] == "hurts"
    assert conclusions["unet: displaced-masks removed at a sane rate"] == "helps"
    others = [text for change, text in conclusions.items() if "displaced" not in change]
    assert others
    assert set(others) == {"no effect beyond the noise of the seeds"}
    assert "resnet50-unet: double-sigmoid alone" in conclusions
    assert "unet-rerun: foreign-optimizer removed" in conclusions
    section = Section(title="Faults", sentence="What each did.", blocks=(heading, sets, differences))
    assert "all that the run had" in render(Page(title="Study", lead="In short.", sections=(section,)))


def test_one_seed_has_no_interval() -> None:
    runs = ablation_runs(1)
    table = tabulate_ablation(runs, [result_of(run) for run in runs])
    _, _, differences = ablation_blocks(table)
    assert isinstance(differences, Table)
    assert {row[-1] for row in differences.rows} == {"one seed: cannot be judged"}
    assert all(row["AP, truth, whole slides"]["low"] is None for row in table["differences"])


def test_without_an_ablation_the_report_names_the_option() -> None:
    assert "--faults" in str(ablation_blocks(None)[-1])


@pytest.mark.parametrize(
    ("values", "expected"), [([0.4, 0.5, 0.6], (0.5, 0.2516, 0.7484)), ([0.3, 0.3, 0.3], (0.3, 0.3, 0.3))]
)
def test_the_interval_over_seeds_is_students(values: list[float], expected: tuple[float, ...]) -> None:
    seed_mean = SeedMean.from_values(values)
    assert (seed_mean.mean, seed_mean.low, seed_mean.high) == pytest.approx(expected, abs=1e-4)


def test_a_single_value_has_no_interval() -> None:
    assert SeedMean.from_values([0.5]) == SeedMean(0.5, None, None)


@pytest.mark.parametrize(
    ("letters", "words"),
    [
        ("ABCFGHIJK", "all that the run had"),
        ("none", "none"),
        ("A", "displaced-masks alone"),
        ("BCFGHIJK", "all but displaced-masks"),
    ],
)
def test_fault_sets_in_words(letters: str, words: str) -> None:
    assert describe_faults("unet", letters) == words
