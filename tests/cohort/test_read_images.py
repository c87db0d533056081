"""Image classification data: which images of a folder or table are evaluated."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from histoscout.cohort.image_folders import RoiImage, is_image_folder, read_images
from histoscout.errors import CohortError


def write_images(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / name)


@pytest.mark.parametrize("order", ["{split}/{label}", "{label}/{split}"])
def test_bracs_is_understood_in_both_orders(tmp_path: Path, order: str) -> None:
    for split, label, name in (
        ("test", "2_UDH", "BRACS_264_UDH_1.png"),
        ("test", "0_N", "BRACS_265_N_17.png"),
        ("train", "2_UDH", "BRACS_1_UDH_1.png"),
        ("val", "5_DCIS", "BRACS_2_DCIS_1.png"),
    ):
        write_images(tmp_path / order.format(split=split, label=label), name)
    assert is_image_folder(tmp_path)
    images = read_images(tmp_path)
    assert sorted((image.label, image.patient) for image in images.images) == [
        ("N", "BRACS_265"),
        ("UDH", "BRACS_264"),
    ]
    assert "2 images that are not of the split test are left out" in images.notes[0]
    assert "slides are taken as patients" in images.notes[1]


@pytest.mark.parametrize(("split_of_b", "evaluated"), [("test", ["b"]), ("", ["a", "b"]), ("train", ["a"])])
def test_where_a_table_names_the_test_images_only_these_are_evaluated(
    tmp_path: Path, split_of_b: str, evaluated: list[str]
) -> None:
    """Images without a split are for training, as slides are, unless no image is of the split test."""
    write_images(tmp_path, "a.png", "b.png")
    rows = ["image,class,patient,split", "a.png,UDH,one,", f"b.png,ADH,two,{split_of_b}"]
    (tmp_path / "images.csv").write_text("\n".join(rows) + "\n")
    assert [image.path.stem for image in read_images(tmp_path / "images.csv").images] == evaluated


def test_a_folder_for_each_class_is_enough(tmp_path: Path) -> None:
    write_images(tmp_path, "UDH/a.png", "ADH/b.png", "ADH/c.png", "ADH/.hidden.png", "annotations/d.png")
    (tmp_path / "ADH" / "notes.txt").write_text("no image")
    images = read_images(tmp_path)
    assert [(image.path.name, image.label, image.patient) for image in images.images] == [
        ("b.png", "ADH", ""),
        ("c.png", "ADH", ""),
        ("a.png", "UDH", ""),
    ]
    assert images.labels == ("ADH", "UDH")
    assert images.notes == ("3 images name no patient",)


def test_a_cohort_of_slides_is_not_taken_for_images(tmp_path: Path, table: Path) -> None:
    assert not is_image_folder(table)
    assert not is_image_folder(table.parent)
    write_images(tmp_path, "one.png", "annotations/one.png")
    assert not is_image_folder(tmp_path)
    assert not is_image_folder(tmp_path / "nowhere")
    write_images(tmp_path / "single", "UDH/a.png")
    assert not is_image_folder(tmp_path / "single")


def test_a_table_names_patients_and_scale(tmp_path: Path) -> None:
    write_images(tmp_path, "a.png", "b.png")
    table = tmp_path / "images.csv"
    table.write_text("image;class;patient;mpp;split\na.png;UDH;p1;0,25;test\nb.png;N;p2;;train\n;;;;\n")
    assert is_image_folder(table)
    images = read_images(table)
    assert images.images == (RoiImage(tmp_path / "a.png", "UDH", "p1", mpp=0.25, split="test"),)


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ("class,patient\nUDH,p\n", "no column 'image'"),
        ("image,class,mpp\na.png,UDH,x\nno.png,UDH,\na.png,,1\n", "3 problems"),
        ("image,class,split\na.png,UDH,sometimes\n", "not train, tune or test"),
        ("image,class,split\na.png,UDH,train\n", "no test images"),
        ("image,class\n", "no images"),
    ],
)
def test_faults_of_a_table_are_reported(tmp_path: Path, rows: str, fault: str) -> None:
    write_images(tmp_path, "a.png")
    (tmp_path / "images.csv").write_text(rows)
    with pytest.raises(CohortError, match=fault):
        read_images(tmp_path / "images.csv")
