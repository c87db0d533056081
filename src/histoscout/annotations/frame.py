"""Where a file's coordinates begin: at the corner that QuPath shows, or at that of the scanner's whole image.

They differ only for slides of which a part was scanned and that say so (openslide.bounds-x and -y; MIRAX). QuPath
crops such slides to that part, and so do we; ImageScope, HALO and ASAP show the whole.
"""

from dataclasses import replace
from pathlib import Path

from histoscout.annotations.read import Annotations, format_of
from histoscout.geometry.regions import Regions

COUNTS_FROM_SCAN = frozenset({".xml", ".annotations"})
Corner = tuple[float, float]


def on_slide(found: Annotations, path: Path, corner: Corner) -> Annotations:
    """What was read from a file, in level-0 px of the slide as we show it; `corner` is `Slide.scan_corner`."""
    if corner == (0, 0) or format_of(path) not in COUNTS_FROM_SCAN:
        return found
    moved = found.regions.moved(-corner[0], -corner[1])
    return replace(found, regions=moved, notes=(*found.notes, _said(corner)))


def in_file(regions: Regions, path: Path, corner: Corner) -> tuple[Regions, tuple[str, ...]]:
    """Regions of a slide as a file of this name has to hold them, and what was done for it."""
    if corner == (0, 0) or format_of(path) not in COUNTS_FROM_SCAN:
        return regions, ()
    return regions.moved(*corner), (_said(corner),)


def _said(corner: Corner) -> str:
    return (
        f"this format counts from the corner of the whole scan, {corner[0]:g}, {corner[1]:g} px away "
        "(openslide.bounds): taken into account"
    )
