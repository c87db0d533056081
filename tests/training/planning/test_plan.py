"""A plan is a pure function of a fingerprint, always valid, with a reason for each choice."""

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from hypothesis import assume, given
from hypothesis import strategies as st

from histoscout.cohort.cohort import read_cohort
from histoscout.errors import CohortError, RecipeError
from histoscout.progress import NoProgress
from histoscout.recipe import Recipe
from histoscout.recipe_sections import plain
from histoscout.training.planning.choices import PlanRequest
from histoscout.training.planning.classes import assign_classes, choose_positive, have_similar_names
from histoscout.training.planning.fingerprint import (
    ClassStatistics,
    CohortFingerprint,
    Machine,
    Quantiles,
    SlideScale,
    compute_fingerprint,
    read_slide_annotations,
)
from histoscout.training.planning.plan import (
    Plan,
    PlanOptions,
    load_or_make_plan,
    make_plan,
    plan,
    plan_file,
    read_plan,
)
from histoscout.training.train import TrainOptions, train
from tests import toy
from tests.training.fingerprints import fingerprints


def machine(cores: int, memory_gb: float, device: Any = "cpu", **changes: Any) -> Machine:
    return Machine(cores=cores, memory_gb=memory_gb, device=device, **changes)


LAPTOP = machine(2, 8.0, bf16=True)


def annotated(name: str, um: float = 150.0, *, contained: float = 0.0, regions: int = 20) -> ClassStatistics:
    size = Quantiles(um / 2, um, 2 * um)
    return ClassStatistics(
        name=name,
        regions=regions,
        patients=6,
        slides=6,
        area_mm2=1.0,
        diameter_um=size,
        extent_um=size,
        contained_share=contained,
    )


def scale(mpp: float, shorter_um: float) -> SlideScale:
    return SlideScale(name="a", mpp=mpp, source="metadata", shorter_um=shorter_um)


def cohort_of(*classes: ClassStatistics, **changes: Any) -> CohortFingerprint:
    fingerprint = CohortFingerprint(
        patients=8,
        slides=(scale(0.25, 20_000.0),),
        classes=classes,
        machine=LAPTOP,
        sampled_slides=8,
        tissue_mm2=100.0,
        annotated_share=0.2,
    )
    return replace(fingerprint, **changes)


def plan_of(positive: str, fingerprint: CohortFingerprint, minutes: float | None = None) -> Plan:
    return make_plan(fingerprint, PlanRequest(positive=positive, minutes=minutes))


# ---------------------------------------------------------------- properties


@given(fingerprints(), st.floats(0.1, 500) | st.none())
def test_every_plan_is_a_valid_recipe_and_reads_back_the_same(
    found: CohortFingerprint, minutes: float | None
) -> None:
    try:
        positive = choose_positive(found.classes, found.classes[0].name, "cohort")
    except RecipeError:
        assume(False)
    made = plan_of(positive, found, minutes)
    again = Recipe.from_dict(tomllib.loads(made.to_toml()))
    assert again == made.recipe
    assert made.recipe.classes.positive == positive
    assert tomlkit.parse(made.to_toml()).unwrap() == tomllib.loads(made.to_toml())


@given(fingerprints())
def test_the_same_fingerprint_gives_the_same_plan(found: CohortFingerprint) -> None:
    classes = [part.name for part in found.classes if plain(part.name)]
    assume(classes)
    assert plan_of(classes[0], found) == plan_of(classes[0], replace(found))


@given(fingerprints())
def test_every_label_of_the_recipe_is_its_own_canonical_name(found: CohortFingerprint) -> None:
    try:
        positive = choose_positive(found.classes, found.classes[0].name, "cohort")
    except RecipeError:
        assume(False)
    classes = plan_of(positive, found).recipe.classes
    for label in classes.labels:
        assert classes.canonical(label) == label


@given(fingerprints())
def test_every_choice_has_a_reason_or_shares_that_above_it(found: CohortFingerprint) -> None:
    names = [part.name for part in found.classes if plain(part.name)]
    assume(names)
    section = ""
    for choice in plan_of(names[0], found).choices:
        here = choice.name.rpartition(".")[0]
        assert (choice.reason and choice.basis) or here == section
        section = here


