"""What a model loses on slides that look otherwise: other stain, JPEG 50, blur, another um/px.

    python benchmarks/robustness.py MODEL COHORT

Test slides are copied as another laboratory or scanner would have made them, each copy is evaluated in the ordinary way,
and the pixel AP and Dice (at the model's threshold) are set beside those of the slides copied unchanged. Stain is shifted by fixed gains
of haematoxylin and eosin, the same for all slides of a row.
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
from histoscout.detection.domain_shift import UNLIKE
from histoscout.evaluation.evaluate import EvaluateOptions, evaluate
from histoscout.geometry.regions import Regions
from histoscout.network.model_folder import read_model
from histoscout.sampling.augment import DENSITY, HED, RGB_TO_HED
from histoscout.slides.open import open_slide
from histoscout.slides.pyramid import write_pyramid

Pixels = NDArray[np.uint8]
BLUR_UM = 1.0
COARSER = 1.6


def stained(hematoxylin: float, eosin: float) -> Callable[[Pixels, float], Pixels]:
    """Multiply how much there is of each stain."""
    turn = (RGB_TO_HED @ np.diag([hematoxylin, eosin, 1.0]) @ HED).astype(np.float32)

    def change(pixels: Pixels, mpp: float) -> Pixels:
        parts = np.array_split(pixels, 16)  # densities take sixteen times the memory of pixels
        strips = [np.exp(-(DENSITY[part] @ turn)) * 256 - 1 for part in parts]
        varied: Pixels = np.clip(np.rint(np.concatenate(strips)), 0, 255).astype(np.uint8)
        return varied

    return change


def jpeg(quality: int) -> Callable[[Pixels, float], Pixels]:
    """Through JPEG of a low quality and back."""

    def change(pixels: Pixels, mpp: float) -> Pixels:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file))

    return change


def blurred(pixels: Pixels, mpp: float) -> Pixels:
    """Out of focus by a little."""
    return np.asarray(gaussian_filter(pixels, (BLUR_UM / mpp, BLUR_UM / mpp, 0)))


CHANGES: Mapping[str, Callable[[Pixels, float], Pixels]] = {
    "unchanged": lambda pixels, mpp: pixels,
    "haematoxylin x 1.4": stained(1.4, 1.0),
    "haematoxylin x .7": stained(0.7, 1.0),
    "eosin x 1.4": stained(1.0, 1.4),
    "eosin x .6": stained(1.0, 0.6),
    "haematoxylin x 1.3, eosin x .7": stained(1.3, 0.7),
    "JPEG 50": jpeg(50),
    f"blur, sigma {BLUR_UM:g} um": blurred,
}


def changed(cohort: Cohort, folder: Path, change: Callable[[Pixels, float], Pixels]) -> Cohort:
    """The test slides of a cohort, changed and written anew."""
    cases = []
    for case in cohort.in_split("test").cases:
        with open_slide(case.slide, case.mpp) as slide:
            path = folder / f"{case.slide.stem}.tif"
            pixels = change(slide.read(slide.box, slide.mpp), slide.mpp)
            write_pyramid(path, pixels, slide.mpp, compression="zlib")
        cases.append(replace(case, slide=path, mpp=None))
    return replace(cohort, cases=tuple(cases))


def scanned_coarser(cohort: Cohort, folder: Path) -> Cohort:
    """The test slides as if scanned with fewer pixels; outlines stay where they are on the tissue."""
    cases = []
    for case in cohort.in_split("test").cases:
        assert case.annotations is not None
        with open_slide(case.slide, case.mpp) as slide:
            path, outlines = folder / f"{case.slide.stem}.tif", folder / f"{case.slide.stem}.geojson"
            pixels = slide.read(slide.box, slide.mpp * COARSER)
            write_pyramid(path, pixels, slide.mpp * COARSER, compression="zlib")
            finer = pixels.shape[1] / slide.box.width
        drawn = read_annotations(case.annotations).regions
        write_geojson(
            Regions.of(
                replace(region, outline=scale(region.outline, finer, finer, origin=(0, 0)))
                for region in drawn
            ),
            outlines,
        )
        cases.append(replace(case, slide=path, annotations=outlines, mpp=None))
    return replace(cohort, cases=tuple(cases))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("cohort", type=Path)
    given = parser.parse_args()
    model, cohort = read_model(given.model), read_cohort(given.cohort)
    print(f"{'slides':34} {'AP':>6} {'Dice':>6}  notes of unlike slides")
    for name in (*CHANGES, f"{COARSER:g} times the um/px"):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "slides"
            folder.mkdir()
            made = (
                changed(cohort, folder, CHANGES[name]) if name in CHANGES else scanned_coarser(cohort, folder)
            )
            scores = evaluate(model, made, Path(scratch) / "scores", EvaluateOptions(sanity_checks="warn"))
        unlike = sum(UNLIKE in note for note in scores.notes)
        pixel = scores.pixel
        print(f"{name:34} {pixel['ap'].value:6.3f} {pixel['dice'].value:6.3f}  {unlike}", flush=True)


if __name__ == "__main__":
    main()
