from dataclasses import replace
from itertools import combinations

import numpy as np
import shapely
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from histoscout.annotations.qupath_properties import class_color
from histoscout.detection.overlay import (
    MIN_FIELD_UM,
    MISSED,
    SIDE_PX,
    STYLES,
    OutlinesToDraw,
    OutlineStyle,
    _Labels,
    render_crop,
    render_overlay,
)
from histoscout.geometry.regions import Region, Regions
from histoscout.slides.image_reader import slide_from_array
from histoscout.slides.slide import Slide

NONE = OutlinesToDraw(Regions(), Regions())


def plain_slide(mpp: float = 1.0) -> Slide:
    return slide_from_array(np.full((2000, 2000, 3), (225, 160, 190), np.uint8), mpp)


def pixels(picture: Image.Image) -> np.ndarray[tuple[int, int, int], np.dtype[np.int64]]:
    return np.asarray(picture, np.int64)


def near(picture: np.ndarray[tuple[int, int, int], np.dtype[np.int64]], color: tuple[int, int, int]) -> int:
    return int((np.abs(picture - np.array(color)).max(2) < 40).sum())


def test_a_small_lesion_is_shown_in_at_least_300_um() -> None:
    lesion = shapely.Point(1000, 1000).buffer(20)  # 40 um wide
    shown = pixels(
        render_crop(
            plain_slide(), lesion, OutlinesToDraw(Regions(), Regions.of([Region(lesion, "UDH", 0.9)]))
        )
    )
    assert shown.shape == (SIDE_PX, SIDE_PX, 3)
    rows = np.flatnonzero((np.abs(shown - np.array(class_color("UDH"))).max(2) < 60).any(1))
    assert abs((rows.max() - rows.min()) - 40 / MIN_FIELD_UM * SIDE_PX) < 8


def test_a_large_lesion_fills_two_fifths_of_the_field_whatever_the_um_per_px() -> None:
    for mpp in (0.5, 2.0):
        lesion = shapely.box(600, 600, 1300, 1300)
        found = OutlinesToDraw(Regions(), Regions.of([Region(lesion, "UDH", 0.9)]))
        shown = pixels(render_crop(plain_slide(mpp), lesion, found))
        rows = np.flatnonzero((np.abs(shown - np.array(class_color("UDH"))).max(2) < 60).any(1))
        assert abs((rows.max() - rows.min()) / SIDE_PX - 0.4) < 0.03


def test_drawn_is_thin_and_dark_found_thick_and_in_color() -> None:
    lesion = shapely.box(900, 900, 1100, 1100)
    region = Regions.of([Region(lesion, "UDH")])
    bare = pixels(render_crop(plain_slide(), lesion, NONE))
    drawn = pixels(render_crop(plain_slide(), lesion, OutlinesToDraw(region, Regions())))
    found = pixels(render_crop(plain_slide(), lesion, OutlinesToDraw(Regions(), region)))
    assert near(found, class_color("UDH")) > near(bare, class_color("UDH")) + 1000
    dark = near(drawn, (17, 17, 17)) - near(bare, (17, 17, 17))
    assert 100 < dark < near(found, class_color("UDH"))


def test_beyond_the_slide_it_is_white_and_pictures_are_the_same_each_time() -> None:
    corner = shapely.box(0, 0, 100, 100)
    one = render_crop(plain_slide(), corner, NONE)
    assert one == render_crop(plain_slide(), corner, NONE)
    assert pixels(one)[:60, :60].min() > 240


def test_every_kind_of_outline_has_a_look_of_its_own() -> None:
    looks = {(style.color, style.dashed) for style in STYLES}
    assert len(looks) == len(STYLES)
    # against stained tissue: the contrast that readers with normal sight need for lines (WCAG 1.4.11)
    pink = relative_luminance((225, 160, 190))
    for style in STYLES:
        dark = relative_luminance(style.color)
        assert (pink + 0.05) / (dark + 0.05) >= 2.0, style.name


def relative_luminance(color: tuple[int, int, int]) -> float:
    linear = [
        channel / 255 / 12.92 if channel / 255 <= 0.04045 else ((channel / 255 + 0.055) / 1.055) ** 2.4
        for channel in color
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@given(places=st.lists(st.tuples(st.floats(-50, 350), st.floats(-50, 250)), max_size=12))
def test_names_stay_inside_the_picture_and_apart(places: list[tuple[float, float]]) -> None:
    canvas = ImageDraw.Draw(Image.new("RGB", (300, 200)))
    labels = _Labels(canvas, (300, 200), ImageFont.load_default(14))
    for left, top in places:
        labels.write("ADH", left, top, (0, 0, 0))
    written = [shapely.box(*box) for box in labels.taken]
    assert bool(written) == bool(places)
    assert all(shapely.box(0, 0, 300, 200).contains(box) for box in written)
    assert not any(one.intersection(two).area for one, two in combinations(written, 2))


def test_dashes_leave_gaps_where_a_line_does_not() -> None:
    lesion = Region(shapely.box(100, 100, 300, 300), "UDH")

    def drawn(style: OutlineStyle) -> int:
        shown = pixels(
            render_crop(
                plain_slide(), lesion.outline, OutlinesToDraw(Regions(), Regions(), ((lesion, style),))
            )
        )
        return int((np.abs(shown.astype(int) - style.color).sum(-1) < 60).sum())

    solid = replace(MISSED, dashed=False)
    assert 0.3 < drawn(MISSED) / drawn(solid) < 0.8


def test_classes_of_any_name_can_be_drawn() -> None:
    region = Region(shapely.box(900, 900, 1100, 1100), "two\nlines\x1b[31m\t\u202e")
    drawn = pixels(render_overlay(plain_slide(), Regions.of([region]), Regions.of([region]), 400))
    assert near(drawn, class_color(region.label)) > 20
