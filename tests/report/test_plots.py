from collections.abc import Callable
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest

from histoscout.evaluation.lesions.froc import FROC_RATES
from histoscout.report.plots import (
    Bar,
    Line,
    plot_bars,
    plot_confusion,
    plot_froc,
    plot_precision_recall,
    plot_reliability,
    plot_roc,
    plot_training,
)

HOSTILE = 'a <script>&"$x_1$ \u2603 \u817a\x07\udcff'


def words(svg: bytes) -> str:
    return " ".join(text.strip() for text in ElementTree.fromstring(svg).itertext() if text.strip())


def line(name: str = "model") -> Line:
    x = np.linspace(0, 1, 9)
    return Line(name=name, x=x.tolist(), y=np.sqrt(x).tolist(), point=(0.25, 0.5))


PLOTS: dict[str, Callable[[str], bytes]] = {
    "roc": lambda name: plot_roc([line(name)], "pixels"),
    "precision_recall": lambda name: plot_precision_recall([line(name)], 0.04, "pixels"),
    "froc": lambda name: plot_froc(
        [Line(name=name, x=[0.1, 1], y=[0.2, 0.8], low=[0.1] * 6, high=[0.9] * 6)], "cm2"
    ),
    "reliability": lambda name: plot_reliability([0.1, 0.5], [0.2, 0.4]),
    "reliability at low prevalence": lambda name: plot_reliability([0.0, 0.001, 0.5], [0.0, 0.0, 0.4]),
    "training": lambda name: plot_training(
        [{"step": 1, "a": 2.0}, {"step": 2, "a": 1.0}], {"a": name}, "loss"
    ),
    "bars": lambda name: plot_bars(
        [Bar(name=name, value=0.5, total=4, low=0.2, high=0.9), Bar(name="b", value=None, total=0)],
        "size",
        "sensitivity",
    ),
    "confusion": lambda name: plot_confusion([name, "b"], [[3, 1], [0, 0]], of_row=True),
}

AXES = {
    "roc": ("false-positive rate", "sensitivity"),
    "precision_recall": ("recall", "precision"),
    "froc": ("false positives per cm2", "sensitivity"),
    "reliability": ("predicted probability", "observed fraction"),
    "reliability at low prevalence": ("predicted probability", "log scale"),
    "training": ("training step", "loss"),
    "bars": ("size", "sensitivity"),
    "confusion": ("predicted class", "true class"),
}

NAMED_PLOTS = sorted(set(PLOTS) - {"reliability", "reliability at low prevalence"})
"""Plots that show the name they are given."""


@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)
def test_a_plot_is_the_same_file_each_time_and_leaves_matplotlib_as_it_was(
    plot: Callable[[str], bytes],
) -> None:
    before = dict(mpl.rcParams)
    assert plot("model") == plot("model")
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("kind", NAMED_PLOTS)
def test_a_plot_shows_any_name(kind: str) -> None:
    shown = words(PLOTS[kind](HOSTILE))
    assert "<script>" in shown
    assert "$x_1$" in shown
    assert len(ElementTree.fromstring(PLOTS[kind](HOSTILE)).attrib["viewBox"].split()) == 4


@pytest.mark.parametrize("kind", PLOTS)
def test_axes_have_names(kind: str) -> None:
    shown = words(PLOTS[kind]("model"))
    for name in AXES[kind]:
        assert name in shown


def test_guessing_is_shown() -> None:
    assert "prevalence .040" in words(PLOTS["precision_recall"]("model"))
    assert "guessing" in words(PLOTS["roc"]("model"))


def test_froc_marks_are_those_of_challenges() -> None:
    shown = words(PLOTS["froc"]("model"))
    assert all(mark in shown for mark in ("1/4", "1/2", "cm2"))
    assert FROC_RATES == (0.25, 0.5, 1, 2, 4, 8)


def test_plots_without_data_are_empty() -> None:
    empty = Line(name="model", x=[], y=[])
    for svg in (
        plot_roc([empty], "pixels"),
        plot_precision_recall([empty], None, "pixels"),
        plot_froc([empty], "cm2"),
        plot_reliability([], []),
        plot_training([], {"a": "b"}, "loss"),
        plot_bars([], "size", "sensitivity"),
    ):
        assert ElementTree.fromstring(svg).tag.endswith("svg")


def test_bars_and_cells_show_their_numbers() -> None:
    assert "2 of 4" in words(PLOTS["bars"]("a"))
    assert "none" in words(PLOTS["bars"]("a"))
    assert ".75" in words(PLOTS["confusion"]("a"))
    assert "1,200" in words(plot_confusion(["a", "b"], [[1200, 0], [0, 1]], of_row=False))
