"""Reading and writing annotations: labeled polygons on a slide.

- `read`: `read_annotations` for every file format, and the frame that coordinates are counted in.
- `write`: `write_annotations` for every file format that can be written.
- `geojson`: GeoJSON, as QuPath writes and reads it.
- `qupath_properties`: classes, colors, measurements and ids in the words of QuPath's GeoJSON.
- `qpdata`: QuPath's own data files (`.qpdata`).
- `xml`: XML files as a tree, and which program wrote one.
- `imagescope`: Aperio ImageScope and HALO.
- `asap`: ASAP (reading and writing).
- `masks`: images whose pixel values are classes; `write_mask` writes them.
- `overlaps`: lesions inside areas to ignore, and outlines that others hide.
- `polygons`: GeoJSON geometries, rectangles and ellipses as polygons; holes.
- `files`: the bytes of a file, unpacked if it is compressed, and JSON.
"""
