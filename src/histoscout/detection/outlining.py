"""How the regions of a folder of results were outlined, so that others can outline its heatmaps in the same way."""

from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from histoscout.detection.heatmap import Heatmap
from histoscout.detection.postprocess import find_regions
from histoscout.detection.results import ResultFolder
from histoscout.detection.settings import DetectionContext
from histoscout.errors import OutputError
from histoscout.geometry.regions import Regions
from histoscout.io.files import read_text, write_text
from histoscout.io.inputs import parse_json
from histoscout.recipe_sections import DetectionConfig


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: str
    threshold: float = Field(ge=0, le=1)
    detection: DetectionConfig


@dataclass(frozen=True)
class Outlining:
    """How regions are outlined from a heatmap.

    Attributes:
        threshold: Probability from which a place was detected; None if the results do not say so.
        choices: Least area, largest hole, tolerance of the outlines.
    """

    threshold: float | None = None
    choices: DetectionConfig = field(default_factory=DetectionConfig)

    def find(self, heatmap: Heatmap, label: str, threshold: float) -> Regions:
        """Outline a heatmap at any threshold; the network is not needed.

        Args:
            heatmap: The heatmap.
            label: The class.
            threshold: Probability from which a place counts.
        """
        return find_regions(heatmap, label, threshold, self.choices)


def write_outlining(context: DetectionContext, output: ResultFolder) -> None:
    """Write how regions are outlined into a folder of results.

    Args:
        context: The run.
        output: The folder.
    """
    file = _File(
        model=context.model.hash, threshold=context.threshold, detection=context.model.recipe.detection
    )
    write_text(output.outlining, file.model_dump_json(indent=2) + "\n")


def read_outlining(output: ResultFolder) -> Outlining:
    """Read how the regions of a folder were outlined.

    Args:
        output: The folder of results.

    Returns:
        The choices; the defaults for folders of histoscout 0.2.0 and before, which do not state them.

    Raises:
        OutputError: If the file cannot be read.
    """
    path = output.outlining
    if not path.is_file():
        return Outlining()
    try:
        file = _File.model_validate(parse_json(read_text(path)))
    except (OSError, ValueError, ValidationError) as error:
        fault = "the file does not say how regions were outlined"
        raise OutputError(path, fault, "Run detect again to write it again") from error
    return Outlining(file.threshold, file.detection)
