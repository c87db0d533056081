"""Masks: pixels become regions, values get names, and images that are no masks are refused."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from histoscout.annotations.masks import mask_size, read_class_values, read_mask
from histoscout.errors import AnnotationError
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import label_map
from tests.annotations.notes import note_with, only_note

VALUES = np.zeros((6, 8), np.uint8)
VALUES[1:3, 1:4] = 1
VALUES[4:, 5:] = 2
VALUES[0, 7] = 255


def save(path: Path, values: NDArray[np.generic] = VALUES) -> Path:
    if path.suffix == ".tif":
        tifffile.imwrite(path, values)
    else:
        Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize("name", ["mask.png", "mask.tif"])
def test_each_piece_of_a_class_becomes_a_region(tmp_path: Path, name: str) -> None:
    annotations = read_mask(save(tmp_path / name), {1: "UDH", 2: "stroma"}, scale=4)
    assert [(region.label, region.outline.area) for region in annotations.regions] == [
        ("UDH", 6 * 16),
        ("stroma", 6 * 16),
        ("ignore", 16),
    ]
    assert annotations.regions[0].outline.bounds == (4, 4, 16, 12)
    assert only_note(annotations.notes, "255")


@given(arrays.arrays(np.uint8, (7, 9), elements=st.sampled_from([0, 1, 2, 255])))
def test_the_regions_painted_again_are_the_mask(
    tmp_path_factory: pytest.TempPathFactory, values: NDArray[np.uint8]
) -> None:
    path = save(tmp_path_factory.mktemp("law") / "mask.png", values)
    regions = read_mask(path, {1: "a", 2: "b"}, scale=2).regions
    layers = [(regions.with_labels(label), value) for label, value in [("a", 1), ("b", 2), ("ignore", 255)]]
    np.testing.assert_array_equal(label_map(layers, Box(0, 0, 18, 14), 2), values)


def test_values_without_a_name_are_kept_and_noted(tmp_path: Path) -> None:
    annotations = read_mask(save(tmp_path / "mask.png"), {1: "UDH", 7: "duct"})
    assert annotations.regions.labels == ["2", "UDH", "ignore"]
    assert len(annotations.notes) == 3
    assert note_with(annotations.notes, ": 2 (", "mask_labels")
    assert note_with(annotations.notes, "7 (duct)")


def test_255_can_be_a_class(tmp_path: Path) -> None:
    annotations = read_mask(save(tmp_path / "mask.png"), {255: "UDH"})
    assert "UDH" in annotations.regions.labels


def test_ids_are_the_same_each_time(tmp_path: Path) -> None:
    path = save(tmp_path / "mask.png")
    first, second = (read_mask(path).regions for _ in range(2))
    assert first == second
    assert len({region.id for region in first}) == len(first)


def test_background_alone_is_read_and_noted(tmp_path: Path) -> None:
    annotations = read_mask(save(tmp_path / "mask.png", np.zeros((4, 4), np.uint8)))
    assert len(annotations.regions) == 0
    assert only_note(annotations.notes, "background")


def test_a_jpeg_needs_a_threshold(tmp_path: Path) -> None:
    values = np.zeros((32, 32), np.uint8)
    values[8:24, 8:24] = 255
    path = tmp_path / "mask.jpg"
    Image.fromarray(values).convert("RGB").save(path, quality=90)
    with pytest.raises(AnnotationError, match="mask_threshold"):
        read_mask(path, {1: "tumour"})
    annotations = read_mask(path, {1: "tumour"}, threshold=128)
    assert [(region.label, region.outline.area) for region in annotations.regions] == [("tumour", 256)]


def test_a_jpeg_inside_a_tiff_needs_a_threshold_too(tmp_path: Path) -> None:
    path = tmp_path / "mask.tif"
    tifffile.imwrite(path, np.zeros((32, 32), np.uint8), compression="jpeg")
    with pytest.raises(AnnotationError, match="mask_threshold"):
        read_mask(path)


@pytest.mark.parametrize(
    "values",
    [
        VALUES[..., None].repeat(3, 2),
        np.dstack([VALUES] * 3 + [np.full_like(VALUES, 255)]),
        np.dstack([VALUES, np.full_like(VALUES, 255)]),
        VALUES.astype(np.uint16),
    ],
)
def test_gray_values_are_read_from_every_kind_of_channels(
    tmp_path: Path, values: NDArray[np.generic]
) -> None:
    assert len(read_mask(save(tmp_path / "mask.png", values)).regions) == 3


def test_a_palette_image_is_read_by_its_numbers(tmp_path: Path) -> None:
    image = Image.fromarray(VALUES)
    image.putpalette([number for value in range(256) for number in (255 - value, value, 7)])
    image.save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as saved:
        assert saved.mode == "P"
    assert read_mask(tmp_path / "mask.png").regions.labels == ["1", "2", "ignore"]


def test_one_bit_images_have_the_value_one(tmp_path: Path) -> None:
    assert read_mask(save(tmp_path / "mask.png", VALUES > 0), {1: "UDH"}).regions.labels == ["UDH"]


@pytest.mark.parametrize(
    ("values", "keyword"),
    [
        (np.dstack([VALUES, VALUES * 2, VALUES]), "colors"),
        (np.arange(100, dtype=np.uint8).reshape(10, 10), "99 "),
        (VALUES.astype(np.float32), "fractions"),
        (VALUES.astype(np.int32) - 1, "negative"),
        (np.zeros((3, 6, 8), np.uint8) + VALUES, "several"),
    ],
)
def test_images_that_are_no_masks_are_refused(
    tmp_path: Path, values: NDArray[np.generic], keyword: str
) -> None:
    suffix = ".png" if values.ndim == 2 and values.dtype == np.uint8 else ".tif"
    path = tmp_path / f"mask{suffix}"
    if values.ndim == 3:
        tifffile.imwrite(path, values, photometric="rgb" if values.shape[2] == 3 else "minisblack")
    else:
        save(path, values)
    with pytest.raises(AnnotationError, match=rf"mask\..*{keyword}"):
        read_mask(path)


@pytest.mark.parametrize("name", ["mask.png", "mask.tif"])
def test_a_truncated_file_is_refused(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 3, (200, 200), np.uint8)
    path = save(tmp_path / name, noise)
    whole = path.read_bytes()
    for length in (8, 50, len(whole) // 2):
        path.write_bytes(whole[:length])
        with pytest.raises(AnnotationError, match="mask"):
            read_mask(path)


@pytest.mark.parametrize("name", ["mask.png", "mask.tif"])
def test_the_size_is_width_and_height(tmp_path: Path, name: str) -> None:
    assert mask_size(save(tmp_path / name)) == (8, 6)


@pytest.mark.shared
def test_a_real_tumour_mask(shared_data: Path) -> None:
    path = shared_data / "bcss/masks/1008.jpg"
    annotations = read_mask(path, {1: "tumour"}, threshold=128)
    with Image.open(path) as image:
        share = (np.asarray(image)[..., 1] >= 128).mean()
    assert sum(region.outline.area for region in annotations.regions) == share * 3584 * 2560


def test_a_huge_mask_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "mask.tif")
    with tifffile.TiffFile(path, mode="r+") as tiff:
        page = tiff.pages.first
        page.tags["ImageWidth"].overwrite(60_000)
        page.tags["ImageLength"].overwrite(60_000)
    with pytest.raises(AnnotationError, match="60000 x 60000"):
        read_mask(path)


@pytest.mark.parametrize("name", ["mask.png", "mask.tif", "mask.jpg"])
@given(st.lists(st.tuples(st.integers(0, 250), st.integers(0, 255)), min_size=1, max_size=3))
def test_a_damaged_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, damage: list[tuple[int, int]]
) -> None:
    path = save(tmp_path_factory.mktemp("damaged") / name)
    content = bytearray(path.read_bytes())
    for position, byte in damage:
        content[position % len(content)] = byte
    path.write_bytes(content)
    with suppress(AnnotationError):
        size = mask_size(path)
        # larger ones only take long
        if size[0] * size[1] < 10**6:
            read_mask(path, threshold=1)


def test_fax_is_refused_as_its_decoder_crashes_on_damage(tmp_path: Path) -> None:
    path = tmp_path / "mask.tif"
    Image.fromarray(VALUES > 0).save(path, compression="group4")
    with pytest.raises(AnnotationError, match="CCITT"):
        read_mask(path)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits", "zstd", "lzma"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("big", [False, True])
def test_every_compression_of_a_tiff_gives_the_same_mask(
    tmp_path: Path, compression: str | None, dtype: type[np.generic], tile: tuple[int, int] | None, big: bool
) -> None:
    path = tmp_path / "mask.tif"
    values = np.tile(VALUES, (5, 4)).astype(dtype)
    tifffile.imwrite(
        path, values, compression=compression, tile=tile, bigtiff=big, predictor=compression == "lzw"
    )
    np.testing.assert_array_equal(read_class_values(path, None), values)


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg"])
def test_turned_masks_are_refused(tmp_path: Path, name: str) -> None:
    exif = Image.Exif()
    exif[274] = 6
    options = {"tiffinfo": {274: 6}} if name == "a.tif" else {"exif": exif}
    Image.fromarray(np.ones((20, 30), np.uint8)).save(tmp_path / name, **options)
    with pytest.raises(AnnotationError, match="orientation 6"):
        read_mask(tmp_path / name, {1: "UDH"}, 1)