# ---------------------------------------------------------------- rules


def test_the_rules_reproduce_the_two_evaluated_recipes() -> None:
    glands = replace(annotated("malignant gland"), extent_um=Quantiles(55, 132, 296), patients=7)
    glas = plan_of("malignant gland", cohort_of(glands, annotated("benign gland"), patients=7)).recipe
    assert (glas.patches.mpp, glas.patches.size_um) == (2.0, 320.0)
    assert glas.classes.other == ("benign gland",)
    assert (glas.training.batch_size, glas.training.tuning_share, glas.network.ensemble_size) == (8, 0.2, 3)
    ducts = replace(annotated("UDH"), extent_um=Quantiles(192, 291, 392))
    demo = plan_of("UDH", cohort_of(ducts)).recipe
    assert (demo.patches.mpp, demo.patches.size_um) == (4.0, 512.0)


def test_the_resolution_is_no_finer_than_the_coarsest_slide() -> None:
    mitoses = cohort_of(annotated("mitosis", 10), slides=(scale(0.5, 9000.0),))
    made = plan_of("mitosis", mitoses)
    assert made.recipe.patches.mpp == 0.5
    (choice,) = (choice for choice in made.choices if choice.name == "patches.mpp")
    assert "coarsest" in choice.reason


def test_patches_are_no_wider_than_the_slides() -> None:
    small = cohort_of(annotated("UDH", 290), slides=(scale(0.5, 400.0),))
    assert plan_of("UDH", small).recipe.patches.size_um <= 400


def test_batch_size_and_workers_depend_on_the_machine() -> None:
    def training(given: Machine) -> Any:
        return plan_of("UDH", cohort_of(annotated("UDH"), machine=given)).recipe.training

    assert (training(LAPTOP).batch_size, training(LAPTOP).workers) == (8, 2)
    assert (training(machine(1, 2.0)).batch_size, training(machine(1, 2.0)).workers) == (4, 1)
    assert (
        training(machine(64, 128.0, "cuda", gpu_memory_gb=80.0)).batch_size,
        training(machine(64, 128.0, "cuda")).workers,
    ) == (16, 8)


@pytest.mark.parametrize(
    ("patients", "minutes", "members"),
    [(1, 60, 1), (2, 60, 2), (3, 20, 3), (14, 20, 3), (15, 60, 1), (7, 11, 1), (7, 12, 2), (7, None, 3)],
)
def test_an_ensemble_needs_few_patients_and_enough_minutes(
    patients: int, minutes: float | None, members: int
) -> None:
    few = cohort_of(replace(annotated("UDH"), patients=patients), patients=patients + 2)
    assert plan_of("UDH", few, minutes).recipe.network.ensemble_size == members
    by_table = plan_of("UDH", replace(few, tuned_by_table=True), minutes)
    assert by_table.recipe.network.ensemble_size == 1


@pytest.mark.parametrize(
    ("given", "members"),
    [
        (LAPTOP, 3),
        (machine(2, 8.0), 1),
        (machine(6, 8.0), 3),
        (machine(1, 8.0, bf16=True), 1),
        (machine(64, 8.0, bf16=True), 3),
        (machine(1, 8.0, "cuda", gpu_memory_gb=8.0), 3),
    ],
)
def test_an_ensemble_needs_a_fast_machine(given: Machine, members: int) -> None:
    few = replace(cohort_of(replace(annotated("UDH"), patients=7)), machine=given)
    assert plan_of("UDH", few, 20).recipe.network.ensemble_size == members


def test_zero_minutes_are_an_error_and_not_the_default() -> None:
    with pytest.raises(RecipeError, match=r"training\.minutes"):
        plan_of("UDH", cohort_of(annotated("UDH")), 0)


def test_a_gpu_needs_a_quarter_of_the_minutes() -> None:
    few = cohort_of(replace(annotated("UDH"), patients=7))
    for device, minutes in (("cpu", 18), ("cuda", 4.5)):
        fast = replace(few, machine=replace(LAPTOP, device=device))  # type: ignore[arg-type]
        made = [plan_of("UDH", fast, time) for time in (minutes, minutes - 0.1)]
        assert [part.recipe.network.ensemble_size for part in made] == [3, 2]


