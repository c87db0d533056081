"""Replication of a published study that did not reach its aim, beside a recipe that works.

- `study`: the whole study and its plan.
- `protocol`: numbers and tables of the paper; all trainings behind them.
- `faults`: the faults of its code and protocol, each a switch.
- `slides`: the slides (BRACS, or synthetic ones shaped like them) and the scale of the study.
- `context`: what all runs share.
- `tiles`: grid, filter, sampling and split of the tiles.
- `preparation`: recipe, tiles and network of a run.
- `run`: one training.
- `evaluation`: a trained run on its tiles and on whole slides.
- `metrics`: confusion matrices and average precision.
- `ablation`: the effect of each fault.
- `working_recipe`: a recipe that works, on the same slides.
- `planning`: timed steps, and the plan of a dry run.
- `report`: the report.
"""
