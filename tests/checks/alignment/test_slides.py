"""Annotations fit the tissue or do not, which mistake was made, and when nobody can tell."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.affinity import affine_transform, scale

from histoscout.checks.alignment.cohort import (
    check_cohort_alignment,
    check_training_alignment,
    confirm_suspicions,
)
from histoscout.checks.alignment.corrections import mirror_by_tile
from histoscout.checks.alignment.slides import (
    AS_GIVEN,
    MIN_FIT,
    MISTAKE_FIT,
    Alignment,
    AlignmentSubject,
    check_slide_alignment,
    prepare_subject,
)
from histoscout.checks.integrity import load_case
from histoscout.cohort.annotated_slide import REVIEWED, LabeledSlide, replace_unreviewed
from histoscout.cohort.case import Case, open_case
from histoscout.geometry.regions import Region, Regions
from histoscout.recipe import Recipe
from histoscout.slides.image_reader import slide_from_array
from histoscout.synthetic.slide import draw_slide
from histoscout.tissue.mask import find_tissue
from histoscout.verdict import Verdict
from tests import toy
from tests.checks.conftest import TILE_UM, toy_subject

Subjects = Callable[[int], AlignmentSubject]
CORNER = (150.0, 90.0)

MATRICES = {
    "a tile down": (1, 0, 0, 1, 0, TILE_UM),
    "a tile left": (1, 0, 0, 1, -TILE_UM, 0),
    "mirrored top to bottom": (1, 0, 0, -1, 0, toy.SIDE),
    "mirrored left to right": (-1, 0, 0, 1, toy.SIDE, 0),
    "2 times too large": (2, 0, 0, 2, 0, 0),
    "4 times too small": (0.25, 0, 0, 0.25, 0, 0),
    "offset by the scanned part": (1, 0, 0, 1, *CORNER),
    "in um": (0.35, 0, 0, 0.35, 0, 0),
}


def laid(regions: Regions, matrix: tuple[float, ...]) -> Regions:
    return Regions.of(replace(one, outline=affine_transform(one.outline, matrix)) for one in regions)


def loosely(regions: Regions) -> Regions:
    return Regions.of(
        replace(one, outline=scale(shapely.box(*one.outline.bounds), 1.3, 1.3)) for one in regions
    )


def faulty(subject: AlignmentSubject, fault: str, regions: Regions) -> AlignmentSubject:
    framed = replace(subject, frame=replace(subject.frame, corner=CORNER, mpp=0.35))
    if fault == "of the tile above, mirrored":
        return replace(framed, regions=mirror_by_tile(regions, subject.frame.tile, (1.0, -1.0), 1))
    return replace(framed, regions=laid(regions, MATRICES[fault]))


@pytest.mark.parametrize("shape", [lambda regions: regions, loosely], ids=["tight", "rectangles"])
@pytest.mark.parametrize("seed", range(2))
def test_annotations_that_fit_are_good(
    subjects: Subjects, seed: int, shape: Callable[[Regions], Regions]
) -> None:
    subject = subjects(seed)
    found = check_slide_alignment(replace(subject, regions=shape(subject.regions)))
    assert found.verdict.state == "good", found.verdict
    assert found.mistake is None


@pytest.mark.parametrize("shape", [lambda regions: regions, loosely], ids=["tight", "rectangles"])
@pytest.mark.parametrize("fault", MATRICES)
def test_a_mistake_is_found_named_and_undone(
    subjects: Subjects, fault: str, shape: Callable[[Regions], Regions]
) -> None:
    subject = subjects(1)
    wrong = faulty(subject, fault, shape(subject.regions))
    found = check_slide_alignment(wrong)
    assert found.verdict.state == "failed"
    assert found.mistake is not None
    assert found.mistake.name == fault
    assert fault in found.verdict.message
    corrected = check_slide_alignment(replace(wrong, regions=found.mistake.correct(wrong.regions)))
    assert corrected.verdict.state == "good"


def test_a_mistake_within_tiles_needs_two_slides(subjects: Subjects) -> None:
    fault = "of the tile above, mirrored"
    wrong = [faulty(subjects(seed), fault, subjects(seed).regions) for seed in (1, 2)]
    alone = [check_slide_alignment(subject) for subject in wrong]
    for one in alone:
        assert (one.verdict.state, one.mistake) == ("cannot tell", None)
        assert one.suspected is not None
        assert one.suspected.name == fault
        assert confirm_suspicions([one]) == [one]
        assert check_cohort_alignment([one]).state == "cannot tell"
    good = check_slide_alignment(subjects(0))
    first, second, third = confirm_suspicions([alone[0], good, alone[1]])
    assert second == good
    assert check_cohort_alignment([*alone, good]).state == "failed"
    for subject, found in zip(wrong, (first, third), strict=True):
        assert found.verdict.state == "failed"
        assert found.mistake is not None
        corrected = check_slide_alignment(replace(subject, regions=found.mistake.correct(subject.regions)))
        assert corrected.verdict.state == "good"


def test_annotations_that_cover_the_tissue_are_accused_of_nothing(subjects: Subjects) -> None:
    subject = subjects(0)
    whole = Regions.of([Region(shapely.box(8, 8, toy.SIDE - 8, toy.SIDE - 8), "UDH")])
    others = [("toy 0", subject.regions), ("toy 1", subjects(1).regions)]
    found = check_slide_alignment(replace(subject, regions=whole), lambda: others)
    assert math.isnan(found.fits[AS_GIVEN].z)
    # the annotations that another slide has would fit here, and still prove nothing
    assert found.fits["annotations of toy 0"].z >= MISTAKE_FIT
    assert (found.verdict.state, found.mistake) == ("cannot tell", None)


SQUARE_UM = 200.0


def in_squares(regions: Regions, side: float, extent: float) -> Regions:
    """Outlines as coarse as those of public patch data: every square that is annotated by a third."""
    starts = np.arange(0, extent, side)
    squares = [shapely.box(x, y, x + side, y + side) for x in starts for y in starts]
    lesions = shapely.union_all([region.outline for region in regions])
    chosen = [square for square in squares if square.intersection(lesions).area >= square.area / 3]
    parts = shapely.get_parts(shapely.union_all(chosen))
    return Regions.of(Region(part, "UDH") for part in parts.tolist())


@pytest.mark.parametrize(
    "patient", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)]
)
def test_blocky_outlines_are_no_mistake(patient: int) -> None:
    synthetic = draw_slide(0, patient, (3072, 3072))
    slide = slide_from_array(synthetic.pixels, synthetic.mpp)
    tissue = find_tissue(slide, toy.RECIPE.tissue, toy.RECIPE.patches)
    blocky = in_squares(synthetic.regions, SQUARE_UM / synthetic.mpp, 3072)
    subject = prepare_subject(slide, blocky, tissue, tile_um=TILE_UM)
    other = draw_slide(0, patient + 3, (3072, 3072)).regions
    found = check_slide_alignment(subject, lambda: [("another", other)])
    assert found.verdict.state != "failed", found.verdict
    assert found.mistake is None


def breast_slide(folder: Path, name: str) -> AlignmentSubject:
    case = Case(folder / "slides" / f"{name}.tif", folder / "annotations" / f"{name}.geojson", mpp=4.0)
    with open_case(case) as slide:
        tissue = find_tissue(slide, Recipe().tissue, Recipe().patches)
        return prepare_subject(slide, load_case(case).regions, tissue, tile_um=256.0)


@pytest.mark.shared
@pytest.mark.slow
def test_sound_breast_slides_do_not_fail(shared_data: Path) -> None:
    idc = shared_data / "idc"
    other = breast_slide(idc, "9035").regions
    found = [
        check_slide_alignment(breast_slide(idc, name), lambda: [("9035", other)])
        for name in ("8916", "8917", "9037", "9036")
    ]
    assert [one.verdict.state for one in found] == ["cannot tell"] * 3 + ["good"]
    assert check_cohort_alignment(found).state != "failed"


def test_a_displacement_by_any_amount_is_found(subjects: Subjects) -> None:
    subject = subjects(0)
    found = check_slide_alignment(replace(subject, regions=subject.regions.translate(-83, 91)))
    assert found.mistake is not None
    assert found.mistake.name == "displaced"
    assert "x by -8" in found.verdict.message
    assert "y by 9" in found.verdict.message or "y by 8" in found.verdict.message


def test_annotations_of_another_slide_are_recognized(subjects: Subjects) -> None:
    one, two = subjects(0), subjects(1)
    found = check_slide_alignment(replace(one, regions=two.regions), lambda: [("toy 0", one.regions)])
    assert found.mistake is not None
    assert found.mistake.name == "annotations of toy 0"
    assert found.verdict.state == "failed"


def test_a_slide_that_shows_nothing_cannot_tell() -> None:
    noise = np.random.default_rng(0).normal(0, 8, (toy.SIDE, toy.SIDE, 1))
    pixels = np.clip(np.array(toy.PINK) + noise, 0, 255).astype(np.uint8)
    slide = slide_from_array(pixels, toy.MPP)
    regions = toy.draw(0)[1]
    found = check_slide_alignment(
        prepare_subject(
            slide, regions, find_tissue(slide, toy.RECIPE.tissue, toy.RECIPE.patches), tile_um=TILE_UM
        )
    )
    assert found.verdict.state == "cannot tell"


def test_annotations_beside_the_tissue_are_wrong_whatever_the_mistake(subjects: Subjects) -> None:
    subject = subjects(0)
    far = Regions.of(one.translate(0, 5 * toy.SIDE + 37 * place) for place, one in enumerate(subject.regions))
    found = check_slide_alignment(replace(subject, regions=far))
    assert found.verdict.state == "failed"
    assert "0% of the annotated area is tissue" in found.verdict.message


def test_an_area_that_was_reviewed_is_no_lesion(subjects: Subjects) -> None:
    subject = subjects(0)
    whole = Region(shapely.box(*subject.frame.box.bounds), "Reviewed")
    found = check_slide_alignment(replace(subject, regions=Regions((whole, *subject.regions))))
    assert found.fits[AS_GIVEN] == check_slide_alignment(subject).fits[AS_GIVEN]


def test_reviewed_areas_move_with_the_annotations_but_are_no_lesions(subjects: Subjects) -> None:
    subject = subjects(0)
    part = Region(shapely.box(0, 0, toy.SIDE / 2, toy.SIDE), "Reviewed area")
    reviewed = Regions((part, *subject.regions))
    found = check_slide_alignment(replace(subject, regions=reviewed))
    assert found.fits[AS_GIVEN] == check_slide_alignment(subject).fits[AS_GIVEN]
    wrong = faulty(subject, "mirrored top to bottom", reviewed)
    mistake = check_slide_alignment(wrong).mistake
    assert mistake is not None
    assert mistake.name == "mirrored top to bottom"
    assert mistake.correct(wrong.regions)[0].outline.equals(part.outline)


def test_a_reviewed_area_alone_cannot_tell(subjects: Subjects) -> None:
    corner = Region(shapely.box(0, 0, 10, 10), "Reviewed")
    found = check_slide_alignment(replace(subjects(0), regions=Regions((corner,))))
    assert found.verdict.state == "cannot tell"
    assert found.verdict.message.startswith("0 annotations")


@given(order=st.permutations(range(9)))
def test_the_order_of_annotations_does_not_matter(order: list[int]) -> None:
    subject = SUBJECT
    shuffled = Regions.of(subject.regions[place] for place in order)
    assert subject.fit(shuffled).z == pytest.approx(subject.fit(subject.regions).z, rel=1e-3)


SUBJECT = toy_subject(2)


def test_the_verdict_is_the_same_each_time(subjects: Subjects) -> None:
    assert check_slide_alignment(subjects(0)).fits == check_slide_alignment(subjects(0)).fits


# ---------------------------------------------------------------- cohorts


def test_a_cohort_is_good_if_its_slides_are(subjects: Subjects) -> None:
    verdict = check_cohort_alignment([check_slide_alignment(subjects(seed)) for seed in range(3)])
    assert verdict.state == "good"
    assert "3 of 3" in verdict.message


def test_one_wrong_slide_fails_the_cohort_and_is_named(subjects: Subjects) -> None:
    good = [check_slide_alignment(subjects(seed)) for seed in range(2)]
    wrong = check_slide_alignment(faulty(subjects(2), "mirrored top to bottom", subjects(2).regions))
    verdict = check_cohort_alignment([*good, wrong])
    assert verdict.state == "failed"
    assert "1 of 3 slides: toy 2: mirrored top to bottom" in verdict.message


def weak(subject: AlignmentSubject, given: float, undone: float) -> Alignment:
    """A slide with too little to decide by itself."""
    one = check_slide_alignment(subject)
    fits = {name: replace(fit, z=0.1) for name, fit in one.fits.items()}
    fits[AS_GIVEN] = replace(fits[AS_GIVEN], z=given)
    fits["mirrored top to bottom"] = replace(fits["mirrored top to bottom"], z=undone)
    verdict = Verdict(name="v", state="cannot tell", message="")
    return Alignment(slide="weak", verdict=verdict, fits=fits)


def test_slides_that_cannot_tell_alone_can_together(subjects: Subjects) -> None:
    few = weak(subjects(0), 0.2, 3.0)
    assert check_cohort_alignment([few]).state == "cannot tell"
    together = check_cohort_alignment([few] * 5)
    assert together.state == "failed"
    assert "mirrored top to bottom" in together.message
    assert check_cohort_alignment([weak(subjects(0), MIN_FIT / 2, 0.0)] * 5).state == "good"


def test_no_slides_cannot_tell() -> None:
    assert check_cohort_alignment([]).state == "cannot tell"


def test_slides_of_a_training_are_checked() -> None:
    slides = []
    for seed in range(2):
        pixels, regions = toy.draw(seed)
        slide = slide_from_array(pixels, toy.MPP, f"toy {seed}")
        tissue = find_tissue(slide, toy.RECIPE.tissue, toy.RECIPE.patches)
        slides.append(LabeledSlide(slide, f"{seed}", regions, tissue, toy.RECIPE))
    assert check_training_alignment(slides).state == "good"
    mirrored = [replace(one, regions=laid(one.regions, (1, 0, 0, -1, 0, toy.SIDE))) for one in slides]
    assert check_training_alignment(mirrored).state == "failed"


def test_unreviewed_tissue_is_no_annotation() -> None:
    pixels, regions = toy.draw(0)
    slide = slide_from_array(pixels, toy.MPP, "toy")
    tissue = find_tissue(slide, toy.RECIPE.tissue, toy.RECIPE.patches)
    one = LabeledSlide(slide, "p", regions, tissue, toy.RECIPE)
    area = Region(shapely.box(0, 0, toy.SIDE / 2, toy.SIDE), REVIEWED)
    unreviewed, _ = replace_unreviewed(Regions((area, *regions)), slide.box)
    assert len(unreviewed) == len(regions) + 1
    assert check_training_alignment([replace(one, regions=unreviewed)]) == check_training_alignment([one])
