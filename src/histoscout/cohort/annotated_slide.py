"""An annotated slide: annotations under the recipe's class names, tissue, patches and masks."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from histoscout.annotations.geojson import select_annotations
from histoscout.annotations.masks import mask_size, read_mask
from histoscout.annotations.read import FORMATS, Annotations, format_of, read_annotations
from histoscout.cohort.case import Case, open_case, to_shown_frame
from histoscout.errors import AnnotationError
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import label_map
from histoscout.geometry.regions import Region, Regions, valid_outline
from histoscout.recipe import IGNORE, Recipe
from histoscout.recipe_sections import ClassConfig
from histoscout.slides.image_reader import ArraySource
from histoscout.slides.slide import Slide, SlideMetadata
from histoscout.tissue.mask import Tissue, find_tissue, full_tissue

SHAPE_TOLERANCE = 0.01  # by how much a mask's width and height may disagree about its scale
UNLISTED = "classes that the recipe does not name"  # how the note on them begins
REVIEWED = "reviewed"
UNSEEN = "unseen"  # the property of the region that nobody looked at
EDGE_PX = 2.0  # outlines that reach less far beyond the slide are clipped without a word


def labeled_regions(case: Case, classes: ClassConfig, slide: Slide | Box | None = None) -> Annotations:
    """What was drawn on a case's slide, each region with the recipe's word for its class.

    Labels are the positive class, one of the others, "ignore", or an unlisted class's own name ("" for none).
    Where areas are marked as reviewed, what lies outside them and is not outlined is one more region to ignore.
    With the slide, or its box in level-0 px, outlines are clipped to it, and a mask is scaled to fit it; without,
    a mask is taken to have the slide's resolution. Only with the slide itself are outlines moved that count from
    its whole scan (see `annotations.frame`), and is their image compared with it (`cohort.same_image`). The notes
    say what is unlisted, outside, mended or missing.

    Args:
        case: The case.
        classes: The recipe's classes.
        slide: The slide or its box; None if it is not open.
    """
    if case.annotations is None:
        return Annotations(Regions(), ("no annotations belong to this slide",))
    drawn = read_annotated_regions(case, case.annotations, slide)
    notes = list(drawn.notes)
    regions = drawn.regions
    if slide is not None:
        regions, said = _on_slide(regions, slide.box if isinstance(slide, Slide) else slide)
        notes += said
    words = {label: classes.canonical(label) for label in regions.labels}
    if unlisted := Counter(region.label for region in regions if words[region.label] is None):
        listed = ", ".join(f"{name or 'unclassified'} ({count})" for name, count in sorted(unlisted.items()))
        notes.append(f"{UNLISTED}, taken as background: {listed}")
    renamed = regions.relabel(lambda label: words[label] or label)
    kept, said = replace_unreviewed(renamed, slide.box if isinstance(slide, Slide) else slide)
    return Annotations(kept, (*notes, *said), drawn.image)


def read_annotated_regions(case: Case, path: Path, slide: Slide | Box | None = None) -> Annotations:
    """A case's outlines as they were drawn, in level-0 px of the slide: not clipped to it, classes as typed.

    Annotations only: cells and other detections in the file are no lesions, and are counted in the notes.

    Args:
        case: The case.
        path: The file or folder.
        slide: The slide or its box; None if it is not open.
    """
    slide_box = slide.box if isinstance(slide, Slide) else slide
    if not is_mask(path):
        drawn = read_annotations(path)
        regions, said = select_annotations(drawn.regions)
        drawn = replace(drawn, regions=regions, notes=(*drawn.notes, *said))
    else:
        scale = None if slide_box is None else mask_scale(path, slide_box)
        drawn = read_mask(path, dict(case.mask_labels), case.mask_threshold, scale)
    return drawn if slide is None else to_shown_frame(drawn, path, slide)


def is_mask(path: Path) -> bool:
    """Whether annotations are an image of classes rather than outlines.

    Args:
        path: The file or folder.
    """
    suffix = format_of(path)
    return suffix is not None and FORMATS[suffix].endswith(":read_mask")


def mask_scale(path: Path, slide_box: Box) -> float:
    """Level-0 px per mask pixel: a whole number if that and rounding explain the mask's size.

    Args:
        path: The file or folder.
        slide_box: The slide in level-0 px.
    """
    width, height = mask_size(path)
    across, down = slide_box.width / width, slide_box.height / height
    whole = max(1, round(across))
    if abs(slide_box.width / whole - width) < 1 and abs(slide_box.height / whole - height) < 1:
        return float(whole)
    if abs(across - down) > SHAPE_TOLERANCE * max(across, down):
        slide = f"{slide_box.width:g} x {slide_box.height:g} px"
        fault = f"is {width} x {height} px, another shape than its slide ({slide})"
        raise AnnotationError(path, fault, "Give a mask of the whole slide")
    return (across + down) / 2


def _on_slide(regions: Regions, slide_box: Box) -> tuple[Regions, list[str]]:
    """The regions clipped to the slide, and what that did to them."""
    near = slide_box.expand(EDGE_PX)
    beyond = sum(not near.contains(region.box) for region in regions)
    kept = list(_clipped(regions, slide_box))
    outside = len(regions) - len(kept)
    notes = []
    if outside:
        which = "all" if outside == len(regions) else str(outside)
        notes.append(
            f"{which} of {len(regions)} annotations are outside the slide and left out: is it the right slide?"
        )
    if beyond > outside:
        notes.append(f"{beyond - outside} annotations reach beyond the slide's edge and are clipped")
    return Regions.of(kept), notes


def replace_unreviewed(regions: Regions, slide_box: Box | None) -> tuple[Regions, list[str]]:
    """Regions in the recipe's words without reviewed areas; instead of them what of the slide nobody looked at, as "ignore".

    And a note that says so. Without the slide's box, reviewed areas are merely left out.

    Args:
        regions: The annotations.
        slide_box: The slide in level-0 px.
    """
    areas = regions.with_labels(REVIEWED)
    if not len(areas):
        return regions, []
    kept = regions.where(lambda region: region.label != REVIEWED)
    if slide_box is None:
        return kept, []
    known = shapely.union_all([region.outline for region in regions])
    rest = valid_outline(shapely.box(*slide_box.bounds).difference(known))
    looked_at = shapely.union_all([region.outline for region in areas]).area / slide_box.area
    note = f"{len(areas)} reviewed areas ({looked_at:.0%} of the slide): unannotated tissue outside them is ignored"
    unseen = [] if rest is None else [Region(rest, "ignore", properties={UNSEEN: True})]
    return Regions.of([*kept, *unseen]), [note]


def annotated_only(regions: Regions) -> Regions:
    """Regions in the recipe's words that somebody outlined: without what of the slide nobody looked at.

    Args:
        regions: The annotations.
    """
    return regions.where(lambda region: UNSEEN not in region.properties)


def _clipped(regions: Regions, slide_box: Box) -> Iterator[Region]:
    frame = shapely.box(*slide_box.bounds)
    for region in regions:
        if slide_box.contains(region.box):
            yield region
        elif (inside := valid_outline(region.outline.intersection(frame))) is not None:
            yield replace(region, outline=inside)


Layers = tuple[tuple[Regions, int], ...]


@dataclass(frozen=True)
class LabeledSlide:
    """One slide of a cohort, its regions with the recipe's labels, and where its tissue lies."""

    slide: Slide
    patient: str
    regions: Regions
    tissue: Tissue
    recipe: Recipe

    @cached_property
    def layers(self) -> Layers:
        """What to rasterise, in order (see `mask_layers`)."""
        return mask_layers(self.regions, self.recipe.classes)

    def picture(self, box: Box, mpp: float) -> NDArray[np.uint8]:
        """The slide inside the box as a network is shown it, pen marks covered: uint8 (H, W, 3)."""
        return self.tissue.hide_artifacts(self.slide.read(box, mpp), box, mpp / self.slide.mpp)

    def mask(self, box: Box, mpp: float) -> NDArray[np.uint8]:
        """The class of each pixel of `picture(box, mpp)`: 0 background, 1 positive, 2.. other, 255 ignore."""
        return label_map(self.layers, box, mpp / self.slide.mpp)

    @property
    def has_positive(self) -> bool:
        return len(self.regions.with_labels(self.recipe.classes.positive)) > 0

    def px(self, um: float) -> float:
        """A length in level-0 px of this slide."""
        return um / self.slide.mpp


