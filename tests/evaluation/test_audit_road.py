"""The road of an audit: a model's false alarms are laid out, judged, and scored again."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.cohort.cohort import Cohort, read_cohort
from histoscout.errors import OutputError
from histoscout.evaluation.evaluate import EvaluateOptions, evaluate
from histoscout.evaluation.lesions.froc import AUDITED
from histoscout.geometry.regions import Regions
from histoscout.network.model_folder import ModelFolder


@pytest.fixture
def forgetful(table: Path, tmp_path: Path) -> Cohort:
    """The toy cohort's test slide, on which all lesions but one were forgotten."""
    cases = []
    for case in read_cohort(table).in_split("test").cases:
        assert case.annotations is not None
        drawn = read_geojson(case.annotations).regions
        kept = [*drawn.labeled("UDH")[:1], *drawn.where(lambda region: region.label != "UDH")]
        write_geojson(Regions.of(kept), tmp_path / f"{case.name}.geojson")
        cases.append(replace(case, annotations=tmp_path / f"{case.name}.geojson"))
    return Cohort(tuple(cases), "cohort")


def test_forgotten_lesions_are_judged_and_scored_again(
    model: ModelFolder, forgetful: Cohort, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = evaluate(model, forgetful, out, EvaluateOptions(device="torch", audit=3))
    audit = out / "audit"
    with (audit / "audit.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(list((audit / "pictures").iterdir())) == 3  # the three that were forgotten
    with pytest.raises(OutputError, match="holds an audit already"):
        evaluate(model, forgetful, out, EvaluateOptions(device="torch", audit=3))
    with (audit / "audit.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "verdict": "lesion"} for row in rows)
    again = evaluate(model, forgetful, out, EvaluateOptions(device="torch", verdicts=audit))
    written = json.loads((out / "scores.json").read_text())["lesion"]
    audited = written["other_readings"][AUDITED]["counts"]
    assert audited["false"] == written["counts"]["false"] - 3
    assert audited["found"] == written["counts"]["found"] + 3
    assert audited["lesions"] == written["counts"]["lesions"] + 3
    assert any("judged 3 findings" in note for note in again.notes)
    assert first.lesion == again.lesion  # the strict reading stays what it was
