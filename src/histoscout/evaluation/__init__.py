"""Evaluation: how well models, or any detections, agree with annotations.

- `evaluate`: run a model on the test set and score it, slide by slide.
- `regions`: score detections of any origin against annotations, without a model.
- `protocol`: which patients are evaluated, what the metrics are called, and what may be claimed.
- `leakage`: checks before an evaluation that nothing is evaluated that the model was trained on.
- `reference`: the annotations and the tissue of a slide, compared with a heatmap strip by strip.
- `slide_metrics`: what a method and the trivial baselines count on one slide.
- `scores`: all metrics with confidence intervals, from the counts of the slides.
- `scores_io`: the files scores.json, slides.csv and patients.csv.
- `bootstrap`: 95 % confidence intervals over patients.
- `review`: expert review of the surest false positives: what is exported.
- `review_results`: the results of an expert review, read and applied.
- `out_of_fold`: the metrics of a cross-validation, pooled over its folds.
- `pixels/`: counts and metrics of pixels and tiles.
- `lesions/`: lesions matched with detections, and the FROC curve.
- `images/`: evaluation on image classification data.
"""
