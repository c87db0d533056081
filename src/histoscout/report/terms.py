"""Terms of statistics, each with an explanation that the reports show beside it."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from markupsafe import Markup, escape

TERMS: Mapping[str, str] = MappingProxyType(
    {
        "sensitivity": "the share of lesions that are found",
        "precision": "the share of detections, or of their area, that is lesion",
        "specificity": "the share of tissue without lesion that is not detected",
        "95 % CI": "the range in which the value would be for 95 of 100 samples of patients like these",
        "average precision": "how well probabilities separate lesion from other tissue, over all thresholds; 1 is best",
        "AP": "average precision: how well probabilities separate lesion from other tissue; 1 is best",
        "Dice": "how much detected and annotated areas overlap at the threshold; 1 is best",
        "AUROC": "how often a lesion gets a higher probability than other tissue; .50 is guessing",
        "FROC": "sensitivity against false positives, for every threshold",
        "prevalence": "the share of the tissue that is lesion; guessing reaches it as average precision",
        "ECE": "expected calibration error: how far probabilities are from what is observed; 0 is best",
        "Brier score": "the mean squared error of the probabilities; 0 is best",
        "threshold": "the probability from which a place counts as detected",
        "baseline": "what is reached without a model",
        "out of distribution": "unlike the slides that the model was trained on",
    }
)
"""Terms by the spelling in which reports use them."""

_MARKED = re.compile(
    r"`([^`\n]+)`|(?<![\w-])("
    + "|".join(sorted(map(re.escape, TERMS), key=len, reverse=True))
    + r")(?![\w-])",
    re.IGNORECASE,
)


def to_html(text: str) -> Markup:
    """Escape text for a page; code between backticks is set as code, terms explain themselves.

    Args:
        text: Plain text.

    Returns:
        HTML, in which a pointer over a term shows its explanation.
    """
    return Markup(_MARKED.sub(_mark, str(escape(text))))


def _mark(match: re.Match[str]) -> str:
    if match.group(1):
        return f"<code>{match.group(1)}</code>"
    term = _term(match.group(2))
    return match.group(0) if term is None else f'<abbr title="{TERMS[term]}">{match.group(2)}</abbr>'


def _term(word: str) -> str | None:
    """The term that a word means; abbreviations count in capitals only."""
    return next(
        (term for term in TERMS if word == term or (term.lower() == word.lower() and not term.isupper())),
        None,
    )
