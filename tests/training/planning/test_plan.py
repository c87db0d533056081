"""A plan is a pure function of a fingerprint, valid whatever that is, and says why."""

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
from histoscout.progress import Silent
from histoscout.recipe import Recipe, plain
from histoscout.training.planning.classes import choose_positive, divide_classes, may_be_same
from histoscout.training.planning.fingerprint import (
    ClassFacts,
    CohortFingerprint,
    Machine,
    SlideScale,
    Spread,
    read_drawn,
    take_fingerprint,
)
from histoscout.training.planning.plan import Plan, PlanOptions, kept_in, make_plan, plan, plan_for, read_plan
from histoscout.training.planning.rules import Wish
from histoscout.training.train import train
from tests import toy
from tests.training.fingerprints import fingerprints

LAPTOP = Machine(2, 8.0, "cpu", bf16=True)


def facts(name: str, um: float = 150.0, *, holds: float = 0.0, regions: int = 20) -> ClassFacts:
    size = Spread(um / 2, um, 2 * um)
    return ClassFacts(name, regions, 6, 6, 1.0, size, size, holds)


def cohort_of(*classes: ClassFacts, **changes: Any) -> CohortFingerprint:
    slides = (SlideScale("a", 0.25, "metadata", 20_000.0),)
    known = CohortFingerprint(8, slides, classes, LAPTOP, 8, 100.0, 0.2)
    return replace(known, **changes)


# ---------------------------------------------------------------- laws


@given(fingerprints(), st.floats(0.1, 500) | st.none())
def test_whatever_the_cohort_the_recipe_is_valid_and_read_back_the_same(
    found: CohortFingerprint, minutes: float | None
) -> None:
    try:
        positive = choose_positive(found.classes, found.classes[0].name, "cohort")
    except RecipeError:
        assume(False)
    made = make_plan(found, Wish(positive, minutes))
    again = Recipe.from_dict(tomllib.loads(made.to_toml()))
    assert again == made.recipe
    assert made.recipe.classes.positive == positive
    assert tomlkit.parse(made.to_toml()).unwrap() == tomllib.loads(made.to_toml())


@given(fingerprints())
def test_the_same_fingerprint_gives_the_same_plan(found: CohortFingerprint) -> None:
    classes = [each.name for each in found.classes if plain(each.name)]
    assume(classes)
    wish = Wish(classes[0])
    assert make_plan(found, wish) == make_plan(replace(found), wish)


@given(fingerprints())
def test_every_label_of_the_recipe_means_itself(found: CohortFingerprint) -> None:
    try:
        positive = choose_positive(found.classes, found.classes[0].name, "cohort")
    except RecipeError:
        assume(False)
    classes = make_plan(found, Wish(positive)).recipe.classes
    for label in classes.labels:
        assert classes.canonical(label) == label


@given(fingerprints())
def test_every_choice_has_a_reason_or_stands_below_one(found: CohortFingerprint) -> None:
    names = [each.name for each in found.classes if plain(each.name)]
    assume(names)
    section = ""
    for choice in make_plan(found, Wish(names[0])).choices:
        here = choice.name.rpartition(".")[0]
        assert (choice.reason and choice.basis) or here == section
        section = here


# ---------------------------------------------------------------- what was measured


def test_it_finds_the_two_measured_recipes_again() -> None:
    glands = replace(facts("malignant gland"), extent_um=Spread(55, 132, 296), patients=7)
    glas = make_plan(cohort_of(glands, facts("benign gland"), patients=7), Wish("malignant gland")).recipe
    assert (glas.patches.mpp, glas.patches.size_um) == (2.0, 320.0)
    assert glas.classes.other == ("benign gland",)
    assert (glas.training.batch_size, glas.training.tuning_share, glas.network.ensemble_size) == (8, 0.2, 3)
    ducts = replace(facts("UDH"), extent_um=Spread(192, 291, 392))
    demo = make_plan(cohort_of(ducts), Wish("UDH")).recipe
    assert (demo.patches.mpp, demo.patches.size_um) == (4.0, 512.0)


def test_it_never_looks_finer_than_the_coarsest_slide_and_says_so() -> None:
    mitoses = cohort_of(facts("mitosis", 10), slides=(SlideScale("a", 0.5, "metadata", 9000.0),))
    made = make_plan(mitoses, Wish("mitosis"))
    assert made.recipe.patches.mpp == 0.5
    assert "coarsest slide" in made.to_toml()


def test_windows_are_no_wider_than_the_slides() -> None:
    small = cohort_of(facts("UDH", 290), slides=(SlideScale("a", 0.5, "metadata", 400.0),))
    assert make_plan(small, Wish("UDH")).recipe.patches.size_um <= 400


