"""Formats of other slide viewers: what they mean in level-0 px."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import shapely

from histoscout.annotations.read import Annotations, from_slide_center, read_annotations
from histoscout.cohort.annotated_slide import read_annotated_regions
from histoscout.cohort.case import Case, to_shown_frame
from histoscout.errors import AnnotationError
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions
from histoscout.slides.image_reader import ArraySource
from histoscout.slides.slide import Slide, SlideMetadata
from tests.annotations.notes import note_with
from tests.fuzz import seeds


def saved(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def slide_with_offset(offset: tuple[float, float] | None) -> Slide:
    pixels = np.full((400, 600, 3), 240, np.uint8)
    return Slide(
        ArraySource([pixels], 0.5),
        SlideMetadata(name="a", mpp=0.5, center_offset_um=offset, path=Path("a.ndpi")),
    )


def test_ndpview_counts_from_the_center_of_the_glass(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.ndpi.ndpa", seeds.NDPVIEW.encode())
    with slide_with_offset((10.0, -5.0)) as slide:
        regions = read_annotated_regions(Case(Path("a.ndpi")), path, slide).regions
    # 18 um are 36 px; the image's center is 10 um to the right of the glass's center and 5 um above it
    assert regions[0].outline.bounds == (300 - 20 - 18, 200 + 10 - 18, 300 - 20 + 18, 200 + 10 + 18)
    assert regions[1].outline.area == pytest.approx(math.pi * 8**2, rel=0.001)
    assert regions.labels == ["ADH", "UDH"]


def test_an_unknown_center_is_noted_and_a_missing_slide_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.ndpa", seeds.NDPVIEW.encode())
    annotations = read_annotations(path)
    with slide_with_offset(None) as slide:
        assert note_with(to_shown_frame(annotations, path, slide).notes, "center of the glass")
    with pytest.raises(AnnotationError, match="--slide"):
        to_shown_frame(annotations, path, Box(0, 0, 600, 400))


def test_moving_the_scan_moves_the_annotations() -> None:
    annotations = Annotations(Regions.of([Region(shapely.box(0, 0, 1000, 2000), "UDH")]))
    here, there = (from_slide_center(annotations, (100, 100), 0.25, offset) for offset in ((0, 0), (1, 2)))
    assert there.regions[0].outline.equals(here.regions.translate(-4, -8)[0].outline)


def test_another_unit_of_ndpview_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.ndpa", seeds.NDPVIEW.replace("nanometers", "pixels").encode())
    with pytest.raises(AnnotationError, match="line 3"):
        read_annotations(path)


@pytest.mark.parametrize(("name", "count"), [("document", 4), ("list", 8), ("lines", 8)])
def test_documents_of_histomicsui(tmp_path: Path, name: str, count: int) -> None:
    annotations = read_annotations(saved(tmp_path / "a.json", seeds.dsa()[name]))
    assert len(annotations.regions) == count
    assert annotations.regions.labels == ["", "ADH", "UDH"]
    first, rectangle, ellipse, circle = annotations.regions[:4]
    assert first.outline.area == 1600 - 8
    assert rectangle.outline.area == pytest.approx(200)
    # turned from x towards y, which points down
    corner = shapely.get_coordinates(rectangle.outline).tolist()
    x, y = 10 * math.cos(0.5) - 5 * math.sin(0.5), 10 * math.sin(0.5) + 5 * math.cos(0.5)
    assert any(math.hypot(a - 90 - x, b - 30 - y) < 1e-6 for a, b in corner)
    assert ellipse.outline.area == pytest.approx(math.pi * 50, rel=0.001)
    assert circle.outline.area == pytest.approx(math.pi * 49, rel=0.001)
    assert note_with(annotations.notes, "without an outline")


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_darwin(tmp_path: Path, version: str) -> None:
    annotations = read_annotations(saved(tmp_path / "a.json", seeds.darwin()[version]))
    assert annotations.regions[0].outline.area == pytest.approx(1610 - 8)
    assert annotations.image is not None
    assert (annotations.image.width, annotations.image.height, annotations.image.name) == (500, 400, "A1.svs")
    if version == "2.0":
        assert [region.id for region in annotations.regions] == ["a", "b", "c"]
        assert annotations.regions[1].outline.bounds == (5, 5, 25, 15)
        assert annotations.regions[2].outline.area == pytest.approx(math.pi * 45, rel=0.001)


def test_an_island_in_a_hole_of_darwin_is_kept(tmp_path: Path) -> None:
    rings = [
        [{"x": x, "y": y} for x, y in shapely.get_coordinates(shapely.box(s, s, 100 - s, 100 - s))]
        for s in (0, 10, 20)
    ]
    content = {"item": {}, "annotations": [{"name": "UDH", "polygon": {"paths": rings}}]}
    (region,) = read_annotations(saved(tmp_path / "a.json", json.dumps(content).encode())).regions
    assert region.outline.area == 100**2 - 80**2 + 60**2


def test_slideflow(tmp_path: Path) -> None:
    annotations = read_annotations(saved(tmp_path / "a.csv", seeds.slideflow()["labels"]))
    assert [(region.label, region.properties["name"]) for region in annotations.regions] == [
        ("UDH", "ROI_0"),
        ("", "ROI_1"),
    ]
    old = read_annotations(saved(tmp_path / "b.csv", seeds.slideflow()["without labels"]))
    assert old.regions[0].outline.area == 32
    semicolons = seeds.slideflow()["labels"].replace(b",", b";")
    assert read_annotations(saved(tmp_path / "c.csv", semicolons)).regions == annotations.regions


def test_another_table_is_no_annotation_file(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="roi_name"):
        read_annotations(saved(tmp_path / "a.csv", b"slide,patient\nA1,1\n"))


def test_a_polygon_of_one_list_of_points_is_its_ring(tmp_path: Path) -> None:
    ring = [[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]]
    (region,) = read_annotations(
        saved(tmp_path / "a.geojson", json.dumps({"type": "Polygon", "coordinates": ring}).encode())
    ).regions
    assert region.outline.area == 81


@pytest.mark.shared
def test_one_slide_outlined_in_qupath_and_aperio_has_the_same_areas(shared_data: Path) -> None:
    folder = shared_data / "odd" / "same_slide_qupath_and_aperio" / "example_annotations"
    areas = [
        sorted(
            region.outline.area
            for region in read_annotations(folder / f"TCGA-EJ-5519-01Z-00-DX1{suffix}").regions
        )
        for suffix in (".json", ".xml")
    ]
    assert areas[0] == pytest.approx(areas[1], rel=1e-5)


@pytest.mark.shared
def test_files_of_other_programs_are_read(shared_data: Path) -> None:
    counts = {
        "lazyslide_ndpa/tests/data/annotations_mixed.ndpa": 1,
        "histomicsui/tests/test_files/sample.anot": 1,
        "dlup/tests/files/103S.json": 12,
        "osd_paperjs/demo/dsa/Examples.json": 2,
    }
    for name, count in counts.items():
        assert len(read_annotations(shared_data / "odd" / name).regions) == count
