"""The exceptions of histoscout: where something is wrong, what it is, and what to do about it.

HistoscoutError
├── SlideError          a slide cannot be opened or read
│   └── MppMissingError its resolution is unknown
├── AnnotationError     an annotation file cannot be read or understood
├── CohortError         the table of slides contradicts itself or is too small
├── RecipeError         the recipe contains an impossible value
├── ModelError          a model folder is incomplete, changed or unsuitable
├── TrainingError       training cannot start or has failed
├── ReviewError         a review, or what a reader did in it, cannot be used
└── OutputError         a result cannot be written
"""


class HistoscoutError(Exception):
    """A problem that the user can fix. Its text is "where: fault. remedy."

    Attributes:
        where: The file, option or key that it is about.
        fault: What is wrong.
        remedy: What to do about it.

    Example:
        >>> from histoscout import HistoscoutError
        >>> raise HistoscoutError("slide.svs", "the file is empty", "Copy it again")
        Traceback (most recent call last):
        histoscout.errors.HistoscoutError: slide.svs: the file is empty. Copy it again.
    """

    def __init__(self, where: object, fault: str, remedy: str) -> None:
        self.where = str(where)
        self.fault = fault
        self.remedy = remedy
        super().__init__(where, fault, remedy)

    def __str__(self) -> str:
        # the remedy stands below a list of problems
        between = "\n" if "\n" in self.fault else ". "
        return f"{self.where}: {self.fault.rstrip('.')}{between}{self.remedy.rstrip('.')}."


class SlideError(HistoscoutError):
    """A slide cannot be opened or read."""


class MppMissingError(SlideError):
    """The resolution of a slide (um/px) is unknown."""


class AnnotationError(HistoscoutError):
    """An annotation file cannot be read or understood."""


class CohortError(HistoscoutError):
    """The table of slides contradicts itself, or there are too few slides or patients."""


class RecipeError(HistoscoutError):
    """The recipe contains an impossible value."""


class ModelError(HistoscoutError):
    """A model folder is incomplete, changed, or unsuitable."""


class TrainingError(HistoscoutError):
    """Training cannot start, or has failed."""


class OutputError(HistoscoutError):
    """A result cannot be written."""


class ReviewError(HistoscoutError):
    """A review, or what a reader did in it, cannot be used."""
