"""What the tests share: where the real slides are, if they are."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# laws are tried on fewer examples than hypothesis would, and never fail because the machine is busy
settings.register_profile(
    "quick", max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("quick")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real slides beside the checkout, or HISTOSCOUT_SHARED; the test is skipped without it."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("HISTOSCOUT_SHARED", default))
    if not folder.is_dir():
        pytest.skip(f"needs the real slides, which are not at {folder}")
    return folder
