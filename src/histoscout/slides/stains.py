"""Optical density, and HED color deconvolution of H&E pixels (Ruifrok & Johnston 2001)."""

import numpy as np

STAIN_VECTORS = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105], [0.268, 0.570, 0.776]])
"""Optical density in red, green and blue of hematoxylin, eosin and the residual (rows): (3, 3) float64."""

HED = STAIN_VECTORS.astype(np.float32)
"""The same in single precision: (3, 3) float32."""

RGB_TO_HED = np.linalg.inv(HED).astype(np.float32)
"""Turns optical densities of red, green and blue, (..., 3), into amounts of the three stains: (3, 3) float32."""

OPTICAL_DENSITY = -np.log((np.arange(256, dtype=np.float32) + 1) / 256)
"""The optical density of each intensity: `OPTICAL_DENSITY[pixels]` converts (H, W, 3) uint8 to float32."""