def open_labeled_slide(case: Case, recipe: Recipe) -> tuple[LabeledSlide, tuple[str, ...]]:
    """Open a case's slide and outlines and find its tissue; and what a user should know about it.

    Args:
        case: The case.
        recipe: The recipe.
    """
    slide = open_case(case)
    annotations = labeled_regions(case, recipe.classes, slide)
    tissue = find_tissue(slide, recipe.tissue, recipe.patches)
    labeled = LabeledSlide(slide, case.patient, annotations.regions, tissue, recipe)
    return labeled, (*slide.notes, *annotations.notes, *tissue.notes)


def mask_layers(regions: Regions, classes: ClassConfig) -> Layers:
    """What to rasterise, in order: other classes, the positive one, and last what is to be ignored.

    Args:
        regions: The annotations.
        classes: The recipe's classes.
    """
    values = {label: value for value, label in enumerate(classes.labels, start=1)}
    painted = [(regions.with_labels(label), values[label]) for label in reversed(classes.labels)]
    return (*painted, (regions.with_labels("ignore"), IGNORE))


def counted_tissue(tissue: Tissue, regions: Regions) -> NDArray[np.bool_]:
    """The tissue's mask, bool (H, W), without the areas that are to be ignored.

    Args:
        tissue: Its tissue.
        regions: The annotations.
    """
    ignored = regions.with_labels("ignore")
    if not len(ignored):
        return tissue.mask
    rows, columns = (length * tissue.scale for length in tissue.mask.shape)
    grid = Box(tissue.box.x, tissue.box.y, columns, rows)
    counted: NDArray[np.bool_] = tissue.mask & (label_map([(ignored, 1)], grid, tissue.scale) == 0)
    return counted


