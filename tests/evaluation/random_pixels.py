"""Random pixels: levels of a heatmap and whether they are of the class."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

Pixels = tuple[NDArray[np.uint8], NDArray[np.bool_]]


@st.composite
def pixels(draw: st.DrawFn) -> Pixels:
    size = draw(st.integers(1, 60))
    levels = draw(
        arrays(np.uint8, size, elements=st.integers(0, 255))
        | arrays(np.uint8, size, elements=st.sampled_from([0, 7, 255]))
    )
    return levels, draw(arrays(np.bool_, size))
