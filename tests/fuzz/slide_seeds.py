"""Sound slides, small, of every kind that there is a reader for and packed in every way that is read."""

import io
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

WIDTH, HEIGHT = 80, 64
APERIO = "Aperio Image Library v11.2.1\r\n80x64 [0,0 80x64] (32x32) JPEG/RGB Q=70|AppMag = 20|MPP = 0.4990"


def picture() -> NDArray[np.uint8]:
    """A stain of sorts: smooth enough to be packed small."""
    noise = gaussian_filter(np.random.default_rng(0).normal(0, 400, (HEIGHT, WIDTH, 3)), (4, 4, 0))
    return np.clip(190 + noise, 0, 255).astype(np.uint8)


WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "Deflate": {"compression": "zlib", "predictor": True},
    "LZW": {"compression": "lzw"},
    "LZW, differences": {"compression": "lzw", "predictor": True},
    "PackBits": {"compression": "packbits"},
    "JPEG": {"compression": "jpeg"},
    "JPEG 2000": {"compression": "jpeg2000"},
    "WebP": {"compression": "webp"},
    "Zstandard": {"compression": "zstd"},
    "LZMA": {"compression": "lzma"},
}


def ome_tiff() -> dict[str, bytes]:
    """With a smaller level and a scale; one colour by colour, one of the large kind."""
    named = {f"{way}": _ome(**how) for way, how in WAYS.items() if way not in {"PackBits", "LZMA"}}
    return {**named, "colours apart": _ome(apart=True, compression="lzw", bigtiff=True)}


def _ome(*, apart: bool = False, bigtiff: bool = False, **how: Any) -> bytes:
    pixels = picture()
    if apart:
        pixels, how = np.moveaxis(pixels, 2, 0), {**how, "planarconfig": "separate"}
    written = io.BytesIO()
    scale = {"axes": "SYX" if apart else "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    how = {"photometric": "rgb", "tile": (32, 32), **how}
    with tifffile.TiffWriter(written, ome=True, bigtiff=bigtiff) as file:
        file.write(pixels, subifds=1, metadata=scale, **how)
        file.write(pixels[..., ::2, ::2] if apart else pixels[::2, ::2], subfiletype=1, **how)
    return written.getvalue()


def tiled_tiff() -> dict[str, bytes]:
    """As OpenSlide reads it: tiles, smaller copies, a resolution in pixels per centimetre; one as Aperio writes it."""
    ways = {way: WAYS[way] for way in ("plain", "Deflate", "LZW", "JPEG")}
    files = {way: _pyramid(**how) for way, how in ways.items()}
    return {**files, "Aperio": _pyramid(description=APERIO, **WAYS["JPEG"])}


def striped_tiff() -> dict[str, bytes]:
    """As OpenSlide does not read it: strips, packed in more ways."""
    ways = {way: how for way, how in WAYS.items() if way not in {"Deflate", "LZW"}}
    return {way: _pyramid(tile=None, rowsperstrip=24, **how) for way, how in ways.items()}


def _pyramid(**how: Any) -> bytes:
    pixels = picture()
    written = io.BytesIO()
    how = {"photometric": "rgb", "tile": (32, 32), "resolutionunit": "CENTIMETER", "metadata": None, **how}
    with tifffile.TiffWriter(written) as file:
        for step in (1, 2):
            file.write(
                pixels[::step, ::step], resolution=(2e4 / step, 2e4 / step), subfiletype=int(step > 1), **how
            )
    return written.getvalue()


def png() -> dict[str, bytes]:
    image = Image.fromarray(picture()[:20, :24])  # checksums refuse most changes of pixels
    transparent = image.copy()
    transparent.putalpha(200)
    images = {"rgb": image, "grey": image.convert("L"), "palette": image.quantize(16), "rgba": transparent}
    return {name: _saved(one, format="PNG", dpi=(50_800, 50_800)) for name, one in images.items()}


def jpeg() -> dict[str, bytes]:
    image = Image.fromarray(picture())
    return {
        "rgb": _saved(image, format="JPEG"),
        "grey": _saved(image.convert("L"), format="JPEG"),
        "progressive": _saved(image, format="JPEG", progressive=True),
        "CMYK": _saved(image.convert("CMYK"), format="JPEG"),
    }


def other_images() -> dict[str, bytes]:
    """The rarer plain images."""
    image = Image.fromarray(picture())
    return {kind: _saved(image, format=kind) for kind in ("BMP", "JPEG2000", "WEBP")}


def _saved(image: Image.Image, **how: Any) -> bytes:
    written = io.BytesIO()
    image.save(written, **how)
    return written.getvalue()
