"""Training: from a cohort and a recipe to a model folder. Start reading with `train`.

- `train`: the chain of a training from top to bottom.
- `run_folder`: the folder of a training, and whether it may be resumed.
- `data`: training and tuning set, opened and split by patient.
- `setup`: device, precision, and the network before its first step.
- `loop`: steps, learning rate schedule, PU masking, batches.
- `checkpoint`: the state of a training in one file.
- `history`: learning curves as CSV, picture and TensorBoard events.
- `budget`: from minutes to a number of steps.
- `pseudo_labels`: search for lesions that nobody annotated, during a training.
- `validation`: average precision and calibration on tuning patches.
- `ensemble`: the trained networks, and how they predict together.
- `tuning`: heatmaps, pixels and lesions of the tuning slides, and detections exported for review.
- `finalize`: threshold, operating points, metrics and model card.
- `crossval`: cross-validation by patient.
- `pretrain`: pre-training of an encoder on synthetic slides.
- `planning`: recipes planned for a cohort and a machine.
- `sanity`: sanity checks before the first step.
"""
