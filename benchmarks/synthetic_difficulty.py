"""How far simple methods get on the built-in cohort (they must not get far).

Draws 24 patients, one slide each. Everything that learns is trained on 12 patients and tested on the other
12, both ways round; the average precision (AP) of the two is averaged. Ducts that are unclear even in truth
are left out.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score

from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import mask_of
from histoscout.synthetic.patient import DIFFICULTY
from histoscout.synthetic.slide import PhantomSlide, draw

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

COARSE = 4
"""Pixels are compared at this many um; regions are measured at 1 um/px."""

DUCTS = ("UDH", "ADH", "Normal")


@dataclass(frozen=True)
class Measured:
    """What the simple methods know of one slide."""

    maps: dict[str, Array]  # (h, w) at COARSE
    truth: Mask
    counted: Mask
    outlined: list[
        tuple[bool, float, Array, Array]
    ]  # is it UDH, mm2, features, shape features: perfect outlines
    found: list[tuple[bool, float, Array, Array]]  # the same for dense regions that were found
    missed: int  # UDH ducts that no dense region covers


def block_mean(field: Array, factor: int) -> Array:
    height, width = (side // factor for side in field.shape[:2])
    cut = field[: height * factor, : width * factor]
    blocks: Array = cut.reshape(height, factor, width, factor, *field.shape[2:]).mean(
        axis=(1, 3), dtype=np.float32
    )
    return blocks


def stains(rgb: Array) -> tuple[Array, Array]:
    """Haematoxylin and eosin by the fixed vectors of Macenko et al. 2009."""
    density = -np.log(np.maximum(rgb, 1) / 245)
    vectors = np.array([[0.5626, 0.7201, 0.4062], [0.2159, 0.8012, 0.5581]])
    amounts = density @ np.linalg.pinv(vectors).astype(np.float32)
    return amounts[..., 0].astype(np.float32), amounts[..., 1].astype(np.float32)


def otsu(values: Array) -> float:
    counts, edges = np.histogram(values, 128)
    middle = (edges[:-1] + edges[1:]) / 2
    below, above = np.cumsum(counts), counts.sum() - np.cumsum(counts)
    mean_below = np.cumsum(counts * middle) / np.maximum(below, 1)
    mean_above = ((counts * middle).sum() - np.cumsum(counts * middle)) / np.maximum(above, 1)
    return float(middle[np.argmax(below * above * (mean_below - mean_above) ** 2)])


def local_binary_pattern(gray: Array) -> NDArray[np.intp]:
    """Rotation-invariant uniform patterns of the 8 neighbours (Ojala et al. 2002): 0 to 9 for each pixel."""
    ring = [(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)]
    bits = np.stack([np.roll(gray, (-y, -x), (0, 1)) >= gray for y, x in ring])
    changes = (bits != np.roll(bits, 1, axis=0)).sum(axis=0)
    return np.where(changes <= 2, bits.sum(axis=0), 9)


@dataclass(frozen=True)
class Views:
    """A slide at 1 um/px in the forms that features are taken from."""

    rgb: Array
    hematoxylin: Array
    eosin: Array
    nuclear: Mask
    peaks: Mask
    white: Mask
    patterns: tuple[NDArray[np.intp], NDArray[np.intp]]
    gradient: Array


def views(rgb: Array) -> Views:
    hematoxylin, eosin = stains(rgb)
    gray = rgb.mean(axis=2)
    smooth = ndimage.gaussian_filter(hematoxylin, 1.5)
    level = otsu(hematoxylin[::4, ::4].ravel())
    half = np.kron(local_binary_pattern(block_mean(gray, 2)), np.ones((2, 2), np.intp))
    return Views(
        rgb,
        hematoxylin,
        eosin,
        hematoxylin > level,
        (ndimage.maximum_filter(smooth, 5) == smooth) & (smooth > level),
        rgb.min(axis=2) > 215,
        (local_binary_pattern(gray), half),
        np.hypot(*np.gradient(gray)),
    )


def features(seen: Views, box: Box, mask: Mask) -> Array:
    """Colour, density, size, compactness, white share and texture: what the task must not yield to."""
    where = (slice(int(box.y), int(box.bottom)), slice(int(box.x), int(box.right)))
    inside = {"r": seen.rgb[where][..., 0], "g": seen.rgb[where][..., 1], "b": seen.rgb[where][..., 2]}
    inside |= {"h": seen.hematoxylin[where], "e": seen.eosin[where], "gradient": seen.gradient[where]}
    values: list[float] = [float(f(field[mask])) for field in inside.values() for f in (np.mean, np.std)]
    area = float(mask.sum())
    border = float(area - ndimage.binary_erosion(mask).sum())
    values += [area, 4 * np.pi * area / max(border, 1) ** 2]
    values += [field[where][mask].mean() for field in (seen.nuclear, seen.white, seen.peaks)]
    values += list(np.histogram(seen.gradient[where][mask], [0, 3, 6, 10, 15, 22, 32, 50, 999])[0] / area)
    for pattern in seen.patterns:
        values += list(np.bincount(pattern[where][mask], minlength=10) / area)
    return np.asarray(values, dtype=np.float32)


def arrangement(seen: Views, box: Box, mask: Mask) -> Array:
    """The shape of the holes and the evenness of nuclei: what a pathologist looks at (a positive control)."""
    where = (slice(int(box.y), int(box.bottom)), slice(int(box.x), int(box.right)))
    holes, count = ndimage.label(
        ndimage.binary_opening(seen.white[where] & ndimage.binary_erosion(mask, iterations=7))
    )
    sizes = np.bincount(holes.ravel(), minlength=count + 1)[1:].astype(float)
    edge = (holes > 0) & ~ndimage.binary_erosion(holes > 0)
    rims = np.bincount(holes[edge], minlength=count + 1)[1:]
    keep = sizes >= 60
    round_ = np.minimum(4 * np.pi * sizes[keep] / np.maximum(rims[keep], 1) ** 2, 2)
    weight = sizes[keep] / max(sizes[keep].sum(), 1)
    nuclei, number = ndimage.label(ndimage.binary_opening(seen.nuclear[where] & mask))
    area = np.bincount(nuclei.ravel(), minlength=number + 1)[1:].astype(float)
    area = area[area >= 15] if (area >= 15).any() else np.ones(1)
    return np.asarray(
        [(round_ * weight).sum(), len(round_), area.std() / area.mean(), np.log(area.mean())],
        dtype=np.float32,
    )


def measured(slide: PhantomSlide) -> Measured:
    rgb = block_mean(slide.pixels.astype(np.float32), 2)
    seen = views(rgb)
    whole = Box(0, 0, slide.pixels.shape[1], slide.pixels.shape[0])
    scale = COARSE / slide.mpp
    udh = covered(slide, ("UDH",), whole, scale)
    outlined = []
    for region in slide.truth.labeled(*DUCTS):
        left, top, right, bottom = (np.asarray(region.outline.bounds) * slide.mpp).astype(int)
        box = Box(left, top, right - left + 1, bottom - top + 1)
        mask = mask_of(
            region.outline,
            Box(*(v / slide.mpp for v in (box.x, box.y, box.width, box.height))),
            1 / slide.mpp,
        )
        mask = mask[: rgb.shape[0] - int(box.y), : rgb.shape[1] - int(box.x)]
        row = (features(seen, box, mask), arrangement(seen, box, mask))
        outlined.append((region.label == "UDH", float(mask.sum()) * 1e-6, *row))
    found, missed = dense_regions(slide, seen)
    return Measured(
        maps(rgb, seen), udh, ~covered(slide, ("unclear",), whole, scale), outlined, found, missed
    )


def covered(slide: PhantomSlide, labels: tuple[str, ...], box: Box, scale: float) -> Mask:
    mask = np.zeros(box.shape(scale), bool)
    for region in slide.truth.labeled(*labels):
        mask |= mask_of(region.outline, box, scale)
    return mask


def dense_regions(slide: PhantomSlide, seen: Views) -> tuple[list[tuple[bool, float, Array, Array]], int]:
    """Connected parts where nuclei are dense; UDH if at least half of one lies in UDH ducts."""
    size = Box(0, 0, slide.pixels.shape[1], slide.pixels.shape[0])
    udh, unclear = (covered(slide, (label,), size, 1 / slide.mpp) for label in ("UDH", "unclear"))
    density = ndimage.gaussian_filter(seen.nuclear.astype(np.float32), 9)
    parts, _ = ndimage.label(ndimage.binary_opening(density > otsu(density[::4, ::4].ravel()), iterations=6))
    found, hits = [], set()
    for number, where in enumerate(ndimage.find_objects(parts), 1):
        mask = ndimage.binary_fill_holes(parts[where] == number)
        if mask.sum() < 5000 or unclear[where][mask].mean() > 0.5:
            continue
        box = Box(where[1].start, where[0].start, mask.shape[1], mask.shape[0])
        is_udh = bool(udh[where][mask].mean() >= 0.5)
        hits |= {number} if is_udh else set()
        found.append(
            (is_udh, float(mask.sum()) * 1e-6, features(seen, box, mask), arrangement(seen, box, mask))
        )
    covers = [parts[mask_of(region.outline, size, 1 / slide.mpp)] for region in slide.truth.labeled("UDH")]
    return found, sum(not np.isin(parts_here, list(hits)).any() for parts_here in covers)


def maps(rgb: Array, seen: Views) -> dict[str, Array]:
    """Colour and density, smoothed over 25 to 100 um."""
    bright = rgb.max(axis=2)
    layers = {
        "red": rgb[..., 0],
        "green": rgb[..., 1],
        "blue": rgb[..., 2],
        "haematoxylin": seen.hematoxylin,
    }
    layers |= {"eosin": seen.eosin, "saturation": (bright - rgb.min(axis=2)) / np.maximum(bright, 1)}
    layers |= {"nuclear area": seen.nuclear.astype(np.float32)}
    return {
        f"{name}, {width} um": ndimage.gaussian_filter(
            block_mean(np.asarray(layer, np.float32), COARSE), width / 2 / COARSE
        )
        for name, layer in layers.items()
        for width in (25, 50, 100)
    }


def threshold_ap(slides: list[Measured], name: str) -> float:
    """AP of a threshold on a map, in the better direction, over the pixels of all slides."""
    truth = np.concatenate([one.truth[one.counted] for one in slides])
    values = np.concatenate([one.maps[name][one.counted] for one in slides])
    return max(float(average_precision_score(truth, sign * values)) for sign in (1, -1))


def ranked_ap(slides: list[Measured], scores: list[NDArray[np.float64]], which: str) -> tuple[float, float]:
    """AP over regions, and with regions weighted by area. A missed UDH duct counts as found last."""
    rows = [row for one in slides for row in getattr(one, which)]
    truth, area = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    value = np.concatenate(scores)
    lost = sum(one.missed for one in slides) if which == "found" else 0
    truth, value = np.append(truth, [True] * lost), np.append(value, [-1e9] * lost)
    area = np.append(area, [0.07] * lost)
    return float(average_precision_score(truth, value)), float(
        average_precision_score(truth, value, sample_weight=area)
    )


def boosted_ap(folds: list[list[Measured]], which: str, column: int, leaf: int) -> tuple[float, float]:
    """AP of gradient boosting, trained on the patients of one fold and tested on those of the other."""
    results = []
    for train, test in (folds, folds[::-1]):
        rows = [row for one in train for row in getattr(one, which)]
        model = HistGradientBoostingClassifier(
            min_samples_leaf=leaf, learning_rate=0.05, max_iter=150, random_state=0
        )
        model.fit(np.stack([row[column] for row in rows]), [row[0] for row in rows])
        scores = [
            model.predict_proba(np.stack([row[column] for row in getattr(one, which)]))[:, 1]
            for one in test
            if getattr(one, which)
        ]
        results.append(ranked_ap(test, scores, which))
    return float(np.mean([one[0] for one in results])), float(np.mean([one[1] for one in results]))


def table(slides: list[Measured]) -> dict[str, dict[str, float]]:
    folds = [slides[0::2], slides[1::2]]
    rows: dict[str, dict[str, float]] = {}
    truth = np.concatenate([one.truth[one.counted] for one in slides])
    rows["chance"] = {"pixels": float(truth.mean())}
    for kind in ("red", "green", "blue", "haematoxylin", "eosin", "saturation", "nuclear area"):
        best = max(
            (threshold_ap(slides, name), name) for name in slides[0].maps if name.startswith(f"{kind},")
        )
        rows[f"threshold on {best[1]}"] = {"pixels": best[0]}
    for which, words in (("found", "dense regions"), ("outlined", "perfect outlines")):
        share = np.concatenate([[row[0] for row in getattr(one, which)] for one in slides]).mean()
        rows[f"{words}: chance"] = {"regions": float(share)}
        size = ranked_ap(slides, [np.array([row[1] for row in getattr(one, which)]) for one in slides], which)
        rows[f"{words}: by size"] = {"regions": size[0], "pixels": size[1]}
        for name, column in (
            ("boosting on colour, density, texture", 2),
            ("positive control: shape of holes, evenness", 3),
        ):
            both = max(boosted_ap(folds, which, column, leaf) for leaf in (5, 20))
            rows[f"{words}: {name}"] = {"regions": both[0], "pixels": both[1]}
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=24)
    parser.add_argument("--first", type=int, default=1000, help="number of the first patient")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    slides = []
    for number in range(options.patients):
        slides.append(measured(draw(0, options.first + number)))
        print(f"\r{number + 1} of {options.patients} patients", end="", flush=True)
    rows = table(slides)
    udh = [row[0] for one in slides for row in one.outlined]
    print(f"\n\ndifficulty {DIFFICULTY}; {sum(udh)} of {len(udh)} ducts are UDH\n")
    print("| method | AP, pixels | AP, regions |\n|---|--:|--:|")
    for name, row in rows.items():
        cells = [f"{row[key]:.3f}" if key in row else "" for key in ("pixels", "regions")]
        print(f"| {name} | {' | '.join(cells)} |")
    if options.json:
        options.json.write_text(json.dumps({"difficulty": DIFFICULTY, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
