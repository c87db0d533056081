"""Synthetic H&E slides with UDH and look-alikes for demonstrations, tests and benchmarks.

- `cohort`: writes a folder of slides, annotations and the cohort table.
- `slide`: draws one slide with its annotations and exact outlines.
- `patient`: what all slides of a patient share; the version of the drawing.
- `layout`: where tissue and structures are placed.
- `lesions`: filled ducts (UDH and look-alikes).
- `normal_tissue`: stroma, fat, vessels, lymphocytes, normal ducts and lobules.
- `artifacts`: folds, blur and pen marks.
- `cells`: nuclei.
- `canvas`: rounded shapes, amounts of dye and their colors.
- `noise`: random fields for textures.
"""
