"""Pixel and tile metrics of a heatmap.

- `counts`: histograms of heatmap levels, by slide.
- `metrics`: metrics, calibration and curves made from these histograms.
"""
