"""The study's slides and scale, as small as they can be and still contain all that the faults need."""

from histoscout.study.slides import Mosaic, Scale

MOSAIC = Mosaic(rows=1, columns=1, fragment=1792, lesions=(2, 2, 1, 1))
WORKING_CHOICES = {
    "patches.size_um": 128.0,
    "training.epochs": 1,
    "training.steps_per_epoch": 3,
    "training.validation_patches": 4,
    "training.workers": 0,
    "training.precision": "float32",
    "network.decoder_channels": (16, 8, 8, 8),
    "detection.tta_views": 1,
    "detection.overlap": 0.0,
}
SCALE = Scale(
    name="miniature",
    tile_px=32,
    narrower=16,
    steps=4,
    validations=1,
    max_step_seconds=0.05,
    working_choices=WORKING_CHOICES,
    weights="none",
    mosaic=MOSAIC,
    resnet="resnet18",
)
