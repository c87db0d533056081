import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from histoscout.annotations.geojson import DETECTIONS_FROM, write_geojson
from histoscout.cohort.annotated_slide import labeled_regions
from histoscout.cohort.case import Case
from histoscout.cohort.cohort import read_cohort
from histoscout.errors import AnnotationError
from histoscout.geometry.box import Box
from histoscout.geometry.regions import Region, Regions
from histoscout.recipe_sections import ClassConfig

CLASSES = ClassConfig(positive="UDH", other=("DCIS",), aliases={"UDH": ("usual ductal*",)})
SLIDE = Box(0, 0, 100, 80)


def drawn(folder: Path, *regions: tuple[str, tuple[float, float, float, float]]) -> Case:
    """A case with rectangles of these labels."""
    path = folder / "a.geojson"
    write_geojson(Regions.of(Region(shapely.box(*sides), label) for label, sides in regions), path)
    return Case(folder / "a.svs", path)


def test_labels_are_the_recipes_words(tmp_path: Path) -> None:
    labels = ["udh", "Usual Ductal Hyperplasia", "D-CIS", "dcis", "UDH-unsure", "Ignore*"]
    case = drawn(tmp_path, *((label, (3 * x, 1, 3 * x + 1, 2)) for x, label in enumerate(labels)))
    found = labeled_regions(case, CLASSES)
    assert [r.label for r in found.regions] == ["UDH", "UDH", "D-CIS", "DCIS", "ignore", "ignore"]
    assert found.notes == ("classes that the recipe does not name, taken as background: D-CIS (1)",)


def test_unlisted_classes_keep_their_names_and_are_counted(tmp_path: Path) -> None:
    case = drawn(tmp_path, *((label, (1, 1, 2, 2)) for label in ["fat", "nerve", "fat", "UDH", ""]))
    found = labeled_regions(case, CLASSES)
    assert [r.label for r in found.regions] == ["fat", "nerve", "fat", "UDH", ""]
    assert found.notes[-1].endswith("background: unclassified (1), fat (2), nerve (1)")


def test_unlisted_classes_can_be_ignored(tmp_path: Path) -> None:
    case = drawn(tmp_path, ("fat", (1, 1, 2, 2)))
    found = labeled_regions(case, ClassConfig(positive="UDH", unlisted="ignore"))
    assert (found.regions.labels, found.notes) == (["ignore"], ())


def test_outside_reviewed_areas_only_annotations_count(tmp_path: Path) -> None:
    shapes = [("Reviewed", (0, 0, 50, 80)), ("UDH", (10, 10, 20, 20)), ("UDH", (60, 10, 70, 20))]
    found = labeled_regions(drawn(tmp_path, *shapes), CLASSES, SLIDE)
    assert [region.label for region in found.regions] == ["UDH", "UDH", "ignore"]
    nobody_looked = found.regions[2].outline
    assert nobody_looked.equals(shapely.box(50, 0, 100, 80) - shapely.box(60, 10, 70, 20))
    assert "1 reviewed areas (50% of the slide)" in found.notes[-1]


def test_a_slide_that_was_reviewed_as_a_whole_has_nothing_to_ignore(tmp_path: Path) -> None:
    case = drawn(tmp_path, ("reviewed", (0, 0, 100, 80)), ("UDH", (10, 10, 20, 20)))
    assert labeled_regions(case, CLASSES, SLIDE).regions.labels == ["UDH"]
    assert labeled_regions(case, CLASSES).regions.labels == ["UDH"]  # nor without its size


def test_cells_and_detections_are_no_lesions(tmp_path: Path) -> None:
    kinds = ("annotation", "cell", "cell", "tmaCore")
    regions = [Region(shapely.box(1, 1, 9, 9), "UDH", properties={"objectType": kind}) for kind in kinds]
    write_geojson(Regions.of(regions), tmp_path / "a.geojson")
    found = labeled_regions(Case(tmp_path / "a.svs", tmp_path / "a.geojson"), CLASSES, SLIDE)
    assert [region.id for region in found.regions] == [regions[0].id]
    assert found.notes == ("left out, as only annotations are read: cells (2), TMA cores (1)",)


