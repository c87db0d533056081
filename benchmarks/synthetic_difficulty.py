"""How well simple methods tell UDH from look-alikes on synthetic slides; they must not do well.

    python benchmarks/synthetic_difficulty.py [--patients 24] [--first 1000] [--json FILE]

Draws 24 patients, one slide each. Everything that learns is trained on 12 patients and tested on the other 12, both ways; the
average precision (AP) of the two is averaged. Ducts that are unclear by design are left out.
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
from histoscout.geometry.rasterize import polygon_to_mask
from histoscout.synthetic.patient import DIFFICULTY
from histoscout.synthetic.slide import SyntheticSlide, draw_slide

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

COARSE = 4
"""Pixels are compared at this many um; regions are measured at 1 um/px."""

DUCTS = ("UDH", "ADH", "Normal")


@dataclass(frozen=True)
class DuctFeatures:
    """A duct or a dense region, as simple methods see it."""

    is_udh: bool
    area_mm2: float
    simple: Array
    arrangement: Array


@dataclass(frozen=True, kw_only=True)
class SlideFeatures:
    """What the simple methods know of one slide: (h, w) maps at COARSE um/px, and regions."""

    maps: dict[str, Array]
    truth: Mask
    counted: Mask
    ducts: list[DuctFeatures]
    dense_regions: list[DuctFeatures]
    missed: int

    def regions(self, kind: str) -> list[DuctFeatures]:
        """The ducts with perfect outlines, or the dense regions that were detected."""
        return self.ducts if kind == "perfect outlines" else self.dense_regions


def block_mean(field: Array, factor: int) -> Array:
    height, width = (side // factor for side in field.shape[:2])
    cropped = field[: height * factor, : width * factor]
    blocks: Array = cropped.reshape(height, factor, width, factor, *field.shape[2:]).mean(
        axis=(1, 3), dtype=np.float32
    )
    return blocks


def unmix_stains(rgb: Array) -> tuple[Array, Array]:
    """Hematoxylin and eosin by the fixed vectors of Macenko et al. 2009."""
    density = -np.log(np.maximum(rgb, 1) / 245)
    vectors = np.array([[0.5626, 0.7201, 0.4062], [0.2159, 0.8012, 0.5581]])
    amounts = density @ np.linalg.pinv(vectors).astype(np.float32)
    return amounts[..., 0].astype(np.float32), amounts[..., 1].astype(np.float32)


def otsu_threshold(values: Array) -> float:
    counts, edges = np.histogram(values, 128)
    middle = (edges[:-1] + edges[1:]) / 2
    below, above = np.cumsum(counts), counts.sum() - np.cumsum(counts)
    mean_below = np.cumsum(counts * middle) / np.maximum(below, 1)
    mean_above = ((counts * middle).sum() - np.cumsum(counts * middle)) / np.maximum(above, 1)
    return float(middle[np.argmax(below * above * (mean_below - mean_above) ** 2)])


def local_binary_pattern(gray: Array) -> NDArray[np.intp]:
    """Rotation-invariant uniform patterns of the 8 neighbors (Ojala et al. 2002): 0 to 9 per pixel."""
    ring = [(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)]
    bits = np.stack([np.roll(gray, (-y, -x), (0, 1)) >= gray for y, x in ring])
    changes = (bits != np.roll(bits, 1, axis=0)).sum(axis=0)
    return np.where(changes <= 2, bits.sum(axis=0), 9)


@dataclass(frozen=True)
class SlideImages:
    """A slide at 1 um/px in the forms that features are computed from."""

    rgb: Array
    hematoxylin: Array
    eosin: Array
    nuclear: Mask
    peaks: Mask
    white: Mask
    patterns: tuple[NDArray[np.intp], NDArray[np.intp]]
    gradient: Array


def make_images(rgb: Array) -> SlideImages:
    hematoxylin, eosin = unmix_stains(rgb)
    gray = rgb.mean(axis=2)
    smooth = ndimage.gaussian_filter(hematoxylin, 1.5)
    level = otsu_threshold(hematoxylin[::4, ::4].ravel())
    half = np.kron(local_binary_pattern(block_mean(gray, 2)), np.ones((2, 2), np.intp))
    return SlideImages(
        rgb=rgb,
        hematoxylin=hematoxylin,
        eosin=eosin,
        nuclear=hematoxylin > level,
        peaks=(ndimage.maximum_filter(smooth, 5) == smooth) & (smooth > level),
        white=rgb.min(axis=2) > 215,
        patterns=(local_binary_pattern(gray), half),
        gradient=np.hypot(*np.gradient(gray)),
    )


def simple_features(images: SlideImages, box: Box, mask: Mask) -> Array:
    """Color, density, size, compactness, white share and texture, which must not solve the task."""
    where = (slice(int(box.y), int(box.bottom)), slice(int(box.x), int(box.right)))
    inside = {"r": images.rgb[where][..., 0], "g": images.rgb[where][..., 1], "b": images.rgb[where][..., 2]}
    inside |= {"h": images.hematoxylin[where], "e": images.eosin[where], "gradient": images.gradient[where]}
    values: list[float] = [float(f(field[mask])) for field in inside.values() for f in (np.mean, np.std)]
    area = float(mask.sum())
    border = float(area - ndimage.binary_erosion(mask).sum())
    values += [area, 4 * np.pi * area / max(border, 1) ** 2]
    values += [field[where][mask].mean() for field in (images.nuclear, images.white, images.peaks)]
    values += list(np.histogram(images.gradient[where][mask], [0, 3, 6, 10, 15, 22, 32, 50, 999])[0] / area)
    for pattern in images.patterns:
        values += list(np.bincount(pattern[where][mask], minlength=10) / area)
    return np.asarray(values, dtype=np.float32)


def arrangement_features(images: SlideImages, box: Box, mask: Mask) -> Array:
    """Shape of the holes and evenness of nuclei, which a pathologist looks at: a positive control."""
    where = (slice(int(box.y), int(box.bottom)), slice(int(box.x), int(box.right)))
    holes, count = ndimage.label(
        ndimage.binary_opening(images.white[where] & ndimage.binary_erosion(mask, iterations=7))
    )
    sizes = np.bincount(holes.ravel(), minlength=count + 1)[1:].astype(float)
    edge = (holes > 0) & ~ndimage.binary_erosion(holes > 0)
    rims = np.bincount(holes[edge], minlength=count + 1)[1:]
    keep = sizes >= 60
    round_ = np.minimum(4 * np.pi * sizes[keep] / np.maximum(rims[keep], 1) ** 2, 2)
    weight = sizes[keep] / max(sizes[keep].sum(), 1)
    nuclei, number = ndimage.label(ndimage.binary_opening(images.nuclear[where] & mask))
    area = np.bincount(nuclei.ravel(), minlength=number + 1)[1:].astype(float)
    area = area[area >= 15] if (area >= 15).any() else np.ones(1)
    return np.asarray(
        [(round_ * weight).sum(), len(round_), area.std() / area.mean(), np.log(area.mean())],
        dtype=np.float32,
    )


def measure_slide(slide: SyntheticSlide) -> SlideFeatures:
    rgb = block_mean(slide.pixels.astype(np.float32), 2)
    images = make_images(rgb)
    whole = Box(0, 0, slide.pixels.shape[1], slide.pixels.shape[0])
    scale = COARSE / slide.mpp
    ducts = []
    for region in slide.truth.with_labels(*DUCTS):
        left, top, right, bottom = (np.asarray(region.outline.bounds) * slide.mpp).astype(int)
        box = Box(left, top, right - left + 1, bottom - top + 1)
        level_0 = Box(*(side / slide.mpp for side in (box.x, box.y, box.width, box.height)))
        mask = polygon_to_mask(region.outline, level_0, 1 / slide.mpp)
        mask = mask[: rgb.shape[0] - int(box.y), : rgb.shape[1] - int(box.x)]
        ducts.append(measure_region(images, box, mask, is_udh=region.label == "UDH"))
    dense_regions, missed = find_dense_regions(slide, images)
    return SlideFeatures(
        maps=make_maps(rgb, images),
        truth=draw_mask(slide, ("UDH",), whole, scale=scale),
        counted=~draw_mask(slide, ("unclear",), whole, scale=scale),
        ducts=ducts,
        dense_regions=dense_regions,
        missed=missed,
    )


def measure_region(images: SlideImages, box: Box, mask: Mask, *, is_udh: bool) -> DuctFeatures:
    return DuctFeatures(
        is_udh,
        float(mask.sum()) * 1e-6,
        simple_features(images, box, mask),
        arrangement_features(images, box, mask),
    )


def draw_mask(slide: SyntheticSlide, labels: tuple[str, ...], box: Box, *, scale: float) -> Mask:
    mask = np.zeros(box.shape(scale), bool)
    for region in slide.truth.with_labels(*labels):
        mask |= polygon_to_mask(region.outline, box, scale)
    return mask


def find_dense_regions(slide: SyntheticSlide, images: SlideImages) -> tuple[list[DuctFeatures], int]:
    """Connected areas of dense nuclei, UDH if at least half is in UDH ducts; and the number of missed UDH ducts."""
    whole = Box(0, 0, slide.pixels.shape[1], slide.pixels.shape[0])
    udh, unclear = (draw_mask(slide, (label,), whole, scale=1 / slide.mpp) for label in ("UDH", "unclear"))
    density = ndimage.gaussian_filter(images.nuclear.astype(np.float32), 9)
    dense = density > otsu_threshold(density[::4, ::4].ravel())
    parts, _ = ndimage.label(ndimage.binary_opening(dense, iterations=6))
    regions = []
    udh_parts = []
    for number, where in enumerate(ndimage.find_objects(parts), 1):
        mask = ndimage.binary_fill_holes(parts[where] == number)
        if mask.sum() < 5000 or unclear[where][mask].mean() > 0.5:
            continue
        is_udh = bool(udh[where][mask].mean() >= 0.5)
        udh_parts += [number] if is_udh else []
        box = Box(where[1].start, where[0].start, mask.shape[1], mask.shape[0])
        regions.append(measure_region(images, box, mask, is_udh=is_udh))
    # a UDH duct is missed if no part that counts as UDH touches it
    ducts = [
        parts[polygon_to_mask(region.outline, whole, 1 / slide.mpp)]
        for region in slide.truth.with_labels("UDH")
    ]
    return regions, sum(not np.isin(duct, udh_parts).any() for duct in ducts)


def make_maps(rgb: Array, images: SlideImages) -> dict[str, Array]:
    """Color and density, smoothed over 25 to 100 um."""
    brightest = rgb.max(axis=2)
    layers = {
        "red": rgb[..., 0],
        "green": rgb[..., 1],
        "blue": rgb[..., 2],
        "hematoxylin": images.hematoxylin,
        "eosin": images.eosin,
        "saturation": (brightest - rgb.min(axis=2)) / np.maximum(brightest, 1),
        "nuclear area": images.nuclear.astype(np.float32),
    }
    return {
        f"{name}, {width} um": ndimage.gaussian_filter(
            block_mean(np.asarray(layer, np.float32), COARSE), width / 2 / COARSE
        )
        for name, layer in layers.items()
        for width in (25, 50, 100)
    }


def threshold_ap(slides: list[SlideFeatures], name: str) -> float:
    """AP of a threshold on a map, in the better direction, over the pixels of all slides."""
    truth = np.concatenate([slide.truth[slide.counted] for slide in slides])
    values = np.concatenate([slide.maps[name][slide.counted] for slide in slides])
    return max(float(average_precision_score(truth, sign * values)) for sign in (1, -1))


def region_ap(
    slides: list[SlideFeatures], scores: list[NDArray[np.float64]], kind: str
) -> tuple[float, float]:
    """AP over regions, and with regions weighted by area. A missed UDH duct has the lowest score."""
    regions = [region for slide in slides for region in slide.regions(kind)]
    missed = sum(slide.missed for slide in slides) if kind == "dense regions" else 0
    truth = np.append(np.array([region.is_udh for region in regions]), [True] * missed)
    values = np.append(np.concatenate(scores), [-1e9] * missed)
    area = np.append(np.array([region.area_mm2 for region in regions]), [0.07] * missed)
    by_area = average_precision_score(truth, values, sample_weight=area)
    return float(average_precision_score(truth, values)), float(by_area)


def boosting_ap(
    folds: list[list[SlideFeatures]], kind: str, features: str, *, leaf: int
) -> tuple[float, float]:
    """AP of gradient boosting, trained on the patients of one fold and tested on those of the other."""
    results = []
    for train, test in (folds, folds[::-1]):
        regions = [region for slide in train for region in slide.regions(kind)]
        model = HistGradientBoostingClassifier(
            min_samples_leaf=leaf, learning_rate=0.05, max_iter=150, random_state=0
        )
        model.fit(
            np.stack([getattr(region, features) for region in regions]), [region.is_udh for region in regions]
        )
        scores = [
            model.predict_proba(np.stack([getattr(region, features) for region in slide.regions(kind)]))[:, 1]
            for slide in test
            if slide.regions(kind)
        ]
        results.append(region_ap(test, scores, kind))
    return float(np.mean([regions for regions, _ in results])), float(np.mean([area for _, area in results]))


def make_table(slides: list[SlideFeatures]) -> dict[str, dict[str, float]]:
    folds = [slides[0::2], slides[1::2]]
    rows: dict[str, dict[str, float]] = {}
    truth = np.concatenate([slide.truth[slide.counted] for slide in slides])
    rows["chance"] = {"pixels": float(truth.mean())}
    for layer in ("red", "green", "blue", "hematoxylin", "eosin", "saturation", "nuclear area"):
        names = [name for name in slides[0].maps if name.startswith(f"{layer},")]
        ap, name = max((threshold_ap(slides, name), name) for name in names)
        rows[f"threshold on {name}"] = {"pixels": ap}
    for kind in ("dense regions", "perfect outlines"):
        share = np.concatenate([[region.is_udh for region in slide.regions(kind)] for slide in slides]).mean()
        rows[f"{kind}: chance"] = {"regions": float(share)}
        areas = [np.array([region.area_mm2 for region in slide.regions(kind)]) for slide in slides]
        by_region, by_area = region_ap(slides, areas, kind)
        rows[f"{kind}: by size"] = {"regions": by_region, "pixels": by_area}
        for title, features in (
            ("boosting on color, density, texture", "simple"),
            ("positive control: shape of holes, evenness", "arrangement"),
        ):
            by_region, by_area = max(boosting_ap(folds, kind, features, leaf=leaf) for leaf in (5, 20))
            rows[f"{kind}: {title}"] = {"regions": by_region, "pixels": by_area}
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--patients", type=int, default=24, help="number of patients")
    parser.add_argument("--first", type=int, default=1000, help="number of the first patient")
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args()
    slides = []
    for number in range(options.patients):
        slides.append(measure_slide(draw_slide(0, options.first + number)))
        print(f"\r{number + 1} of {options.patients} patients", end="", flush=True)
    rows = make_table(slides)
    udh = [duct.is_udh for slide in slides for duct in slide.ducts]
    print(f"\n\ndifficulty {DIFFICULTY}; {sum(udh)} of {len(udh)} ducts are UDH\n")
    print("| method | AP, pixels | AP, regions |\n|---|--:|--:|")
    for name, row in rows.items():
        cells = [f"{row[key]:.3f}" if key in row else "" for key in ("pixels", "regions")]
        print(f"| {name} | {' | '.join(cells)} |")
    if options.json:
        options.json.write_text(json.dumps({"difficulty": DIFFICULTY, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
