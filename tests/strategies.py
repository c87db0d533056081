"""What hypothesis draws: outlines, regions and masks of every awkward kind."""

import math
from typing import Any

import numpy as np
import shapely
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from hypothesis.strategies import DrawFn, SearchStrategy
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon

from histoscout.geometry.regions import Outline, Region, Regions, valid_outline

# pixel sizes that binary fractions can say: a pixel's centre is the same number from wherever it is counted
DYADIC = st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0])


def _thousandths(low: float, high: float) -> SearchStrategy[float]:
    return st.integers(round(low * 1000), round(high * 1000)).map(lambda number: number / 1000)


@st.composite
def stars(draw: DrawFn, reach: float = 40.0) -> Polygon:
    """A polygon round a point, each corner at its own distance: simple, seldom convex."""
    x, y = draw(_thousandths(-reach, reach)), draw(_thousandths(-reach, reach))
    distances = draw(st.lists(_thousandths(1.0, reach), min_size=3, max_size=9))
    turns = [0.1 + 2 * math.pi * number / len(distances) for number in range(len(distances))]
    corners = zip(turns, distances, strict=True)
    return Polygon([(x + r * math.cos(turn), y + r * math.sin(turn)) for turn, r in corners])


@st.composite
def lattice_polygons(draw: DrawFn) -> Polygon:
    """A polygon with corners on quarters of a pixel: edges through pixel centres and along tile borders."""
    point = st.tuples(st.integers(-120, 120), st.integers(-120, 120))
    corners = draw(st.lists(point, min_size=3, max_size=7, unique=True))
    return Polygon([(x / 4, y / 4) for x, y in corners])


@st.composite
def outlines(draw: DrawFn) -> Outline:
    """Any valid outline: with holes, in several parts, with edges on the pixel lattice."""
    pieces = draw(st.lists(stars() | lattice_polygons(), min_size=1, max_size=3))
    holes = draw(st.lists(stars(reach=10.0), max_size=2))
    solid = shapely.union_all([valid_outline(piece) for piece in pieces])
    whole = valid_outline(shapely.difference(solid, shapely.union_all(holes)))
    return whole if whole is not None and whole.area > 1e-6 else Polygon([(0, 0), (3, 0), (0, 3)])


def masks(longest: int = 14) -> SearchStrategy[NDArray[np.bool_]]:
    """Bool images of any shape, with every way in which pixels can touch."""
    shape = st.tuples(st.integers(1, longest), st.integers(1, longest))
    return shape.flatmap(lambda size: arrays.arrays(np.bool_, size))


_TEXT = st.text(max_size=12)
_NUMBERS = st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False)
_JSON: SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_COLORS = st.lists(st.integers(0, 255), min_size=3, max_size=3)
_QUPATH = st.fixed_dictionaries(
    {},
    optional={
        "name": _TEXT,
        "color": _COLORS,
        "classColor": _COLORS,
        "isLocked": st.booleans(),
        "objectType": st.sampled_from(["annotation", "detection", "tile", "cell", "something"]),
        "measurements": st.dictionaries(_TEXT, _NUMBERS, max_size=3),
        "metadata": st.dictionaries(_TEXT, _TEXT, max_size=2),
        "plane": st.fixed_dictionaries({"c": st.just(-1), "z": st.integers(0, 3), "t": st.integers(0, 3)}),
    },
)
# names that mean something to QuPath, holding what does not belong there
_MISPLACED = st.dictionaries(
    st.sampled_from(["name", "color", "isLocked", "objectType", "object_type", "measurements", "metadata"])
    | st.sampled_from(["childObjects", "children", "histoscout", "plane", "classColor", "nucleusGeometry"])
    | st.sampled_from(["type", "id", "classification"]),
    _JSON,
    max_size=3,
)
PROPERTIES: SearchStrategy[dict[str, Any]] = st.builds(
    lambda *parts: {key: value for part in parts for key, value in part.items()},
    st.dictionaries(_TEXT, _JSON, max_size=2),
    _QUPATH,
    _MISPLACED | st.just({}),
)


@st.composite
def regions(draw: DrawFn) -> Region:
    """Any region that a program or a person could have made."""
    identity = draw(st.uuids().map(str) | st.text(min_size=1, max_size=10))
    score = draw(st.none() | st.floats(0, 1))
    outline = draw(outlines())
    if draw(st.booleans()) and isinstance(outline, Polygon):
        outline = MultiPolygon([outline])
    label = draw(st.sampled_from(["UDH", "Tumor: Positive", "Ignore*", ""]) | st.text(max_size=12))
    return Region(outline, label, score, id=identity, properties=draw(PROPERTIES))


def region_lists() -> SearchStrategy[Regions]:
    return st.lists(regions(), max_size=4).map(Regions.of)
