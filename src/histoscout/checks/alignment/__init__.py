"""Whether annotations fit the tissue they are on.

- `slides`: annotations of a slide and of a cohort; `corrections`: typical mistakes and how they are undone.
- `scoring`: the slide as a grid of stain quantities, and how well zones of annotations explain them.
- `patches`: whether masks fit their images, exactly as training receives them.
"""
