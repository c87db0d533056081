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

from histoscout.annotations.masks import read_label_image, read_pixels, size_of
from histoscout.errors import AnnotationError
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import label_map

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
    found = read_label_image(save(tmp_path / name), {1: "UDH", 2: "stroma"}, scale=4)
    assert [(region.label, region.outline.area) for region in found.regions] == [
        ("UDH", 6 * 16),
        ("stroma", 6 * 16),
        ("ignore", 16),
    ]
    assert found.regions[0].outline.bounds == (4, 4, 16, 12)
    assert found.notes == ()


@given(arrays.arrays(np.uint8, (7, 9), elements=st.sampled_from([0, 1, 2, 255])))
def test_the_regions_painted_again_are_the_image(
    tmp_path_factory: pytest.TempPathFactory, values: NDArray[np.uint8]
) -> None:
    path = save(tmp_path_factory.mktemp("law") / "mask.png", values)
    regions = read_label_image(path, {1: "a", 2: "b"}, scale=2).regions
    layers = [(regions.labeled(label), value) for label, value in [("a", 1), ("b", 2), ("ignore", 255)]]
    np.testing.assert_array_equal(label_map(layers, Box(0, 0, 18, 14), 2), values)


def test_values_without_a_name_are_kept_and_reported(tmp_path: Path) -> None:
    found = read_label_image(save(tmp_path / "mask.png"), {1: "UDH", 7: "duct"})
    assert found.regions.labels == ["2", "UDH", "ignore"]
    assert found.notes == (
        "values without a name are labels by their number: 2 (column mask_labels, or --values)",
        "values that do not occur: 7 (duct)",
    )


def test_255_can_be_a_class(tmp_path: Path) -> None:
    found = read_label_image(save(tmp_path / "mask.png"), {255: "UDH"})
    assert "UDH" in found.regions.labels


def test_ids_are_the_same_each_time(tmp_path: Path) -> None:
    path = save(tmp_path / "mask.png")
    first, second = (read_label_image(path).regions for _ in range(2))
    assert first == second
    assert len({region.id for region in first}) == len(first)


def test_background_alone_is_fine_and_said_to_be(tmp_path: Path) -> None:
    found = read_label_image(save(tmp_path / "mask.png", np.zeros((4, 4), np.uint8)))
    assert (len(found.regions), found.notes) == (0, ("nothing but background in this image",))


def test_a_jpeg_needs_a_threshold_and_is_right_with_one(tmp_path: Path) -> None:
    values = np.zeros((32, 32), np.uint8)
    values[8:24, 8:24] = 255
    path = tmp_path / "mask.jpg"
    Image.fromarray(values).convert("RGB").save(path, quality=90)
    with pytest.raises(AnnotationError, match="mask_threshold"):
        read_label_image(path, {1: "tumour"})
    found = read_label_image(path, {1: "tumour"}, threshold=128)
    assert [(region.label, region.outline.area) for region in found.regions] == [("tumour", 256)]


def test_a_jpeg_inside_a_tiff_needs_a_threshold_too(tmp_path: Path) -> None:
    path = tmp_path / "mask.tif"
    tifffile.imwrite(path, np.zeros((32, 32), np.uint8), compression="jpeg")
    with pytest.raises(AnnotationError, match="mask_threshold"):
        read_label_image(path)


@pytest.mark.parametrize(
    "values",
    [
        VALUES[..., None].repeat(3, 2),
        np.dstack([VALUES] * 3 + [np.full_like(VALUES, 255)]),
        np.dstack([VALUES, np.full_like(VALUES, 255)]),
        VALUES.astype(np.uint16),
    ],
)
def test_gray_in_other_clothes_is_gray(tmp_path: Path, values: NDArray[np.generic]) -> None:
    assert len(read_label_image(save(tmp_path / "mask.png", values)).regions) == 3


def test_a_palette_image_is_read_by_its_numbers(tmp_path: Path) -> None:
    image = Image.fromarray(VALUES)
    image.putpalette([number for value in range(256) for number in (255 - value, value, 7)])
    image.save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as saved:
        assert saved.mode == "P"
    assert read_label_image(tmp_path / "mask.png").regions.labels == ["1", "2", "ignore"]


