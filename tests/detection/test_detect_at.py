"""`--at`: what is kept is a point of the lesions' curve, whether the score lies above the threshold or below it."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from histoscout.annotations.geojson import read_geojson
from histoscout.cli.main import app
from histoscout.detection.detect import DetectOptions, detect
from histoscout.detection.results import read_ledger
from histoscout.errors import ModelError, OutputError
from histoscout.evaluation.evaluate import EvaluateOptions, evaluate
from histoscout.geometry.regions import Regions
from histoscout.io.inputs import seal
from histoscout.network.model_folder import ModelFolder

ON_TORCH = DetectOptions(device="torch")


@pytest.fixture(scope="module")
def scores(model: ModelFolder, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("scores")
    evaluate(model, table, out, EvaluateOptions(device="torch"))
    return out


def found_in(folder: Path) -> Regions:
    return read_geojson(folder / "regions" / "slide_3.geojson").regions


def with_points(scores: Path, folder: Path, *rows: tuple[float, int, int], **facts: Any) -> Path:
    values = json.loads((scores / "operating_points.json").read_text(encoding="utf-8"))
    points = [{"score": score, "found": found, "false_positives": false} for score, found, false in rows]
    (folder / "operating_points.json").write_text(
        json.dumps(seal({**values, "points": points, **facts})), encoding="utf-8"
    )
    return folder


def test_training_stores_operating_points_of_its_tuning_set(model: ModelFolder) -> None:
    table = model.metrics["operating_points"]
    assert (table["source"], table["patients"], table["lesions"]) == ("tuning set", ["patient 2"], 4)
    assert table["threshold"] == model.threshold
    assert table["points"][-1]["sensitivity"] >= 0.75
    assert len(table["weakest"]) == 1


def test_the_models_operating_points_are_what_detection_gives(
    model: ModelFolder, table: Path, tmp_path: Path
) -> None:
    """On the tuning patient himself the regions kept are the lesions and false alarms that the table counts."""
    for number, point in enumerate(model.metrics["operating_points"]["points"]):
        out = tmp_path / f"{number}"
        target = f"sensitivity {point['sensitivity']}"
        detect(model, [table.parent / "slide_2.tif"], out, replace(ON_TORCH, at=target))
        kept = read_geojson(out / "regions" / "slide_2.geojson").regions
        assert all((region.score or 0) >= point["score"] for region in kept)
        assert (
            len(kept) >= point["found"] + point["false_positives"]
        )  # and duplicates, or what lies on unsure areas


def test_a_score_above_the_threshold_drops_regions_and_one_below_adds_fainter_ones(
    model: ModelFolder, table: Path, scores: Path, tmp_path: Path
) -> None:
    slide = [table.parent / "slide_3.tif"]
    detect(model, slide, tmp_path / "plain", ON_TORCH)
    plain = found_in(tmp_path / "plain")
    ranked = sorted(region.score or 0 for region in plain)
    cuts = {"high": ranked[-1], "low": model.threshold / 8}
    for name, score in cuts.items():
        (tmp_path / name).mkdir()
        given = with_points(scores, tmp_path / name, (score, 1, 0))
        rows = detect(model, slide, tmp_path / name, replace(ON_TORCH, at="1 FP/cm2", operating_points=given))
        assert rows[0].operating_target == f"1 FP/cm2: score >= {score:.4g}"
        assert read_ledger(tmp_path / name / "ledger.csv")["slide_3"] == rows[0]
    high, low = found_in(tmp_path / "high"), found_in(tmp_path / "low")
    assert {region.id for region in high} == {region.id for region in plain if region.score == ranked[-1]}
    assert {region.id for region in plain} <= {region.id for region in low}
    assert all(
        (region.score or 0) < model.threshold for region in low if region.id not in {r.id for r in plain}
    )


def test_another_target_is_another_setting(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    slide = [table.parent / "slide_3.tif"]
    detect(model, slide, tmp_path, replace(ON_TORCH, at="sensitivity 0.25"))
    within = replace(ON_TORCH, within="UDH")
    with pytest.raises(OutputError, match="other settings"):
        detect(model, slide, tmp_path, within)


def test_evaluation_scores_what_the_target_keeps(
    model: ModelFolder, table: Path, scores: Path, tmp_path: Path
) -> None:
    """Kept for a sensitivity read off these very patients, that is the sensitivity that comes; and it is told."""
    rows = json.loads((scores / "operating_points.json").read_text(encoding="utf-8"))
    assert (rows["source"], rows["model"]) == ("test set", model.hash)
    first = rows["points"][0]
    options = EvaluateOptions(
        device="torch", at=f"sensitivity {first['sensitivity']}", operating_points=scores
    )
    evaluated = evaluate(model, table, tmp_path, options)
    assert evaluated.lesion["sensitivity"].value == pytest.approx(first["sensitivity"])
    assert evaluated.lesion["fp_per_cm2"].value == pytest.approx(first["fp_per_cm2"])
    assert any("optimistic: 1 of" in note for note in evaluated.notes)
    written = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert (
        written["operating_target"] == f"sensitivity {first['sensitivity']:g}: score >= {first['score']:.4g}"
    )
    again = json.loads((tmp_path / "operating_points.json").read_text(encoding="utf-8"))
    assert again == rows  # whatever was wished for, the table tries every score


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"at": "a miracle"}, "a miracle"),
        ({"at": "miss 0.1"}, "tuning set"),
        ({"at": "1 FP/cm2", "threshold": 0.5}, "--threshold"),
        ({"operating_points": Path("scores")}, "--at"),
        ({"at": "1 FP/cm2", "operating_points": Path("nowhere")}, "nowhere"),
    ],
)
def test_impossible_options_are_refused_before_a_slide_is_opened(
    model: ModelFolder, tmp_path: Path, options: dict[str, Any], word: str
) -> None:
    with pytest.raises(ModelError, match=word):
        detect(model, [tmp_path / "no such slide.tif"], tmp_path / "found", replace(ON_TORCH, **options))
    assert not (tmp_path / "found").exists()


def test_scores_of_another_model_are_refused(
    model: ModelFolder, table: Path, scores: Path, tmp_path: Path
) -> None:
    given = with_points(scores, tmp_path, (0.5, 1, 0), model="0123456789ab")
    with pytest.raises(ModelError, match="0123456789ab"):
        detect(
            model,
            [table.parent / "slide_3.tif"],
            tmp_path / "found",
            replace(ON_TORCH, at="1 FP/cm2", operating_points=given),
        )


def test_the_command_states_what_to_expect(
    model: ModelFolder, table: Path, scores: Path, tmp_path: Path
) -> None:
    slide = str(table.parent / "slide_3.tif")
    weakest = [0.2 + number / 50 for number in range(30)]
    given = with_points(scores, tmp_path, (0.5, 1, 0), weakest=weakest)
    command = [
        "detect",
        str(model.path),
        slide,
        "-o",
        str(tmp_path / "found"),
        "--device",
        "torch",
        "--at",
        "miss 0.1",
    ]
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code != 0
    done = CliRunner().invoke(app, [*command, "--operating-points", str(given)])
    assert done.exit_code == 0
    assert "at least 0.9," in re.sub(r"\s+", " ", done.output)
    assert (
        read_ledger(tmp_path / "found" / "ledger.csv")["slide_3"].operating_target
        == "miss 0.1: score >= 0.24"
    )
