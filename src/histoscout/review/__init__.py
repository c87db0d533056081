"""Review of detections by readers: what each of them did, kept as a log from which everything else is derived.

- `operation`: one act of a reader, such as to accept a region or to correct its outline.
- `log`: the file of operations, one JSON object a line; only ever appended to.
- `state`: what the operations on a slide amount to (`replay`).
- `review`: `Review`, the folder with the log; records operations and writes GeoJSON for QuPath.
- `agreement`: agreement of two readers (kappa) and where they differ.
- `statement`, `changes`, `returned`: what was changed in QuPath, recognized by id.
- `project`: results as a QuPath project.
- `cohort`: corrections as annotations that a training takes.
- `ranking`, `queue`: what to annotate next.
- `tables`: areas and counts after validation, as CSV.
"""
