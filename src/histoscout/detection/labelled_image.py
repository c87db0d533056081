"""An image of one class as a slide that is outlined as a whole: small enough to be held in memory."""

import shapely

from histoscout.cohort.case import Case
from histoscout.cohort.open_case import open_case
from histoscout.detection.labelled import LabelledSlide
from histoscout.detection.tissue import all_of
from histoscout.geometry.regions import Region, Regions
from histoscout.recipe import Recipe
from histoscout.slides.in_memory import Arrays
from histoscout.slides.slide import About, Slide

FINER = (
    2.0  # how many times finer than the windows an image is held: sampling it again then loses nothing to see
)
TISSUE_MPP = 8.0


def open_labelled_image(case: Case, label: str, recipe: Recipe) -> LabelledSlide:
    """Read an image once; all of it is of the class `label` (in the recipe's words), and all of it is looked at.

    Glass and dirt included: somebody cut the image out because of what it shows.

    It is held at half the windows' um/px, or its own where that is coarser. SlideError, MppMissingError.
    """
    with open_case(case) as image:
        mpp = max(image.mpp, recipe.windows.mpp / FINER)
        pixels = image.read(image.box, mpp)
        slide = Slide(Arrays([pixels], mpp), About(image.name, mpp, image.mpp_source, image.path))
    whole = Regions.of([Region(shapely.box(*slide.box.bounds), label)])
    return LabelledSlide(slide, case.patient, whole, all_of(slide.box, slide.mpp, TISSUE_MPP), recipe)
