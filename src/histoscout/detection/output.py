"""Where the results of detection lie."""

from dataclasses import dataclass
from pathlib import Path

from histoscout.errors import OutputError


@dataclass(frozen=True)
class Output:
    """A folder of results: one folder a kind, one file a slide."""

    folder: Path

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.csv"

    @property
    def lesions(self) -> Path:
        return self.folder / "lesions.csv"

    def regions(self, slide: str) -> Path:
        return self.folder / "regions" / f"{slide}.geojson"

    def heatmap(self, slide: str) -> Path:
        return self.folder / "heatmaps" / f"{slide}.ome.tiff"

    def overlay(self, slide: str) -> Path:
        return self.folder / "overlays" / f"{slide}.png"

    def error(self, slide: str) -> Path:
        return self.folder / "errors" / f"{slide}.txt"

    def make(self) -> None:
        """Make the folder; OutputError if that cannot be."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or str(error)
            fault = f"cannot be made a folder of results ({reason})"
            raise OutputError(self.folder, fault, "Give another folder with -o") from error

    def is_complete(self, slide: str) -> bool:
        """Whether all files of a slide are there."""
        return all(path.is_file() for path in self._of(slide))

    def forget(self, slide: str, *, keep_error: bool = False) -> None:
        """Take away what an earlier run wrote for a slide."""
        for path in (*self._of(slide), *(() if keep_error else (self.error(slide),))):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                reason = error.strerror or str(error)
                raise OutputError(path, f"cannot be replaced ({reason})", "Check its permissions") from error

    def _of(self, slide: str) -> tuple[Path, ...]:
        return self.regions(slide), self.heatmap(slide), self.overlay(slide)
