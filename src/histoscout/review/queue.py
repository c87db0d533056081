"""The queue of slides to annotate next: what of the results is offered, and what is not."""

from collections.abc import Sequence
from dataclasses import replace

from histoscout.cohort.case import Case
from histoscout.cohort.cohort import Cohort
from histoscout.detection.heatmap import read_heatmap
from histoscout.detection.results import ResultFolder
from histoscout.errors import ReviewError
from histoscout.io.names import patient_key, slide_key
from histoscout.io.notes import count_and_list
from histoscout.progress import NoProgress, Progress
from histoscout.review.ranking import RankedSlide, measure_evidence, measure_slide, rank_slides
from histoscout.review.review import Review


def rank_results(
    review: Review,
    cases: Sequence[Case],
    output: ResultFolder,
    *,
    base: Cohort | None = None,
    progress: Progress | None = None,
) -> list[RankedSlide]:
    """Rank the slides of results that nobody has finished.

    Slides of test patients, slides that are annotated, and slides on which every finding is judged are left out; those
    that are known already count for the novelty of the others.

    Args:
        review: The review.
        cases: The slides of the results.
        output: The results.
        base: A cohort whose annotated slides are known, such as the one the model was trained on.
        progress: Who is informed.

    Returns:
        The slides, the one to annotate first at the front.

    Raises:
        ReviewError: No slide is left.
        SlideError: A slide cannot be read.
        OutputError: A heatmap is missing or damaged.
    """
    progress = progress or NoProgress()
    listed = {} if base is None else {slide_key(case.name): case for case in base.cases}
    test = {patient_key(case.patient) for case in (*cases, *listed.values()) if case.split == "test"}
    held_back: list[str] = []
    finished: list[Case] = []
    offered: list[Case] = []
    for case in cases:
        # the cohort knows the patient; the results know where the slide was
        patient = listed.get(slide_key(case.name), case).patient
        if patient_key(patient) in test:
            held_back.append(case.name)
        elif is_finished(review, case.name) or _is_annotated(listed.get(slide_key(case.name))):
            finished.append(case)
        else:
            offered.append(case)
    if held_back:
        progress.note(f"slides of test patients are not offered: {count_and_list(held_back)}")
    if not offered:
        fault = "there is no slide left to annotate: all are finished, or of test patients"
        raise ReviewError(output.folder, fault, "Detect on further slides")
    others = [case for case in listed.values() if _is_annotated(case) and case.split != "test"]
    by_key = {slide_key(case.name): case for case in (*others, *finished)}
    known = [case for case in by_key.values() if case.slide.exists()]
    progress.start("measuring slides", len(offered) + len(known))
    evidence = []
    for case in offered:
        evidence.append(measure_evidence(case, output, review))
        progress.advance()
    # known slides are measured at the resolution of the heatmaps
    mpp = read_heatmap(output.heatmap(offered[0].name)).mpp
    appearances = []
    for case in known:
        appearances.append(measure_slide(replace(case, annotations=None), mpp))
        progress.advance()
    progress.done()
    if unmeasured := [one.slide for one in evidence if one.appearance is None]:
        progress.note(
            f"slides that are not there or show no tissue, ranked by uncertainty alone: {count_and_list(unmeasured)}"
        )
    return rank_slides(evidence, [one for one in appearances if one is not None])


def is_finished(review: Review, slide: str) -> bool:
    """Whether a reader has said all about a slide: that it has no lesion, or something of each finding.

    Args:
        review: The review.
        slide: Name of the slide.
    """
    state = review.slide(slide)
    findings = review.findings(slide)
    judged = all(state.outcome(region.id) != "open" for region in findings)
    return bool(state.no_lesion) or (state.started and bool(len(findings)) and judged)


def _is_annotated(case: Case | None) -> bool:
    return case is not None and case.annotated