def test_the_machine_decides_what_is_its_to_decide() -> None:
    def training(machine: Machine) -> Any:
        return make_plan(cohort_of(facts("UDH"), machine=machine), Wish("UDH")).recipe.training

    assert (training(LAPTOP).batch_size, training(LAPTOP).workers) == (8, 2)
    assert (training(Machine(1, 2.0, "cpu")).batch_size, training(Machine(1, 2.0, "cpu")).workers) == (4, 1)
    assert (
        training(Machine(64, 128.0, "cuda", 80.0)).batch_size,
        training(Machine(64, 128.0, "cuda")).workers,
    ) == (16, 8)


@pytest.mark.parametrize(
    ("patients", "minutes", "members"),
    [(1, 60, 1), (2, 60, 2), (3, 20, 3), (14, 20, 3), (15, 60, 1), (7, 11, 1), (7, 12, 2), (7, None, 3)],
)
def test_networks_take_turns_where_patients_are_few_and_there_is_time(
    patients: int, minutes: float | None, members: int
) -> None:
    few = cohort_of(replace(facts("UDH"), patients=patients), patients=patients + 2)
    assert make_plan(few, Wish("UDH", minutes)).recipe.network.ensemble_size == members
    told = make_plan(replace(few, tuned_by_table=True), Wish("UDH", minutes))
    assert told.recipe.network.ensemble_size == 1


@pytest.mark.parametrize(
    ("machine", "members"),
    [
        (LAPTOP, 3),
        (Machine(2, 8.0, "cpu"), 1),
        (Machine(6, 8.0, "cpu"), 3),
        (Machine(1, 8.0, "cpu", bf16=True), 1),
        (Machine(64, 8.0, "cpu", bf16=True), 3),
        (Machine(1, 8.0, "cuda", 8.0), 3),
    ],
)
def test_networks_share_the_minutes_only_where_the_machine_makes_enough_steps_in_them(
    machine: Machine, members: int
) -> None:
    few = replace(cohort_of(replace(facts("UDH"), patients=7)), machine=machine)
    assert make_plan(few, Wish("UDH", 20)).recipe.network.ensemble_size == members


def test_no_minutes_are_not_taken_for_the_default() -> None:
    with pytest.raises(RecipeError, match="minutes"):
        make_plan(cohort_of(facts("UDH")), Wish("UDH", 0))


def test_a_graphics_card_needs_a_quarter_of_the_minutes() -> None:
    few = cohort_of(replace(facts("UDH"), patients=7))
    for machine, minutes in ((LAPTOP, 18), (replace(LAPTOP, device="cuda"), 4.5)):
        given = [
            make_plan(replace(few, machine=machine), Wish("UDH", time)) for time in (minutes, minutes - 0.1)
        ]
        assert [plan.recipe.network.ensemble_size for plan in given] == [3, 2]


@pytest.mark.parametrize(
    ("drawn", "wish", "weights"),
    [
        (False, None, "built-in"),
        (True, None, "none"),
        (True, "built-in", "built-in"),
        (False, "none", "none"),
        (False, "mine.safetensors", "mine.safetensors"),
    ],
)
def test_it_begins_with_what_drawn_slides_taught_unless_it_is_such_that_it_learns_from(
    drawn: bool, wish: str | None, weights: str
) -> None:
    cohort = replace(cohort_of(facts("UDH")), built_in=drawn)
    assert make_plan(cohort, Wish("UDH", weights=wish)).recipe.network.weights == weights


def test_views_make_room_for_members() -> None:
    few = replace(facts("UDH"), patients=7)
    large = replace(cohort_of(few, patients=9), tissue_mm2=400.0)
    views = {
        minutes: make_plan(large, Wish("UDH", minutes)).recipe.detection.tta_views for minutes in (5.0, 60.0)
    }
    assert views[60.0] < views[5.0]


def test_without_look_alikes_the_tissue_gets_their_share() -> None:
    sampler = make_plan(cohort_of(facts("UDH")), Wish("UDH")).recipe.sampler
    assert (sampler.positive, sampler.other, sampler.tissue) == (0.4, 0.0, 0.6)


# ---------------------------------------------------------------- classes


def test_near_misses_wait_for_a_decision_and_areas_are_background() -> None:
    classes = (
        facts("UDH"),
        facts("ADH"),
        facts("UDH-sure"),
        facts("UDH unsure"),
        facts("Tissue", 9000, holds=0.9, regions=6),
        facts("", regions=3),
    )
    divided = divide_classes(classes, "UDH")
    assert divided.other == ("ADH",)
    assert divided.alike == (("UDH-sure", "UDH"),)
    assert (divided.unsure, divided.areas, divided.unclassified) == (("UDH unsure",), ("Tissue",), 3)
    made = make_plan(cohort_of(*classes), Wish("UDH"))
    words = made.recipe.classes.canonical
    assert [words(name) for name in ("udh sure", "Tissue", "", "adh")] == ["ignore", None, "ignore", "ADH"]
    assert 'Is "UDH-sure" another spelling of "UDH"?' in made.to_toml().replace("\n# ", " ")


