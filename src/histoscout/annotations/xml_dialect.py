"""Outlines in XML: which program wrote a file is told by its first tag, not by its name."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from histoscout.annotations.asap import asap_regions
from histoscout.annotations.imagescope import image_of, imagescope_regions
from histoscout.annotations.read import Annotations, ImageFacts
from histoscout.annotations.xml import Tag, read_tags
from histoscout.errors import AnnotationError

ROOTS: Mapping[str, Callable[[Tag, Path], Annotations]] = MappingProxyType(
    {"Annotations": imagescope_regions, "ASAP_Annotations": asap_regions}
)


def read_xml(path: Path) -> Annotations:
    """Read outlines that were drawn in ImageScope (or HALO) or in ASAP.

    Coordinates are level-0 px of the whole scan, as these programs show it; the module `frame` says what that
    means for slides with bounds. AnnotationError, with the line, for a file that is none of these.
    """
    root = read_tags(path)
    if root.name not in ROOTS:
        fault = (
            f"begins with the tag {root.name[:40]!r}, which neither ImageScope (Annotations) nor ASAP writes"
        )
        raise AnnotationError(path, fault, f"Give a file whose first tag is one of {', '.join(ROOTS)}")
    return ROOTS[root.name](root, path)


def read_xml_image(path: Path) -> ImageFacts | None:
    """What an XML file of outlines says of its slide: ImageScope states um/px; None if it says nothing."""
    root = read_tags(path)
    return image_of(root) if root.name == "Annotations" else None
