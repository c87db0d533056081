"""histoscout finds lesions on whole-slide images: slides and annotations in, a measured detector out.

The public API is in this module; each name is loaded when it is first used, so that `import histoscout` is quick.

- slides: `open_slide`, `Slide`, `info`, `Box`, `TileGrid`
- annotations: `read_annotations`, `write_annotations`, `read_geojson`, `write_geojson`, `convert`, `Region`, `Regions`
- cohorts: `read_cohort`, `read_image_cohort`, `read_bracs`, `Case`, `Cohort`
- before training: `check_cohort`, `plan`, `Recipe`
- training: `train`, `crossval`, `pretrain`
- models: `read_model`, `open_engine`, `ModelFolder`
- use: `detect`, `evaluate`, `evaluate_regions`, `evaluate_images`, `read_heatmap`
- reports: `write_report`, `write_crossval_report`
"""

import warnings
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from histoscout.annotations.geojson import read_geojson, write_geojson
    from histoscout.annotations.read import read_annotations
    from histoscout.annotations.write import MaskCanvas, write_annotations
    from histoscout.checks.alignment.patches import check_patch_alignment
    from histoscout.checks.run import CheckOptions, Checks, check_cohort
    from histoscout.cohort.bracs import Bracs, read_bracs, write_bracs
    from histoscout.cohort.case import Case
    from histoscout.cohort.cohort import Cohort, read_cohort
    from histoscout.cohort.image_folders import read_image_cohort
    from histoscout.conversion import ConversionResult, ConvertOptions, convert
    from histoscout.demonstration import demo
    from histoscout.detection.detect import DetectOptions, detect
    from histoscout.detection.heatmap import Heatmap, read_heatmap
    from histoscout.errors import HistoscoutError
    from histoscout.evaluation.evaluate import EvaluateOptions, evaluate
    from histoscout.evaluation.images.evaluate import ImageOptions, evaluate_images
    from histoscout.evaluation.out_of_fold import Crossval
    from histoscout.evaluation.regions import CompareOptions, SlideComparison, evaluate_regions, score_regions
    from histoscout.evaluation.scores import Scores
    from histoscout.geometry.box import Box, TileGrid
    from histoscout.geometry.regions import Region, Regions
    from histoscout.machine import doctor
    from histoscout.network.engines import open_engine
    from histoscout.network.model_folder import ModelFolder, read_model
    from histoscout.recipe import Recipe
    from histoscout.report.crossval import write_crossval_report
    from histoscout.report.evaluation.page import write_report
    from histoscout.slides.open import info, open_slide
    from histoscout.slides.slide import Slide
    from histoscout.training.crossval import CrossvalOptions, crossval
    from histoscout.training.planning.plan import Plan, PlanOptions, plan
    from histoscout.training.pretrain import Pretrained, PretrainOptions, pretrain
    from histoscout.training.train import TrainOptions, train

__version__ = "0.2.0"

_PUBLIC: Mapping[str, str] = MappingProxyType(
    {
        "Box": "geometry.box",
        "Bracs": "cohort.bracs",
        "Case": "cohort.case",
        "CheckOptions": "checks.run",
        "Checks": "checks.run",
        "Cohort": "cohort.cohort",
        "CompareOptions": "evaluation.regions",
        "ConversionResult": "conversion",
        "ConvertOptions": "conversion",
        "Crossval": "evaluation.out_of_fold",
        "CrossvalOptions": "training.crossval",
        "DetectOptions": "detection.detect",
        "EvaluateOptions": "evaluation.evaluate",
        "Heatmap": "detection.heatmap",
        "HistoscoutError": "errors",
        "ImageOptions": "evaluation.images.evaluate",
        "MaskCanvas": "annotations.write",
        "ModelFolder": "network.model_folder",
        "Plan": "training.planning.plan",
        "PlanOptions": "training.planning.plan",
        "PretrainOptions": "training.pretrain",
        "Pretrained": "training.pretrain",
        "Recipe": "recipe",
        "Region": "geometry.regions",
        "Regions": "geometry.regions",
        "Scores": "evaluation.scores",
        "Slide": "slides.slide",
        "SlideComparison": "evaluation.regions",
        "TileGrid": "geometry.box",
        "TrainOptions": "training.train",
        "check_cohort": "checks.run",
        "check_patch_alignment": "checks.alignment.patches",
        "convert": "conversion",
        "crossval": "training.crossval",
        "demo": "demonstration",
        "detect": "detection.detect",
        "doctor": "machine",
        "evaluate": "evaluation.evaluate",
        "evaluate_images": "evaluation.images.evaluate",
        "evaluate_regions": "evaluation.regions",
        "info": "slides.open",
        "open_engine": "network.engines",
        "open_slide": "slides.open",
        "plan": "training.planning.plan",
        "pretrain": "training.pretrain",
        "read_annotations": "annotations.read",
        "read_bracs": "cohort.bracs",
        "read_cohort": "cohort.cohort",
        "read_geojson": "annotations.geojson",
        "read_heatmap": "detection.heatmap",
        "read_image_cohort": "cohort.image_folders",
        "read_model": "network.model_folder",
        "score_regions": "evaluation.regions",
        "train": "training.train",
        "write_annotations": "annotations.write",
        "write_bracs": "cohort.bracs",
        "write_crossval_report": "report.crossval",
        "write_geojson": "annotations.geojson",
        "write_report": "report.evaluation.page",
    }
)

_RENAMED: Mapping[str, str] = MappingProxyType(
    {
        "Canvas": "MaskCanvas",
        "ComparedSlide": "SlideComparison",
        "Converted": "ConversionResult",
        "fits_at_the_door": "check_patch_alignment",
    }
)
"""Public names of histoscout 0.1.0, which still work in this release."""

__all__ = [
    "Box",
    "Bracs",
    "Case",
    "CheckOptions",
    "Checks",
    "Cohort",
    "CompareOptions",
    "ConversionResult",
    "ConvertOptions",
    "Crossval",
    "CrossvalOptions",
    "DetectOptions",
    "EvaluateOptions",
    "Heatmap",
    "HistoscoutError",
    "ImageOptions",
    "MaskCanvas",
    "ModelFolder",
    "Plan",
    "PlanOptions",
    "PretrainOptions",
    "Pretrained",
    "Recipe",
    "Region",
    "Regions",
    "Scores",
    "Slide",
    "SlideComparison",
    "TileGrid",
    "TrainOptions",
    "check_cohort",
    "check_patch_alignment",
    "convert",
    "crossval",
    "demo",
    "detect",
    "doctor",
    "evaluate",
    "evaluate_images",
    "evaluate_regions",
    "info",
    "open_engine",
    "open_slide",
    "plan",
    "pretrain",
    "read_annotations",
    "read_bracs",
    "read_cohort",
    "read_geojson",
    "read_heatmap",
    "read_image_cohort",
    "read_model",
    "score_regions",
    "train",
    "write_annotations",
    "write_bracs",
    "write_crossval_report",
    "write_geojson",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        new = _RENAMED[name]
        warnings.warn(f"histoscout.{name} is now histoscout.{new}", DeprecationWarning, stacklevel=2)
        return __getattr__(new)
    if name not in _PUBLIC:
        raise AttributeError(f"module 'histoscout' has no attribute {name!r}")
    value = getattr(import_module(f"histoscout.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
