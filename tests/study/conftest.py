"""The built-in slides of the study, as small as can be, drawn once; and a bench over them."""

import pytest

from histoscout.cohort.cohort import Cohort
from histoscout.progress import Silent
from histoscout.study.bench import Bench, side_for, study_cases
from histoscout.study.slides import built_in
from histoscout.training.setup import choose_fabric
from tests.study.miniature import MOSAIC, SCALE


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return built_in(tmp_path_factory.mktemp("study") / "cohort", MOSAIC)


@pytest.fixture(scope="session")
def bench(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    cases, referees = study_cases(cohort)
    side, fabric = side_for(cases, SCALE), choose_fabric("cpu", "float32")
    return Bench(cases, referees, SCALE, side, "none", fabric, tmp_path_factory.mktemp("bench"), Silent())
