"""Another threshold on a folder with heatmaps: outlined from them, in a folder of its own."""

from dataclasses import replace
from pathlib import Path

import pytest

from histoscout.annotations.geojson import read_geojson
from histoscout.detection.detect import DetectOptions, detect
from histoscout.detection.results import read_ledger
from histoscout.errors import OutputError
from histoscout.network.model_folder import ModelFolder

ON_TORCH = DetectOptions(device="torch")
NO_ENGINE = DetectOptions(device="cuda:99")
"""Fails as soon as a network is opened."""


@pytest.fixture(scope="module")
def found(model: ModelFolder, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("found")
    detect(model, [table.parent / "slide_3.tif"], out, ON_TORCH)
    return out


@pytest.mark.parametrize(
    ("options", "name"),
    [({"threshold": 0.9}, "threshold 0.9"), ({"at": "sensitivity 0.5"}, "at sensitivity 0.5")],
)
def test_regions_are_those_of_a_run_of_its_own(
    options: dict[str, float | str], name: str, found: Path, model: ModelFolder, table: Path, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in found.iterdir() if path.is_file()}
    slides = [table.parent / "slide_3.tif"]
    (row,) = detect(model, slides, found, replace(NO_ENGINE, **options))  # type: ignore[arg-type]
    (expected,) = detect(model, slides, tmp_path, replace(ON_TORCH, **options))  # type: ignore[arg-type]
    # a folder of its own has a heatmap, too
    outlines, overlay = row.files.split(" ")
    assert expected.files.split(" ")[::2] == [outlines, overlay]
    assert replace(row, seconds=0, files="") == replace(expected, seconds=0, files="")
    for file in ("regions/slide_3.geojson", "overlays/slide_3.png", "lesions.csv"):
        assert (found / name / file).read_bytes() == (tmp_path / file).read_bytes()
    # the results at the model's own threshold stay as they are
    assert {path: path.read_bytes() for path in before} == before
    assert read_ledger(found / name / "ledger.csv")["slide_3"].settings == expected.settings
    # the same again gives the same
    again = detect(model, slides, found, replace(NO_ENGINE, **options))  # type: ignore[arg-type]
    assert [replace(one, seconds=0) for one in again] == [replace(row, seconds=0)]
    # and a folder that began with another threshold can be outlined at the model's own one
    detect(model, slides, tmp_path, NO_ENGINE)
    own = tmp_path / f"threshold {model.detection_threshold:.4g}"
    regions = read_geojson(own / "regions/slide_3.geojson").regions
    assert regions == read_geojson(found / "regions/slide_3.geojson").regions


def test_a_slide_without_heatmap_is_named(found: Path, model: ModelFolder, table: Path) -> None:
    slides = [table.parent / "slide_3.tif", table.parent / "slide_2.tif"]
    with pytest.raises(OutputError) as caught:
        detect(model, slides, found, replace(NO_ENGINE, threshold=0.8))
    assert "slide_2" in caught.value.fault
    assert not (found / "threshold 0.8").exists()
