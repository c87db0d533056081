"""What a user gets wrong becomes one clear line with a remedy, a non-zero exit, and nothing lost."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.detection.detect import DetectOptions, detect
from histoscout.network.model_folder import ModelFolder
from tests import toy

PROGRAM = Path(sys.executable).with_name("histoscout")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False)


def refused(done: subprocess.CompletedProcess[str], *said: str) -> None:
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    for words in said:
        assert words in done.stderr + done.stdout, done.stderr


def test_help_and_version_and_info(table: Path) -> None:
    assert "detect" in run("--help").stdout
    assert "histoscout 0" in run("--version").stdout
    shown = run("info", table.parent / "slide_0.tif").stdout
    assert "512 x 512 px" in shown
    assert "1.0000 (metadata)" in shown


def test_a_missing_slide(tmp_path: Path) -> None:
    refused(run("info", tmp_path / "nowhere.svs"), "nowhere.svs")


def test_no_minutes_at_all_are_not_taken_for_the_default(table: Path, tmp_path: Path) -> None:
    refused(run("train", table, "-o", tmp_path / "model", "--minutes", 0), "--minutes")
    assert not (tmp_path / "model").exists()


def test_weights_that_cannot_be_made(tmp_path: Path) -> None:
    refused(run("pretrain", "-o", tmp_path / "w", "--encoder", "resnet51"), "resnet51", "Did you mean")
    refused(run("pretrain", "-o", tmp_path / "w", "--minutes", 0), "training.minutes", "greater than 0")
    assert not (tmp_path / "w").exists()


def test_one_broken_slide_does_not_hide_the_others(table: Path, tmp_path: Path) -> None:
    (tmp_path / "text.svs").write_text("not a slide")
    done = run("info", tmp_path / "text.svs", table.parent / "slide_0.tif")
    refused(done, "text.svs")
    assert "512 x 512 px" in done.stdout


def test_text_named_svs_and_a_truncated_tiff(table: Path, tmp_path: Path) -> None:
    (tmp_path / "text.svs").write_text("not a slide")
    refused(run("info", tmp_path / "text.svs"), "text.svs")
    whole = (table.parent / "slide_0.tif").read_bytes()
    (tmp_path / "short.tif").write_bytes(whole[: len(whole) // 3])
    refused(run("info", tmp_path / "short.tif"), "short.tif")


def folder_with(table: Path, folder: Path, outlines: Path | None) -> Path:
    """Two toy slides in a folder, each with the same annotation file."""
    folder.mkdir()
    for number in range(2):
        shutil.copy(table.parent / f"slide_{number}.tif", folder)
        if outlines is not None:
            shutil.copy(outlines, folder / f"slide_{number}.geojson")
    return folder


def test_outlines_that_lie_outside_the_slide(table: Path, tmp_path: Path) -> None:
    regions = read_geojson(table.parent / "slide_0.geojson").regions
    write_geojson(regions.moved(5000, 0), tmp_path / "moved.geojson")
    folder = folder_with(table, tmp_path / "slides", tmp_path / "moved.geojson")
    done = run("train", folder, "-o", tmp_path / "model")
    refused(
        done, "all of 8 outlines lie outside the slide", "is it the right slide?", "no outline of the class"
    )


def test_annotations_without_outlines(table: Path, tmp_path: Path) -> None:
    (tmp_path / "none.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    folder = folder_with(table, tmp_path / "slides", tmp_path / "none.geojson")
    refused(
        run("train", folder, "-o", tmp_path / "model"), "no outlines in this file", "no outline of the class"
    )


def test_a_slide_without_a_scale(table: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (64, 64), "pink").save(tmp_path / "field.png")
    assert "unknown: give it with --mpp" in run("info", tmp_path / "field.png").stdout
    assert "0.5000 (given)" in run("info", tmp_path / "field.png", "--mpp", "0.5").stdout


def test_a_disk_that_takes_no_more(table: Path, tmp_path: Path) -> None:
    toy.RECIPE.write(tmp_path / "recipe.toml")
    command = [PROGRAM, "train", table, "-o", tmp_path / "model", "--recipe", tmp_path / "recipe.toml"]
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    refused(done, "cannot be written", "File too large")
    assert (tmp_path / "model" / "training" / "split.csv").is_file()


def test_a_recipe_with_five_errors_names_all_five(table: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(
        'seed = -1\n[windows]\nmpp = 0\nsize = 3\n[loss]\nname = "dice"\n[network]\narchitecture = "unett"\n'
    )
    done = run("train", table, "-o", tmp_path / "model", "--recipe", tmp_path / "recipe.toml")
    refused(done, "5 problems", "seed", "patches.mpp", "windows.size", "dice", "did you mean unet")
    assert not (tmp_path / "model").exists()


def test_no_positive_in_training(table: Path, tmp_path: Path) -> None:
    refused(run("train", table, "-o", tmp_path / "model", "--positive", "DCIS"), "DCIS", "UDH", "--positive")


def test_a_cohort_that_is_not_there(tmp_path: Path) -> None:
    refused(run("train", tmp_path / "none.csv", "-o", tmp_path / "model"), "none.csv")


def test_a_changed_weight_file(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    changed = tmp_path / "model"
    shutil.copytree(model.path, changed)
    weights = bytearray((changed / "detector.safetensors").read_bytes())
    weights[-1] ^= 1
    (changed / "detector.safetensors").write_bytes(weights)
    refused(run("detect", changed, table.parent, "-o", tmp_path / "found"), "detector.safetensors", "changed")


def test_a_broken_slide_does_not_stop_the_others(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.svs").write_text("not a slide")
    good = table.parent / "slide_3.tif"
    rows = detect(model, [tmp_path / "broken.svs", good], tmp_path / "found", DetectOptions(device="torch"))
    assert [row.state for row in rows] == ["failed", "done"]
    assert "broken.svs" in rows[0].reason
    assert (tmp_path / "found" / "regions" / "slide_3.geojson").is_file()
    ledger = (tmp_path / "found" / "ledger.csv").read_text().splitlines()
    assert ledger[-1].startswith("broken,failed")


def test_a_second_run_skips_what_is_done(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    slides = [table.parent / "slide_3.tif"]
    detect(model, slides, tmp_path / "found", DetectOptions(device="torch"))
    written = tmp_path / "found" / "regions" / "slide_3.geojson"
    before = written.stat().st_mtime_ns
    assert detect(model, slides, tmp_path / "found", DetectOptions(device="torch"))[0].state == "done"
    assert written.stat().st_mtime_ns == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission_to_write(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    refused(run("detect", model.path, table.parent, "-o", tmp_path / "closed" / "found"), "permission")


def test_nothing_is_written_beside_a_file_in_the_way(table: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    refused(run("train", table, "-o", tmp_path / "file" / "model", "--positive", "UDH"), "file")
    assert (tmp_path / "file").read_text() == "in the way"
