"""Sanity checks before the first step of a training.

- `run`: which checks run on what, and what happens with their results.
- `data`: checks of augmentation, masks, validation, and the distance between training and tuning set.
- `network`: checks of network, loss and optimizer.
"""
