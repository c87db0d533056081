"""Terms in reports explain themselves."""

import pytest

from histoscout.report.terms import TERMS, to_html


@pytest.mark.parametrize("term", TERMS)
def test_a_term_explains_itself(term: str) -> None:
    assert to_html(f"the {term} is") == f'the <abbr title="{TERMS[term]}">{term}</abbr> is'
    assert to_html(f"`{term}`") == f"<code>{term}</code>"


def test_other_text_is_escaped_and_kept() -> None:
    assert to_html("<b> & `a < b`") == "&lt;b&gt; &amp; <code>a &lt; b</code>"
    # part of a word, or an abbreviation in small letters, is no term
    for text in ("MAP", "dice-like", "ap", "ece", "thresholds"):
        assert to_html(text) == text
    assert "<abbr" in to_html("Precision at")
