from collections.abc import Callable
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest

from histoscout.report.plots import (
    FROC_MARKS,
    Bar,
    Line,
    bars,
    by_step,
    confusion,
    froc,
    precision_recall,
    reliability,
    roc,
)

HOSTILE = 'a <script>&"$x_1$ \u2603 \u817a\x07\udcff'


def words(svg: bytes) -> str:
    return " ".join(text.strip() for text in ElementTree.fromstring(svg).itertext() if text.strip())


def line(name: str = "model") -> Line:
    x = np.linspace(0, 1, 9)
    return Line(name, x.tolist(), np.sqrt(x).tolist(), point=(0.25, 0.5))


FIGURES: dict[str, Callable[[str], bytes]] = {
    "roc": lambda name: roc([line(name)], "pixels"),
    "precision_recall": lambda name: precision_recall([line(name)], 0.04, "pixels"),
    "froc": lambda name: froc([Line(name, [0.1, 1], [0.2, 0.8], [0.1] * 6, [0.9] * 6)], "cm2"),
    "reliability": lambda name: reliability([0.1, 0.5], [0.2, 0.4]),
    "reliability of rare things": lambda name: reliability([0.0, 0.001, 0.5], [0.0, 0.0, 0.4]),
    "by_step": lambda name: by_step([{"step": 1, "a": 2.0}, {"step": 2, "a": 1.0}], {"a": name}, "loss"),
    "bars": lambda name: bars([Bar(name, 0.5, 4, 0.2, 0.9), Bar("b", None, 0)], "size", "sensitivity"),
    "confusion": lambda name: confusion([name, "b"], [[3, 1], [0, 0]], of_row=True),
}


@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
def test_a_figure_is_the_same_file_each_time_and_leaves_matplotlib_as_it_was(
    figure: Callable[[str], bytes],
) -> None:
    before = dict(mpl.rcParams)
    assert figure("model") == figure("model")
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
def test_a_figure_holds_any_name(figure: Callable[[str], bytes]) -> None:
    shown = words(figure(HOSTILE))
    assert ("<script>" in shown and "$x_1$" in shown) == ("Zz" in words(figure("Zz")))
    assert len(ElementTree.fromstring(figure(HOSTILE)).attrib["viewBox"].split()) == 4


@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
def test_axes_have_names(figure: Callable[[str], bytes]) -> None:
    shown = words(figure("model"))
    assert any(
        name in shown
        for name in ("false positives", "recall", "mean probability", "training step", "size", "taken for")
    )


def test_what_guessing_gives_is_shown() -> None:
    assert "prevalence .040" in words(FIGURES["precision_recall"]("model"))
    assert "guessing" in words(FIGURES["roc"]("model"))


def test_froc_reads_sensitivity_where_challenges_do() -> None:
    shown = words(FIGURES["froc"]("model"))
    assert all(mark in shown for mark in ("1/4", "1/2", "cm2"))
    assert FROC_MARKS == (0.25, 0.5, 1, 2, 4, 8)


def test_figures_without_anything_to_show_are_drawn_empty() -> None:
    empty = Line("model", [], [])
    for svg in (
        roc([empty], "pixels"),
        precision_recall([empty], None, "pixels"),
        froc([empty], "cm2"),
        reliability([], []),
        by_step([], {"a": "b"}, "loss"),
        bars([], "size", "sensitivity"),
    ):
        assert ElementTree.fromstring(svg).tag.endswith("svg")


def test_bars_and_cells_say_their_numbers() -> None:
    assert "2 of 4" in words(FIGURES["bars"]("a"))
    assert "none" in words(FIGURES["bars"]("a"))
    assert ".75" in words(FIGURES["confusion"]("a"))
    assert "1,200" in words(confusion(["a", "b"], [[1200, 0], [0, 1]], of_row=False))
