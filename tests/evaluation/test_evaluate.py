"""Evaluation of a model: the files it writes, the patients it uses, and slides that fail."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.cohort.case import Case
from histoscout.cohort.cohort import Cohort, read_cohort
from histoscout.detection.settings import choose_point
from histoscout.errors import CohortError, OutputError, SlideError
from histoscout.evaluation.evaluate import EvaluateOptions, evaluate, score_slides
from histoscout.evaluation.lesions.froc import REVIEWED
from histoscout.evaluation.protocol import select_test_cases
from histoscout.evaluation.scores import Scores
from histoscout.evaluation.slide_metrics import BASELINES, PREVIOUS, SlideScores, score_slide_regions
from histoscout.geometry.regions import Regions
from histoscout.io.locks import claim_folder
from histoscout.io.notes import SlideNotes
from histoscout.network.model_folder import ModelFolder
from histoscout.progress import NoProgress
from tests.evaluation.slides import discs, reference


def write_table(path: Path, table: Path, rows: list[tuple[int, str, str]]) -> Path:
    lines = [
        f"{table.parent / f'slide_{slide}.tif'},{table.parent / f'slide_{slide}.geojson'},{patient},{split}"
        for slide, patient, split in rows
    ]
    path.write_text("\n".join(["slide,annotations,patient,split", *lines]) + "\n")
    return path


def test_scores_are_written(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores"
    scores = evaluate(model, table, out, EvaluateOptions(device="torch"))
    written = json.loads((out / "scores.json").read_text())
    assert written["set"] == "test"
    assert not written["optimistic"]
    assert written["patients"] == ["patient 3"]
    assert written["slides"] == ["slide_3"]
    assert written["pixel"]["ap"] == {"value": scores.pixels.ap, "low": None, "high": None}
    confusion = written["pixel"]["confusion"]
    assert set(confusion) == {"tp", "fp", "fn", "tn"}
    assert sum(confusion.values()) == (scores.pixels.positive + scores.pixels.negative).sum()
    assert set(written["lesion"]["sensitivity_at"]["cm2"]) >= {"0.25", "0.5", "1", "2", "4", "8"}
    assert written["lesion"]["froc"][0]["threshold"] is None
    assert set(written["baselines"]) == set(BASELINES)
    assert len(written["curves"]["reliability"]) == 15
    assert written["claims"] == list(scores.claims)
    assert [row["patient"] for row in written["per_patient"]] == ["patient 3"]
    (row,) = csv.DictReader((out / "slides.csv").read_text().splitlines())
    assert float(row["dice"]) == pytest.approx(scores.pixel["dice"].value)
    assert (out / "overlays" / "slide_3.png").is_file()


def test_the_tuning_set_is_evaluated_only_on_request_and_is_optimistic(
    model: ModelFolder, table: Path, tmp_path: Path
) -> None:
    scores = evaluate(model, table, tmp_path / "scores", EvaluateOptions(device="torch", split="tune"))
    assert scores.patients == ("patient 2",)
    assert scores.protocol.optimistic
    assert "optimistic" in scores.protocol.set_label


def test_a_model_against_itself_is_not_better(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    options = EvaluateOptions(device="torch", against=model.path)
    scores = evaluate(model, table, tmp_path / "scores", options)
    assert scores.metrics[PREVIOUS].pixel["ap"] == scores.pixel["ap"]
    assert {difference.value for difference in scores.differences.values()} == {0.0}
    written = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert written["against"]["difference"]["ap"]["value"] == 0


def test_the_operating_point_is_chosen_once(
    model: ModelFolder, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Mock(wraps=choose_point)
    monkeypatch.setattr("histoscout.evaluation.evaluate.choose_point", counting)
    evaluate(model, table, tmp_path, EvaluateOptions(device="torch", at="sensitivity 0.5"))
    assert counting.call_count == 1


# ---------------------------------------------------------------- patients


def test_a_training_patient_is_refused(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    rows = [(0, "patient 0", "test"), (3, "patient 3", "test")]
    cohort = read_cohort(write_table(tmp_path / "bad.csv", table, rows))
    with pytest.raises(CohortError, match="patient 0"):
        select_test_cases(cohort, [model], "test")


@pytest.mark.parametrize(("members", "blocks"), [(3, False), (1, True), (1, False)])
def test_tuning_patients_that_were_trained_on_are_refused_with_the_reason(
    model: ModelFolder, table: Path, tmp_path: Path, members: int, blocks: bool
) -> None:
    metrics = model.metrics
    metrics["data"]["train_patients"] = ["patient 0", "patient 2"]
    metrics["tune"]["optimistic"] = blocks
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    recipe = model.recipe.with_choices({"network.ensemble_size": members})
    trained_on_both = replace(model, path=tmp_path, recipe=recipe)
    with pytest.raises(CohortError) as raised:
        select_test_cases(read_cohort(table), [trained_on_both], "tune")
    reason = "blocks" if blocks else "ensemble" if members > 1 else "started"
    assert reason in raised.value.fault
    assert "patient 2" in raised.value.fault
    assert "metrics.json" in raised.value.remedy


def test_tuning_patients_in_the_test_split_are_refused(
    model: ModelFolder, table: Path, tmp_path: Path
) -> None:
    cohort = read_cohort(write_table(tmp_path / "bad.csv", table, [(2, "patient 2", "test")]))
    with pytest.raises(CohortError, match="patient 2"):
        select_test_cases(cohort, [model], "test")


def test_without_a_split_unknown_patients_are_evaluated(
    model: ModelFolder, table: Path, tmp_path: Path
) -> None:
    rows = [(number, f"patient {number}", "") for number in range(4)]
    selected = select_test_cases(read_cohort(write_table(tmp_path / "all.csv", table, rows)), [model], "test")
    assert [case.patient for case in selected.cases] == ["patient 3"]
    assert not selected.has_test_split


# ---------------------------------------------------------------- slides that fail


def test_a_slide_with_broken_annotations_is_noted_and_the_others_are_evaluated(
    model: ModelFolder, table: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.geojson"
    broken.write_text("{")
    cohort = write_table(tmp_path / "cohort.csv", table, [(3, "patient 3", "test"), (1, "patient 9", "test")])
    cohort.write_text(cohort.read_text().replace(str(table.parent / "slide_1.geojson"), str(broken)))
    # "warn": the broken slide was trained on, under its own patient's name, and a sanity check finds that
    options = EvaluateOptions(device="torch", sanity_checks="warn")
    scores = evaluate(model, cohort, tmp_path / "scores", options)
    assert [slide.name for slide in scores.slides] == ["slide_3"]
    assert any(
        "slide_1" in note and "not evaluated" in note and "broken.geojson" in note for note in scores.notes
    )


def test_where_no_slide_can_be_evaluated_the_reasons_are_given(
    model: ModelFolder, table: Path, tmp_path: Path
) -> None:
    cohort = write_table(tmp_path / "cohort.csv", table, [(3, "patient 3", "test")])
    broken = tmp_path / "broken.geojson"
    broken.write_text("{")
    cohort.write_text(cohort.read_text().replace(str(table.parent / "slide_3.geojson"), str(broken)))
    with pytest.raises(CohortError, match=r"broken\.geojson"):
        evaluate(model, cohort, tmp_path / "scores", EvaluateOptions(device="torch", sanity_checks="warn"))


def score_slide(case: Case, notes: SlideNotes) -> SlideScores:
    if case.name in {"slide_2", "slide_7"}:
        raise SlideError(case.slide, "the slide is broken", "Copy it again")
    notes.add(case.name, "a note that all have", f"a note on {case.name} alone")
    return score_slide_regions(reference(discs([(60, 60, 20)]), case.name), discs([(60, 60, 20)]))


def test_slides_come_in_the_order_of_their_cases_and_a_broken_one_is_noted() -> None:
    cases = [Case(Path(f"slide_{number}.tif")) for number in range(9)]
    slides, notes = score_slides(cases, score_slide, NoProgress())
    assert [slide.name for slide in slides] == [f"slide_{number}" for number in (0, 1, 3, 4, 5, 6, 8)]
    assert "slide_0, slide_1, slide_3 and 4 more: a note that all have" in notes
    assert "slide_4: a note on slide_4 alone" in notes
    broken = [note for note in notes if "not evaluated" in note]
    assert [note.partition(":")[0] for note in broken] == ["slide_2", "slide_7"]


# ---------------------------------------------------------------- expert review


@pytest.fixture
def incomplete(table: Path, tmp_path: Path) -> Cohort:
    """The toy cohort's test slide with the annotations of all lesions but one removed."""
    cases = []
    for case in read_cohort(table).in_split("test").cases:
        assert case.annotations is not None
        annotations = read_geojson(case.annotations).regions
        kept = [
            *annotations.with_labels("UDH")[:1],
            *annotations.where(lambda region: region.label != "UDH"),
        ]
        write_geojson(Regions.of(kept), tmp_path / f"{case.name}.geojson")
        cases.append(replace(case, annotations=tmp_path / f"{case.name}.geojson"))
    return Cohort(tuple(cases), "cohort")


