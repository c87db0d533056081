"""The ablation's table: every set once, differences paired by seed, in words."""

from typing import Any

from histoscout.report.blocks import Table
from histoscout.report.page import Page, Section, render
from histoscout.study.ablation import tabulated
from histoscout.study.protocol import Run, ablation_runs
from histoscout.study.report.faults import ablation_blocks


def result_of(run: Run) -> dict[str, Any]:
    """As if only displaced masks did harm: .3 of the AP, and a little noise by seed."""
    ap = (0.4 if "A" in run.faults else 0.7) + 0.01 * run.seed
    test = {"own": {"f1": 0.5}, "truth": {"ap": ap}}
    return {"epochs": {"100": {"test": test, "test tiles only": test}}, "whole": {"referee": {"ap": ap}}}


def test_the_one_harmful_fault_is_found_and_the_others_are_cleared() -> None:
    runs = ablation_runs(3)
    found = tabulated(runs, [result_of(run) for run in runs])
    assert found["seeds"] == 3
    assert len(found["sets"]) == len(ablation_runs(1))
    heading, sets, differences = ablation_blocks(found)
    assert isinstance(sets, Table)
    assert isinstance(differences, Table)
    words = {str(row[0]): str(row[-1]) for row in differences.rows}
    assert words["unet: displaced-masks taken out"] == "helps"
    assert words["unet: displaced-masks alone"] == "hurts"
    assert words["unet: displaced-masks taken out at a sane rate"] == "helps"
    others = [said for change, said in words.items() if "displaced" not in change]
    assert others
    assert set(others) == {"no effect beyond the noise of the seeds"}
    assert {"resnet50-unet: double-sigmoid alone", "unet-rerun: foreign-optimiser taken out"} <= set(words)
    section = Section("Faults", "What each did.", (heading, sets, differences))
    assert "all that the run had" in render(Page("Study", "In short.", (section,)))


def test_one_seed_has_no_interval_and_says_so() -> None:
    runs = ablation_runs(1)
    found = tabulated(runs, [result_of(run) for run in runs])
    _, _, differences = ablation_blocks(found)
    assert isinstance(differences, Table)
    assert {row[-1] for row in differences.rows} == {"one seed: cannot tell"}


def test_without_an_ablation_the_report_says_how_to_get_it() -> None:
    assert "--faults" in str(ablation_blocks(None)[-1])