@pytest.mark.parametrize(
    ("synthetic", "given", "weights"),
    [
        (False, None, "built-in"),
        (True, None, "none"),
        (True, "built-in", "built-in"),
        (False, "none", "none"),
        (False, "mine.safetensors", "mine.safetensors"),
    ],
)
def test_built_in_weights_are_the_default_except_on_synthetic_slides(
    synthetic: bool, given: str | None, weights: str
) -> None:
    cohort = replace(cohort_of(annotated("UDH")), built_in=synthetic)
    assert make_plan(cohort, PlanRequest(positive="UDH", weights=given)).recipe.network.weights == weights


def test_more_ensemble_members_mean_fewer_views() -> None:
    few = replace(annotated("UDH"), patients=7)
    large = replace(cohort_of(few, patients=9), tissue_mm2=400.0)
    views = {minutes: plan_of("UDH", large, minutes).recipe.detection.tta_views for minutes in (5.0, 60.0)}
    assert views[60.0] < views[5.0]


def test_without_look_alikes_tissue_gets_their_share_of_patches() -> None:
    sampler = plan_of("UDH", cohort_of(annotated("UDH"))).recipe.sampler
    assert (sampler.positive, sampler.other, sampler.tissue) == (0.4, 0.0, 0.6)


# ---------------------------------------------------------------- classes


def test_similar_names_are_ignored_and_areas_are_background() -> None:
    classes = (
        annotated("UDH"),
        annotated("ADH"),
        annotated("UDH-sure"),
        annotated("UDH unsure"),
        annotated("Tissue", 9000, contained=0.9, regions=6),
        annotated("", regions=3),
    )
    roles = assign_classes(classes, "UDH")
    assert roles.other == ("ADH",)
    assert roles.similar == (("UDH-sure", "UDH"),)
    assert (roles.unsure, roles.areas, roles.unclassified) == (("UDH unsure",), ("Tissue",), 3)
    made = plan_of("UDH", cohort_of(*classes))
    canonical = made.recipe.classes.canonical
    assert [canonical(name) for name in ("udh sure", "Tissue", "", "adh")] == [
        "ignore",
        None,
        "ignore",
        "ADH",
    ]
    (choice,) = (choice for choice in made.choices if choice.name == "classes.ignore")
    assert "UDH-sure" in choice.reason


def test_reviewed_areas_are_not_a_class() -> None:
    made = plan_of("UDH", cohort_of(annotated("UDH"), annotated("Reviewed area", 9000, contained=0.9)))
    assert made.recipe.classes.canonical("Reviewed area") == "reviewed"
    (choice,) = (choice for choice in made.choices if choice.name == "classes.reviewed")
    assert "Reviewed area" in choice.reason


def test_a_lesion_inside_another_does_not_make_that_an_area() -> None:
    roles = assign_classes((annotated("necrosis", 150), annotated("DCIS", 500, contained=1.0)), "necrosis")
    assert roles.other == ("DCIS",)


@pytest.mark.parametrize(
    ("name", "other", "same"),
    [
        ("malignant gland", "Malignant glands", True),
        ("tumor", "tumour", True),
        ("UDH", "UDH-sure", True),
        ("UDH", "UDH 2", True),
        ("UDH", "ADH", False),
        ("grade 1", "grade 2", False),
        ("benign gland", "malignant gland", False),
        ("tumor", "tumor necrosis", False),
    ],
)
def test_similar_names_may_be_one_class(name: str, other: str, same: bool) -> None:
    assert have_similar_names(name, other) is have_similar_names(other, name) is same


def test_several_classes_need_a_choice() -> None:
    several = (annotated("UDH"), annotated("ADH"), annotated("UDH-unsure"))
    with pytest.raises(RecipeError, match=r"UDH \(20 on 6 slides\), ADH .*--positive"):
        choose_positive(several, None, "cohort.csv")
    assert choose_positive(several[2:] + several[:1], None, "") == "UDH"
    assert choose_positive(several, "udh", "") == "UDH"
    with pytest.raises(RecipeError, match="--positive 'UDH'"):
        choose_positive(several, "UDHH", "")
    with pytest.raises(RecipeError, match="unsure"):
        choose_positive(several, "UDH unsure", "")
    with pytest.raises(RecipeError) as raised:
        choose_positive((annotated(""),), None, "cohort.csv")
    assert raised.value.where == "cohort.csv"


