"""Networks, losses, model folders and the engines that run a trained model.

- `build_unet`: makes the network that a recipe names; `unet`: the U-Net of 2015; `losses`: the losses.
- `encoders`: pretrained encoders, built in or downloaded; `weights`: reads and writes weight files.
- `detector`: what surrounds a network (normalization, calibration, probabilities), and ensembles.
- `model_folder`: reads and verifies a model folder, without torch; `save`: writes one.
- `engines`: chooses and opens an engine, without torch; `torch_engine`, `openvino_engine`, `openvino_convert`.
"""
