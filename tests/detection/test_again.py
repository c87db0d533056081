"""A folder of results that is there already: nothing in it is lost, mixed up or taken for something else."""

import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histoscout.annotations.geojson import write_geojson
from histoscout.cohort.case import Case
from histoscout.cohort.cohort import read_cohort
from histoscout.detection.detect import DetectOptions, detect
from histoscout.detection.grid import MIN_TISSUE, detection_windows
from histoscout.detection.results import LedgerRow, read_ledger
from histoscout.detection.settings import area_hash
from histoscout.errors import CohortError, ModelError, OutputError
from histoscout.geometry.regions import Regions
from histoscout.network.model_folder import ModelFolder
from histoscout.progress import NoProgress
from histoscout.slides.image_reader import slide_from_array
from histoscout.tissue.mask import find_tissue
from tests import toy

ON_TORCH = DetectOptions(device="torch")


def slide(table: Path, number: int) -> Path:
    return table.parent / f"slide_{number}.tif"


@pytest.fixture
def found(model: ModelFolder, table: Path, tmp_path: Path) -> Path:
    """Results of two slides."""
    detect(model, [slide(table, 2), slide(table, 3)], tmp_path / "found", ON_TORCH)
    return tmp_path / "found"


def files(found: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in found.rglob("*") if path.is_file()}


def test_results_of_slides_that_are_not_given_are_not_replaced(
    found: Path, model: ModelFolder, table: Path
) -> None:
    before = files(found)
    anew = replace(ON_TORCH, threshold=0.9, overwrite=True)
    with pytest.raises(OutputError, match=r"slides that are not given \(1, such as slide_2\)"):
        detect(model, [slide(table, 3)], found, anew)
    assert files(found) == before


def test_a_device_that_is_not_there_costs_no_result(found: Path, model: ModelFolder, table: Path) -> None:
    before = files(found)
    anew = replace(ON_TORCH, device="cuda:99", threshold=0.9, overwrite=True)
    with pytest.raises(ModelError):
        detect(model, [slide(table, 2), slide(table, 3)], found, anew)
    assert files(found) == before


def test_what_somebody_drew_or_spoilt_ends_no_run(found: Path, model: ModelFolder, table: Path) -> None:
    drawn = json.loads((found / "regions" / "slide_3.geojson").read_text("utf-8"))
    square = {"type": "Polygon", "coordinates": [[[0, 0], [50, 0], [50, 50], [0, 50], [0, 0]]]}
    drawn["features"].append({"type": "Feature", "geometry": square, "properties": {}})
    (found / "regions" / "slide_3.geojson").write_text(json.dumps(drawn), "utf-8")
    (found / "regions" / "slide_2.geojson").write_text("{", "utf-8")
    told: list[str] = []

    class Told(NoProgress):
        def note(self, text: str) -> None:
            told.append(text)

    given = [slide(table, number) for number in (1, 3)]
    assert {row.state for row in detect(model, given, found, replace(ON_TORCH, progress=Told()))} == {"done"}
    with (found / "lesions.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert {line["slide"] for line in lines} == {"slide_1", "slide_3"}
    assert [line["area_mm2"] for line in lines if line["score"] == ""] == ["0.0025"]
    assert any("slide_2.geojson" in one and "lesions.csv" in one for one in told)
    # what is damaged is made anew once its slide is given; what was drawn stays
    edited = (found / "regions" / "slide_3.geojson").read_bytes()
    detect(model, [slide(table, number) for number in (1, 2, 3)], found, ON_TORCH)
    with (found / "lesions.csv").open(encoding="utf-8") as file:
        assert {line["slide"] for line in csv.DictReader(file)} == {"slide_1", "slide_2", "slide_3"}
    assert (found / "regions" / "slide_3.geojson").read_bytes() == edited


def test_another_file_of_the_same_name_and_size_is_another_slide(model: ModelFolder, tmp_path: Path) -> None:
    for number in (1, 3):
        (tmp_path / str(number)).mkdir()
        Image.fromarray(toy.draw(number)[0]).save(tmp_path / str(number) / "A.bmp")
    here = replace(ON_TORCH, mpp=toy.MPP)
    detect(model, [tmp_path / "1" / "A.bmp"], tmp_path / "found", here)
    with pytest.raises(OutputError, match="another slide called A"):
        detect(model, [tmp_path / "3" / "A.bmp"], tmp_path / "found", here)


def test_a_mask_that_is_read_otherwise_is_another_area(tmp_path: Path) -> None:
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / "mask.png")
    case = Case(tmp_path / "A.tif", tmp_path / "mask.png", mask_labels=((1, "tumour"), (2, "stroma")))
    within = DetectOptions(within="tumour")
    corrected = replace(case, mask_labels=((1, "stroma"), (2, "tumour")))
    areas = {area_hash(one, within) for one in (case, corrected, replace(case, mask_threshold=9))}
    assert len(areas) == 3


