"""An annotated slide: annotations under the recipe's class names, tissue, patches and masks."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from histoscout.annotations.found import leave_out_found, overlap_note, without_suffix
from histoscout.annotations.geojson import select_annotations
from histoscout.annotations.masks import mask_size, read_mask
from histoscout.annotations.overlaps import find_hidden, lift_lesions, overlap_notes
from histoscout.annotations.read import FORMATS, Annotations, format_of, read_annotations
from histoscout.cohort.case import Case, open_case, to_shown_frame
from histoscout.errors import AnnotationError
from histoscout.geometry.box import Box
from histoscout.geometry.rasterize import label_map
from histoscout.geometry.regions import Region, Regions, valid_outline
from histoscout.io.notes import pluralize
from histoscout.recipe import BACKGROUND, IGNORE, SET_ASIDE, Recipe
from histoscout.recipe_sections import ClassConfig
from histoscout.slides.image_reader import ArraySource
from histoscout.slides.scale import check_enlargement, check_overview
from histoscout.slides.slide import Slide, SlideMetadata
from histoscout.tissue.mask import Tissue, find_tissue, full_tissue

REVIEWED = "reviewed"
"""Class of areas in which every lesion is annotated."""

UNREVIEWED = "unseen"
"""Property of the region to ignore that stands for everything outside the reviewed areas."""

CORRECTED = "corrected"
"""Property of regions that come from the review of a detection, on a slide that need not be annotated as a whole."""

UNLISTED = "classes that the recipe does not name"
"""How the note on such classes begins."""

SHAPE_TOLERANCE = 0.01
"""Share by which the scales of a mask in x and y may differ."""

EDGE_PX = 2.0
"""Annotations that reach no further beyond the slide than this are clipped without a note."""

IMAGE_OVERSAMPLING = 2.0
"""How much finer than the patches an image is kept in memory: resampling it then loses nothing visible."""

IMAGE_TISSUE_MPP = 8.0
"""um/px of the tissue mask of an image that is tissue as a whole."""

Layers = tuple[tuple[Regions, int], ...]
"""Regions and the mask value they are drawn with, in the order of drawing."""


# ---------------------------------------------------------------- annotations


def labeled_regions(case: Case, classes: ClassConfig, slide: Slide | Box | None = None) -> Annotations:
    """Read a case's annotations under the recipe's class names, clipped to the slide.

    Labels are the positive class, one of the other classes, "ignore", or the own name of a class that the recipe does
    not list ("" for none). Where areas are marked as reviewed, everything else that is not annotated is ignored.

    Args:
        case: The case.
        classes: The recipe's classes.
        slide: The slide, or its box in level-0 px, to which annotations are clipped and masks are scaled. Only the open
            slide is compared with the annotated image. None: nothing is clipped, and a mask has the resolution of the
            slide.

    Returns:
        The annotations, with notes on what is not listed, outside the slide, repaired or missing.

    Raises:
        AnnotationError: If the annotations cannot be read, or belong to an image of another size.
    """
    if case.annotations is None:
        return Annotations(Regions(), () if case.negative else ("no annotations belong to this slide",))
    slide_box = slide.box if isinstance(slide, Slide) else slide
    reading = replace(case, class_property=case.class_property or classes.class_property)
    annotations = read_annotated_regions(reading, case.annotations, slide)
    regions = annotations.regions
    notes = list(annotations.notes)
    if slide_box is not None:
        regions, clip_notes = _clip_to_slide(regions, slide_box)
        notes += clip_notes
    # Rename classes to the recipe's names; keep the names of classes it does not list.
    names = {label: classes.canonical(label) for label in regions.labels}
    if unlisted := Counter(region.label for region in regions if names[region.label] is None):
        listed = ", ".join(f"{name or 'unclassified'} ({count})" for name, count in sorted(unlisted.items()))
        notes.append(f"{UNLISTED}, taken as background: {listed}")
    renamed = regions.relabel(lambda label: names[label] or label)
    # A lesion that was outlined inside an area to ignore counts; what is hidden nevertheless is named.
    lifted, overlaps = resolve_overlaps(renamed, classes)
    notes += overlaps
    reviewed, review_notes = replace_unreviewed(lifted, slide_box)
    return Annotations(reviewed, (*notes, *review_notes), annotations.image)


def resolve_overlaps(regions: Regions, classes: ClassConfig) -> tuple[Regions, list[str]]:
    """Cut lesions out of the areas to ignore that they were outlined inside, and name what is hidden nevertheless.

    Args:
        regions: Annotations under the recipe's class names.
        classes: The recipe's classes.

    Returns:
        The annotations, and notes with the number of outlines.
    """
    lifted, inside = lift_lesions(regions, classes.labels, ["ignore"])
    return lifted, overlap_notes(inside, _hidden(lifted, classes))


def _hidden(regions: Regions, classes: ClassConfig) -> list[tuple[Region, bool]]:
    """The regions of which a mask shows nothing; those of classes that are not listed only if they are ignored."""
    painted = [(region, value) for layer, value in mask_layers(regions, classes) for region in layer]
    unlisted = regions.where(lambda region: region.label not in (*classes.labels, *SET_ASIDE))
    ignored = [(region, IGNORE) for region in regions.with_labels("ignore")]
    beneath = find_hidden([*((region, BACKGROUND) for region in unlisted), *ignored])
    return [*find_hidden(painted), *beneath]


def read_annotated_regions(case: Case, path: Path, slide: Slide | Box | None = None) -> Annotations:
    """Read a case's annotations as they were drawn: not clipped, under their own class names.

    Cells and other detections of QuPath, and regions that histoscout found and nobody confirmed, are left out and
    listed in the notes.

    Args:
        case: The case.
        path: The annotation file.
        slide: The slide, or its box in level-0 px; None if it is not open.

    Returns:
        The annotations in level-0 px of the slide.

    Raises:
        AnnotationError: If the annotations cannot be read, or belong to an image of another size.
    """
    slide_box = slide.box if isinstance(slide, Slide) else slide
    if is_mask(path):
        scale = None if slide_box is None else mask_scale(path, slide_box)
        annotations = read_mask(path, dict(case.mask_labels), case.mask_threshold, scale)
    else:
        annotations = read_annotations(path, class_property=case.class_property)
        regions, notes = select_annotations(annotations.regions)
        if case.keep_found:
            regions = without_suffix(regions)
        else:
            regions, found_notes = leave_out_found(regions)
            notes += found_notes
        notes += overlap_note(regions)
        annotations = replace(annotations, regions=regions, notes=(*annotations.notes, *notes))
    return annotations if slide is None else to_shown_frame(annotations, path, slide)


def is_mask(path: Path) -> bool:
    """Whether an annotation file is a mask instead of polygons.

    Args:
        path: The annotation file.
    """
    suffix = format_of(path)
    return suffix is not None and FORMATS[suffix].endswith(":read_mask")


def mask_scale(path: Path, slide_box: Box) -> float:
    """Level-0 px per pixel of a mask of the whole slide.

    Args:
        path: The mask.
        slide_box: The slide in level-0 px.

    Returns:
        A whole number if that, with rounding, explains the size of the mask.

    Raises:
        AnnotationError: If the mask has another shape than the slide.
    """
    width, height = mask_size(path)
    x_scale = slide_box.width / width
    y_scale = slide_box.height / height
    whole = max(1, round(x_scale))
    if abs(slide_box.width / whole - width) < 1 and abs(slide_box.height / whole - height) < 1:
        return float(whole)
    if abs(x_scale - y_scale) > SHAPE_TOLERANCE * max(x_scale, y_scale):
        size = f"{slide_box.width:g} x {slide_box.height:g} px"
        fault = f"the mask has {width} x {height} px, another shape than its slide ({size})"
        raise AnnotationError(path, fault, "Give a mask of the whole slide")
    return (x_scale + y_scale) / 2


def _clip_to_slide(regions: Regions, slide_box: Box) -> tuple[Regions, list[str]]:
    """The regions clipped to the slide, and notes on what that changed."""
    tolerated = slide_box.expand(EDGE_PX)
    beyond = sum(not tolerated.contains(region.box) for region in regions)
    clipped = list(_clip(regions, slide_box))
    outside = len(regions) - len(clipped)
    notes = []
    if outside:
        count = "all" if outside == len(regions) > 1 else str(outside)
        notes.append(
            f"{count} of {pluralize(len(regions), 'annotation')} {'is' if outside == 1 else 'are'} outside the slide and "
            "left out: is it the right slide?"
        )
    if beyond > outside:
        reach = "annotation reaches" if beyond - outside == 1 else "annotations reach"
        clips = "is" if beyond - outside == 1 else "are"
        notes.append(f"{beyond - outside} {reach} beyond the slide's edge and {clips} clipped")
    return Regions.of(clipped), notes


def _clip(regions: Regions, slide_box: Box) -> Iterator[Region]:
    """The part of each region that is on the slide."""
    frame = shapely.box(*slide_box.bounds)
    for region in regions:
        if slide_box.contains(region.box):
            yield region
        elif (outline := valid_outline(region.outline.intersection(frame))) is not None:
            yield replace(region, outline=outline)


def replace_unreviewed(regions: Regions, slide_box: Box | None) -> tuple[Regions, list[str]]:
    """Replace reviewed areas by a region to ignore: all unannotated tissue outside them.

    Args:
        regions: Annotations under the recipe's class names.
        slide_box: The slide in level-0 px; None to leave reviewed areas out only.

    Returns:
        The annotations without reviewed areas, and a note on them.
    """
    areas = regions.with_labels(REVIEWED)
    if not len(areas):
        return regions, []
    annotated = regions.where(lambda region: region.label != REVIEWED)
    if slide_box is None:
        return annotated, []
    reviewed = shapely.union_all([region.outline for region in areas]).area / slide_box.area
    note = f"{len(areas)} reviewed areas ({reviewed:.0%} of the slide): unannotated tissue outside them is ignored"
    known = shapely.union_all([region.outline for region in regions])
    rest = valid_outline(shapely.box(*slide_box.bounds).difference(known))
    ignored = [] if rest is None else [Region(rest, "ignore", properties={UNREVIEWED: True})]
    return Regions.of([*annotated, *ignored]), [note]


def annotated_only(regions: Regions) -> Regions:
    """The annotations without the region that stands for everything outside reviewed areas.

    Args:
        regions: Annotations under the recipe's class names.
    """
    return regions.where(lambda region: UNREVIEWED not in region.properties)


def drawn_only(regions: Regions) -> Regions:
    """The annotations without those that come from the review of a detection.

    A finding lies where the model saw it, so that it cannot be displaced; and beside the few that were judged, lesions that
    nobody outlined may fit better.

    Args:
        regions: Annotations under the recipe's class names.
    """
    return regions.where(lambda region: CORRECTED not in region.properties)


# ---------------------------------------------------------------- slides


@dataclass(frozen=True)
class LabeledSlide:
    """An open slide with its annotations, its tissue, and the masks made from them.

    Attributes:
        slide: The open slide.
        patient: Its patient.
        regions: Annotations under the recipe's class names.
        tissue: Its tissue.
        recipe: The recipe.
    """

    slide: Slide
    patient: str
    regions: Regions
    tissue: Tissue
    recipe: Recipe

    @cached_property
    def layers(self) -> Layers:
        """What a mask is drawn from, see `mask_layers`."""
        return mask_layers(self.regions, self.recipe.classes)

    def picture(self, box: Box, mpp: float) -> NDArray[np.uint8]:
        """Read an image of the slide as a network sees it, with pen marks hidden.

        Args:
            box: The box in level-0 px.
            mpp: Resolution in um/px.

        Returns:
            (H, W, 3) uint8.

        Raises:
            SlideError: If the slide cannot be read.
        """
        return self.tissue.hide_artifacts(self.slide.read(box, mpp), box, mpp / self.slide.mpp)

    def mask(self, box: Box, mpp: float) -> NDArray[np.uint8]:
        """Draw the mask of `picture(box, mpp)`.

        Args:
            box: The box in level-0 px.
            mpp: Resolution in um/px.

        Returns:
            (H, W) uint8: 0 background, 1 positive class, 2.. other classes, 255 ignore.
        """
        return label_map(self.layers, box, mpp / self.slide.mpp)

    @property
    def has_positive(self) -> bool:
        """Whether the positive class is annotated on the slide."""
        return len(self.regions.with_labels(self.recipe.classes.positive)) > 0

    def px(self, um: float) -> float:
        """Convert a length from um to level-0 px.

        Args:
            um: The length in um.
        """
        return um / self.slide.mpp


def open_labeled_slide(case: Case, recipe: Recipe) -> tuple[LabeledSlide, tuple[str, ...]]:
    """Open a case's slide, read its annotations and find its tissue.

    Args:
        case: The case.
        recipe: The recipe.

    Returns:
        The slide, and notes for the user.

    Raises:
        SlideError: If the slide cannot be read.
        AnnotationError: If the annotations cannot be read, or belong to an image of another size.
    """
    slide = open_case(case)
    check_enlargement(case.slide, slide.mpp, recipe.patches.mpp, "the recipe (patches.mpp)")
    annotations = labeled_regions(case, recipe.classes, slide)
    tissue = find_tissue(slide, recipe.tissue, recipe.patches)
    labeled = LabeledSlide(slide, case.patient, annotations.regions, tissue, recipe)
    return labeled, (*slide.notes, *annotations.notes, *tissue.notes)


def open_labeled_image(case: Case, label: str, recipe: Recipe) -> LabeledSlide:
    """Read an image that belongs to one class as a whole, glass and dirt included.

    Args:
        case: The case.
        label: The class, under the recipe's name.
        recipe: The recipe.

    Returns:
        The image, in memory at half the um/px of the patches, or its own um/px if they are coarser.

    Raises:
        SlideError: If the image cannot be read.
        MppMissingError: If its um/px are not known.
    """
    with open_case(case) as image:
        mpp = max(image.mpp, recipe.patches.mpp / IMAGE_OVERSAMPLING)
        check_overview(case.slide, image.box.shape(mpp / image.mpp), "patches.mpp")
        pixels = image.read(image.box, mpp)
        metadata = SlideMetadata(name=image.name, mpp=mpp, mpp_source=image.mpp_source, path=image.path)
    slide = Slide(ArraySource([pixels], mpp), metadata)
    whole = Regions.of([Region(shapely.box(*slide.box.bounds), label)])
    tissue = full_tissue(slide.box, slide.mpp, IMAGE_TISSUE_MPP)
    return LabeledSlide(slide, case.patient, whole, tissue, recipe)


def mask_layers(regions: Regions, classes: ClassConfig) -> Layers:
    """The layers of a mask in the order of drawing: other classes, the positive class, "ignore".

    Args:
        regions: Annotations under the recipe's class names.
        classes: The recipe's classes.

    Returns:
        The regions of each class with their mask value.
    """
    values = {label: value for value, label in enumerate(classes.labels, start=1)}
    layers = [(regions.with_labels(label), values[label]) for label in reversed(classes.labels)]
    return (*layers, (regions.with_labels("ignore"), IGNORE))


def counted_tissue(tissue: Tissue, regions: Regions) -> NDArray[np.bool_]:
    """The tissue mask without the areas to ignore.

    Args:
        tissue: The slide's tissue.
        regions: Annotations under the recipe's class names.

    Returns:
        (H, W) bool, at the scale of the tissue mask.
    """
    ignored = regions.with_labels("ignore")
    if not len(ignored):
        return tissue.mask
    height, width = (length * tissue.scale for length in tissue.mask.shape)
    grid = Box(tissue.box.x, tissue.box.y, width, height)
    counted: NDArray[np.bool_] = tissue.mask & (label_map([(ignored, 1)], grid, tissue.scale) == 0)
    return counted


def intersects_any(boxes: Sequence[Box], box: Box) -> bool:
    """Whether a box overlaps one of several boxes.

    Args:
        boxes: Boxes in level-0 px.
        box: A box in level-0 px.
    """
    return any(box.intersection(other) for other in boxes)