def test_reviewed_areas_are_no_class_and_the_plan_says_what_they_are_for() -> None:
    made = make_plan(cohort_of(facts("UDH"), facts("Reviewed area", 9000, holds=0.9)), Wish("UDH"))
    assert made.recipe.classes.canonical("Reviewed area") == "reviewed"
    assert "outside them is not taken as healthy" in made.to_toml().replace("\n# ", " ")


def test_a_lesion_within_another_does_not_make_that_an_area() -> None:
    divided = divide_classes((facts("necrosis", 150), facts("DCIS", 500, holds=1.0)), "necrosis")
    assert divided.other == ("DCIS",)


@pytest.mark.parametrize(
    ("one", "other", "same"),
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
def test_what_may_be_one_class(one: str, other: str, same: bool) -> None:
    assert may_be_same(one, other) is may_be_same(other, one) is same


def test_the_class_is_asked_for_where_there_are_several() -> None:
    several = (facts("UDH"), facts("ADH"), facts("UDH-unsure"))
    with pytest.raises(RecipeError, match=r"UDH \(20 on 6 slides\), ADH .*--positive"):
        choose_positive(several, None, "cohort.csv")
    assert choose_positive(several[2:] + several[:1], None, "") == "UDH"
    assert choose_positive(several, "udh", "") == "UDH"
    with pytest.raises(RecipeError, match="Take --positive 'UDH'"):
        choose_positive(several, "UDHH", "")
    with pytest.raises(RecipeError, match="leave out as unsure"):
        choose_positive(several, "UDH unsure", "")
    with pytest.raises(RecipeError, match="no outline of the class"):
        choose_positive((facts(""),), None, "")


# ---------------------------------------------------------------- the toy cohort


def test_the_fingerprint_of_the_toy_is_what_was_drawn(table: Path) -> None:
    cohort = read_cohort(table)
    found = take_fingerprint(cohort, read_drawn(cohort, Silent()), LAPTOP, Silent())
    counted = {each.name: (each.regions, each.patients) for each in found.classes}
    assert counted == {"UDH": (12, 3), "ADH": (9, 3), "UDH-unsure": (3, 3)}
    assert all(56 <= each.extent_um.low <= each.extent_um.high <= 89 for each in found.classes)
    assert 0.2 < found.tissue_mm2 < 0.27
    assert 0.05 < found.annotated_share < 0.3
    assert (found.patients, found.test_slides, found.tuned_by_table) == (3, 1, True)
    assert found.stain is not None
    assert 0 < found.stain.hematoxylin.median < found.stain.eosin.median


def test_test_slides_are_never_opened(tmp_path: Path) -> None:
    table = toy.write_cohort(tmp_path)
    (tmp_path / "slide_3.tif").write_bytes(b"no slide at all")
    (tmp_path / "slide_3.geojson").write_bytes(b"no outlines either")
    assert plan(table, PlanOptions("UDH")).recipe.classes.other == ("ADH",)


def test_a_cohort_without_outlines_is_refused(tmp_path: Path) -> None:
    table = toy.write_cohort(tmp_path, splits=("test",) * 4)
    with pytest.raises(CohortError, match="no annotated slide"):
        plan(table)


def quick(cohort: Path) -> Plan:
    """A plan for the toy, made so small that it trains in a second."""
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
    }
    return plan(cohort, PlanOptions("udh")).with_choices(changes)


def test_a_training_keeps_the_plan_it_was_made_by(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    made = quick(table)
    model = train(table, out, made)
    assert model.recipe == made.recipe
    assert kept_in(out).read_text(encoding="utf-8") == made.to_toml()
    assert (
        train(table, out).hash == model.hash
    )  # nothing is planned anew: it goes on by the plan that is there
    assert kept_in(out).read_text(encoding="utf-8") == made.to_toml()
    longer = plan_for(read_cohort(table), out, PlanOptions(minutes=3))
    assert (longer.recipe.training.minutes, longer.recipe.training.epochs) == (3, None)
    assert plan_for(read_cohort(table), out, PlanOptions("UDH"), overwrite=True).recipe.training.minutes == 20
    kept_in(tmp_path / "failed").parent.mkdir(parents=True)
    made.write(kept_in(tmp_path / "failed"))
    anew = plan_for(read_cohort(table), tmp_path / "failed", PlanOptions("UDH"))
    assert anew.recipe.training.minutes == 20, "what never took a step is planned anew"


def test_a_plan_in_a_file_is_a_recipe(table: Path, tmp_path: Path) -> None:
    made = plan(table, PlanOptions("UDH", minutes=3, seed=7))
    made.write(tmp_path / "recipe.toml")
    assert Recipe.read(tmp_path / "recipe.toml") == made.recipe == read_plan(tmp_path / "recipe.toml").recipe
    assert (made.recipe.seed, made.recipe.training.minutes) == (7, 3)