# ---------------------------------------------------------------- the toy cohort


def test_the_fingerprint_of_the_toy_cohort_is_right(table: Path) -> None:
    cohort = read_cohort(table)
    found = compute_fingerprint(cohort, read_slide_annotations(cohort, NoProgress()), LAPTOP, NoProgress())
    counted = {part.name: (part.regions, part.patients) for part in found.classes}
    assert counted == {"UDH": (12, 3), "ADH": (9, 3), "UDH-unsure": (3, 3)}
    assert all(56 <= part.extent_um.low <= part.extent_um.high <= 89 for part in found.classes)
    assert 0.2 < found.tissue_mm2 < 0.27
    assert 0.05 < found.annotated_share < 0.3
    assert (found.patients, found.test_slides, found.tuned_by_table) == (3, 1, True)
    assert found.stain is not None
    assert 0 < found.stain.hematoxylin.median < found.stain.eosin.median


def test_test_slides_are_never_opened(tmp_path: Path) -> None:
    table = toy.write_cohort(tmp_path)
    (tmp_path / "slide_3.tif").write_bytes(b"not a slide")
    (tmp_path / "slide_3.geojson").write_bytes(b"no annotations")
    assert plan(table, PlanOptions(positive="UDH")).recipe.classes.other == ("ADH",)


def test_a_cohort_without_annotations_is_an_error(tmp_path: Path) -> None:
    table = toy.write_cohort(tmp_path, splits=("test",) * 4)
    with pytest.raises(CohortError) as raised:
        plan(table)
    assert raised.value.where == str(table)


def small_plan(cohort: Path) -> Plan:
    """A plan for the toy cohort that trains in a second."""
    small = {
        f"{part}.{name}": value
        for part, values in toy.CHOICES.items()
        if part in {"network", "training"}
        for name, value in values.items()
    }
    changes = {**small, "training.minutes": None, "training.epochs": 1, "training.steps_per_epoch": 2}
    changes |= {
        "patches.mpp": 4.0,
        "patches.size_um": 256.0,
        "tissue.artifacts": False,
        "network.ensemble_size": 1,
    }
    return plan(cohort, PlanOptions(positive="udh")).with_choices(changes)


def test_a_training_keeps_its_plan_and_resumes_with_it(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    made = small_plan(table)
    model = train(table, out, made, TrainOptions(sanity_checks="quick"))
    assert model.recipe == made.recipe
    assert plan_file(out).read_text(encoding="utf-8") == made.to_toml()
    assert train(table, out).hash == model.hash, "the plan that is there is used"
    assert plan_file(out).read_text(encoding="utf-8") == made.to_toml()
    longer = load_or_make_plan(read_cohort(table), out, PlanOptions(minutes=3))
    assert (longer.recipe.training.minutes, longer.recipe.training.epochs) == (3, None)
    assert (
        load_or_make_plan(
            read_cohort(table), out, PlanOptions(positive="UDH"), overwrite=True
        ).recipe.training.minutes
        == 20
    )
    plan_file(tmp_path / "failed").parent.mkdir(parents=True)
    made.write(plan_file(tmp_path / "failed"))
    again = load_or_make_plan(read_cohort(table), tmp_path / "failed", PlanOptions(positive="UDH"))
    assert again.recipe.training.minutes == 20, "a training without a step is planned again"


def test_a_plan_in_a_file_is_a_recipe(table: Path, tmp_path: Path) -> None:
    made = plan(table, PlanOptions(positive="UDH", minutes=3, seed=7))
    made.write(tmp_path / "recipe.toml")
    assert Recipe.read(tmp_path / "recipe.toml") == made.recipe == read_plan(tmp_path / "recipe.toml").recipe
    assert (made.recipe.seed, made.recipe.training.minutes) == (7, 3)
