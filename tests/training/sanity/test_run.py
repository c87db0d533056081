"""What becomes of verdicts: told, kept, stopping a training; and nothing else changes."""

import copy
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
import torch
from safetensors.numpy import load_file

from histoscout.annotations.geojson import write_geojson
from histoscout.cohort.leakage import DISJOINT_SETS, PATIENT_COUNT, SHARED_TISSUE
from histoscout.errors import TrainingError
from histoscout.geometry.regions import Region, Regions
from histoscout.network.model_folder import ModelFolder
from histoscout.progress import NoProgress
from histoscout.recipe import Recipe
from histoscout.sampling import datasets
from histoscout.slides.pyramid import write_pyramid
from histoscout.synthetic.slide import draw_slide
from histoscout.training.optimizer import make_optimizer
from histoscout.training.sanity.run import data_checks, network_checks, read_verdicts, run_sanity_checks
from histoscout.training.train import TrainOptions, train
from tests import toy
from tests.toy import CHOICES, RECIPE
from tests.training.conftest import Parts

SHORT = RECIPE.with_choices({"training.epochs": 1, "training.steps_per_epoch": 2})
NAMES = {
    DISJOINT_SETS,
    SHARED_TISSUE,
    PATIENT_COUNT,
    "patch size and lesion size",
    "no overlap of training and tuning patches",
    "masks match the annotations",
    "augmentation varies",
    "no augmentation in validation",
    "validation uses the tuning patches",
    "the optimizer has the network's parameters",
    "the network gives logits",
    "probabilities reach from 0 to 1",
    "initial loss",
    "the network overfits one batch",
}


