"""The study's slides and scale, as small as they can be and still hold all that the faults need."""

from histoscout.study.scale import Scale
from histoscout.study.slides import Mosaic

MOSAIC = Mosaic(rows=1, columns=2, fragment=1536, lesions=(3, 2, 2, 2))
SCALE = Scale(
    "miniature", 32, 16, steps=4, points=2, most_seconds=0.5, minutes=0.1, weights="none", mosaic=MOSAIC
)