def test_detections_that_histoscout_wrote_are_annotations_on_request(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    write_geojson(
        Regions.of(Region(shapely.box(1, 1, 9, 9), "UDH", 0.5) for _ in range(DETECTIONS_FROM)), path
    )
    assert len(labeled_regions(Case(tmp_path / "a.svs", path), CLASSES).regions) == 0
    case = Case(tmp_path / "a.svs", path, keep_found=True)
    assert len(labeled_regions(case, CLASSES).regions) == DETECTIONS_FROM
    content = json.loads(path.read_text(encoding="utf-8"))
    content["features"] = content["features"][:3]
    del content["histoscout"]  # as QuPath exports them
    path.write_text(json.dumps(content), encoding="utf-8")
    assert len(labeled_regions(case, CLASSES).regions) == 3


def test_a_slide_without_annotations_says_so(tmp_path: Path) -> None:
    found = labeled_regions(Case(tmp_path / "a.svs"), CLASSES, SLIDE)
    assert (len(found.regions), found.notes) == (0, ("no annotations belong to this slide",))


def test_annotations_are_clipped_to_the_slide_and_counted(tmp_path: Path) -> None:
    case = drawn(
        tmp_path,
        ("UDH", (10, 10, 20, 20)),
        ("UDH", (90, 10, 120, 20)),
        ("UDH", (-30, -30, -10, -10)),
        ("UDH", (99.5, 0, 101, 10)),  # a pixel beyond the edge is not worth a word
    )
    found = labeled_regions(case, CLASSES, SLIDE)
    assert [r.outline.area for r in found.regions] == [100, 100, 5]
    assert found.notes == (
        "1 of 4 annotations is outside the slide and left out: is it the right slide?",
        "1 annotation reaches beyond the slide's edge and is clipped",
    )


def test_annotations_that_are_all_elsewhere_point_to_another_slide(tmp_path: Path) -> None:
    case = drawn(tmp_path, ("UDH", (500, 500, 600, 600)))
    assert labeled_regions(case, CLASSES, SLIDE).notes == (
        "1 of 1 annotation is outside the slide and left out: is it the right slide?",
    )


# ---------------------------------------------------------------- masks


def masked(folder: Path, width: int, height: int, suffix: str = ".png") -> Case:
    values = np.zeros((height, width), np.uint8)
    values[: height // 2] = 1 if suffix == ".png" else 255
    Image.fromarray(values).save(folder / f"a{suffix}", quality=95)
    return Case(folder / "a.svs", folder / f"a{suffix}", mask_labels=((1, "UDH"),))


@given(st.integers(200, 600), st.integers(200, 600), st.sampled_from([1, 2, 4, 8]), st.booleans())
def test_a_masks_scale_is_found_however_its_size_was_rounded(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int, factor: int, up: bool
) -> None:
    across, down = (-(-side // factor) if up else side // factor for side in (width, height))
    case = masked(tmp_path_factory.mktemp("mask"), across, down)
    (region,) = labeled_regions(case, CLASSES, Box(0, 0, width, height)).regions
    assert region.outline.bounds == (0, 0, min(width, across * factor), down // 2 * factor)


def test_a_mask_of_no_round_scale_fits_the_slide(tmp_path: Path) -> None:
    (region,) = labeled_regions(masked(tmp_path, 40, 32), CLASSES, SLIDE).regions
    assert region.outline.bounds == pytest.approx((0, 0, 100, 40))


def test_a_mask_of_another_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="shape"):
        labeled_regions(masked(tmp_path, 50, 80), CLASSES, SLIDE)


def test_a_mask_without_a_slide_is_at_its_resolution(tmp_path: Path) -> None:
    (region,) = labeled_regions(masked(tmp_path, 40, 32), CLASSES).regions
    assert region.outline.area == 40 * 16


def test_a_jpeg_mask_by_way_of_a_table(tmp_path: Path) -> None:
    masked(tmp_path, 64, 64, ".jpg")
    (tmp_path / "slide.svs").write_bytes(b"")
    (tmp_path / "cohort.csv").write_text(
        "slide,mask,patient,mask_labels,mask_threshold\nslide.svs,a.jpg,P,udh,128\n"
    )
    (case,) = read_cohort(tmp_path / "cohort.csv").cases
    (region,) = labeled_regions(case, CLASSES, Box(0, 0, 128, 128)).regions
    assert (region.label, region.outline.area) == ("UDH", 128 * 64)


@pytest.mark.shared
def test_a_real_tumour_mask(shared_data: Path) -> None:
    case = Case(
        shared_data / "bcss/images/1019.jpg",
        shared_data / "bcss/masks/1019.jpg",
        mask_labels=((1, "tumor"),),
        mask_threshold=128,
    )
    found = labeled_regions(case, ClassConfig(positive="Tumor"), Box(0, 0, 3072, 2560))
    assert found.regions.labels == ["Tumor"]
    assert found.notes == ()