def test_one_bit_images_have_the_value_one(tmp_path: Path) -> None:
    assert read_label_image(save(tmp_path / "mask.png", VALUES > 0), {1: "UDH"}).regions.labels == ["UDH"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.dstack([VALUES, VALUES * 2, VALUES]), "colours"),
        (np.arange(100, dtype=np.uint8).reshape(10, 10), "too many for classes"),
        (VALUES.astype(np.float32), "fractions"),
        (VALUES.astype(np.int32) - 1, "negative"),
        (np.zeros((3, 6, 8), np.uint8) + VALUES, "not one image"),
    ],
)
def test_what_cannot_be_classes_is_refused(tmp_path: Path, values: NDArray[np.generic], said: str) -> None:
    suffix = ".png" if values.ndim == 2 and values.dtype == np.uint8 else ".tif"
    path = tmp_path / f"mask{suffix}"
    if values.ndim == 3:
        tifffile.imwrite(path, values, photometric="rgb" if values.shape[2] == 3 else "minisblack")
    else:
        save(path, values)
    with pytest.raises(AnnotationError, match=said):
        read_label_image(path)


@pytest.mark.parametrize("name", ["mask.png", "mask.tif"])
def test_a_file_cut_short_is_refused(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 3, (200, 200), np.uint8)
    path = save(tmp_path / name, noise)
    whole = path.read_bytes()
    for length in (8, 50, len(whole) // 2):
        path.write_bytes(whole[:length])
        with pytest.raises(AnnotationError, match="mask"):
            read_label_image(path)


@pytest.mark.parametrize("name", ["mask.png", "mask.tif"])
def test_the_size_is_width_and_height(tmp_path: Path, name: str) -> None:
    assert size_of(save(tmp_path / name)) == (8, 6)


@pytest.mark.shared
def test_a_real_tumour_mask(shared_data: Path) -> None:
    path = shared_data / "bcss/masks/1008.jpg"
    found = read_label_image(path, {1: "tumour"}, threshold=128)
    with Image.open(path) as image:
        share = (np.asarray(image)[..., 1] >= 128).mean()
    assert sum(region.outline.area for region in found.regions) == share * 3584 * 2560


def test_a_mask_beyond_all_memory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "mask.tif")
    with tifffile.TiffFile(path, mode="r+") as tiff:
        page = tiff.pages.first
        page.tags["ImageWidth"].overwrite(60_000)
        page.tags["ImageLength"].overwrite(60_000)
    with pytest.raises(AnnotationError, match="too large"):
        read_label_image(path)


@pytest.mark.parametrize("name", ["mask.png", "mask.tif", "mask.jpg"])
@given(st.lists(st.tuples(st.integers(0, 250), st.integers(0, 255)), min_size=1, max_size=3))
def test_damage_gives_no_foreign_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, damage: list[tuple[int, int]]
) -> None:
    path = save(tmp_path_factory.mktemp("damaged") / name)
    content = bytearray(path.read_bytes())
    for place, byte in damage:
        content[place % len(content)] = byte
    path.write_bytes(content)
    with suppress(AnnotationError):
        size = size_of(path)
        if size[0] * size[1] < 10**6:  # larger ones only take long
            read_label_image(path, threshold=1)


def test_fax_is_refused_as_its_decoder_crashes_on_damage(tmp_path: Path) -> None:
    path = tmp_path / "mask.tif"
    Image.fromarray(VALUES > 0).save(path, compression="group4")
    with pytest.raises(AnnotationError, match=r"packed in a way \(CCITT"):
        read_label_image(path)


@pytest.mark.parametrize("packing", [None, "zlib", "lzw", "packbits", "zstd", "lzma"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("big", [False, True])
def test_every_packing_of_a_tiff_is_the_same_mask(
    tmp_path: Path, packing: str | None, dtype: type[np.generic], tile: tuple[int, int] | None, big: bool
) -> None:
    path = tmp_path / "mask.tif"
    values = np.tile(VALUES, (5, 4)).astype(dtype)
    tifffile.imwrite(path, values, compression=packing, tile=tile, bigtiff=big, predictor=packing == "lzw")
    np.testing.assert_array_equal(read_pixels(path, None), values)
