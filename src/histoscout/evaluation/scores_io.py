"""Files of an evaluation: scores.json, slides.csv and patients.csv."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histoscout.evaluation.bootstrap import CONFIDENCE_LEVEL, ConfidenceInterval
from histoscout.evaluation.lesions.froc import (
    ANNOTATION_POLICIES,
    RATE_UNITS,
    REPORTED_RATES,
    REVIEWED,
    REVIEWED_DESCRIPTION,
    STRICT,
    FrocCurve,
    sensitivity_metric,
)
from histoscout.evaluation.lesions.matching import MATCHING_RULES, PRIMARY_RULE, describe_rule
from histoscout.evaluation.lesions.summary import (
    choose_size_strata,
    count_by_size,
    count_lesions,
    size_statistic,
)
from histoscout.evaluation.pixels.counts import PixelCounts
from histoscout.evaluation.pixels.metrics import Curve
from histoscout.evaluation.pixels.tile_table import TILE_SET_METRICS
from histoscout.evaluation.protocol import SCORES_FILE, EvaluationProtocol
from histoscout.evaluation.scores import Scores
from histoscout.evaluation.slide_metrics import BASELINES, PREVIOUS, SlideScores
from histoscout.io.files import read_text, write_text
from histoscout.io.inputs import parse_json
from histoscout.io.tables import write_csv

SCORES_FORMAT = 3
"""Version of scores.json. Version 2 was written by histoscout 0.1.0."""

RENAMED_SCORES: Mapping[str, str] = {
    "guards": "sanity_checks",
    "outlined": "class_auroc",
    "other_readings": "annotation_policies",
    "reading": "policy",
    "audited": "reviewed",
    "hits": "tp",
    "alarms": "fp",
    "misses": "fn",
    "rests": "tn",
    "said": "predicted",
    "true": "observed",
    "found": "true_positives",
    "findings": "detections",
    "false": "false_positives",
    "false_on": "false_positives_on",
    "false_per_cm2": "fp_per_cm2",
    "false_per_slide": "fp_per_slide",
    "centre": "center",
    "says": "message",
    "at": "operating_target",
}
"""Keys of scores.json in version 2, with the key of today; values of the keys are alike."""


def read_scores(path: Path) -> dict[str, Any]:
    """Read a scores.json of this version or of histoscout 0.1.0.

    Args:
        path: The file.

    Returns:
        Its content, with the keys of today.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is not JSON.
    """
    # scores of images never had a format
    values: dict[str, Any] = parse_json(read_text(path))
    if values.get("format", SCORES_FORMAT) >= SCORES_FORMAT:
        return values
    renamed: dict[str, Any] = _rename_keys(values)
    return {**renamed, "format": SCORES_FORMAT}


def _rename_keys(value: Any) -> Any:
    if isinstance(value, list):
        return [_rename_keys(item) for item in value]
    if isinstance(value, dict):
        return {RENAMED_SCORES.get(key, key): _rename_keys(item) for key, item in value.items()}
    return value


def write_scores(scores: Scores, out: Path) -> None:
    """Write scores.json, slides.csv and patients.csv.

    Args:
        scores: The scores.
        out: The folder to write to.

    Raises:
        OutputError: A file cannot be written.
    """
    write_text(out / SCORES_FILE, json.dumps(scores_to_dict(scores), indent=1, allow_nan=False) + "\n")
    slides = [slide_row(slide, scores.protocol) for slide in scores.slides]
    for name, rows in (("slides.csv", slides), ("patients.csv", patient_rows(scores))):
        write_csv(out / name, list(rows[0]) if rows else ["slide"], rows)


def scores_to_dict(scores: Scores) -> dict[str, Any]:
    """Convert scores to the content of scores.json.

    Args:
        scores: The scores.

    Returns:
        Plain values. A metric is {"value", "low", "high"}, null where it is undefined; `low` and `high` are
        null where no interval can be estimated, `undefined_draws` is there if the metric is undefined in some
        resamples.
    """
    # what was evaluated, then metrics, curves and rows, then what to know about them
    protocol = scores.protocol
    confusion = asdict(scores.pixels.confusion(protocol.threshold))
    return {
        "format": SCORES_FORMAT,
        "set": protocol.set_name,
        "set_words": protocol.set_label,
        "model": protocol.model_hash,
        "optimistic": protocol.optimistic,
        "positive": protocol.positive,
        "threshold": protocol.threshold,
        "operating_target": protocol.operating_target,
        "pixel": {**_metrics_to_dict(scores.pixel), "confusion": confusion},
        "tile": _metrics_to_dict(scores.tile),
        "lesion": _lesion_to_dict(scores),
        "class_auroc": _metrics_to_dict(scores.class_auroc),
        "tile_set": _tile_set_to_dict(scores),
        "baselines": {name: _method_to_dict(scores, name) for name in BASELINES},
        "against": _previous_to_dict(scores),
        "curves": _curves_to_dict(scores),
        "intervals": {
            "level": CONFIDENCE_LEVEL,
            "over": "patients",
            "draws": scores.draws,
            "seed": scores.seed,
        },
        "patients": list(scores.patients),
        "slides": [slide.name for slide in scores.slides],
        "tissue_mm2": scores.tissue_mm2,
        "per_patient": patient_rows(scores),
        "claims": list(scores.claims),
        "sanity_checks": [verdict.to_dict() for verdict in scores.sanity_checks],
        "notes": list(scores.notes),
    }


def _metrics_to_dict(metrics: Mapping[str, ConfidenceInterval]) -> dict[str, Any]:
    return {name: interval.to_dict() for name, interval in metrics.items()}


def _method_to_dict(scores: Scores, method: str) -> dict[str, Any]:
    metrics = scores.metrics[method]
    return {
        "pixel": _metrics_to_dict(metrics.pixel),
        "tile": _metrics_to_dict(metrics.tile),
        "lesion": _metrics_to_dict(metrics.lesion),
    }


def _lesion_to_dict(scores: Scores) -> dict[str, Any]:
    """Lesion metrics by the primary rule, other rules, annotation policies, and lesion size."""
    # sensitivities are grouped by rate, all other metrics stand by their name
    metrics = {
        name: interval for name, interval in scores.lesion.items() if not name.startswith("sensitivity_at")
    }
    sensitivity_at = {
        per: {f"{rate:g}": scores.lesion[sensitivity_metric(rate, per)].to_dict() for rate in REPORTED_RATES}
        for per in RATE_UNITS
    }

    # sensitivity by lesion size
    strata = choose_size_strata(scores.lesions)
    by_size = scores.intervals(size_statistic(scores.lesions, scores.patient_numbers, strata))

    # other ways to treat unannotated tissue, and the expert review
    policies: dict[str, Any] = {
        policy: {
            "policy": ANNOTATION_POLICIES[policy].description,
            "counts": count_lesions(scores.lesions, policy=policy).to_dict(),
            **_metrics_to_dict(scores.lesion_by(policy=policy)),
        }
        for policy in ANNOTATION_POLICIES
        if policy != STRICT
    }
    if scores.reviewed:
        policies[REVIEWED] = {
            "policy": REVIEWED_DESCRIPTION,
            "counts": count_lesions(scores.reviewed).to_dict(),
            **_metrics_to_dict(scores.lesion_reviewed),
        }

    return {
        "rule": describe_rule(PRIMARY_RULE),
        **_metrics_to_dict(metrics),
        "sensitivity_at": sensitivity_at,
        "objects": _metrics_to_dict(scores.objects),
        "froc": _froc_to_list(scores.froc),
        "counts": count_lesions(scores.lesions).to_dict(),
        "by_size": {
            name: {"lesions": count, **by_size[name].to_dict()}
            for name, count in count_by_size(scores.lesions, strata).items()
        },
        "other_rules": {
            rule: {"rule": describe_rule(rule), **_metrics_to_dict(scores.lesion_by(rule))}
            for rule in MATCHING_RULES
            if rule != PRIMARY_RULE
        },
        "annotation_policies": policies,
    }


def _froc_to_list(curve: FrocCurve) -> list[dict[str, float | None]]:
    """A point for each threshold, strictest first; empty without lesions or area."""
    columns = {
        "threshold": curve.thresholds,
        "sensitivity": curve.sensitivity,
        "fp_per_cm2": curve.fp_per_cm2,
        "fp_per_slide": curve.fp_per_slide,
    }
    if any(len(column) != len(curve.thresholds) for column in columns.values()):
        return []
    points = np.stack(list(columns.values()), axis=1)
    return [dict(zip(columns, _finite_or_none(point), strict=True)) for point in points]


def _tile_set_to_dict(scores: Scores) -> dict[str, Any] | None:
    """Tiles of a fixed size: which, and their metrics; null without such."""
    if scores.protocol.tile_um is None:
        return None
    total = PixelCounts.total(scores.tile_set_counts)
    return {
        "tile_um": scores.protocol.tile_um,
        "source": scores.protocol.tile_source,
        "threshold": scores.tile_threshold,
        **_metrics_to_dict(scores.tile_set),
        "confusion": asdict(total.confusion(scores.tile_threshold)),
    }


def _previous_to_dict(scores: Scores) -> dict[str, Any] | None:
    if not scores.protocol.previous_model:
        return None
    return {
        "model": scores.protocol.previous_model,
        **_method_to_dict(scores, PREVIOUS),
        "difference": _metrics_to_dict(scores.differences),
    }


def _curves_to_dict(scores: Scores) -> dict[str, Any]:
    if not scores.protocol.has_probabilities:
        return {}
    return {
        "roc": _curve_to_dict(scores.roc, "false_positive_rate", "sensitivity"),
        "pr": _curve_to_dict(scores.pr, "recall", "precision"),
        "reliability": [asdict(cell) for cell in scores.reliability],
    }


def _curve_to_dict(curve: Curve, x: str, y: str) -> dict[str, list[float | None]]:
    return {
        "threshold": _finite_or_none(curve.thresholds),
        x: _finite_or_none(curve.x),
        y: _finite_or_none(curve.y),
    }


def _finite_or_none(values: NDArray[np.float64]) -> list[float | None]:
    """Numbers for JSON: an infinite threshold, which nothing reaches, is null."""
    return [float(value) if math.isfinite(value) else None for value in values]


# ---------------------------------------------------------------- rows


def slide_row(slide: SlideScores, protocol: EvaluationProtocol) -> dict[str, Any]:
    """Collect the metrics of one slide by name, a row of slides.csv.

    Args:
        slide: Scores of the slide.
        protocol: The evaluation protocol.

    Returns:
        Values by column.
    """
    return {"slide": slide.name, **_row([slide], slide.pixels, protocol), "tissue_mm2": slide.tissue_mm2}


def patient_rows(scores: Scores) -> list[dict[str, Any]]:
    """Collect the metrics of each patient by name, rows of patients.csv; slides are added up.

    Args:
        scores: The scores.

    Returns:
        Values by column, one dictionary for each patient.
    """
    rows = []
    pixels = scores.by_patient([slide.pixels for slide in scores.slides])
    for patient, counts in zip(scores.patients, pixels, strict=True):
        slides = [slide for slide in scores.slides if slide.patient == patient]
        row = {**_row(slides, counts, scores.protocol), "slides": len(slides)}
        # the tiles of a fixed size, if there are any
        if scores.protocol.tile_um is not None:
            tiles = PixelCounts.total(slide.tile_set or PixelCounts.empty() for slide in slides)
            row |= {
                f"tile_{name}": metric(tiles, scores.tile_threshold)
                for name, metric in TILE_SET_METRICS.items()
            }
        rows.append(row)
    return rows


def _row(slides: Sequence[SlideScores], pixels: PixelCounts, protocol: EvaluationProtocol) -> dict[str, Any]:
    # AP needs probabilities
    metrics = pixels.to_row(protocol.threshold)
    if not protocol.has_probabilities:
        del metrics["ap"]
    counts = count_lesions([slide.lesions for slide in slides])
    return {
        "patient": slides[0].patient,
        **metrics,
        "lesions": counts.lesions,
        "true_positives": counts.true_positives,
        "false_positives": counts.false_positives,
    }
