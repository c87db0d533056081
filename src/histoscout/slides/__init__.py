"""Reading slides of any format at any resolution.

- `open`: opens a slide file (`open_slide`) and lists its facts (`info`).
- `slide`: the slide (`Slide`), its levels, and the protocol for readers (`SlideSource`).
- `openslide_reader`: scanner formats, through OpenSlide.
- `tiff_reader`: OME-TIFF and other TIFF files that OpenSlide does not read.
- `tiff_levels`: reads boxes of a TIFF by decoding its tiles or strips.
- `tiff_checks`: checks of what a TIFF states, before memory is allocated.
- `image_reader`: plain images (PNG, JPEG, ...) and arrays as slides.
- `pyramid`: writes an image as a pyramidal TIFF.
- `stains`: optical density and stain separation.
"""
