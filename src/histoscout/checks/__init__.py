"""Checks of a cohort before training.

- `run`: `check_cohort`, and corrected annotations.
- `integrity`: readable slides and annotations, plausible scales and sizes, class names.
- `alignment`: whether annotations fit the tissue they are on; typical mistakes and their corrections.

Leakage is checked by `cohort.leakage`.
"""
