"""Images by class: which they are, what a network says of the whole of them, and the figures that follow."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from histoscout.cohort.image_folders import RoiImage, holds_images_by_class, read_images
from histoscout.errors import CohortError, OutputError
from histoscout.evaluation.images.evaluate import NONE_OF_THESE, ImageOptions, evaluate_images
from histoscout.evaluation.images.inference import answers_for_images, windows_on
from histoscout.evaluation.images.published import SEVEN, THREE, Published, columns_of, published_for
from histoscout.evaluation.images.scores import (
    BRACS_GROUPS,
    OF_ALL,
    OF_EACH,
    NamedImage,
    folded,
    score_images,
    write_image_scores,
)
from histoscout.network.model_folder import ModelFolder
from histoscout.progress import Silent
from histoscout.recipe import Recipe
from tests import toy
from tests.detection.redness import Redness, redness


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / name)


# ---------------------------------------------------------------- folders and tables


@pytest.mark.parametrize("order", ["{split}/{label}", "{label}/{split}"])
def test_bracs_is_understood_in_both_orders(tmp_path: Path, order: str) -> None:
    for split, label, name in (
        ("test", "2_UDH", "BRACS_264_UDH_1.png"),
        ("test", "0_N", "BRACS_265_N_17.png"),
        ("train", "2_UDH", "BRACS_1_UDH_1.png"),
        ("val", "5_DCIS", "BRACS_2_DCIS_1.png"),
    ):
        _touch(tmp_path / order.format(split=split, label=label), name)
    assert holds_images_by_class(tmp_path)
    found = read_images(tmp_path)
    assert sorted((image.label, image.patient) for image in found.images) == [
        ("N", "BRACS_265"),
        ("UDH", "BRACS_264"),
    ]
    assert "2 images that are not of the split test are left out" in found.notes[0]
    assert "slides are taken as patients" in found.notes[1]


@pytest.mark.parametrize(("of_b", "judged"), [("test", ["b"]), ("", ["a", "b"]), ("train", ["a"])])
def test_where_a_table_names_the_test_images_only_these_are_judged(
    tmp_path: Path, of_b: str, judged: list[str]
) -> None:
    """Images without a split are learnt from, as slides are, unless no image is of the split test."""
    _touch(tmp_path, "a.png", "b.png")
    rows = ["image,class,patient,split", "a.png,UDH,one,", f"b.png,ADH,two,{of_b}"]
    (tmp_path / "images.csv").write_text("\n".join(rows) + "\n")
    assert [image.path.stem for image in read_images(tmp_path / "images.csv").images] == judged


def test_a_folder_for_each_class_is_enough(tmp_path: Path) -> None:
    _touch(tmp_path, "UDH/a.png", "ADH/b.png", "ADH/c.png", "ADH/.hidden.png", "annotations/d.png")
    (tmp_path / "ADH" / "notes.txt").write_text("no image")
    found = read_images(tmp_path)
    assert [(image.path.name, image.label, image.patient) for image in found.images] == [
        ("b.png", "ADH", ""),
        ("c.png", "ADH", ""),
        ("a.png", "UDH", ""),
    ]
    assert found.labels == ("ADH", "UDH")
    assert found.notes == ("3 images name no patient",)


def test_a_cohort_of_slides_is_not_taken_for_images(tmp_path: Path, table: Path) -> None:
    assert not holds_images_by_class(table)
    assert not holds_images_by_class(table.parent)
    _touch(tmp_path, "one.png", "annotations/one.png")
    assert not holds_images_by_class(tmp_path)
    assert not holds_images_by_class(tmp_path / "nowhere")
    _touch(tmp_path / "single", "UDH/a.png")
    assert not holds_images_by_class(tmp_path / "single")


def test_a_table_names_patients_and_scale(tmp_path: Path) -> None:
    _touch(tmp_path, "a.png", "b.png")
    table = tmp_path / "images.csv"
    table.write_text("image;class;patient;mpp;split\na.png;UDH;p1;0,25;test\nb.png;N;p2;;train\n;;;;\n")
    assert holds_images_by_class(table)
    found = read_images(table)
    assert found.images == (RoiImage(tmp_path / "a.png", "UDH", "p1", 0.25, "test"),)


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ("class,patient\nUDH,p\n", "no column 'image'"),
        ("image,class,mpp\na.png,UDH,x\nno.png,UDH,\na.png,,1\n", "3 problems"),
        ("image,class,split\na.png,UDH,sometimes\n", "not train, tune or test"),
        ("image,class,split\na.png,UDH,train\n", "no images by class to test on"),
        ("image,class\n", "no images by class"),
    ],
)
def test_faults_of_a_table_are_told(tmp_path: Path, rows: str, fault: str) -> None:
    _touch(tmp_path, "a.png")
    (tmp_path / "images.csv").write_text(rows)
    with pytest.raises(CohortError, match=fault):
        read_images(tmp_path / "images.csv")


# ---------------------------------------------------------------- windows


@given(st.floats(1, 5000), st.floats(10, 500))
def test_windows_cover_an_image_and_stay_on_it(length: float, side: float) -> None:
    starts = windows_on(length, side)
    assert starts[0] <= 1e-6
    assert starts[-1] + side >= length - 1e-6
    assert all(later - earlier <= side + 1e-6 for earlier, later in pairwise(starts))
    if length > side:
        assert starts[0] == 0
        assert starts[-1] + side <= length + 1e-6
    else:
        assert starts == [pytest.approx((length - side) / 2)]


RECIPE = Recipe.from_dict({"patches": {"mpp": 1.0, "size_um": 32.0}, "detection": {"batch_size": 3}})


def _images(folder: Path, pixels: list[NDArray[np.uint8]]) -> list[tuple[Path, float | None]]:
    for number, one in enumerate(pixels):
        Image.fromarray(one).save(folder / f"{number}.png")
    return [(folder / f"{number}.png", 1.0) for number in range(len(pixels))]


@pytest.mark.parametrize("answers", ["pixels", "tile"])
def test_a_networks_answers_are_averaged_over_the_image(tmp_path: Path, answers: str) -> None:
    random = np.random.default_rng(0)
    shapes = [(64, 96), (32, 32), (128, 32), (20, 12)]
    pixels = [random.integers(0, 256, (*shape, 3), np.uint8) for shape in shapes]
    engine = Redness(("UDH", "N"), "tile" if answers == "tile" else "pixels")
    said = answers_for_images(engine, _images(tmp_path, pixels), RECIPE, Silent())
    assert engine.windows == 6 + 1 + 4 + 1
    whole = [float(redness(one).mean()) for one in pixels]
    if answers == "pixels":
        assert said.means[:, 0] == pytest.approx(whole, abs=1e-6)  # white beyond the edges does not count
    else:
        assert said.means[:3, 0] == pytest.approx(whole[:3], abs=1e-6)
    assert said.means.sum(1) == pytest.approx(np.ones(4), abs=1e-5)


def test_an_image_that_cannot_be_read_ends_no_other(tmp_path: Path) -> None:
    images = _images(tmp_path, [np.zeros((40, 40, 3), np.uint8)] * 9)
    images[4] = (tmp_path / "nowhere.png", 1.0)
    (tmp_path / "7.png").write_text("no image")
    said = answers_for_images(Redness(), images, RECIPE, Silent())
    assert set(said.failed) == {4, 7}
    assert [number for number, weight in enumerate(said.weight) if not weight] == [4, 7]


# ---------------------------------------------------------------- figures


def _named(truth: str, chosen: str, probabilities: tuple[float, ...], patient: str = "") -> NamedImage:
    return NamedImage(RoiImage(Path("x.png"), truth, patient), truth, chosen, probabilities)


def test_classes_that_do_not_occur_are_left_out_and_intervals_need_patients() -> None:
    images = [_named("UDH", "UDH", (0.9, 0.1, 0.0)), _named("ADH", "UDH", (0.6, 0.4, 0.0))]
    scores = score_images(images, ("UDH", "ADH", NONE_OF_THESE))
    assert scores.classes == ("UDH", "ADH")
    assert scores.confusion().tolist() == [[1, 0], [1, 0]]
    assert scores.confusion_shares().tolist() == [[1, 0], [1, 0]]
    assert scores.overall["accuracy"].value == 0.5
    assert scores.overall["accuracy"].low is None
    assert scores.by_class["UDH"]["auroc"].value == 1
    known = [
        _named(*pair, (1.0, 0.0), f"p{n}") for n, pair in enumerate([("UDH", "UDH"), ("ADH", "ADH")] * 4)
    ]
    assert score_images(known, ("UDH", "ADH"), draws=50).overall["accuracy"].low == 1


def test_bracs_folds_to_three_classes(tmp_path: Path) -> None:
    names = tuple(BRACS_GROUPS)
    images = [
        _named(name, names[(place + 1) % 7], tuple(np.eye(7)[place])) for place, name in enumerate(names)
    ]
    three = folded(score_images(images, names), BRACS_GROUPS)
    assert three is not None
    assert three.classes == ("benign", "atypical", "malignant")
    assert three.confusion().tolist() == [[2, 1, 0], [0, 1, 1], [1, 0, 1]]
    assert three.by_class["benign"]["auroc"].value == 1
    assert folded(score_images(images, names), {"N": "benign"}) is None
    write_image_scores(score_images(images, names), tmp_path)
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written["in_groups"]["confusion"]["counts"] == three.confusion().tolist()


def test_a_class_that_is_neither_shown_nor_chosen_counts_in_its_group(tmp_path: Path) -> None:
    names = ("UDH", "FEA", "ADH")
    images = [_named("ADH", "UDH", (0.45, 0.44, 0.11)), _named("UDH", "UDH", (0.8, 0.0, 0.2))]
    scores = score_images(images, names)
    assert scores.classes == ("UDH", "ADH")
    assert scores.by_class["ADH"]["auroc"].value == 0  # .11 for its own image, .2 for the other
    two = folded(scores, BRACS_GROUPS)
    assert two is not None
    assert [image.probabilities[1] for image in two.images] == pytest.approx([0.55, 0.2])
    assert two.by_class["atypical"]["auroc"].value == 1
    write_image_scores(scores, tmp_path)
    head, *rows = (tmp_path / "images.csv").read_text().splitlines()
    assert head.endswith("p UDH,p ADH")
    assert rows[0].endswith("0.4500,0.1100")


@pytest.mark.parametrize("row", [*SEVEN, *THREE], ids=lambda row: row.what)
def test_published_figures_are_ones_that_are_measured_here_and_name_their_source(row: Published) -> None:
    assert row.source
    assert row.on
    for name, value in row.figures.items():
        figure, _, label = name.partition(" of ")
        assert figure in (*OF_ALL, *OF_EACH)
        assert not label or label in BRACS_GROUPS
        assert 0 < value < 1


def test_figures_are_found_by_the_names_that_published_rows_have() -> None:
    names = tuple(BRACS_GROUPS)
    images = [_named(name, name, tuple(np.eye(7)[place])) for place, name in enumerate(names)]
    scores = score_images(images, names)
    assert published_for(scores.classes) == SEVEN
    assert published_for(names[1:]) == ()
    found = {name: scores.figure(name) for name in columns_of(SEVEN)}
    assert found.pop("f1") is None  # without a word on how classes were averaged
    assert [figure and figure.value for figure in found.values()] == [1.0] * len(found)


# ---------------------------------------------------------------- the whole


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of the toy lesions, of their look-alikes and of plain tissue, of patients that nobody knows."""
    folder = tmp_path_factory.mktemp("crops")
    for patient in range(20, 24):
        pixels, drawn = toy.draw(patient)
        for number, region in enumerate(drawn):
            if region.label == "UDH-unsure":
                continue
            x, y = (int(value) for value in region.box.center)
            name = f"{region.label}/BRACS_{patient}_{region.label}_{number}.png"
            (folder / name).parent.mkdir(exist_ok=True)
            Image.fromarray(pixels[max(0, y - 20) : y + 20, max(0, x - 20) : x + 20]).save(folder / name)
        (folder / "N").mkdir(exist_ok=True)
        Image.fromarray(pixels[18:36, 18:490]).save(folder / "N" / f"BRACS_{patient}_N_0.png")
    return folder