def test_false_positives_are_exported_reviewed_and_scored_again(
    model: ModelFolder, incomplete: Cohort, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = EvaluateOptions(device="torch", review_count=3)
    first = evaluate(model, incomplete, out, options)
    review = out / "review"
    with (review / "review.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(list((review / "pictures").iterdir())) == 3  # the three without annotation
    with pytest.raises(OutputError) as raised:
        evaluate(model, incomplete, out, options)
    assert raised.value.where == str(review)

    # the expert calls all of them lesions
    with (review / "review.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "verdict": "lesion"} for row in rows)
    again = evaluate(model, incomplete, out, EvaluateOptions(device="torch", review_results=review))
    written = json.loads((out / "scores.json").read_text())["lesion"]
    reviewed = written["annotation_policies"][REVIEWED]["counts"]
    assert reviewed["false_positives"] == written["counts"]["false_positives"] - 3
    assert reviewed["true_positives"] == written["counts"]["true_positives"] + 3
    assert reviewed["lesions"] == written["counts"]["lesions"] + 3
    assert first.lesion == again.lesion  # the strict policy stays what it was


def test_scores_are_replaced_together_or_not_at_all(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    class StoppedError(BaseException):
        pass

    def stop(scores: Scores, folder: Path) -> None:
        assert (folder / "scores.json").is_file()
        raise StoppedError

    def report(scores: Scores, folder: Path) -> None:
        (folder / "report.html").write_text(scores.protocol.operating_target)

    out, options = tmp_path / "scores", EvaluateOptions(device="torch", report=report)
    evaluate(model, table, out, options)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    anew = replace(options, overwrite=True, at="sensitivity 0.5")
    with pytest.raises(StoppedError):
        evaluate(model, table, out, replace(anew, report=stop))
    assert {path: path.read_bytes() for path in before} == before
    # a second run while one is there
    with claim_folder(out), pytest.raises(OutputError, match="another run is writing"):
        evaluate(model, table, out, anew)
    evaluate(model, table, out, anew)
    assert (out / "report.html").read_text()
    assert json.loads((out / "scores.json").read_text()) != json.loads(before[out / "scores.json"])
    assert {path.name for path in out.iterdir()} == {path.relative_to(out).parts[0] for path in before}


def test_annotations_that_change_meanwhile_are_not_evaluated(
    model: ModelFolder, table: Path, tmp_path: Path
) -> None:
    case = read_cohort(table).cases[3]
    assert case.annotations is not None
    moving = tmp_path / "moving.geojson"
    moving.write_bytes(case.annotations.read_bytes())

    class Editing(NoProgress):
        def start(self, name: str, total: int) -> None:
            write_geojson(Regions(), moving)

    cohort = Cohort((replace(case, annotations=moving),), "here")
    with pytest.raises(CohortError, match="changed while it was read"):
        evaluate(model, cohort, tmp_path / "scores", EvaluateOptions(device="torch", progress=Editing()))
