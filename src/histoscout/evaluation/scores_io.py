"""The files of an evaluation: scores.json with every figure, slides.csv and patients.csv with a row each."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histoscout.evaluation.bootstrap import LEVEL, Interval
from histoscout.evaluation.lesions.froc import (
    AUDITED,
    AUDITED_WORDS,
    PER,
    RATES,
    READINGS,
    STRICT,
    FrocCurve,
    sensitivity_at,
)
from histoscout.evaluation.lesions.matching import PRIMARY, RULES, words
from histoscout.evaluation.lesions.summary import count_lesions_of, lesions_by_size, size_statistic, strata_of
from histoscout.evaluation.pixels.counts import PixelCounts
from histoscout.evaluation.pixels.metrics import Curve
from histoscout.evaluation.protocol import Exam
from histoscout.evaluation.scores import Scores
from histoscout.evaluation.slide_metrics import BASELINES, PREVIOUS, SlideScores
from histoscout.io.files import write_text

FORMAT = 2


def write_scores(scores: Scores, out: Path) -> None:
    """scores.json with the figures over all, slides.csv and patients.csv with a row each."""
    write_text(out / "scores.json", json.dumps(as_dict(scores), indent=1, allow_nan=False) + "\n")
    write_text(out / "slides.csv", _csv([slide_row(slide, scores.exam) for slide in scores.slides]))
    write_text(out / "patients.csv", _csv(patient_rows(scores)))


def as_dict(scores: Scores) -> dict[str, Any]:
    """What scores.json holds; a figure is {"value", "low", "high"}, null where it does not exist.

    `low` and `high` are null where no interval is estimable, `undefined_draws` is there where some draws of
    patients had no figure.
    """
    exam = scores.exam
    return {
        "format": FORMAT,
        "set": exam.set_name,
        "set_words": exam.on,
        "model": exam.model,
        "optimistic": exam.optimistic,
        "positive": exam.positive,
        "threshold": exam.threshold,
        "at": exam.at,
        "pixel": {**_figures(scores.pixel), "confusion": asdict(scores.pixels.confusion(exam.threshold))},
        "tile": _figures(scores.tile),
        "lesion": _lesion(scores),
        "outlined": _figures(scores.outlined),
        "baselines": {name: _finder(scores, name) for name in BASELINES},
        "against": _against(scores),
        "curves": _curves(scores),
        "intervals": {"level": LEVEL, "over": "patients", "draws": scores.draws, "seed": scores.seed},
        "patients": list(scores.patients),
        "slides": [slide.name for slide in scores.slides],
        "tissue_mm2": scores.tissue_mm2,
        "per_patient": patient_rows(scores),
        "claims": list(scores.claims),
        "sanity_checks": [vars(verdict) for verdict in scores.sanity_checks],
        "notes": list(scores.notes),
    }


def _figures(figures: Mapping[str, Interval]) -> dict[str, Any]:
    return {name: figure.to_dict() for name, figure in figures.items()}


def _finder(scores: Scores, name: str) -> dict[str, Any]:
    figures = scores.figures[name]
    return {
        "pixel": _figures(figures.pixel),
        "tile": _figures(figures.tile),
        "lesion": _figures(figures.lesion),
    }


def _lesion(scores: Scores) -> dict[str, Any]:
    """The lesion figures by the rule that claims are made by, then by the others, and by reading and size."""
    plain = {name: figure for name, figure in scores.lesion.items() if not name.startswith("sensitivity_at")}
    strata = strata_of(scores.lesions)
    by_size = scores.interval(size_statistic(scores.lesions, scores.patient_numbers, strata))
    return {
        "rule": words(PRIMARY),
        **_figures(plain),
        "sensitivity_at": {
            per: {f"{rate:g}": scores.lesion[sensitivity_at(rate, per)].to_dict() for rate in RATES}
            for per in PER
        },
        "froc": _froc(scores.froc),
        "counts": count_lesions_of(scores.lesions).to_dict(),
        "by_size": {
            name: {"lesions": count, **by_size[name].to_dict()}
            for name, count in lesions_by_size(scores.lesions, strata).items()
        },
        "other_rules": {
            rule: {"rule": words(rule), **_figures(scores.lesion_by(rule))}
            for rule in RULES
            if rule != PRIMARY
        },
        "other_readings": {
            reading: {
                "reading": READINGS[reading].words,
                "counts": count_lesions_of(scores.lesions, reading=reading).to_dict(),
                **_figures(scores.lesion_by(reading=reading)),
            }
            for reading in READINGS
            if reading != STRICT
        }
        | _audited(scores),
    }


def _audited(scores: Scores) -> dict[str, Any]:
    """The reading after a reader has judged findings, where one has."""
    if not scores.audited:
        return {}
    counts = count_lesions_of(scores.audited).to_dict()
    return {AUDITED: {"reading": AUDITED_WORDS, "counts": counts, **_figures(scores.lesion_audited)}}


def _froc(curve: FrocCurve) -> list[dict[str, float | None]]:
    """A point for each threshold, from the strictest to the laxest; none where there are no lesions or no area."""
    columns = (curve.thresholds, curve.sensitivity, curve.false_per_cm2, curve.false_per_slide)
    names = ("threshold", "sensitivity", "false_per_cm2", "false_per_slide")
    if any(len(column) != len(curve.thresholds) for column in columns):
        return []
    return [dict(zip(names, _plain(row), strict=True)) for row in np.stack(columns, axis=1)]


def _against(scores: Scores) -> dict[str, Any] | None:
    if not scores.exam.previous:
        return None
    difference = _figures(scores.differences)
    return {"model": scores.exam.previous, **_finder(scores, PREVIOUS), "difference": difference}


def _curves(scores: Scores) -> dict[str, Any]:
    if not scores.exam.probabilities:
        return {}
    return {
        "roc": _curve(scores.roc, "false_positive_rate", "sensitivity"),
        "pr": _curve(scores.pr, "recall", "precision"),
        "reliability": [asdict(cell) for cell in scores.reliability],
    }


def _curve(curve: Curve, x: str, y: str) -> dict[str, list[float | None]]:
    return {"threshold": _plain(curve.thresholds), x: _plain(curve.x), y: _plain(curve.y)}


def _plain(values: NDArray[np.float64]) -> list[float | None]:
    """Numbers as JSON knows them: an infinite threshold, which nothing reaches, is null."""
    return [float(value) if math.isfinite(value) else None for value in values]


# ---------------------------------------------------------------- rows


def slide_row(slide: SlideScores, exam: Exam) -> dict[str, Any]:
    """One slide's figures by name."""
    return {"slide": slide.name, **_row([slide], slide.pixels, exam), "tissue_mm2": slide.tissue_mm2}


def patient_rows(scores: Scores) -> list[dict[str, Any]]:
    """Each patient's figures by name, slides added up."""
    rows = []
    pixels = scores.by_patient([slide.pixels for slide in scores.slides])
    for patient, counts in zip(scores.patients, pixels, strict=True):
        slides = [slide for slide in scores.slides if slide.patient == patient]
        rows.append({**_row(slides, counts, scores.exam), "slides": len(slides)})
    return rows


def _row(slides: Sequence[SlideScores], pixels: PixelCounts, exam: Exam) -> dict[str, Any]:
    figures = pixels.row(exam.threshold)
    if not exam.probabilities:
        del figures["ap"]
    counts = count_lesions_of([slide.lesions for slide in slides])
    lesions = {"lesions": counts.lesions, "found": counts.found, "false": counts.false}
    return {"patient": slides[0].patient, **figures, **lesions}


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["slide"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
