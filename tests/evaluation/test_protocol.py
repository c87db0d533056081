"""What may be claimed follows from whom it was measured on."""

import pytest

from histoscout.evaluation.protocol import Basis, Exam, claims


def said(patients: int, with_lesions: int, sites: tuple[str, ...] = (), **exam: object) -> str:
    chosen: dict[str, object] = {
        "finder": "model",
        "set_name": "test",
        "positive": "UDH",
        "threshold": 0.5,
        **exam,
    }
    basis = Basis(patients, with_lesions, patients, sites, bool(sites))
    return "\n".join(claims(Exam(**chosen), basis))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("patients", "with_lesions", "words"),
    [
        (1, 1, "1 patient: the figures describe these slides"),
        (4, 4, "no interval can be estimated from fewer than 5"),
        (30, 2, "of whom 2 patients with lesions"),
        (12, 9, "enough to tell useful from useless"),
        (60, 40, "the intervals say what to expect"),
    ],
)
def test_the_number_of_patients_decides(patients: int, with_lesions: int, words: str) -> None:
    assert words in said(patients, with_lesions)


def test_whether_patients_were_kept_apart_is_told() -> None:
    assert "kept apart" in said(9, 9)
    assert "another name would go unnoticed" in said(9, 9, apart=False)
    assert "optimistic" in said(9, 9, set_name="tune")
    leaking = said(9, 9, leak="slide_0 = renamed")
    assert "in part they were learnt from" in leaking
    assert "slide_0 = renamed" in leaking
    assert "kept apart" not in leaking
    assert "as given" in said(9, 9, set_name="given")
    assert "chosen on parts of the slides that were learnt from" in said(9, 9, tuned_on_blocks=True)


def test_one_site_says_nothing_of_others() -> None:
    assert "one site (Naples): nothing is said about other" in said(9, 9, ("Naples",))
    assert "does not name: nothing is said about other" in said(9, 9)
    assert "from 2 sites (Cambridge, Naples)" in said(9, 9, ("Cambridge", "Naples"))
