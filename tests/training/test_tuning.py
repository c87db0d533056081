"""What was found on tuning slides where nothing is drawn is laid out for every slide."""

import csv
from pathlib import Path

import numpy as np

from histoscout.annotations.geojson import read_geojson
from histoscout.cohort.case import Case
from histoscout.geometry.regions import Regions
from histoscout.recipe_sections import ClassConfig
from histoscout.slides.pyramid import write_pyramid
from histoscout.training.tuning import export_unannotated, unique_names
from tests.evaluation.scenes import compare, regions, square


def test_two_slides_of_one_name_are_both_laid_out(tmp_path: Path) -> None:
    cases = []
    for number in range(2):
        slide = tmp_path / f"patient {number}" / "one.tif"
        write_pyramid(slide, np.full((1000, 1000, 3), 200, np.uint8), 1.0 + number)
        (slide.parent / "one.geojson").write_text('{"type": "FeatureCollection", "features": []}')
        cases.append(Case(slide, slide.parent / "one.geojson", f"patient {number}"))
    found = [regions(square(0, 300 * number, 100, score=0.6 + number / 10)) for number in range(2)]
    lesions = {case.key: compare(Regions(), one, 0.5) for case, one in zip(cases, found, strict=True)}
    folder = tmp_path / "unannotated"
    assert export_unannotated(lesions, cases, ClassConfig(positive="UDH"), folder) == 2
    rows = list(csv.DictReader((folder / "review.csv").read_text().splitlines()))
    assert [row["slide"] for row in rows] == ["one (patient 1, 2)", "one (patient 0, 1)"]
    assert [float(row["area_mm2"]) for row in rows] == [0.04, 0.01]
    for row in rows:
        assert (folder / row["picture"]).is_file()
        assert len(read_geojson(folder / f"{row['slide']}.geojson").regions) == 1


def test_slides_of_different_names_keep_them() -> None:
    cases = [Case(Path(name)) for name in ("a/one.tif", "a/two.tif")]
    assert unique_names(cases) == ["one", "two"]
