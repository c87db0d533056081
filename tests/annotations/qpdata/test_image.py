"""The image of a data file: its name, size and um/px, and cropped and rotated images."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely.geometry import Polygon

from histoscout.annotations.qpdata.image import read_server
from histoscout.annotations.qpdata.reader import read_qpdata, read_qpdata_image
from histoscout.annotations.read import Annotations, ImageMetadata, read_image_metadata
from histoscout.errors import AnnotationError
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import polygon_to_mask
from histoscout.geometry.regions import Region
from tests.annotations import qpdata_writer as write
from tests.annotations.notes import only_note
from tests.annotations.qpdata_seeds import SERVER
from tests.annotations.qpdata_writer import QupathObject, write_data_file

UDH = write.path_class("UDH", -3670016)


def only(annotations: Annotations) -> Region:
    assert len(annotations.regions) == 1, annotations
    return annotations.regions[0]


def test_the_image_is_described(tmp_path: Path) -> None:
    path = write_data_file(tmp_path, server=SERVER)
    image = ImageMetadata(name="BRACS 1494.svs", width=4000, height=3000, mpp=0.25, series=0)
    assert read_qpdata(path).image == read_qpdata_image(path) == read_image_metadata(path) == image
    assert read_image_metadata(tmp_path / "a.geojson") is None


@pytest.mark.parametrize(
    "image_path", ["/data/a b.svs", "file:/C:/x/a%20b.svs", "C:\\data\\a b.svs", "file:///x/a%20b.svs"]
)
def test_before_0_3_the_image_has_a_name_alone(tmp_path: Path, image_path: str) -> None:
    path = write_data_file(tmp_path, server=image_path, version="0.2")
    assert read_qpdata(path).image == ImageMetadata(name="a b.svs")


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (None, None),
        ({}, ImageMetadata()),
        ({"uri": 5}, ImageMetadata()),
        ({"metadata": [1]}, ImageMetadata()),
        ({"metadata": {"width": "wide"}}, ImageMetadata()),
    ],
)
def test_an_image_that_is_not_described_is_unknown(
    tmp_path: Path, server: dict[str, Any] | None, expected: ImageMetadata | None
) -> None:
    assert read_qpdata(write_data_file(tmp_path, server=server)).image == expected


def test_pixels_without_a_size_in_um_are_unknown(tmp_path: Path) -> None:
    side = {"value": 1.0, "unit": "px"}
    server = {**SERVER, "metadata": {"pixelCalibration": {"pixelWidth": side, "pixelHeight": side}}}
    assert read_qpdata_image(write_data_file(tmp_path, server=server)) == ImageMetadata(
        name="BRACS 1494.svs", series=0
    )


def rotate(pixels: NDArray[Any], rotation: str) -> NDArray[Any]:
    return np.rot90(pixels, {"ROTATE_NONE": 0, "ROTATE_90": -1, "ROTATE_180": 2, "ROTATE_270": 1}[rotation])


@pytest.mark.parametrize("rotation", ["ROTATE_NONE", "ROTATE_90", "ROTATE_180", "ROTATE_270"])
@pytest.mark.parametrize("as_argument", [False, True])
def test_annotations_on_a_rotated_image_are_rotated_back(
    tmp_path: Path, rotation: str, as_argument: bool
) -> None:
    """The mask of the polygon that is read, rotated like the image, is the mask of what was drawn."""
    polygon = Polygon([(1, 2), (11, 2), (11, 5), (4, 5), (4, 9), (1, 9)])
    height, width = rotate(np.empty((20, 30)), rotation).shape
    size = {"width": width, "height": height}
    if as_argument:
        server = {
            "builderType": "uri",
            "uri": "file:/a.svs",
            "args": ["--rotate", rotation],
            "metadata": size,
        }
    else:
        inner = {"builderType": "uri", "uri": "file:/a.svs"}
        server = {"builderType": "rotated", "rotation": rotation, "builder": inner, "metadata": size}
    path = write_data_file(tmp_path, [QupathObject(write.geometry_roi(polygon), UDH)], server=server)
    annotations = read_qpdata(path)
    assert annotations.image == ImageMetadata(name="a.svs", width=30, height=20)
    mask = polygon_to_mask(only(annotations).outline, Box(0, 0, 30, 20), 1)
    assert np.array_equal(rotate(mask, rotation), polygon_to_mask(polygon, Box(0, 0, width, height), 1))
    assert bool(annotations.notes) == (rotation != "ROTATE_NONE")


def test_annotations_on_a_cropped_and_rotated_image_are_moved_back(tmp_path: Path) -> None:
    cropped = {
        "builderType": "cropped",
        "region": {"x": 100, "y": 200, "width": 50, "height": 40},
        "builder": SERVER,
        "metadata": {"width": 50, "height": 40},
    }
    both = {
        "builderType": "rotated",
        "rotation": "ROTATE_90",
        "builder": cropped,
        "metadata": {"width": 40, "height": 50},
    }
    objects = [QupathObject(write.corners_roi("RectangleROI", 0, 0, 10, 5), UDH)]
    annotations = read_qpdata(write_data_file(tmp_path, objects, server=cropped))
    assert only(annotations).outline.bounds == (100, 200, 110, 205)
    assert annotations.image == ImageMetadata(
        name="BRACS 1494.svs", width=4000, height=3000, mpp=0.25, series=0
    )
    annotations = read_qpdata(write_data_file(tmp_path, objects, server=both))
    assert only(annotations).outline.bounds == (100, 230, 105, 240)
    assert only_note(annotations.notes, "90 degrees", "100, 200")


@pytest.mark.parametrize("kind", ["affine", "sparse", "labelled", 5])
def test_images_changed_in_other_ways_are_refused(tmp_path: Path, kind: object) -> None:
    path = write_data_file(tmp_path, server={"builderType": kind, "builder": SERVER})
    with pytest.raises(AnnotationError, match=rf"slide\.qpdata: .*{kind}"):
        read_qpdata(path)


@pytest.mark.parametrize("kind", ["pyramidize", "channels"])
def test_images_whose_pixels_stay_in_place_are_read(tmp_path: Path, kind: str) -> None:
    path = write_data_file(tmp_path, server={"builderType": kind, "builder": SERVER})
    assert read_qpdata(path).image == ImageMetadata(
        name="BRACS 1494.svs", width=4000, height=3000, mpp=0.25, series=0
    )


@pytest.mark.parametrize(
    "server",
    [
        {"builderType": "rotated", "rotation": "ROTATE_90", "builder": {"uri": "file:/a.svs"}},
        {"builderType": "rotated", "rotation": "ROTATE_45", "metadata": {"width": 5, "height": 5}},
        {"builderType": "cropped", "builder": SERVER},
        {"builderType": "cropped", "region": {"x": "1", "y": 2}},
    ],
)
def test_rotations_and_crops_that_are_not_described_are_refused(
    tmp_path: Path, server: dict[str, Any]
) -> None:
    with pytest.raises(AnnotationError, match=r"slide\.qpdata: "):
        read_qpdata(write_data_file(tmp_path, server=server))


KEYS = {
    "builderType",
    "builder",
    "metadata",
    "uri",
    "args",
    "region",
    "x",
    "y",
    "rotation",
    "width",
    "height",
} | {
    "pixelCalibration",
    "pixelWidth",
    "pixelHeight",
    "value",
    "unit",
}
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(
        ["uri", "rotated", "cropped", "ROTATE_90", "--rotate", "µm", "file:/a.svs", "http://[", 10**400]
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(KEYS)), inner, max_size=6)
    ),
)


@given(st.dictionaries(st.sampled_from(sorted(KEYS)), ANYTHING, max_size=8))
def test_any_server_is_read_or_refused(server: dict[str, Any]) -> None:
    with suppress(AnnotationError):
        assert read_server(server, "a").matrix.shape == (3, 3)


def test_a_rotated_image_before_0_3_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"slide\.qpdata: "):
        read_qpdata(write_data_file(tmp_path, server="/data/a.svs (rotated)", version="0.1"))
