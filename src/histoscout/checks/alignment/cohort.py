"""Whether annotations fit the tissue on all slides of a cohort together."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from histoscout.checks.alignment.slides import (
    ALIGNMENT,
    AS_GIVEN,
    MARGIN,
    MIN_FIT,
    MIN_SLIDES,
    MISTAKE_FIT,
    Alignment,
    check_slide_alignment,
    failed_verdict,
    prepare_subject,
    stays_on_tissue,
)
from histoscout.cohort.annotated_slide import LabeledSlide, annotated_only, drawn_only
from histoscout.io.notes import list_some
from histoscout.verdict import Verdict

MAX_SLIDE_FIT = 6.0
"""What one slide may add to the fit of all slides."""

MAX_LISTED = 3
"""Slides that a message names."""

MAX_TRAINING_SLIDES = 40
"""Training slides that are checked at most."""


def confirm_suspicions(alignments: Sequence[Alignment]) -> list[Alignment]:
    """Name the mistakes that several slides show and that none of them proves alone.

    Args:
        alignments: Alignment of each slide.

    Returns:
        The same in the same order; slides that share a suspicion fail.
    """
    counts = Counter(one.suspected.name for one in alignments if one.suspected is not None)
    return [
        replace(one, verdict=failed_verdict(one.fits, one.suspected), mistake=one.suspected, suspected=None)
        if one.suspected is not None and counts[one.suspected.name] >= MIN_SLIDES
        else one
        for one in alignments
    ]


def check_cohort_alignment(alignments: Sequence[Alignment]) -> Verdict:
    """Check whether annotations fit on all slides together.

    A mistake made on all slides shows even where each slide alone has too few annotations. Fits are combined over the
    slides (Stouffer 1949), each counted up to `MAX_SLIDE_FIT`, so that no slide decides alone.

    Args:
        alignments: Alignment of each slide; slides without a fit are left out.

    Returns:
        Failed if a slide fails, or if all together support a mistake.
    """
    alignments = confirm_suspicions(alignments)
    measured = [alignment for alignment in alignments if AS_GIVEN in alignment.fits]
    if failed := [alignment for alignment in measured if alignment.verdict.state == "failed"]:
        faults = [f"{alignment.slide}: {alignment.verdict.message}" for alignment in failed]
        return Verdict(
            name=ALIGNMENT,
            state="failed",
            message=f"{len(failed)} of {len(measured)} slides: {list_some(faults, MAX_LISTED, '; ')}",
            remedy=failed[0].verdict.remedy,
        )
    # mistakes that were tried on every slide, on the slides whose annotations as given can be judged
    judged = [alignment for alignment in measured if not math.isnan(alignment.fits[AS_GIVEN].z)]
    names = sorted(set.intersection(*(set(alignment.fits) for alignment in judged))) if judged else []
    combined = {name: _combined_fit(judged, name) for name in names}
    given = combined.pop(AS_GIVEN, 0.0)
    mistake = max(combined, key=lambda name: combined[name], default="")
    if len(judged) >= MIN_SLIDES and mistake and combined[mistake] >= max(MISTAKE_FIT, given + MARGIN):
        corrected = f"fit {combined[mistake]:.1f} when corrected, {given:.1f} as given"
        return Verdict(
            name=ALIGNMENT,
            state="failed",
            message=f"no slide shows it alone, but all together do: {mistake}; {corrected}",
            remedy="Look at the pictures before training",
        )
    good = sum(alignment.verdict.state == "good" for alignment in measured)
    message = f"good on {good} of {len(measured)} slides alone; fit of all together {given:.1f}"
    if given >= MIN_FIT:
        return Verdict(name=ALIGNMENT, state="good", message=message)
    return Verdict(name=ALIGNMENT, state="cannot tell", message=message, remedy="Look at the pictures")


def _combined_fit(alignments: Sequence[Alignment], name: str) -> float:
    # a correction that moves annotations off the tissue speaks for nothing
    fits = [
        fit.z if name == AS_GIVEN or stays_on_tissue(fit, alignment.fits[AS_GIVEN]) else min(fit.z, 0.0)
        for alignment in alignments
        for fit in [alignment.fits[name]]
    ]
    clipped = [min(max(z, -MAX_SLIDE_FIT), MAX_SLIDE_FIT) for z in fits if not math.isnan(z)]
    return sum(clipped) / math.sqrt(len(clipped)) if clipped else 0.0


def check_training_alignment(slides: Sequence[LabeledSlide]) -> Verdict:
    """Check whether the annotations of training slides fit their tissue.

    Of many slides `MAX_TRAINING_SLIDES` are checked, evenly spread: a mistake is seldom made on one slide alone, and
    `histoscout check` checks all.

    Args:
        slides: The slides; their annotations are clipped to them.

    Returns:
        The verdict on all of them.
    """
    annotated = [
        (slide, regions) for slide in slides if len(regions := drawn_only(annotated_only(slide.regions)))
    ]
    if annotated:
        chosen = np.unique(np.linspace(0, len(annotated) - 1, MAX_TRAINING_SLIDES).astype(int))
        annotated = [annotated[index] for index in chosen]
    alignments = []
    for slide, regions in annotated:
        tile_um = slide.recipe.patches.size_um
        subject = prepare_subject(slide.slide, regions, slide.tissue, tile_um=tile_um)
        alignments.append(check_slide_alignment(subject))
    return check_cohort_alignment(alignments)
