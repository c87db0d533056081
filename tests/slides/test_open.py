"""Opening slides of every format, and the facts that are shown of them."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from openslide import OpenSlide
from PIL import Image

from histoscout.errors import MppMissingError, SlideError
from histoscout.geometry.box import Box
from histoscout.registry import load_factory
from histoscout.slides import openslide_reader
from histoscout.slides.open import FORMATS, info, open_slide
from histoscout.slides.pyramid import write_pyramid

PIXELS = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
SMOOTH = np.add.outer(np.arange(300) * 0.5, np.arange(400) * 0.2)[..., None].repeat(3, 2).astype(np.uint8)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_plain_images_need_an_mpp(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"region.{suffix}"
    Image.fromarray(SMOOTH).save(path)
    with pytest.raises(MppMissingError, match="--mpp"):
        open_slide(path)
    with open_slide(path, 0.5) as slide:
        assert (slide.mpp, slide.mpp_source) == (0.5, "cohort")
        assert np.abs(slide.read(slide.box, 0.5).astype(int) - SMOOTH).mean() < 3
    assert info(path).mpp is None


@pytest.mark.parametrize("content", [b"", b"text, not a slide", b"II*\x00\x08\x00\x00\x00"])
@pytest.mark.parametrize("name", ["slide.svs", "slide.tif", "slide.ndpi", "slide.png"])
def test_files_of_other_formats_raise(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SlideError, match=name):
        open_slide(tmp_path / name, 0.5)


def test_missing_files_and_folders_raise(tmp_path: Path) -> None:
    for path in (tmp_path / "none.svs", tmp_path):
        with pytest.raises(SlideError, match=path.name):
            open_slide(path)


def test_every_reader_can_be_loaded() -> None:
    for factory in FORMATS.values():
        assert callable(load_factory(factory))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "mpp"),
    [
        ("slides/cmu-1-small-region.svs", 0.499),
        ("slides/test3-TRITC 2 (560).ndpi", None),
        ("glas/slides/patient_08.tif", 0.62005),
        ("slides/dicom/multiframe_camelyon_challenge_image.dcm", None),
    ],
)
def test_real_slides_open_and_read(shared_data: Path, name: str, mpp: float | None) -> None:
    with open_slide(shared_data / name) as slide:
        if mpp is not None:
            assert slide.mpp == pytest.approx(mpp, abs=1e-3)
        pixels, shown = slide.overview(300)
        assert max(pixels.shape) <= 301
        assert shown >= slide.mpp
        assert pixels.std() > 1


@pytest.mark.shared
def test_real_unreadable_files_raise(shared_data: Path) -> None:
    slides = shared_data / "slides"
    with pytest.raises(MppMissingError, match="tcga"):
        open_slide(slides / "tcga-cr-7395-01a-01-ts1.svs")
    for name in ("broken.svs", "dicom/not_conforming.dcm"):
        with pytest.raises(SlideError, match=Path(name).name):
            open_slide(slides / name, 0.5)
    with pytest.raises(SlideError, match="unreadable"):
        open_slide(slides / "unreadable.svs", 0.5).read(Box(0, 0, 16, 16), 0.5)


def test_ome_tiff_is_read_with_its_resolution(tmp_path: Path) -> None:
    path = tmp_path / "slide.ome.tif"
    metadata = {
        "axes": "YXS",
        "PhysicalSizeX": 0.5,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 0.5,
        "PhysicalSizeYUnit": "µm",
    }
    with tifffile.TiffWriter(path, ome=True) as file:
        options: dict[str, Any] = {"photometric": "rgb", "tile": (64, 64), "compression": "zlib"}
        file.write(PIXELS, subifds=1, metadata=metadata, **options)
        file.write(PIXELS[::2, ::2], subfiletype=1, **options)
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx(0.5)
        assert slide.level_sizes == ((400, 300), (200, 150))
        assert np.array_equal(slide.read(Box(30, 40, 100, 80), 0.5), PIXELS[40:120, 30:130])


class OpenSlideWithBarcode(OpenSlide):
    """OpenSlide's handle of a file whose properties identify a patient."""

    @property
    def properties(self) -> dict[str, str]:
        private = {
            "openslide.barcode": "PATIENT-42",
            "openslide.comment": "PATIENT-42",
            "aperio.User": "PATIENT-42",
        }
        return {**super().properties, **private}


def test_the_barcode_of_a_slide_is_never_shown_or_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openslide_reader, "OpenSlide", OpenSlideWithBarcode)
    path = tmp_path / "slide.tif"
    write_pyramid(path, PIXELS, 0.5)
    facts = info(path)
    assert facts.format == "generic-tiff", "the file is read through OpenSlide"
    with open_slide(path) as slide:
        shown = [repr(facts), repr(facts.rows()), repr(slide), repr(slide.notes), repr(slide.vendor)]
        shown.append(repr(vars(slide)))
        assert not any("PATIENT-42" in text for text in shown)
        assert b"PATIENT-42" not in pickle.dumps(slide)


def test_a_given_resolution_wins_over_the_file_with_a_note(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    write_pyramid(path, PIXELS, 0.5)
    for given, mpp, source, count in ((0.502, 0.5, "metadata", 0), (0.25, 0.25, "cohort", 1)):
        with open_slide(path, given) as slide:
            assert slide.mpp == pytest.approx(mpp)
            assert slide.mpp_source == source
            assert len(slide.notes) == count
    with pytest.raises(SlideError, match="-1"):
        open_slide(path, -1.0)
