"""From a model and a cohort to files with figures, and who may be judged by."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from histoscout.cohort.cohort import read_cohort
from histoscout.errors import CohortError
from histoscout.evaluation.evaluate import EvaluateOptions, evaluate
from histoscout.evaluation.protocol import examinees
from histoscout.network.model_folder import ModelFolder

HEAD = "slide,annotations,patient"


def write_table(path: Path, table: Path, rows: list[tuple[int, str, str]]) -> Path:
    lines = [
        f"{table.parent / f'slide_{slide}.tif'},{table.parent / f'slide_{slide}.geojson'},{patient},{split}"
        for slide, patient, split in rows
    ]
    path.write_text("\n".join([f"{HEAD},split", *lines]) + "\n")
    return path


def test_scores_are_written_as_they_are_described(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores"
    scores = evaluate(model, table, out, EvaluateOptions(device="torch"))
    written = json.loads((out / "scores.json").read_text())
    assert written["set"] == "test"
    assert not written["optimistic"]
    assert written["patients"] == ["patient 3"]
    assert written["slides"] == ["slide_3"]
    assert written["pixel"]["ap"] == {"value": scores.pixels.ap, "low": None, "high": None}
    assert set(written["pixel"]["confusion"]) == {"hits", "alarms", "misses", "rests"}
    assert (
        sum(written["pixel"]["confusion"].values()) == (scores.pixels.positive + scores.pixels.negative).sum()
    )
    assert set(written["lesion"]["sensitivity_at"]["cm2"]) >= {"0.25", "0.5", "1", "2", "4", "8"}
    assert written["lesion"]["froc"][0]["threshold"] is None
    assert set(written["baselines"]) == {
        "nothing",
        "everything",
        "all tissue",
        "prevalence everywhere",
        "perfect outlines of every annotated class",
    }
    assert len(written["curves"]["reliability"]) == 15
    assert any("1 patient:" in sentence for sentence in written["claims"])
    assert [row["patient"] for row in written["per_patient"]] == ["patient 3"]
    (row,) = csv.DictReader((out / "slides.csv").read_text().splitlines())
    assert float(row["dice"]) == pytest.approx(scores.pixel["dice"].value)
    assert (out / "overlays" / "slide_3.png").is_file()


def test_tuning_patients_are_judged_only_when_asked_for_and_called_optimistic(
    model: ModelFolder, table: Path, tmp_path: Path
) -> None:
    scores = evaluate(model, table, tmp_path / "scores", EvaluateOptions(device="torch", on="tune"))
    assert scores.patients == ("patient 2",)
    assert scores.exam.optimistic
    assert "optimistic" in scores.exam.on
    assert any("optimistic" in sentence for sentence in scores.claims)


def test_a_model_against_itself_is_not_better(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    options = EvaluateOptions(device="torch", against=model.path)
    scores = evaluate(model, table, tmp_path / "scores", options)
    assert scores.figures["previous model"].pixel["ap"] == scores.pixel["ap"]
    assert {figure.value for figure in scores.differences.values()} == {0.0}
    written = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert written["against"]["difference"]["ap"]["value"] == 0


def test_a_patient_who_was_learnt_from_is_refused(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    rows = [(0, "patient 0", "test"), (3, "patient 3", "test")]
    cohort = read_cohort(write_table(tmp_path / "bad.csv", table, rows))
    with pytest.raises(CohortError, match="patient 0"):
        examinees(cohort, [model], "test")


@pytest.mark.parametrize(
    ("members", "blocks", "why"),
    [(3, False, "tuned in turn"), (1, True, "tuned on blocks"), (1, False, "it began with had learnt")],
)
def test_tuning_patients_who_were_learnt_from_too_are_refused_with_the_reason(
    model: ModelFolder, table: Path, tmp_path: Path, members: int, blocks: bool, why: str
) -> None:
    told = model.metrics
    told["data"]["train_patients"] = ["patient 0", "patient 2"]
    told["tune"]["optimistic"] = blocks
    (tmp_path / "metrics.json").write_text(json.dumps(told))
    recipe = model.recipe.with_choices({"network.ensemble_size": members})
    both = replace(model, path=tmp_path, recipe=recipe)
    with pytest.raises(CohortError, match=rf"patient 2 \(.*{why}.*metrics\.json \(tune\)") as raised:
        examinees(read_cohort(table), [both], "tune")
    assert "test split" not in str(raised.value)


def test_tuning_patients_in_the_test_split_are_refused(
    model: ModelFolder, table: Path, tmp_path: Path
) -> None:
    cohort = read_cohort(write_table(tmp_path / "bad.csv", table, [(2, "patient 2", "test")]))
    with pytest.raises(CohortError, match="patient 2"):
        examinees(cohort, [model], "test")


def test_without_a_split_those_are_judged_whom_the_model_does_not_know(
    model: ModelFolder, table: Path, tmp_path: Path
) -> None:
    rows = [(number, f"patient {number}", "") for number in range(4)]
    chosen = examinees(read_cohort(write_table(tmp_path / "all.csv", table, rows)), [model], "test")
    assert [case.patient for case in chosen.cases] == ["patient 3"]
    assert not chosen.apart


def test_a_slide_with_broken_outlines_is_told_and_ends_no_other(
    model: ModelFolder, table: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.geojson"
    broken.write_text("{")
    cohort = write_table(tmp_path / "cohort.csv", table, [(3, "patient 3", "test"), (1, "patient 9", "test")])
    cohort.write_text(cohort.read_text().replace(str(table.parent / "slide_1.geojson"), str(broken)))
    # "tell": the broken slide was learnt from, under its own patient's name, and a guard sees that
    options = EvaluateOptions(device="torch", sanity_checks="warn")
    scores = evaluate(model, cohort, tmp_path / "scores", options)
    assert [slide.name for slide in scores.slides] == ["slide_3"]
    assert any(
        "slide_1" in note and "not evaluated" in note and "broken.geojson" in note for note in scores.notes
    )


def test_where_no_slide_can_be_judged_the_reasons_are_told(
    model: ModelFolder, table: Path, tmp_path: Path
) -> None:
    cohort = write_table(tmp_path / "cohort.csv", table, [(3, "patient 3", "test")])
    broken = tmp_path / "broken.geojson"
    broken.write_text("{")
    cohort.write_text(cohort.read_text().replace(str(table.parent / "slide_3.geojson"), str(broken)))
    with pytest.raises(CohortError, match=r"no slide could be judged: .*broken\.geojson"):
        evaluate(model, cohort, tmp_path / "scores", EvaluateOptions(device="torch", sanity_checks="warn"))
