"""Evaluation on image classification data, such as the regions of interest of BRACS.

- `evaluate`: predict the class of each image and score it.
- `inference`: the mean prediction of a network over the patches of an image.
- `scores`: classification metrics with confidence intervals.
"""
