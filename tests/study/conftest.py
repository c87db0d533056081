"""The synthetic slides of the study, as small as can be, drawn once; and the context of runs on them."""

import pytest

from histoscout.cohort.cohort import Cohort
from histoscout.progress import NoProgress
from histoscout.study.context import StudyContext, choose_tile_um, select_cases
from histoscout.study.slides import draw_study_cohort
from histoscout.training.setup import make_fabric
from tests.study.miniature import MOSAIC, SCALE


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return draw_study_cohort(tmp_path_factory.mktemp("study") / "cohort", MOSAIC)


@pytest.fixture(scope="session")
def context(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> StudyContext:
    cases, referees = select_cases(cohort)
    return StudyContext(
        cases=cases,
        referees=referees,
        scale=SCALE,
        tile_um=choose_tile_um(cases, SCALE),
        weights="none",
        fabric=make_fabric("cpu", "float32"),
        out=tmp_path_factory.mktemp("context"),
        progress=NoProgress(),
    )
