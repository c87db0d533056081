"""Detection on many slides: resumes, keeps to areas, says what it would do, and is never silent."""

import csv
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from histoscout.annotations.geojson import read_geojson, write_geojson
from histoscout.cohort.cohort import read_cohort
from histoscout.detection.detect import DetectOptions, detect
from histoscout.detection.heatmap import read_heatmap
from histoscout.errors import CohortError, OutputError
from histoscout.network.model_folder import ModelFolder
from histoscout.slides.open import open_slide
from histoscout.slides.pyramid import write_pyramid
from tests import toy

ON_TORCH = DetectOptions(device="torch")


@pytest.fixture(scope="module")
def found(model: ModelFolder, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("found")
    rows = detect(model, [table.parent / "slide_3.tif"], out, ON_TORCH)
    assert [row.state for row in rows] == ["done"]
    return out


def test_every_file_is_there_and_agrees(found: Path) -> None:
    regions = read_geojson(found / "regions" / "slide_3.geojson").regions
    assert len(regions) >= 3
    with (found / "lesions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["id"] for row in rows} == {region.id for region in regions}
    heatmap = read_heatmap(found / "heatmaps" / "slide_3.ome.tiff")
    assert heatmap.labels == ("UDH", "ADH")
    with tifffile.TiffFile(found / "heatmaps" / "slide_3.ome.tiff") as file:
        assert 'PhysicalSizeX="4.0"' in str(file.ome_metadata)
    assert (found / "overlays" / "slide_3.png").stat().st_size > 1000
    with (found / "ledger.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["state"] == "done"
    assert row["mpp_source"] == "metadata"
    assert float(row["tissue_mm2"]) == pytest.approx(0.23, rel=0.1)


def test_regions_lie_on_the_dark_discs(found: Path, table: Path) -> None:
    regions = read_geojson(found / "regions" / "slide_3.geojson").regions
    with open_slide(table.parent / "slide_3.tif") as slide:
        for region in regions:
            box = region.box
            assert slide.read(box, 1.0)[..., 0].mean() < 180


def test_moving_the_slides_content_moves_its_regions(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    pixels, _ = toy.draw(3)
    moved = np.full((toy.SIDE + 256, toy.SIDE + 256, 3), 245, np.uint8)
    moved[256:, 256:] = pixels
    places = []
    for name, image in (("here", pixels), ("there", moved)):
        write_pyramid(tmp_path / f"{name}.tif", image, toy.MPP, compression="zlib")
        detect(model, [tmp_path / f"{name}.tif"], tmp_path / name, ON_TORCH)
        regions = read_geojson(tmp_path / name / "regions" / f"{name}.geojson").regions
        places.append(sorted((round(r.outline.centroid.x), round(r.outline.centroid.y)) for r in regions))
    assert len(places[0]) == len(places[1])
    for here, there in zip(*places, strict=True):
        assert there == pytest.approx((here[0] + 256, here[1] + 256), abs=6)


def test_it_keeps_to_the_areas_of_a_class(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    case = read_cohort(table).cases[3]
    regions = read_geojson(case.annotations).regions if case.annotations else None
    assert regions is not None
    only = regions.with_labels("UDH")[:1].relabel(lambda label: "look here")
    write_geojson(only, tmp_path / "areas.geojson")
    within = replace(ON_TORCH, within="look here")
    rows = detect(model, [replace(case, annotations=tmp_path / "areas.geojson")], tmp_path / "found", within)
    assert rows[0].state == "done"
    found = read_geojson(tmp_path / "found" / "regions" / "slide_3.geojson").regions
    area = only[0].outline.buffer(8)
    assert len(found) >= 1
    assert all(area.contains(region.outline) for region in found)
    other = detect(model, [case], tmp_path / "nowhere", replace(ON_TORCH, within="no such class"))
    assert other[0].state == "failed"
    assert "no such class" in other[0].reason


def test_a_dry_run_writes_nothing(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    rows = detect(model, [table.parent / "slide_3.tif"], tmp_path / "found", replace(ON_TORCH, dry_run=True))
    assert rows[0].state == "planned"
    assert rows[0].windows > 0
    assert not (tmp_path / "found").exists()


def test_other_settings_do_not_mix_with_what_is_there(found: Path, model: ModelFolder, table: Path) -> None:
    with pytest.raises(OutputError, match="settings"):
        detect(model, [table.parent / "slide_3.tif"], found, replace(ON_TORCH, within="UDH"))


def test_two_slides_of_one_name_are_refused(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    (tmp_path / "slide_3.tif").write_bytes((table.parent / "slide_3.tif").read_bytes())
    with pytest.raises(CohortError, match="same name"):
        detect(model, [table.parent / "slide_3.tif", tmp_path / "slide_3.tif"], tmp_path / "found", ON_TORCH)


KILLED = """
import os, signal, sys
from pathlib import Path
from histoscout.detection import detect as chain
calls = []
whole = chain.draw_overlay
def once(*arguments):
    calls.append(1)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    whole(*arguments)
chain.draw_overlay = once
slides = [Path(sys.argv[2]) / f"slide_{n}.tif" for n in range(3)]
chain.detect(Path(sys.argv[1]), slides, Path(sys.argv[3]), chain.DetectOptions(device="torch"))
"""


def test_a_killed_run_started_again_gives_the_same(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(model.path), str(table.parent), str(tmp_path / "killed")]
    assert subprocess.run(command, check=False).returncode == -9
    slides = [table.parent / f"slide_{number}.tif" for number in range(3)]
    assert (tmp_path / "killed" / "regions" / "slide_0.geojson").is_file()
    assert not (tmp_path / "killed" / "regions" / "slide_1.geojson").exists()
    again = detect(model, slides, tmp_path / "killed", ON_TORCH)
    whole = detect(model, slides, tmp_path / "whole", ON_TORCH)
    assert [row.regions for row in again] == [row.regions for row in whole]
    for number in range(3):
        files = [tmp_path / run / "regions" / f"slide_{number}.geojson" for run in ("killed", "whole")]
        assert read_geojson(files[0]).regions == read_geojson(files[1]).regions


def test_another_slide_of_the_same_name_is_not_taken_for_what_is_there(
    model: ModelFolder, table: Path, tmp_path: Path
) -> None:
    slide = tmp_path / "slide_3.tif"
    shutil.copy(table.parent / "slide_3.tif", slide)
    first = detect(model, [slide], tmp_path / "found", ON_TORCH)
    assert detect(model, [slide], tmp_path / "found", ON_TORCH) == first
    shutil.copy(table.parent / "slide_1.tif", slide)
    with pytest.raises(OutputError, match="another slide called slide_3"):
        detect(model, [slide], tmp_path / "found", ON_TORCH)
    again = detect(model, [slide], tmp_path / "found", replace(ON_TORCH, overwrite=True))
    assert again[0].file_hash not in ("", first[0].file_hash)


def test_other_areas_to_look_in_are_looked_in_anew(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    case = read_cohort(table).cases[3]
    assert case.annotations is not None
    drawn = read_geojson(case.annotations).regions.with_labels("UDH").relabel(lambda label: "look here")
    areas = replace(case, annotations=tmp_path / "areas.geojson")
    counts = []
    for some in (drawn[:1], drawn):
        write_geojson(some, tmp_path / "areas.geojson")
        rows = detect(model, [areas], tmp_path / "found", replace(ON_TORCH, within="look here"))
        counts.append(rows[0].regions)
    assert counts[0] < counts[1]