class Notes(NoProgress):
    """Remembers what was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        self.told.append(text)


def test_a_sound_training_passes_every_sanity_check(model: ModelFolder) -> None:
    verdicts = {one["name"]: one for one in model.metrics["sanity_checks"]}
    assert verdicts.keys() >= NAMES
    for name in NAMES - {PATIENT_COUNT}:
        assert verdicts[name]["state"] == "good", verdicts[name]
    assert verdicts[PATIENT_COUNT]["state"] == "warning"  # the toy has three
    kept = read_verdicts(model.path / "training" / "sanity_checks.json")
    assert [vars(verdict) for verdict in kept] == model.metrics["sanity_checks"]


@pytest.mark.parametrize(
    "choices",
    [
        {"network": {"architecture": "timm", "encoder": "resnet18"}, "loss": {"name": "cross_entropy"}},
        {
            "network": {"architecture": "unet", "decoder_channels": [32, 16, 8]},
            "loss": {"name": "bce"},
            "classes": {},
        },
        {"network": {"architecture": "smp.Unet", "input_channels": 1}, "loss": {"name": "tversky"}},
        {"augment": {"rotate": False, "scale": 0, "stain": 0, "brightness": 0, "blur": 0, "noise": 0}},
    ],
)
def test_sound_parts_of_any_kind_pass(prepare: Callable[[Recipe], Parts], choices: dict[str, object]) -> None:
    patches = {"mpp": 2.0, "size_um": 128.0, "tile_coverage": 0.1}
    job, state, sets = prepare(Recipe.from_dict({**CHOICES, "patches": patches, **choices}))
    questions = [*data_checks(job, sets), *network_checks(job, state)]
    verdicts = [question() for question in questions]
    assert not [verdict for verdict in verdicts if verdict.state != "good"][1:], verdicts  # three patients


def test_guards_change_neither_weights_nor_random_states(parts: Parts) -> None:
    job, state, sets = parts
    before, random = copy.deepcopy(state.network.state_dict()), torch.get_rng_state()
    run_sanity_checks(job, state, sets)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in state.network.state_dict().items())
    assert not state.optimizer.state
    assert state.step == 0


@pytest.mark.slow
def test_sanity_checks_do_not_change_the_weights(table: Path, tmp_path: Path) -> None:
    found = []
    for mode in ("all", "quick", "warn"):
        model = train(table, tmp_path / mode, SHORT, TrainOptions(sanity_checks=mode))
        found.append(load_file(model.weights()))
        names = {one["name"] for one in model.metrics["sanity_checks"]}
        assert ("the network overfits one batch" in names) == (mode != "quick")
    assert all((found[0][name] == other[name]).all() for other in found[1:] for name in found[0])


def test_a_failure_stops_before_a_step_unless_told_otherwise(prepare: Callable[[Recipe], Parts]) -> None:
    job, state, sets = prepare(RECIPE)
    notes = Notes()
    job = replace(job, progress=notes)
    state.optimizer = make_optimizer(copy.deepcopy(state.network), job.recipe.training)
    with pytest.raises(TrainingError) as raised:
        run_sanity_checks(job, state, sets)
    line = str(raised.value)
    assert "the optimizer has the network's parameters" in line
    assert "--sanity warn" in line
    assert not (job.folder / "sanity_checks.json").exists()  # the next start asks again
    verdicts = run_sanity_checks(job, state, sets, mode="warn")
    assert [verdict.name for verdict in verdicts if verdict.state == "failed"] == [
        "the optimizer has the network's parameters"
    ]
    assert any("the optimizer" in note for note in notes.told)


def test_a_training_that_goes_on_takes_the_verdicts_of_its_beginning(
    prepare: Callable[[Recipe], Parts],
) -> None:
    job, state, sets = prepare(SHORT)
    first = run_sanity_checks(job, state, sets, mode="quick")
    state.optimizer = make_optimizer(copy.deepcopy(state.network), job.recipe.training)
    assert run_sanity_checks(job, state, sets) == first


def test_a_slide_twice_under_two_names_stops_the_training(tmp_path: Path) -> None:
    table = toy.write_cohort(tmp_path)
    for suffix in (".tif", ".geojson"):
        shutil.copy(tmp_path / f"slide_0{suffix}", tmp_path / f"slide_2{suffix}")  # patient 2 tunes
    with pytest.raises(TrainingError, match="slide_0 = slide_2"):
        train(table, tmp_path / "model", SHORT)
    model = train(table, tmp_path / "model", SHORT, TrainOptions(sanity_checks="warn"))
    assert DISJOINT_SETS in (model.path / "card.md").read_text()


def test_a_piece_of_a_training_slide_mirrored_among_the_tuning_slides_stops_the_training(
    tmp_path: Path,
) -> None:
    drawn = draw_slide(0, 1, (2048, 2048))
    piece = np.ascontiguousarray(drawn.pixels[:, ::-1][150:])
    corner = Regions.of([Region(shapely.box(300, 300, 500, 500), "UDH")])
    rows = ["slide,annotations,patient,split"]
    for name, pixels, split in (("whole", drawn.pixels, "train"), ("piece", piece, "tune")):
        write_pyramid(tmp_path / f"{name}.tif", pixels, drawn.mpp)
        write_geojson(corner, tmp_path / f"{name}.geojson")
        rows.append(f"{name}.tif,{name}.geojson,patient of {name},{split}")
    (tmp_path / "cohort.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    with pytest.raises(TrainingError, match=r"whole and piece"):
        train(tmp_path / "cohort.csv", tmp_path / "model", SHORT)


def test_narrow_windows_and_a_stalled_start_are_told_and_kept(table: Path, tmp_path: Path) -> None:
    slow = RECIPE.with_choices(
        {
            "patches.mpp": 1.0,
            "patches.size_um": 32.0,
            "network.architecture": "unet",
            "training.learning_rate": 1e-6,
            "training.epochs": 1,
            "training.steps_per_epoch": 1,
        }
    )
    notes = Notes()
    model = train(table, tmp_path / "model", slow, TrainOptions(progress=notes))
    states = {one["name"]: one["state"] for one in model.metrics["sanity_checks"]}
    assert states["patch size and lesion size"] == "warning"
    assert states["the network overfits one batch"] == "warning"
    assert any("patches.size_um" in note for note in notes.told)
    assert any("training.learning_rate" in note for note in notes.told)


def test_masks_are_asked_by_the_road_of_the_examples(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """A and B anywhere between outlines and examples are heard, not only in `LabelledSlide.mask`."""
    job, _, sets = parts

    def verdict_on_masks() -> str:
        found = (question() for question in data_checks(job, sets))
        return next(verdict.state for verdict in found if verdict.name == "masks match the annotations")

    assert verdict_on_masks() == "good"
    monkeypatch.setattr(datasets, "make_target", lambda mask, recipe: mask[::-1])
    assert verdict_on_masks() == "failed"


def test_an_unknown_mode_is_refused(table: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="all, quick, warn"):
        train(table, tmp_path / "model", SHORT, TrainOptions(sanity_checks="none"))


def test_tuning_blocks_share_no_tissue_with_training_windows(tmp_path: Path) -> None:
    table = toy.write_cohort(tmp_path, patients=1, splits=(), mpp=4.0)
    recipe = Recipe.from_dict(
        {
            **CHOICES,
            "patches": {"mpp": 8.0, "size_um": 512.0},
            "training": {**CHOICES["training"], "epochs": 1, "steps_per_epoch": 1},
        }
    )
    model = train(table, tmp_path / "model", recipe)
    states = {one["name"]: one["state"] for one in model.metrics["sanity_checks"]}
    assert states["no overlap of training and tuning patches"] == "good"
    told = json.dumps(model.metrics["sanity_checks"])
    assert "blocks of the training slides" in told


@pytest.mark.slow
def test_a_member_that_divides_slides_otherwise_is_asked_whether_its_sets_are_apart(tmp_path: Path) -> None:
    """The same slide under two patients, both learnt from by the first network; the next one is tuned on one of them."""
    table = toy.write_cohort(tmp_path, patients=3, splits=())
    several = SHORT.with_choices({"network.ensemble_size": 3, "training.tuning_share": 0.3})
    first = train(table, tmp_path / "first", several)
    lines = (first.path / "training" / "split.csv").read_text().splitlines()
    (tuned,) = [line for line in lines if line.startswith("tune")]
    one, other = (f"slide_{number}" for number in range(3) if not tuned.endswith(f"patient {number}"))
    for suffix in (".tif", ".geojson"):
        shutil.copy(tmp_path / f"{one}{suffix}", tmp_path / f"{other}{suffix}")
    with pytest.raises(TrainingError, match=DISJOINT_SETS):
        train(table, tmp_path / "model", several)
    kept = tmp_path / "model" / "training" / "best.safetensors"
    assert kept.exists()  # the first network's sets are apart
    told = train(table, tmp_path / "model", several, TrainOptions(sanity_checks="warn"))
    assert DISJOINT_SETS in (told.path / "card.md").read_text()
