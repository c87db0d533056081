"""One colour for each class, the same in every file and picture."""

import colorsys
import hashlib


def colour_of(label: str) -> tuple[int, int, int]:
    """Red, green and blue (0-255) for a label, by its name alone: grey for no class, else strong."""
    if not label.strip():
        return 128, 128, 128
    hue = int.from_bytes(hashlib.sha256(label.encode("utf-8", "surrogatepass")).digest()[:2]) / 65536
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.9, 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)
