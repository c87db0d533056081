"""The study's figures and plan as plain tables."""

from collections.abc import Sequence
from typing import Any

from histoscout.cli.tables import table
from histoscout.study.study import PlannedRun


def study_table(found: dict[str, Any]) -> str:
    """One line a run, then our recipe."""
    head = ("run", "precision", "recall", "F1", "AP, truth", "AP, whole slides")
    rows: list[tuple[object, ...]] = []
    for name, result in found["runs"].items():
        judged = list(result["epochs"].values())[-1]["test"]
        whole = next(iter(result["whole"].values()), {"ap": None})
        own = (judged["own"][key] for key in ("precision", "recall", "f1"))
        rows.append((name, *own, judged["truth"]["ap"], whole["ap"]))
    ours = found["ours"]
    pixel, counts = ours["pixel"], ours["lesion"]["counts"]
    whole = next(iter(reversed(ours["whole"].values())))
    figures = (pixel[key]["value"] for key in ("precision", "recall", "dice", "ap"))
    rows.append(("our recipe, patients never seen", *figures, whole["ap"]))
    found_of = f"{counts['found']} of {counts['lesions']} lesions found by our recipe, {counts['false']} false regions"
    return f"{table(head, rows)}\n\n{found_of}"


def plan_table(planned: Sequence[PlannedRun], other_minutes: float) -> str:
    """One line a run that would be made, and the sum."""
    rows: list[tuple[object, ...]] = [
        (one.name, one.run.letters, one.steps, f"{one.minutes:.1f}") for one in planned
    ]
    total = sum(one.minutes for one in planned) + other_minutes
    rows.append(("slides, our recipe, pictures", "", "", f"{other_minutes:.1f}"))
    return f"{table(('run', 'faults', 'steps', 'minutes'), rows)}\n\nabout {total:.0f} minutes in all; nothing was written"
