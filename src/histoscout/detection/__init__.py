"""Detection of lesions on slides.

- `detect`: many slides, one after another; `settings`: options and what a run needs for every slide.
- `pipeline`: one slide from its pixels to its regions.
- `grid`: windows and TTA views; `inference`: predictions for windows, blended; `heatmap`: computes, reads, writes.
- `postprocess`: from a heatmap to regions; `outlines`: the same again at another threshold.
- `operating_point`: score thresholds for an operating target, conformal guarantees.
- `domain_shift`: whether a slide is out of distribution; `self_check`: sanity checks of detection itself.
- `results`: the folder of results, ledger, table of lesions; `overlay`: pictures of slides and regions.
"""
