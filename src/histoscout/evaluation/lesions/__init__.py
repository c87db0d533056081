"""Lesion metrics: detected regions against annotated lesions.

- `matching`: one-to-one matching of detections and lesions.
- `compare`: the lesions and detections of one slide, matched and located.
- `froc`: sensitivity against false positives, annotation policies, and operating points.
- `summary`: counts of lesions and detections, in all and by lesion size.
- `class_auroc`: AUROC of the positive class against other annotated classes.
"""
