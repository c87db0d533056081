"""The HTML report of an evaluation on slides, one module for a group of sections.

- `page`: the report as a whole, its summary, methods and limitations.
- `data`: what the sections are made from, and how estimates are shown.
- `pixels`: pixels and tiles, other classes, calibration.
- `lesions`: sensitivity, false positives, FROC, operating points, annotation policies.
- `pictures`: example crops, and every slide with its overlay.
"""
