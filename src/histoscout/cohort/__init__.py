"""Cohorts: which slides and annotations belong to which patients, and who is in which split.

- `cohort`: reads a cohort from a table, folder, project or slide; `case`: one slide with its annotations.
- `table`, `discovery`, `qupath_project`, `image_folders`: the sources of cases.
- `bracs`, `bracs_table`: the BRACS data as downloaded.
- `splits`: training, tuning and test set by patient; `folds`: folds of a cross-validation.
- `annotated_slide`: annotations under the recipe's class names, tissue, patches and masks.
- `annotation_status`: which slides are annotated, known to be without lesions, or not looked through.
- `leakage`: every check that sets are apart; `duplicates`: copies of slides and shared tissue.
"""
