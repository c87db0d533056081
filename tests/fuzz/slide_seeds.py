"""Small valid slides for every slide reader, in every compression that is read."""

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
    """Pixels that look like stain, smooth enough to compress well: (64, 80, 3) uint8."""
    noise = gaussian_filter(np.random.default_rng(0).normal(0, 400, (HEIGHT, WIDTH, 3)), (4, 4, 0))
    return np.clip(190 + noise, 0, 255).astype(np.uint8)


COMPRESSIONS: dict[str, dict[str, Any]] = {
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
    """OME-TIFFs with a smaller level and a scale; one with separate color planes, as BigTIFF."""
    named = {
        f"{name}": _ome(**options)
        for name, options in COMPRESSIONS.items()
        if name not in {"PackBits", "LZMA"}
    }
    return {**named, "separate planes": _ome(separate=True, compression="lzw", bigtiff=True)}


def _ome(*, separate: bool = False, bigtiff: bool = False, **options: Any) -> bytes:
    pixels = picture()
    if separate:
        pixels, options = np.moveaxis(pixels, 2, 0), {**options, "planarconfig": "separate"}
    buffer = io.BytesIO()
    scale = {"axes": "SYX" if separate else "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    options = {"photometric": "rgb", "tile": (32, 32), **options}
    with tifffile.TiffWriter(buffer, ome=True, bigtiff=bigtiff) as file:
        file.write(pixels, subifds=1, metadata=scale, **options)
        file.write(pixels[..., ::2, ::2] if separate else pixels[::2, ::2], subfiletype=1, **options)
    return buffer.getvalue()


def tiled_tiff() -> dict[str, bytes]:
    """TIFFs that OpenSlide reads: tiles, smaller levels, pixels per centimeter; one as Aperio writes it."""
    compressions = {name: COMPRESSIONS[name] for name in ("plain", "Deflate", "LZW", "JPEG")}
    files = {name: _pyramid(**options) for name, options in compressions.items()}
    return {**files, "Aperio": _pyramid(description=APERIO, **COMPRESSIONS["JPEG"])}


def striped_tiff() -> dict[str, bytes]:
    """TIFFs that OpenSlide does not read: strips, and more compressions."""
    compressions = {name: options for name, options in COMPRESSIONS.items() if name not in {"Deflate", "LZW"}}
    return {name: _pyramid(tile=None, rowsperstrip=24, **options) for name, options in compressions.items()}


def _pyramid(**options: Any) -> bytes:
    pixels = picture()
    buffer = io.BytesIO()
    options = {
        "photometric": "rgb",
        "tile": (32, 32),
        "resolutionunit": "CENTIMETER",
        "metadata": None,
        **options,
    }
    with tifffile.TiffWriter(buffer) as file:
        for step in (1, 2):
            file.write(
                pixels[::step, ::step],
                resolution=(2e4 / step, 2e4 / step),
                subfiletype=int(step > 1),
                **options,
            )
    return buffer.getvalue()


def png() -> dict[str, bytes]:
    # small, since checksums refuse most changes of pixels
    image = Image.fromarray(picture()[:20, :24])
    transparent = image.copy()
    transparent.putalpha(200)
    images = {"rgb": image, "gray": image.convert("L"), "palette": image.quantize(16), "rgba": transparent}
    return {name: _saved(mode, format="PNG", dpi=(50_800, 50_800)) for name, mode in images.items()}


def jpeg() -> dict[str, bytes]:
    image = Image.fromarray(picture())
    return {
        "rgb": _saved(image, format="JPEG"),
        "gray": _saved(image.convert("L"), format="JPEG"),
        "progressive": _saved(image, format="JPEG", progressive=True),
        "CMYK": _saved(image.convert("CMYK"), format="JPEG"),
    }


def other_images() -> dict[str, bytes]:
    """Plain images of rarer formats."""
    image = Image.fromarray(picture())
    return {kind: _saved(image, format=kind) for kind in ("BMP", "JPEG2000", "WEBP")}


def _saved(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()
