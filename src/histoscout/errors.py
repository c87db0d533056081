"""What can go wrong, whose fault it is, and what to do about it.

HistoscoutError
├── SlideError          a slide cannot be opened or read
│   └── MppMissingError its physical scale is unknown
├── AnnotationError     an annotation file cannot be understood
├── CohortError         the table of slides contradicts itself or is too small
├── RecipeError         a choice in the recipe is not possible
├── ModelError          a model folder is incomplete, changed or unsuitable
├── TrainingError       training cannot start or has gone wrong
└── OutputError         a result cannot be written where it was asked for
"""


class HistoscoutError(Exception):
    """Something a user can mend: `where` it is, the `fault`, and the `remedy`."""

    def __init__(self, where: object, fault: str, remedy: str) -> None:
        self.where, self.fault, self.remedy = str(where), fault, remedy
        super().__init__(where, fault, remedy)

    def __str__(self) -> str:
        return f"{self.where}: {self.fault.rstrip('.')}. {self.remedy.rstrip('.')}."


class SlideError(HistoscoutError):
    """A slide cannot be opened or read."""


class MppMissingError(SlideError):
    """The slide does not say how large its pixels are."""


class AnnotationError(HistoscoutError):
    """An annotation file cannot be understood."""


class CohortError(HistoscoutError):
    """The table of slides contradicts itself or is too small for what was asked."""


class RecipeError(HistoscoutError):
    """A choice in the recipe is not possible."""


class ModelError(HistoscoutError):
    """A model folder is incomplete, changed, or unsuitable."""


class TrainingError(HistoscoutError):
    """Training cannot start, or has gone wrong."""


class OutputError(HistoscoutError):
    """A result cannot be written where it was asked for."""
