"""What the tests share: where the real slides are, if they are."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from histoscout.network.model_folder import ModelFolder
from tests import toy

# laws are tried on fewer examples than hypothesis would, on the same ones in every run, and never fail because the
# machine is busy; HYPOTHESIS_PROFILE=search tries others each time
settings.register_profile(
    "search", max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("quick", settings.get_profile("search"), derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real slides beside the checkout, or HISTOSCOUT_SHARED; the test is skipped without it."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("HISTOSCOUT_SHARED", default))
    if not folder.is_dir():
        pytest.skip(f"needs the real slides, which are not at {folder}")
    return folder


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy cohort's table; tests read its slides and never change them."""
    return toy.write_cohort(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="session")
def model(table: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """A small detector that has learnt the toy cohort in a second."""
    from histoscout.training.train import train  # torch, only for the tests that need it

    return train(table, tmp_path_factory.mktemp("out") / "model", toy.RECIPE)
