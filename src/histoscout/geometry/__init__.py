"""Boxes, polygons and masks on a slide: exact arithmetic in level-0 px, without reading pixels.

- `box`: rectangles (`Box`) and regular grids of tiles (`TileGrid`).
- `regions`: labeled polygons, annotated or detected (`Region`, `Regions`).
- `validity`: valid polygons from rings that cross themselves.
- `rasterize`: polygons to masks.
- `vectorize`: masks to polygons, along pixels or along a contour.
- `simplify`: contours to outlines with few corners.
"""
