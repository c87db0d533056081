"""The image that outlines were drawn on: its name, size and scale, and where its pixels lie in its file."""

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
from histoscout.annotations.read import Annotations, ImageFacts, read_image_facts
from histoscout.errors import AnnotationError
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import mask_of
from histoscout.geometry.regions import Region
from tests.annotations import qpdata_writer as write
from tests.annotations.qpdata_seeds import SERVER
from tests.annotations.qpdata_writer import Drawn, saved

UDH = write.path_class("UDH", -3670016)


def only(found: Annotations) -> Region:
    assert len(found.regions) == 1, found
    return found.regions[0]


def test_the_image_is_known(tmp_path: Path) -> None:
    path = saved(tmp_path, server=SERVER)
    facts = ImageFacts("BRACS 1494.svs", 4000, 3000, 0.25)
    assert read_qpdata(path).image == read_qpdata_image(path) == read_image_facts(path) == facts
    assert read_image_facts(tmp_path / "a.geojson") is None


@pytest.mark.parametrize(
    "image_path", ["/data/a b.svs", "file:/C:/x/a%20b.svs", "C:\\data\\a b.svs", "file:///x/a%20b.svs"]
)
def test_before_0_3_the_image_is_known_by_name(tmp_path: Path, image_path: str) -> None:
    path = saved(tmp_path, server=image_path, version="0.2")
    assert read_qpdata(path).image == ImageFacts("a b.svs")


@pytest.mark.parametrize("server", [None, {}, {"uri": 5}, {"metadata": [1]}, {"metadata": {"width": "wide"}}])
def test_an_image_that_is_not_described_is_unknown(tmp_path: Path, server: dict[str, Any] | None) -> None:
    facts = read_qpdata(saved(tmp_path, server=server)).image
    assert facts in (None, ImageFacts())


def test_pixels_that_qupath_cannot_measure_are_unknown(tmp_path: Path) -> None:
    side = {"value": 1.0, "unit": "px"}
    server = {**SERVER, "metadata": {"pixelCalibration": {"pixelWidth": side, "pixelHeight": side}}}
    assert read_qpdata_image(saved(tmp_path, server=server)) == ImageFacts("BRACS 1494.svs")


def turned(pixels: NDArray[Any], rotation: str) -> NDArray[Any]:
    return np.rot90(pixels, {"ROTATE_NONE": 0, "ROTATE_90": -1, "ROTATE_180": 2, "ROTATE_270": 1}[rotation])


@pytest.mark.parametrize("rotation", ["ROTATE_NONE", "ROTATE_90", "ROTATE_180", "ROTATE_270"])
@pytest.mark.parametrize("as_argument", [False, True])
def test_outlines_on_a_turned_image_are_turned_back(tmp_path: Path, rotation: str, as_argument: bool) -> None:
    """The mask of the outline that is read, turned as the image was, is the mask of what was drawn."""
    drawn = Polygon([(1, 2), (11, 2), (11, 5), (4, 5), (4, 9), (1, 9)])
    height, width = turned(np.empty((20, 30)), rotation).shape
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
    path = saved(tmp_path, [Drawn(write.geometry_roi(drawn), UDH)], server=server)
    found = read_qpdata(path)
    assert found.image == ImageFacts("a.svs", 30, 20)
    mask = mask_of(only(found).outline, Box(0, 0, 30, 20), 1)
    assert np.array_equal(turned(mask, rotation), mask_of(drawn, Box(0, 0, width, height), 1))
    assert bool(found.notes) == (rotation != "ROTATE_NONE")


def test_outlines_on_a_cropped_and_turned_image_are_brought_back(tmp_path: Path) -> None:
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
    drawn = [Drawn(write.corners_roi("RectangleROI", 0, 0, 10, 5), UDH)]
    found = read_qpdata(saved(tmp_path, drawn, server=cropped))
    assert only(found).outline.bounds == (100, 200, 110, 205)
    assert found.image == ImageFacts("BRACS 1494.svs", 4000, 3000, 0.25)
    found = read_qpdata(saved(tmp_path, drawn, server=both))
    assert only(found).outline.bounds == (100, 230, 105, 240)
    assert (
        "QuPath showed the image turned by 90 degrees and cropped at 100, 200; outlines are moved"
        in found.notes[0]
    )


@pytest.mark.parametrize("kind", ["affine", "sparse", "labelled", 5])
def test_images_that_cannot_be_brought_back_are_refused(tmp_path: Path, kind: object) -> None:
    path = saved(tmp_path, server={"builderType": kind, "builder": SERVER})
    with pytest.raises(
        AnnotationError, match=rf"slide\.qpdata: was drawn on an image that QuPath showed changed .{kind}"
    ):
        read_qpdata(path)


@pytest.mark.parametrize("kind", ["pyramidize", "channels"])
def test_images_whose_pixels_stay_in_place_are_read(tmp_path: Path, kind: str) -> None:
    path = saved(tmp_path, server={"builderType": kind, "builder": SERVER})
    assert read_qpdata(path).image == ImageFacts("BRACS 1494.svs", 4000, 3000, 0.25)


@pytest.mark.parametrize(
    "server",
    [
        {"builderType": "rotated", "rotation": "ROTATE_90", "builder": {"uri": "file:/a.svs"}},
        {"builderType": "rotated", "rotation": "ROTATE_45", "metadata": {"width": 5, "height": 5}},
        {"builderType": "cropped", "builder": SERVER},
        {"builderType": "cropped", "region": {"x": "1", "y": 2}},
    ],
)
def test_turns_and_crops_that_are_not_described_are_refused(tmp_path: Path, server: dict[str, Any]) -> None:
    with pytest.raises(AnnotationError, match=r"slide\.qpdata: was drawn on a"):
        read_qpdata(saved(tmp_path, server=server))


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
def test_no_server_gives_a_foreign_error(server: dict[str, Any]) -> None:
    with suppress(AnnotationError):
        assert read_server(server, "a").matrix.shape == (3, 3)


def test_a_turned_image_of_before_0_3_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="turned or cropped, and does not say how"):
        read_qpdata(saved(tmp_path, server="/data/a.svs (rotated)", version="0.1"))
