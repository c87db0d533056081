"""Options that several verbs share, so that they are called and explained alike."""

from pathlib import Path
from typing import Annotated

import typer

Incomplete = Annotated[
    bool,
    typer.Option(
        "--incomplete",
        help="Not every lesion is outlined: others are looked for and not taught as background.",
    ),
]
MovedSlides = Annotated[
    Path | None,
    typer.Option(
        "--slides",
        help="Folder in which the slides of a table or QuPath project lie, if they have been moved.",
        show_default=False,
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(help='Begin with weights: "built-in", "imagenet", "none" or a .safetensors file.'),
]
