"""Training patches.

- `sampler`: where patches are drawn, from seed and number alone; the grid of validation patches.
- `augment`: random changes of a patch.
- `datasets`: patches and targets by number, as worker processes read them.
"""