def intersects_any(boxes: Sequence[Box], box: Box) -> bool:
    """Whether one of the boxes overlaps this box.

    Args:
        boxes: Boxes in level-0 px.
        box: A box in level-0 px.
    """
    return any(box.intersection(other) for other in boxes)


FINER = (
    2.0  # how many times finer than the windows an image is held: sampling it again then loses nothing to see
)
TISSUE_MPP = 8.0


def open_labeled_image(case: Case, label: str, recipe: Recipe) -> LabeledSlide:
    """Read an image once; all of it is of the class `label` (in the recipe's words), and all of it is looked at.

    Glass and dirt included: somebody cut the image out because of what it shows.

    It is held at half the windows' um/px, or its own where that is coarser. SlideError, MppMissingError.

    Args:
        case: The case.
        label: The class.
        recipe: The recipe.
    """
    with open_case(case) as image:
        mpp = max(image.mpp, recipe.patches.mpp / FINER)
        pixels = image.read(image.box, mpp)
        slide = Slide(
            ArraySource([pixels], mpp),
            SlideMetadata(name=image.name, mpp=mpp, mpp_source=image.mpp_source, path=image.path),
        )
    whole = Regions.of([Region(shapely.box(*slide.box.bounds), label)])
    return LabeledSlide(slide, case.patient, whole, full_tissue(slide.box, slide.mpp, TISSUE_MPP), recipe)
