"""What a file of annotations says of the image that its outlines were drawn on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageFacts:
    """The image's file name, its size in level-0 px and its um/px; None for what the file does not say."""

    name: str | None = None
    width: int | None = None
    height: int | None = None
    mpp: float | None = None
