"""Scores of other patients or of another model are not replaced unasked."""

import json
from pathlib import Path

import pytest

from histoscout.errors import OutputError
from histoscout.evaluation.evaluate import EvaluateOptions, evaluate
from histoscout.evaluation.protocol import Exam, refuse_other_scores, refuse_scores
from histoscout.evaluation.regions import CompareOptions, evaluate_regions
from histoscout.network.model_folder import ModelFolder

EXAM = Exam("model", "test", "UDH", 0.5, model="abc")


def write(folder: Path, held: object) -> Path:
    (folder / "scores.json").write_text(json.dumps(held))
    return folder


@pytest.mark.parametrize(
    ("held", "whose"),
    [
        ({"set": "tune", "model": "abc"}, r"tuning patients \(optimistic\)"),
        ({"set": "given", "model": ""}, "patients given"),
        ({"set": "test", "model": "other"}, "another model"),
        ({"images": {}}, "images by class"),
        ([], "another kind"),
    ],
)
def test_scores_of_something_else_are_kept(tmp_path: Path, held: object, whose: str) -> None:
    out = write(tmp_path, held)
    with pytest.raises(OutputError, match=f"holds the scores of {whose}.*--overwrite"):
        refuse_other_scores(out, EXAM, overwrite=False)
    refuse_other_scores(out, EXAM, overwrite=True)
    with pytest.raises(OutputError, match="holds the scores of"):
        refuse_scores(out, overwrite=False)
    refuse_scores(out, overwrite=True)


def test_the_same_set_of_the_same_model_may_be_scored_again(tmp_path: Path) -> None:
    refuse_other_scores(tmp_path, EXAM, overwrite=False)
    refuse_scores(tmp_path, overwrite=False)
    refuse_other_scores(write(tmp_path, {"set": "test", "model": "abc"}), EXAM, overwrite=False)
    refuse_other_scores(write(tmp_path, {"set": "test"}), EXAM, overwrite=False)  # of an older version


def test_scores_that_cannot_be_read_are_kept(tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text("{")
    with pytest.raises(OutputError, match="cannot be read"):
        refuse_other_scores(tmp_path, EXAM, overwrite=False)


def test_neither_tuning_patients_nor_outlines_replace_the_test_patients(
    model: ModelFolder, table: Path, tmp_path: Path
) -> None:
    out = write(tmp_path, {"set": "test", "model": model.hash})
    with pytest.raises(OutputError, match="scores of test patients"):
        evaluate(model, table, out, EvaluateOptions(device="torch", on="tune"))
    with pytest.raises(OutputError, match="scores of test patients"):
        evaluate_regions(table.parent, table, out, CompareOptions("UDH"))
    assert not (out / "found").exists()
