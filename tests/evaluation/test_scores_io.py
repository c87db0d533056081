"""The files of an evaluation: scores.json of today and of histoscout 0.1.0."""

import json
from pathlib import Path

from histoscout.evaluation.regions import score_regions
from histoscout.evaluation.scores_io import (
    RENAMED_SCORES,
    SCORES_FORMAT,
    read_scores,
    scores_to_dict,
    write_scores,
)
from histoscout.geometry.regions import Regions
from tests.evaluation.slides import comparison, discs

OLD = Path(__file__).parents[1] / "fixtures" / "version_0_1" / "scores" / "scores.json"


def keys(value: object) -> set[str]:
    """All keys of nested values."""
    if isinstance(value, list):
        return set().union(*map(keys, value))
    if isinstance(value, dict):
        return set(value).union(*map(keys, value.values()))
    return set()


def test_scores_are_read_as_they_were_written(tmp_path: Path) -> None:
    scores = score_regions([comparison(discs([(60, 60, 20)]), discs([(60, 60, 20), (180, 180, 9)]))])
    write_scores(scores, tmp_path)
    assert read_scores(tmp_path / "scores.json") == json.loads(json.dumps(scores_to_dict(scores)))


def test_old_scores_are_read_with_the_keys_of_today() -> None:
    old = json.loads(OLD.read_text(encoding="utf-8"))
    scores = read_scores(OLD)
    assert scores["format"] == SCORES_FORMAT
    assert not keys(scores) & RENAMED_SCORES.keys()
    assert scores["pixel"]["confusion"]["tp"] == old["pixel"]["confusion"]["hits"]
    assert scores["lesion"]["fp_per_cm2"] == old["lesion"]["false_per_cm2"]
    assert scores["lesion"]["counts"]["false_positives"] == old["lesion"]["counts"]["false"]
    assert scores["sanity_checks"][0]["message"] == old["guards"][0]["says"]


def test_a_slide_without_lesions_is_written(tmp_path: Path) -> None:
    write_scores(score_regions([comparison(Regions(), Regions())]), tmp_path)
    written = read_scores(tmp_path / "scores.json")
    assert written["lesion"]["sensitivity"]["value"] is None
    assert written["lesion"]["froc"] == []
