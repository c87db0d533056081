"""Mistakes of a user give one clear line with a remedy and a non-zero exit code, and nothing is lost."""

import os
import resource
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.detection.detect import DetectOptions, detect
from histoscout.network.model_folder import ModelFolder
from tests import toy
from tests.cli.program import PROGRAM, assert_refused, run


def test_help_and_version_and_info(table: Path) -> None:
    assert "detect" in run("--help").stdout
    assert "histoscout 0" in run("--version").stdout
    shown = run("info", table.parent / "slide_0.tif").stdout
    assert "512 x 512 px" in shown
    assert "1.0000 (metadata)" in shown


def test_without_arguments_the_program_shows_help_and_exits_well() -> None:
    result = run()
    assert result.returncode == 0
    assert result.stdout == run("-h").stdout
    assert not result.stderr


def test_a_missing_slide(tmp_path: Path) -> None:
    assert_refused(run("info", tmp_path / "nowhere.svs"), "nowhere.svs")


def test_a_training_of_no_minutes(table: Path, tmp_path: Path) -> None:
    assert_refused(run("train", table, "-o", tmp_path / "model", "--minutes", 0), "--minutes")
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_an_encoder_that_does_not_exist(tmp_path: Path) -> None:
    assert_refused(run("pretrain", "-o", tmp_path / "w", "--encoder", "resnet51"), "resnet51")
    assert_refused(run("pretrain", "-o", tmp_path / "w", "--minutes", 0), "training.minutes")
    assert not (tmp_path / "w").exists()


def test_one_broken_slide_does_not_hide_the_others(table: Path, tmp_path: Path) -> None:
    (tmp_path / "text.svs").write_text("not a slide")
    result = run("info", tmp_path / "text.svs", table.parent / "slide_0.tif")
    assert_refused(result, "text.svs")
    assert "512 x 512 px" in result.stdout


def test_text_named_svs_and_a_truncated_tiff(table: Path, tmp_path: Path) -> None:
    (tmp_path / "text.svs").write_text("not a slide")
    assert_refused(run("info", tmp_path / "text.svs"), "text.svs")
    whole = (table.parent / "slide_0.tif").read_bytes()
    (tmp_path / "short.tif").write_bytes(whole[: len(whole) // 3])
    assert_refused(run("info", tmp_path / "short.tif"), "short.tif")


def folder_with(table: Path, folder: Path, annotations: Path) -> Path:
    """Two toy slides in a folder, each with the same annotation file."""
    folder.mkdir()
    for number in range(2):
        shutil.copy(table.parent / f"slide_{number}.tif", folder)
        shutil.copy(annotations, folder / f"slide_{number}.geojson")
    return folder


@pytest.mark.slow
def test_annotations_outside_the_slide(table: Path, tmp_path: Path) -> None:
    regions = read_geojson(table.parent / "slide_0.geojson").regions
    write_geojson(regions.translate(5000, 0), tmp_path / "moved.geojson")
    folder = folder_with(table, tmp_path / "slides", tmp_path / "moved.geojson")
    result = run("train", folder, "-o", tmp_path / "model")
    assert_refused(result, str(folder), "outside")


@pytest.mark.slow
def test_an_annotation_file_without_annotations(table: Path, tmp_path: Path) -> None:
    (tmp_path / "none.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    folder = folder_with(table, tmp_path / "slides", tmp_path / "none.geojson")
    assert_refused(run("train", folder, "-o", tmp_path / "model"), str(folder), "annotation")


def test_a_slide_without_a_scale(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "pink").save(tmp_path / "field.png")
    assert "--mpp" in run("info", tmp_path / "field.png").stdout
    assert "0.5000 (given)" in run("info", tmp_path / "field.png", "--mpp", "0.5").stdout


@pytest.mark.slow
def test_a_full_disk(table: Path, tmp_path: Path) -> None:
    toy.RECIPE.write(tmp_path / "recipe.toml")
    command = [PROGRAM, "train", table, "-o", tmp_path / "model", "--recipe", tmp_path / "recipe.toml"]
    result = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    assert_refused(result, str(tmp_path / "model"), "File too large")
    assert (tmp_path / "model" / "training" / "split.csv").is_file()


def test_a_recipe_with_five_errors_names_all_five(table: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(
        'seed = -1\n[windows]\nmpp = 0\nsize = 3\n[loss]\nname = "dice"\n[network]\narchitecture = "unett"\n'
    )
    result = run("train", table, "-o", tmp_path / "model", "--recipe", tmp_path / "recipe.toml")
    assert_refused(result, "5 problems", "seed", "patches.mpp", "windows", "dice", "unet")
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_a_class_that_is_not_annotated(table: Path, tmp_path: Path) -> None:
    result = run("train", table, "-o", tmp_path / "model", "--positive", "DCIS")
    assert_refused(result, "DCIS", "UDH", "--positive")


def test_a_cohort_that_does_not_exist(tmp_path: Path) -> None:
    assert_refused(run("train", tmp_path / "none.csv", "-o", tmp_path / "model"), "none.csv")


def test_a_changed_weight_file(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    changed = tmp_path / "model"
    shutil.copytree(model.path, changed)
    weights = bytearray((changed / "detector.safetensors").read_bytes())
    weights[-1] ^= 1
    (changed / "detector.safetensors").write_bytes(weights)
    result = run("detect", changed, table.parent, "-o", tmp_path / "found")
    assert_refused(result, "detector.safetensors")
    assert not (tmp_path / "found" / "regions").exists()


def test_a_broken_slide_does_not_stop_the_others(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.svs").write_text("not a slide")
    good = table.parent / "slide_3.tif"
    rows = detect(model, [tmp_path / "broken.svs", good], tmp_path / "found", DetectOptions(device="torch"))
    assert [row.state for row in rows] == ["failed", "done"]
    assert "broken.svs" in rows[0].reason
    assert (tmp_path / "found" / "regions" / "slide_3.geojson").is_file()
    ledger = (tmp_path / "found" / "ledger.csv").read_text().splitlines()
    assert ledger[-1].startswith("broken,failed")


def test_a_second_run_skips_finished_slides(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    slides = [table.parent / "slide_3.tif"]
    detect(model, slides, tmp_path / "found", DetectOptions(device="torch"))
    written = tmp_path / "found" / "regions" / "slide_3.geojson"
    before = written.stat().st_mtime_ns
    assert detect(model, slides, tmp_path / "found", DetectOptions(device="torch"))[0].state == "done"
    assert written.stat().st_mtime_ns == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission_to_write(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    result = run("detect", model.path, table.parent, "-o", tmp_path / "closed" / "found")
    assert_refused(result, "permission")


@pytest.mark.slow
def test_a_file_where_a_folder_should_be_is_kept(table: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = run("train", table, "-o", tmp_path / "file" / "model", "--positive", "UDH")
    assert_refused(result, "file")
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_output_never_dies_of_an_encoding(table: Path, tmp_path: Path, encoding: str) -> None:
    slide = tmp_path / "\u0416.tif"
    shutil.copy(table.parent / "slide_0.tif", slide)
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for path in (slide, tmp_path / "\u0416\u0416.tif"):
        result = subprocess.run([PROGRAM, "info", path], capture_output=True, check=False, env=environment)
        assert result.returncode == (0 if path == slide else 1)
        assert b"Traceback" not in result.stderr