def test_a_model_names_images_it_has_never_seen(model: ModelFolder, crops: Path, tmp_path: Path) -> None:
    (crops / "N" / "broken.png").write_text("no image")
    scores = evaluate_images(model, crops, tmp_path, ImageOptions(device="torch", mpp=1.0, draws=50))
    assert scores.classes == ("UDH", "ADH", NONE_OF_THESE)
    assert scores.by_class["UDH"]["auroc"].value == 1
    assert (scores.overall["accuracy"].value or 0) > 0.6
    assert any("not evaluated" in note and "broken" in note for note in scores.notes)
    assert any("none of these: N" in note for note in scores.notes)
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written["images"]["count"] == len(scores.images)
    assert sum(map(sum, written["images"]["confusion"]["counts"])) == len(scores.images)
    assert len((tmp_path / "images.csv").read_text().splitlines()) == len(scores.images) + 1
    with pytest.raises(OutputError, match="holds the scores of images"):
        evaluate_images(model, crops, tmp_path, ImageOptions(device="torch", mpp=1.0))


def test_images_of_patients_that_the_model_knows_are_refused(model: ModelFolder, tmp_path: Path) -> None:
    _touch(tmp_path, "a.png")
    (tmp_path / "images.csv").write_text("image,class,patient\na.png,UDH,patient 0\n")
    with pytest.raises(CohortError, match="trained on these patients: patient 0"):
        evaluate_images(model, tmp_path / "images.csv", tmp_path / "out")


def test_images_without_a_scale_are_told(model: ModelFolder, tmp_path: Path) -> None:
    _touch(tmp_path, "UDH/a.png", "ADH/b.png")
    with pytest.raises(CohortError, match="does not say how large its pixels are"):
        evaluate_images(model, tmp_path, tmp_path / "out", ImageOptions(device="torch"))
