"""The formats that are fuzzed.

To add a format, write a function that returns valid files by name, and add one line to TARGETS.
"""

import gzip
import io
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from histoscout.annotations.masks import read_mask
from histoscout.annotations.qpdata.reader import read_whole_qpdata
from histoscout.annotations.read import read_annotations
from histoscout.cohort.bracs_table import read_bracs_table
from histoscout.cohort.qupath_project import read_project
from histoscout.errors import AnnotationError, CohortError, HistoscoutError, SlideError
from histoscout.geometry.box import Box
from histoscout.slides.open import open_slide
from tests.cohort.bracs_tree import write_table

Structure = Literal["json", "xml", "binary"]


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive_out:
        archive_out.writestr(zipfile.ZipInfo("slide.geojson"), content)
    return buffer.getvalue()


def worksheet(content: bytes) -> bytes:
    """An Excel file with this as its second sheet."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook())) as archive_in, zipfile.ZipFile(buffer, "w") as archive_out:
        for member in archive_in.infolist():
            is_sheet = member.filename == "xl/worksheets/sheet2.xml"
            archive_out.writestr(
                zipfile.ZipInfo(member.filename), content if is_sheet else archive_in.read(member)
            )
    return buffer.getvalue()


@cache
def workbook() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write_table(Path(folder) / "BRACS.xlsx")
        return (Path(folder) / "BRACS.xlsx").read_bytes()


def read_thresholded(path: Path) -> object:
    return read_mask(path, threshold=128)


def read_all_of_project(path: Path) -> object:
    """Read a project and look for its slides, which do not exist."""
    project = read_project(path)
    return [project.find_slide(entry) for entry in project.entries]


def read_slide(path: Path) -> object:
    """Read a slide: its levels, a box at two resolutions, and an overview."""
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

    Attributes:
        suffix: Suffix of its files.
        seeds: Function that returns valid files by name ("module:function").
        structure: Which mutations are used besides those for any file.
        pack: Compresses content: half of the files are mutated before, the others after it.
        read: Reads a file.
        refusals: The only errors that `read` may raise.
    """

    suffix: str
    seeds: str
    _: KW_ONLY
    structure: Structure = "binary"
    pack: Callable[[bytes], bytes] | None = None
    read: Callable[[Path], Any] = read_annotations
    refusals: tuple[type[HistoscoutError], ...] = (AnnotationError,)

    def valid_files(self) -> dict[str, bytes]:
        """The valid files that are mutated, before packing."""
        module, function = self.seeds.split(":")
        files: dict[str, bytes] = getattr(import_module(module), function)()
        return files


TARGETS: Mapping[str, Target] = {
    "GeoJSON": Target(".geojson", "tests.fuzz.seeds:geojson", structure="json"),
    "GeoJSON, gzipped": Target(".geojson.gz", "tests.fuzz.seeds:geojson", structure="json", pack=gzipped),
    "JSON": Target(".json", "tests.fuzz.seeds:geojson", structure="json"),
    "JSON, gzipped": Target(".json.gz", "tests.fuzz.seeds:geojson", structure="json", pack=gzipped),
    "GeoJSON, zipped": Target(".geojson.zip", "tests.fuzz.seeds:geojson", structure="json", pack=zipped),
    "zip": Target(".zip", "tests.fuzz.seeds:geojson", structure="json", pack=zipped),
    "ImageScope XML": Target(".xml", "tests.fuzz.seeds:imagescope", structure="xml"),
    "ASAP XML": Target(".xml", "tests.fuzz.seeds:asap", structure="xml"),
    "HALO XML": Target(".annotations", "tests.fuzz.seeds:halo", structure="xml"),
    "NDP.view": Target(".ndpa", "tests.fuzz.seeds:ndpview", structure="xml"),
    "HistomicsUI": Target(".anot", "tests.fuzz.seeds:dsa", structure="json"),
    "Darwin": Target(".json", "tests.fuzz.seeds:darwin", structure="json"),
    "Slideflow": Target(".csv", "tests.fuzz.seeds:slideflow"),
    "QuPath data": Target(".qpdata", "tests.annotations.qpdata_seeds:qpdata", read=read_whole_qpdata),
    "QuPath project": Target(
        ".qpproj",
        "tests.annotations.qpdata_seeds:projects",
        structure="json",
        read=read_all_of_project,
        refusals=(CohortError,),
    ),
    "mask, PNG": Target(".png", "tests.fuzz.seeds:png"),
    "mask, TIFF": Target(".tif", "tests.fuzz.seeds:tiff"),
    "mask, TIFF with the long suffix": Target(".tiff", "tests.fuzz.seeds:tiff"),
    "mask, JPEG": Target(".jpg", "tests.fuzz.seeds:jpeg", read=read_thresholded),
    "mask, JPEG with the long suffix": Target(".jpeg", "tests.fuzz.seeds:jpeg", read=read_thresholded),
    "BRACS table": Target(
        ".xlsx",
        "tests.fuzz.seeds:bracs_table",
        structure="xml",
        pack=worksheet,
        read=read_bracs_table,
        refusals=(CohortError,),
    ),
    "slide, OME-TIFF": _slides(".ome.tif", "ome_tiff"),
    "slide, tiled TIFF": _slides(".tif", "tiled_tiff"),
    "slide, striped TIFF": _slides(".tiff", "striped_tiff"),
    "slide, PNG": _slides(".png", "png"),
    "slide, JPEG": _slides(".jpg", "jpeg"),
    "slide, BMP, JPEG 2000 or WebP": _slides(".webp", "other_images"),
}