def test_a_name_that_cannot_be_written_is_told_before_anything_begins(
    model: ModelFolder, table: Path, tmp_path: Path
) -> None:
    old = Path(os.fsdecode(b"L\xe4sion.tif"))
    with pytest.raises(CohortError, match=r"L\\udce4sion.tif: its name is not in UTF-8"):
        detect(model, [slide(table, 3), old], tmp_path / "found", ON_TORCH)
    assert not (tmp_path / "found").exists()


def test_a_misspelt_class_does_not_stand_in_the_way_of_the_right_one(
    model: ModelFolder, table: Path, tmp_path: Path
) -> None:
    case = read_cohort(table).cases[3]
    states = [
        detect(model, [case], tmp_path / "found", replace(ON_TORCH, within=name))[0].state
        for name in ("UHD", "UDH")
    ]
    assert states == ["failed", "done"]


def test_two_runs_at_a_time_keep_each_others_rows(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    class Meanwhile(NoProgress):
        def start(self, name: str, total: int) -> None:
            detect(model, [slide(table, 2)], tmp_path / "found", ON_TORCH)

    rows = detect(model, [slide(table, 3)], tmp_path / "found", replace(ON_TORCH, progress=Meanwhile()))
    assert [row.slide for row in rows] == ["slide_3"]
    assert set(read_ledger(tmp_path / "found" / "ledger.csv")) == {"slide_2", "slide_3"}
    with (tmp_path / "found" / "lesions.csv").open(encoding="utf-8") as file:
        assert {line["slide"] for line in csv.DictReader(file)} == {"slide_2", "slide_3"}


def test_an_image_of_less_than_a_hundredth_of_a_window_is_looked_at() -> None:
    recipe = toy.RECIPE.with_choices({"patches.size_um": 2048.0})
    core = slide_from_array(toy.draw(3)[0][100:300, 100:300], toy.MPP, "core")
    tissue = find_tissue(core, recipe.tissue, recipe.patches)
    assert 0 < tissue.area_mm2 < MIN_TISSUE * 2.048**2
    assert len(detection_windows(core, tissue, recipe)) == 1


def within(model: ModelFolder, table: Path, tmp_path: Path, regions: Regions, name: str) -> LedgerRow:
    write_geojson(regions, tmp_path / "areas.geojson")
    case = Case(slide(table, 3), tmp_path / "areas.geojson")
    return detect(model, [case], tmp_path / "found", replace(ON_TORCH, within=name))[0]


def test_any_class_can_be_looked_within(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    drawn = toy.draw(3)[1].with_labels("UDH")
    row = within(model, table, tmp_path, drawn.relabel(lambda label: "Reviewed area"), "Reviewed area")
    assert row.state == "done"


def test_areas_beside_the_slide_are_told(model: ModelFolder, table: Path, tmp_path: Path) -> None:
    drawn = toy.draw(3)[1].with_labels("UDH")
    apart = Regions.of([*drawn[:1], *drawn[1:].translate(5000, 5000)])
    assert "outside the slide" in within(model, table, tmp_path, apart, "UDH").reason


@pytest.mark.parametrize(
    "name", ["regions/slide_3.geojson", "heatmaps/slide_3.ome.tiff", "overlays/slide_3.png"]
)
@pytest.mark.parametrize("damage", ["empty", "cut", "changed"])
def test_damaged_results_are_made_again(
    name: str, damage: str, found: Path, model: ModelFolder, table: Path
) -> None:
    whole = (found / name).read_bytes()
    cut, changed = whole[: len(whole) // 2], bytes([whole[0] ^ 1]) + whole[1:]
    (found / name).write_bytes({"empty": b"", "cut": cut, "changed": changed}[damage])
    detect(model, [slide(table, 3)], found, ON_TORCH)
    assert (found / name).read_bytes() == whole


def test_a_slide_that_is_replaced_while_it_is_read_fails(
    model: ModelFolder, table: Path, tmp_path: Path
) -> None:
    moving = tmp_path / "A.tif"
    moving.write_bytes(slide(table, 3).read_bytes())

    class Replacing(NoProgress):
        def start(self, name: str, total: int) -> None:
            (tmp_path / "B.tif").write_bytes(slide(table, 2).read_bytes())
            (tmp_path / "B.tif").replace(moving)

    first = detect(model, [moving], tmp_path / "found", replace(ON_TORCH, progress=Replacing()))
    assert (first[0].state, first[0].file_hash) == ("failed", "")
    assert "was changed while it was read" in first[0].reason
    detect(model, [slide(table, 2)], tmp_path / "alone", ON_TORCH)
    second = detect(model, [moving], tmp_path / "found", ON_TORCH)[0]
    assert second.file_hash == read_ledger(tmp_path / "alone" / "ledger.csv")["slide_2"].file_hash


def test_results_to_be_replaced_stay_until_the_new_ones_are_whole(
    found: Path, model: ModelFolder, table: Path
) -> None:
    class StoppedError(BaseException):
        pass

    begun: list[str] = []

    class Stopping(NoProgress):
        def start(self, name: str, total: int) -> None:
            # the bar of the batch comes first
            if name.startswith("slide_"):
                begun.append(name)
            if len(begun) == 2:
                raise StoppedError

    given = [slide(table, 2), slide(table, 3)]
    before = files(found)
    anew = replace(ON_TORCH, threshold=0.9, overwrite=True)
    with pytest.raises(StoppedError):
        detect(model, given, found, replace(anew, progress=Stopping()))
    now = files(found)
    assert before.items() <= now.items()
    assert {path.relative_to(found).parts[0] for path in now.keys() - before.keys()} == {".new"}
    # the results in the folder are still those of the first settings
    assert {row.state for row in detect(model, given, found, ON_TORCH)} == {"done"}
    assert before.items() <= files(found).items()
    # the same command goes on where it was stopped
    rows = detect(model, given, found, replace(anew, progress=Stopping()))
    assert begun == ["slide_2", "slide_3", "slide_3"]
    assert not (found / ".new").exists()
    assert read_ledger(found / "ledger.csv") == {row.slide: row for row in rows}


def test_a_slide_that_fails_does_not_cost_its_results(
    found: Path, model: ModelFolder, table: Path, tmp_path: Path
) -> None:
    given = [tmp_path / "slide_2.tif", slide(table, 3)]
    before = files(found)
    given[0].write_bytes(slide(table, 2).read_bytes()[:1000])
    rows = detect(model, given, found, replace(ON_TORCH, threshold=0.9, overwrite=True))
    assert [row.state for row in rows] == ["failed", "done"]
    assert before.items() <= files(found).items()


def test_another_run_with_other_settings_is_refused_while_one_runs(
    model: ModelFolder, table: Path, tmp_path: Path
) -> None:
    refused = []

    class Meanwhile(NoProgress):
        def start(self, name: str, total: int) -> None:
            for options in (replace(ON_TORCH, threshold=0.9), replace(ON_TORCH, overwrite=True)):
                with pytest.raises(OutputError, match="another run is writing"):
                    detect(model, [slide(table, 2)], tmp_path / "found", options)
                refused.append(options)

    detect(model, [slide(table, 3)], tmp_path / "found", replace(ON_TORCH, progress=Meanwhile()))
    assert len(refused) == 2
    assert {path.name for path in (tmp_path / "found").iterdir()} == {
        "detection.json",
        "cohort.csv",
        "ledger.csv",
        "lesions.csv",
        "regions",
        "heatmaps",
        "overlays",
    }
