"""Whether annotations fit the tissue they are on.

- `slides`: whether the annotations of a slide fit the tissue; `cohort`: those of all slides together.
- `scoring`: how well annotations fit the stain of a slide.
- `corrections`: typical mistakes in annotations, and the corrections that undo them.
- `patches`: whether masks fit their images, exactly as training receives them.
- `patch_scoring`: how well masks fit the images of patches; glass and rectangles in patches.
"""
