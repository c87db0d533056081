"""Training and validation patches.

- `sampler`: where training patches are drawn, from seed and number alone, and the grid of validation patches.
- `augment`: random rotation, scale, mirroring and colors of a patch.
- `datasets`: images and targets by number, as worker processes read them.
"""
