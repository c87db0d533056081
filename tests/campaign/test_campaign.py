"""A short campaign: every kind of trial on the quickest commands; the others are slow."""

from pathlib import Path
from random import Random

import pytest

from tests import toy
from tests.campaign.damages import targets, try_damages
from tests.campaign.interrupts import try_interrupts, try_starts
from tests.campaign.kills import try_kills
from tests.campaign.races import pairs, try_races
from tests.campaign.tasks import Setting

pytestmark = pytest.mark.skipif(
    not Path("/proc").is_dir(), reason="needs Linux to find processes that are left"
)

NAMES = (
    "train",
    "train --overwrite",
    "detect",
    "detect --overwrite",
    "evaluate",
    "evaluate --overwrite",
    "crossval",
    "convert",
    "demo (its slides)",
)


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    import histoscout.training.train  # noqa: F401 (commands are forked from this process)

    return Setting.make(tmp_path_factory.mktemp("campaign"))


def test_a_killed_conversion_started_again_ends_the_same(tmp_path: Path) -> None:
    toy.write_cohort(tmp_path / "cohort")
    tasks = {task.name: task for task in Setting(tmp_path).tasks()}
    assert tuple(tasks) == NAMES
    tally = try_kills(tasks["convert"], tmp_path, 3, Random(1))
    assert not tally.faults
    assert tally.hits


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_killed_command_started_again_ends_the_same(name: str, setting: Setting, tmp_path: Path) -> None:
    (task,) = (task for task in setting.tasks() if task.name == name)
    tally = try_kills(task, tmp_path, 4, Random(1))
    assert not tally.faults
    assert tally.trials == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["detect + detect", "detect + detect --threshold", "train + train, other recipe"]
)
def test_two_at_once_give_the_bytes_of_one(name: str, setting: Setting, tmp_path: Path) -> None:
    tally = try_races(name, pairs(setting)[name], tmp_path, 2, Random(1))
    assert not tally.faults


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_damages_are_noticed(number: int, setting: Setting, tmp_path: Path) -> None:
    tally = try_damages(targets(setting)[number], tmp_path, 6, Random(1))
    assert not tally.faults


@pytest.mark.slow
def test_interrupts_end_with_one_sentence(setting: Setting, tmp_path: Path) -> None:
    tasks = {task.name: task for task in setting.tasks()}
    assert not try_interrupts(tasks["detect"], tmp_path, 3, Random(1)).faults
    assert not try_starts(setting, tmp_path, 4, Random(1)).faults
