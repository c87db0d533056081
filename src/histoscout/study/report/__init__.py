"""The report of the study.

- `page`: the page as a whole, from its answer to the paper's outlook.
- `tables`: the paper's tables beside ours.
- `faults`: what each fault is and did, and the ablation.
- `curves`: losses by epoch and confusion matrices.
- `pictures`: tiles, masks and the filter.
"""
