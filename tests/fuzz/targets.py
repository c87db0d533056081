"""What is fuzzed. To add a format: a function that gives sound files, and one line in TARGETS."""

import gzip
import io
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from histoscout.annotations.masks import read_label_image
from histoscout.annotations.qpdata.reader import read_whole_qpdata
from histoscout.annotations.read import read_annotations
from histoscout.cohort.bracs import read_bracs_table
from histoscout.cohort.qupath_project import read_project
from histoscout.errors import AnnotationError, CohortError, HistoscoutError, SlideError
from histoscout.geometry.box import Box
from histoscout.slides.open import open_slide
from tests.cohort.bracs_tree import write_table

Structure = Literal["json", "xml", "binary"]


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


def zipped(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("slide.geojson"), content)
    return packed.getvalue()


def worksheet(content: bytes) -> bytes:
    """An Excel file with this as its second sheet."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook())) as whole, zipfile.ZipFile(packed, "w") as archive:
        for member in whole.infolist():
            is_sheet = member.filename == "xl/worksheets/sheet2.xml"
            archive.writestr(zipfile.ZipInfo(member.filename), content if is_sheet else whole.read(member))
    return packed.getvalue()


@cache
def workbook() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write_table(Path(folder) / "BRACS.xlsx")
        return (Path(folder) / "BRACS.xlsx").read_bytes()


def read_thresholded(path: Path) -> object:
    return read_label_image(path, threshold=128)


def read_all_of_project(path: Path) -> object:
    """A project with the places of its slides, which are nowhere."""
    project = read_project(path)
    return [project.slide_of(entry) for entry in project.entries]


def read_slide(path: Path) -> object:
    """A slide as all who read slides do: its levels, a box at two resolutions, the whole from far away."""
    with open_slide(path, 0.5) as slide:
        box = Box(10, 5, 48, 40)
        return (
            slide.level_sizes,
            slide.read(box, slide.mpp),
            slide.read(box, 3 * slide.mpp),
            slide.overview(32),
        )


def _slides(suffix: str, seeds: str) -> "Target":
    return Target(suffix, f"tests.fuzz.slide_seeds:{seeds}", read=read_slide, refusals=(SlideError,))


@dataclass(frozen=True)
class Target:
    """A format to fuzz.

    `seeds` names the function ("module:function") that gives sound files by name. `structure` says which
    mutations know what they do. With `pack`, mutated content is packed again in half of the cases, so that what
    lies behind the packing is reached too. `read` is called with a path; it may raise `refusals` only.
    """

    suffix: str
    seeds: str
    structure: Structure = "binary"
    pack: Callable[[bytes], bytes] | None = None
    read: Callable[[Path], Any] = read_annotations
    refusals: tuple[type[HistoscoutError], ...] = (AnnotationError,)

    def sound(self) -> dict[str, bytes]:
        """The sound files that mutations begin with, not yet packed."""
        module, function = self.seeds.split(":")
        files: dict[str, bytes] = getattr(import_module(module), function)()
        return files


TARGETS: Mapping[str, Target] = {
    "GeoJSON": Target(".geojson", "tests.fuzz.seeds:geojson", "json"),
    "GeoJSON, gzipped": Target(".geojson.gz", "tests.fuzz.seeds:geojson", "json", gzipped),
    "JSON": Target(".json", "tests.fuzz.seeds:geojson", "json"),
    "JSON, gzipped": Target(".json.gz", "tests.fuzz.seeds:geojson", "json", gzipped),
    "GeoJSON, zipped": Target(".geojson.zip", "tests.fuzz.seeds:geojson", "json", zipped),
    "zip": Target(".zip", "tests.fuzz.seeds:geojson", "json", zipped),
    "ImageScope XML": Target(".xml", "tests.fuzz.seeds:imagescope", "xml"),
    "ASAP XML": Target(".xml", "tests.fuzz.seeds:asap", "xml"),
    "HALO XML": Target(".annotations", "tests.fuzz.seeds:halo", "xml"),
    "QuPath data": Target(".qpdata", "tests.annotations.qpdata_seeds:qpdata", read=read_whole_qpdata),
    "QuPath project": Target(
        ".qpproj",
        "tests.annotations.qpdata_seeds:projects",
        "json",
        None,
        read_all_of_project,
        (CohortError,),
    ),
    "label image, PNG": Target(".png", "tests.fuzz.seeds:png"),
    "label image, TIFF": Target(".tif", "tests.fuzz.seeds:tiff"),
    "label image, TIFF by its long name": Target(".tiff", "tests.fuzz.seeds:tiff"),
    "label image, JPEG": Target(".jpg", "tests.fuzz.seeds:jpeg", read=read_thresholded),
    "label image, JPEG by its long name": Target(".jpeg", "tests.fuzz.seeds:jpeg", read=read_thresholded),
    "table of BRACS": Target(
        ".xlsx", "tests.fuzz.seeds:bracs_table", "xml", worksheet, read_bracs_table, (CohortError,)
    ),
    "slide, OME-TIFF": _slides(".ome.tif", "ome_tiff"),
    "slide, TIFF in tiles": _slides(".tif", "tiled_tiff"),
    "slide, TIFF in strips": _slides(".tiff", "striped_tiff"),
    "slide, PNG": _slides(".png", "png"),
    "slide, JPEG": _slides(".jpg", "jpeg"),
    "slide, BMP, JPEG 2000 or WebP": _slides(".webp", "other_images"),
}
