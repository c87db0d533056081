"""Synthetic H&E slides with UDH and look-alikes for demonstrations, tests and benchmarks.

- `cohort`: writes a folder of slides, annotations and the cohort table.
- `slide`: draws one slide with its annotations, exact outlines and artifacts.
- `patient`: what all slides of a patient share; the version of the drawing.
- `layout`: where tissue and structures are placed.
- `lesions`: filled ducts (UDH and look-alikes).
- `normal_tissue`: stroma, fat, vessels, lymphocytes, normal ducts and lobules.
- `cells`: nuclei.
- `canvas`: random fields for textures, rounded shapes, amounts of dye and their colors.
"""
