"""histoscout finds lesions on whole-slide images: slides and outlines in, a measured detector out.

Everything public is here and is loaded when it is first used, so that `import histoscout` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from histoscout.annotations.geojson import read_geojson, write_geojson
    from histoscout.annotations.read import read_annotations
    from histoscout.annotations.write import Canvas, write_annotations
    from histoscout.check.check import CheckOptions, Checks, check_cohort
    from histoscout.check.door import fits_at_the_door
    from histoscout.cohort.bracs import Bracs, read_bracs, write_bracs
    from histoscout.cohort.case import Case
    from histoscout.cohort.cohort import Cohort, read_cohort
    from histoscout.cohort.image_cohort import read_image_cohort
    from histoscout.conversion import Converted, ConvertOptions, convert
    from histoscout.demonstration import demo
    from histoscout.detection.detect import DetectOptions, detect
    from histoscout.detection.heatmap import Heatmap, read_heatmap
    from histoscout.errors import HistoscoutError
    from histoscout.evaluation.evaluate import EvaluateOptions, evaluate
    from histoscout.evaluation.out_of_fold import Crossval
    from histoscout.evaluation.outlines import ComparedSlide, CompareOptions, evaluate_regions, score_regions
    from histoscout.evaluation.roi_images import ImageOptions, evaluate_images
    from histoscout.evaluation.scores import Scores
    from histoscout.geometry.box import Box
    from histoscout.geometry.grid import TileGrid
    from histoscout.geometry.regions import Region, Regions
    from histoscout.machine import doctor
    from histoscout.network.engines import open_engine
    from histoscout.network.model_folder import ModelFolder, read_model
    from histoscout.pretraining import Pretrained, PretrainOptions, pretrain
    from histoscout.recipe import Recipe
    from histoscout.report.crossval_page import write_crossval_report
    from histoscout.report.evaluation_page import write_report
    from histoscout.slides.info import info
    from histoscout.slides.open import open_slide
    from histoscout.slides.slide import Slide
    from histoscout.training.crossval import CrossvalOptions, crossval
    from histoscout.training.plan import Plan, PlanOptions, plan
    from histoscout.training.train import TrainOptions, train

_PUBLIC = {
    "Box": "geometry.box",
    "Bracs": "cohort.bracs",
    "Canvas": "annotations.write",
    "Case": "cohort.case",
    "CheckOptions": "check.check",
    "Checks": "check.check",
    "Cohort": "cohort.cohort",
    "CompareOptions": "evaluation.outlines",
    "ComparedSlide": "evaluation.outlines",
    "ConvertOptions": "conversion",
    "Converted": "conversion",
    "Crossval": "evaluation.out_of_fold",
    "CrossvalOptions": "training.crossval",
    "DetectOptions": "detection.detect",
    "EvaluateOptions": "evaluation.evaluate",
    "Heatmap": "detection.heatmap",
    "HistoscoutError": "errors",
    "ImageOptions": "evaluation.roi_images",
    "ModelFolder": "network.model_folder",
    "Plan": "training.plan",
    "PlanOptions": "training.plan",
    "PretrainOptions": "pretraining",
    "Pretrained": "pretraining",
    "Recipe": "recipe",
    "Region": "geometry.regions",
    "Regions": "geometry.regions",
    "Scores": "evaluation.scores",
    "Slide": "slides.slide",
    "TileGrid": "geometry.grid",
    "TrainOptions": "training.train",
    "check_cohort": "check.check",
    "convert": "conversion",
    "crossval": "training.crossval",
    "demo": "demonstration",
    "detect": "detection.detect",
    "doctor": "machine",
    "evaluate": "evaluation.evaluate",
    "evaluate_images": "evaluation.roi_images",
    "evaluate_regions": "evaluation.outlines",
    "fits_at_the_door": "check.door",
    "info": "slides.info",
    "open_engine": "network.engines",
    "open_slide": "slides.open",
    "plan": "training.plan",
    "pretrain": "pretraining",
    "read_annotations": "annotations.read",
    "read_bracs": "cohort.bracs",
    "read_cohort": "cohort.cohort",
    "read_geojson": "annotations.geojson",
    "read_heatmap": "detection.heatmap",
    "read_image_cohort": "cohort.image_cohort",
    "read_model": "network.model_folder",
    "score_regions": "evaluation.outlines",
    "train": "training.train",
    "write_annotations": "annotations.write",
    "write_bracs": "cohort.bracs",
    "write_crossval_report": "report.crossval_page",
    "write_geojson": "annotations.geojson",
    "write_report": "report.evaluation_page",
}

__all__ = [
    "Box",
    "Bracs",
    "Canvas",
    "Case",
    "CheckOptions",
    "Checks",
    "Cohort",
    "CompareOptions",
    "ComparedSlide",
    "ConvertOptions",
    "Converted",
    "Crossval",
    "CrossvalOptions",
    "DetectOptions",
    "EvaluateOptions",
    "Heatmap",
    "HistoscoutError",
    "ImageOptions",
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
    "TileGrid",
    "TrainOptions",
    "check_cohort",
    "convert",
    "crossval",
    "demo",
    "detect",
    "doctor",
    "evaluate",
    "evaluate_images",
    "evaluate_regions",
    "fits_at_the_door",
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
    if name not in _PUBLIC:
        raise AttributeError(f"module 'histoscout' has no attribute {name!r}")
    value = getattr(import_module(f"histoscout.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
