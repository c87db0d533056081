"""How much a model loses on slides with another stain, JPEG 50, blur or another um/px.

    python benchmarks/robustness.py MODEL COHORT

Test slides are copied as another laboratory or scanner would have made them. Each copy is evaluated in the ordinary way, and its
pixel AP and Dice (at the model's threshold) are printed beside those of slides copied unchanged. Stain is shifted by fixed gains
of hematoxylin and eosin, the same for all slides of a row.
"""

import argparse
import io
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from shapely.affinity import scale

from histoscout.annotations.geojson import write_geojson
from histoscout.annotations.read import read_annotations
from histoscout.cohort.cohort import Cohort, read_cohort
from histoscout.detection.domain_shift import OUT_OF_DISTRIBUTION
from histoscout.evaluation.evaluate import EvaluateOptions, evaluate
from histoscout.geometry.regions import Regions
from histoscout.network.model_folder import read_model
from histoscout.slides.open import open_slide
from histoscout.slides.pyramid import write_pyramid
from histoscout.tissue.artifacts import HED, OPTICAL_DENSITY, RGB_TO_HED

Pixels = NDArray[np.uint8]
BLUR_UM = 1.0
COARSER = 1.6


def scale_stains(hematoxylin: float, eosin: float) -> Callable[[Pixels, float], Pixels]:
    """Multiply the amount of each stain."""
    matrix = (RGB_TO_HED @ np.diag([hematoxylin, eosin, 1.0]) @ HED).astype(np.float32)

    def change(pixels: Pixels, mpp: float) -> Pixels:
        # in strips, since densities take sixteen times the memory of pixels
        parts = np.array_split(pixels, 16)
        strips = [np.exp(-(OPTICAL_DENSITY[part] @ matrix)) * 256 - 1 for part in parts]
        scaled: Pixels = np.clip(np.rint(np.concatenate(strips)), 0, 255).astype(np.uint8)
        return scaled

    return change


def compress_jpeg(quality: int) -> Callable[[Pixels, float], Pixels]:
    """Compress as JPEG and decompress."""

    def change(pixels: Pixels, mpp: float) -> Pixels:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file))

    return change


def blur(pixels: Pixels, mpp: float) -> Pixels:
    """Slightly out of focus."""
    return np.asarray(gaussian_filter(pixels, (BLUR_UM / mpp, BLUR_UM / mpp, 0)))


CHANGES: Mapping[str, Callable[[Pixels, float], Pixels]] = {
    "unchanged": lambda pixels, mpp: pixels,
    "hematoxylin x 1.4": scale_stains(1.4, 1.0),
    "hematoxylin x .7": scale_stains(0.7, 1.0),
    "eosin x 1.4": scale_stains(1.0, 1.4),
    "eosin x .6": scale_stains(1.0, 0.6),
    "hematoxylin x 1.3, eosin x .7": scale_stains(1.3, 0.7),
    "JPEG 50": compress_jpeg(50),
    f"blur, sigma {BLUR_UM:g} um": blur,
}


def change_slides(cohort: Cohort, folder: Path, change: Callable[[Pixels, float], Pixels]) -> Cohort:
    """Write changed copies of the test slides of a cohort."""
    cases = []
    for case in cohort.in_split("test").cases:
        with open_slide(case.slide, case.mpp) as slide:
            path = folder / f"{case.slide.stem}.tif"
            pixels = change(slide.read(slide.box, slide.mpp), slide.mpp)
            write_pyramid(path, pixels, slide.mpp, compression="zlib")
        cases.append(replace(case, slide=path, mpp=None))
    return replace(cohort, cases=tuple(cases))


def rescan_coarser(cohort: Cohort, folder: Path) -> Cohort:
    """Write the test slides as if scanned with fewer pixels; annotations keep their place on the tissue."""
    cases = []
    for case in cohort.in_split("test").cases:
        assert case.annotations is not None
        with open_slide(case.slide, case.mpp) as slide:
            path, annotations = folder / f"{case.slide.stem}.tif", folder / f"{case.slide.stem}.geojson"
            pixels = slide.read(slide.box, slide.mpp * COARSER)
            write_pyramid(path, pixels, slide.mpp * COARSER, compression="zlib")
            factor = pixels.shape[1] / slide.box.width
        regions = read_annotations(case.annotations).regions
        write_geojson(
            Regions.of(
                replace(region, outline=scale(region.outline, factor, factor, origin=(0, 0)))
                for region in regions
            ),
            annotations,
        )
        cases.append(replace(case, slide=path, annotations=annotations, mpp=None))
    return replace(cohort, cases=tuple(cases))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="model folder")
    parser.add_argument("cohort", type=Path, help="cohort.csv with test slides")
    options = parser.parse_args()
    model, cohort = read_model(options.model), read_cohort(options.cohort)
    print(f"{'slides':34} {'AP':>6} {'Dice':>6}  notes of domain shift")
    for name in (*CHANGES, f"{COARSER:g} times the um/px"):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "slides"
            folder.mkdir()
            copied = (
                change_slides(cohort, folder, CHANGES[name])
                if name in CHANGES
                else rescan_coarser(cohort, folder)
            )
            scores = evaluate(model, copied, Path(scratch) / "scores", EvaluateOptions(sanity_checks="warn"))
        notes = sum(OUT_OF_DISTRIBUTION in note for note in scores.notes)
        pixel = scores.pixel
        print(f"{name:34} {pixel['ap'].value:6.3f} {pixel['dice'].value:6.3f}  {notes}", flush=True)


if __name__ == "__main__":
    main()
