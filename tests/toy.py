"""A toy cohort: small slides of pink tissue with dark round lesions, pale look-alikes, and outlines that fit."""

from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from histoscout.annotations.geojson import write_geojson
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import polygon_to_mask
from histoscout.geometry.regions import Region, Regions
from histoscout.recipe import Recipe
from histoscout.slides.pyramid import write_pyramid

CHOICES: dict[str, Any] = {
    "patches": {"mpp": 4.0, "size_um": 256.0},
    "classes": {"other": ["ADH"]},
    "tissue": {"artifacts": False},
    "network": {
        "architecture": "unet_bn",
        "decoder_channels": [32, 16, 8],
        "weights": "none",
        "dropout": 0.1,
    },
    "training": {
        "epochs": 3,
        "steps_per_epoch": 8,
        "batch_size": 4,
        "learning_rate": 0.01,
        "ema_decay": 0.8,
        "workers": 0,
        "validation_patches": 8,
        "precision": "float32",
    },
    "detection": {"overlap": 0.0},
}
RECIPE = Recipe.from_dict(CHOICES)

SIDE, MPP = 512, 1.0
PINK, PURPLE, LILAC = (225, 160, 190), (110, 60, 140), (180, 120, 190)


def draw(seed: int, lesions: int = 4) -> tuple[NDArray[np.uint8], Regions]:
    """Pixels and regions of one toy slide: "UDH" is dark, "ADH" pale, "UDH-unsure" dark."""
    random = np.random.default_rng(seed)
    noise = gaussian_filter(random.normal(0, 1, (SIDE, SIDE)), 2) * 60
    pixels = np.full((SIDE, SIDE, 3), 245.0)
    pixels[16:-16, 16:-16] = np.array(PINK) + noise[16:-16, 16:-16, None]
    regions = []
    labels = ["UDH"] * lesions + ["ADH"] * 3 + ["UDH-unsure"]
    for place, label in zip(random.permutation(16), labels, strict=False):
        x, y = (place % 4 + 0.5) * 120 + 16 + random.uniform(-8, 8), (place // 4 + 0.5) * 120 + 16
        outline = shapely.Point(x, y).buffer(random.uniform(28, 44))
        inside = polygon_to_mask(outline, Box(0, 0, SIDE, SIDE), 1.0)
        pixels[inside] = np.array(LILAC if label == "ADH" else PURPLE) + noise[inside, None]
        regions.append(Region(outline, label))
    return np.clip(pixels, 0, 255).astype(np.uint8), Regions.of(regions)


def write_cohort(
    folder: Path,
    patients: int = 4,
    splits: tuple[str, ...] = ("train", "train", "tune", "test"),
    mpp: float = MPP,
) -> Path:
    """A cohort.csv of toy slides, one a patient; the path of the table."""
    rows = ["slide,annotations,patient,split"]
    for number in range(patients):
        pixels, regions = draw(number)
        write_pyramid(folder / f"slide_{number}.tif", pixels, mpp)
        write_geojson(regions, folder / f"slide_{number}.geojson")
        split = splits[number] if splits else ""
        rows.append(f"slide_{number}.tif,slide_{number}.geojson,patient {number},{split}")
    table = folder / "cohort.csv"
    table.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return table
