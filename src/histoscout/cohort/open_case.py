"""Opening the slide of a case with what is known of its scale."""

from histoscout.annotations.read import read_image_facts
from histoscout.cohort.case import Case
from histoscout.errors import MppMissingError
from histoscout.slides.open import open_slide
from histoscout.slides.slide import Slide


def open_case(case: Case) -> Slide:
    """Open a case's slide; um/px is what the slide says, else what the cohort says, else its annotations' file.

    Raises SlideError, MppMissingError where nobody says, or AnnotationError where only the annotations could.
    """
    try:
        return open_slide(case.slide, case.mpp)
    except MppMissingError:
        image = None if case.annotations is None else read_image_facts(case.annotations)
        if image is None or image.mpp is None:
            raise
    return open_slide(case.slide, image.mpp, "annotations")
