"""QuPath's data files (`.qpdata`), read without QuPath and without Java.

- `reader`: `read_qpdata`, from a file to regions.
- `java`: Java object streams as plain data.
- `objects`: the objects of QuPath's hierarchy (annotations, cells, TMA cores).
- `rois`: the polygons of these objects.
- `image`: the image that QuPath showed, and where its pixels are in the image file.
"""
