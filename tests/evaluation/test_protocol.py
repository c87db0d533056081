"""What is evaluated, what may be claimed from it, and which scores are not replaced."""

import json
from pathlib import Path
from typing import Any

import pytest

from histoscout.errors import OutputError
from histoscout.evaluation.evaluate import EvaluateOptions, evaluate
from histoscout.evaluation.protocol import (
    CohortSummary,
    EvaluationProtocol,
    list_claims,
    refuse_other_scores,
    refuse_scores,
)
from histoscout.evaluation.regions import CompareOptions, evaluate_regions
from histoscout.network.model_folder import ModelFolder


def protocol(**fields: Any) -> EvaluationProtocol:
    return EvaluationProtocol(
        **{"method": "model", "set_name": "test", "positive": "UDH", "threshold": 0.5, **fields}
    )


def claims(patients: int, with_lesions: int, sites: tuple[str, ...] = (), **fields: Any) -> tuple[str, ...]:
    summary = CohortSummary(
        patients=patients, with_lesions=with_lesions, sites=sites, sites_known=bool(sites)
    )
    return list_claims(protocol(**fields), summary)


# ---------------------------------------------------------------- claims


def test_the_number_of_patients_decides_what_may_be_claimed() -> None:
    numbers = [(1, 1), (4, 4), (30, 2), (12, 9), (60, 40)]
    first = [claims(*pair)[0] for pair in numbers]
    # with fewer than five patients the claims differ in the number only
    assert first[0].replace("1 patient:", "") == first[1].replace("4 patients:", "")
    assert len({sentence.partition(":")[2] for sentence in first}) == 4


def test_every_kind_of_set_has_its_own_claim() -> None:
    leaking = claims(9, 9, leak="slide_0 = renamed")[1]
    sets = [
        leaking,
        claims(9, 9)[1],
        claims(9, 9, has_test_split=False)[1],
        claims(9, 9, set_name="tune")[1],
        claims(9, 9, set_name="given")[1],
    ]
    assert len(set(sets)) == 5
    assert "slide_0 = renamed" in leaking
    assert "optimistic" in sets[3]


def test_a_threshold_of_blocks_adds_a_claim() -> None:
    assert len(claims(9, 9, tuned_on_blocks=True)) == len(claims(9, 9)) + 1


def test_sites_are_named_where_all_are_known() -> None:
    assert any("Naples" in sentence for sentence in claims(9, 9, ("Naples",)))
    assert any("Cambridge, Naples" in sentence for sentence in claims(9, 9, ("Cambridge", "Naples")))
    assert not any("Naples" in sentence for sentence in claims(9, 9))


# ---------------------------------------------------------------- scores that exist already


def write(folder: Path, content: object) -> Path:
    (folder / "scores.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ({"set": "tune", "model": "abc"}, "tuning"),
        ({"set": "given", "model": ""}, "given"),
        ({"set": "test", "model": "other"}, "another model"),
        ({"images": {}}, "image"),
        ([], "another kind"),
    ],
)
def test_scores_of_something_else_are_kept(tmp_path: Path, content: object, kind: str) -> None:
    out = write(tmp_path, content)
    with pytest.raises(OutputError) as raised:
        refuse_other_scores(out, protocol(model_hash="abc"), overwrite=False)
    assert kind in raised.value.fault
    assert "--overwrite" in raised.value.remedy
    refuse_other_scores(out, protocol(model_hash="abc"), overwrite=True)
    with pytest.raises(OutputError):
        refuse_scores(out, overwrite=False)
    refuse_scores(out, overwrite=True)


def test_the_same_set_of_the_same_model_may_be_scored_again(tmp_path: Path) -> None:
    refuse_other_scores(tmp_path, protocol(model_hash="abc"), overwrite=False)
    refuse_scores(tmp_path, overwrite=False)
    for content in ({"set": "test", "model": "abc"}, {"set": "test"}):  # the second of an older version
        refuse_other_scores(write(tmp_path, content), protocol(model_hash="abc"), overwrite=False)


def test_scores_that_cannot_be_read_are_kept(tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text("{")
    with pytest.raises(OutputError) as raised:
        refuse_other_scores(tmp_path, protocol(), overwrite=False)
    assert raised.value.where == str(tmp_path / "scores.json")


def test_neither_tuning_set_nor_regions_replace_the_test_set(
    model: ModelFolder, table: Path, tmp_path: Path
) -> None:
    out = write(tmp_path, {"set": "test", "model": model.hash})
    with pytest.raises(OutputError) as raised:
        evaluate(model, table, out, EvaluateOptions(device="torch", split="tune"))
    assert raised.value.where == str(out)
    with pytest.raises(OutputError) as raised:
        evaluate_regions(table.parent, table, out, CompareOptions(positive="UDH"))
    assert raised.value.where == str(out)
    assert not (out / "found").exists()
