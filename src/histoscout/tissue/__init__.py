"""Tissue detection: where a slide shows tissue, and which parts of it are hidden.

- `mask`: the tissue mask of a slide (`find_tissue`, `Tissue`), and cleaning of binary masks.
- `artifacts`: pen marks and out-of-focus areas.
"""
