"""The public functions take paths as users write them."""

import inspect
from pathlib import Path

import histoscout as hs
from histoscout.network.model_folder import ModelFolder


def test_every_path_may_be_text() -> None:
    functions = {name: getattr(hs, name) for name in hs.__all__ if inspect.isfunction(getattr(hs, name))}
    paths = {
        f"{name}({parameter.name})": str(parameter.annotation)
        for name, function in functions.items()
        for parameter in inspect.signature(function).parameters.values()
        if "Path" in str(parameter.annotation)
    }
    assert len(paths) > 20
    assert [name for name, annotation in paths.items() if "PathLike" not in annotation] == []


def test_text_names_slides_annotations_cohorts_and_models(
    table: Path, model: ModelFolder, tmp_path: Path
) -> None:
    with hs.open_slide(f"{table.parent}/slide_0.tif") as slide:
        assert hs.info(str(table.parent / "slide_0.tif")).mpp == slide.mpp
    assert len(hs.read_annotations(f"{table.parent}/slide_0.geojson").regions)
    assert hs.read_cohort(str(table)).cases == hs.read_cohort(table).cases
    assert hs.read_model(str(model.path)).hash == model.hash
    (row,) = hs.detect(str(model.path), str(table.parent / "slide_3.tif"), str(tmp_path / "found"))
    assert row.state == "done"
    assert hs.convert(str(tmp_path / "found" / "regions" / "slide_3.geojson"), str(tmp_path / "a.xml"))
    assert (tmp_path / "a.xml").is_file()
