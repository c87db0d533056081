"""Sanity checks before the first step: which ones, on what, and what happens with their results.

A check that finds what would make results wrong stops the training with one line; what may make them wrong is
reported and written into the model folder. Checks work on copies: patches, weights and random states are
those of a training without them.
"""

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from histoscout.checks.alignment.cohort import check_training_alignment
from histoscout.checks.alignment.patches import check_training_patches
from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.cohort.duplicates import Fingerprint, Landmarks, find_landmarks
from histoscout.cohort.leakage import check_disjoint_sets, check_patient_count, check_shared_tissue
from histoscout.detection.self_check import check_field_of_view
from histoscout.errors import TrainingError
from histoscout.geometry.box import Box
from histoscout.io.files import read_text, write_text
from histoscout.io.inputs import parse_json
from histoscout.network.detector import count_outputs, normalize
from histoscout.progress import Progress
from histoscout.recipe_sections import AugmentConfig
from histoscout.sampling.datasets import Example, make_target
from histoscout.sampling.sampler import Patch
from histoscout.training.checkpoint import TrainingState
from histoscout.training.data import TrainingData
from histoscout.training.loop import TrainingContext, take_step
from histoscout.training.optimizer import make_optimizer
from histoscout.training.sanity.data import (
    NO_AUGMENTATION,
    AugmentedPatch,
    InputRecorder,
    MaskReader,
    PatchLocation,
    Pixels,
    check_augmentation_varies,
    check_masks,
    check_patch_overlap,
    check_validation_batches,
    check_validation_unaugmented,
)
from histoscout.training.sanity.network import (
    Batch,
    base_rate_loss,
    check_initial_loss,
    check_network_logits,
    check_optimizer_parameters,
    check_overfits_one_batch,
    check_single_sigmoid,
)
from histoscout.training.validation import positive_probability
from histoscout.verdict import Verdict

SanityMode = Literal["all", "quick", "warn"]
"""All checks; without overfitting one batch; all checks, reporting failures instead of stopping."""

Check = Callable[[], Verdict]

COMPARED_PATCHES = 256
"""Training patches that are compared with the tuning patches."""

TRIED_PATCHES = 4
"""Training patches that the network is tried on."""

PROBE_PX = 128
"""Side of a made-up patch at most; some networks accept no smaller one."""

OVERFIT_PATCHES = 4
"""Patches of the batch that is overfitted."""

OVERFIT_CANDIDATES = 16
"""Patches from which these are chosen, so that some show the positive class."""

OVERFIT_SECONDS = 10.0
"""Seconds for overfitting one batch at most."""

OVERFIT_SHARE = 0.03
"""Share of the minutes for overfitting one batch at most."""


def run_sanity_checks(
    context: TrainingContext, state: TrainingState, data: TrainingData, *, mode: str = "all"
) -> tuple[Verdict, ...]:
    """Run all sanity checks before the first step, or read their results if the training is resumed.

    Args:
        context: The training.
        state: Its state before the first step; not changed.
        data: Training and tuning set.
        mode: A `SanityMode`: "all" stops at the first failure, "quick" leaves out overfitting one batch,
            "warn" reports failures and continues.

    Returns:
        The results, which are also kept in the training's folder.

    Raises:
        TrainingError: If a check fails and the mode is not "warn", or if there is no such mode.
    """
    if mode not in get_args(SanityMode):
        modes = ", ".join(get_args(SanityMode))
        raise TrainingError("--sanity", f"there is no mode {mode!r}", f"Use one of {modes}")
    file = context.folder / "sanity_checks.json"
    if file.exists():
        return read_verdicts(file)
    checks = [*data_checks(context, data), *network_checks(context, state)]
    if mode != "quick":
        checks.append(partial(_overfit_one_batch, context, state.network))
    verdicts = []
    context.progress.start("sanity checks", len(checks))
    # whatever a check draws, the training draws its own numbers
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        for check in checks:
            verdicts.append(check())
            report_verdict(verdicts[-1], context.progress, stop=mode != "warn")
            context.progress.advance()
    context.progress.done()
    write_text(file, json.dumps([verdict.to_dict() for verdict in verdicts], indent=1) + "\n")
    return tuple(verdicts)


def check_member_split(
    context: TrainingContext, data: TrainingData, *, mode: str = "all"
) -> tuple[Verdict, ...]:
    """Check the split of a further ensemble member, for which the same slides are divided differently.

    Args:
        context: The training.
        data: Training and tuning set of the member.
        mode: A `SanityMode`.

    Returns:
        The results.

    Raises:
        TrainingError: If a check fails and the mode is not "warn".
    """
    verdicts = tuple(check() for check in split_checks(data))
    for verdict in verdicts:
        report_verdict(verdict, context.progress, stop=mode != "warn")
    return verdicts


def read_verdicts(file: Path) -> tuple[Verdict, ...]:
    """Read the results that `run_sanity_checks` kept in a file.

    Args:
        file: A JSON file.

    Returns:
        The verdicts.
    """
    return tuple(Verdict.from_dict(values) for values in parse_json(read_text(file)))


def report_verdict(verdict: Verdict, progress: Progress, *, stop: bool) -> None:
    """Report a result that is not good.

    Args:
        verdict: The result.
        progress: Who is informed.
        stop: Whether a failure is an error.

    Raises:
        TrainingError: If the check failed and `stop`.
    """
    if verdict.state == "failed" and stop:
        remedy = f"{verdict.remedy}. To train all the same, use --sanity warn"
        raise TrainingError(f"sanity check: {verdict.name}", verdict.message, remedy)
    if verdict.state != "good":
        remedy = f". {verdict.remedy}" if verdict.remedy else ""
        progress.note(f"{verdict.state}: {verdict.name}: {verdict.message}{remedy}")


# ---------------------------------------------------------------- which checks


def split_checks(data: TrainingData) -> list[Check]:
    """List the checks that no slide, patient or tissue is in both sets; none for tuning blocks of the same slides.

    Args:
        data: The training data.

    Returns:
        The checks.
    """
    if data.split.blocks:
        return []
    checks: list[Check] = [
        lambda: check_disjoint_sets(slide_fingerprints(data.train), slide_fingerprints(data.tune))
    ]
    # not for image classification data: thousands of small images take too long
    if not data.by_class:
        checks.append(lambda: check_shared_tissue(_find_all_landmarks(data)))
    return checks


def data_checks(context: TrainingContext, data: TrainingData) -> list[Check]:
    """List the checks of sets, patches, masks and validation.

    Args:
        context: The training.
        data: Training and tuning set.

    Returns:
        The checks in the order in which they are run.
    """
    recipe, tuning = context.recipe, context.tuning_examples
    patients = {labeled.patient for labeled in (*data.train, *data.tune)}
    checks = [*split_checks(data), lambda: check_patient_count(patients, data.split.blocks)]
    # image classification data have no annotations to check
    if not data.by_class:
        checks.append(lambda: check_training_alignment(data.train))
    fields = [(labeled.regions, labeled.slide.mpp) for labeled in data.train]
    checks.append(lambda: check_field_of_view(fields, recipe))
    checks.append(
        lambda: check_patch_overlap(
            _locations(data.train, _draw_patches(context)), _locations(data.tune, tuning.patches)
        )
    )
    if not data.by_class:
        checks.append(lambda: check_masks(_mask_reader(context), data.train, mpp=recipe.patches.mpp))
    checks += [
        lambda: check_augmentation_varies(_augmented_patch(context), recipe.augment),
        lambda: check_validation_unaugmented(
            tuning.__getitem__, [_plain_example(context, number) for number in range(min(2, len(tuning)))]
        ),
        lambda: check_validation_batches(
            context.validate,
            InputRecorder(count_outputs(recipe), predicts_tiles=recipe.network.predicts_tiles),
            partial(_validation_input, context),
            count=len(tuning),
        ),
    ]
    if not recipe.network.predicts_tiles:
        checks.append(lambda: check_training_patches(context.training_examples))
    return checks


def network_checks(context: TrainingContext, state: TrainingState) -> list[Check]:
    """List the checks of network, optimizer and loss that take no step.

    Args:
        context: The training.
        state: Its state before the first step.

    Returns:
        The checks in the order in which they are run.
    """
    network, recipe, shares = state.network, context.recipe, context.class_shares
    probe_px = min(PROBE_PX, recipe.patch_px)
    checks: list[Check] = [
        lambda: check_optimizer_parameters(network, state.optimizer),
        lambda: check_network_logits(network, _batch(context, range(TRIED_PATCHES)).images, probe_px),
        lambda: check_single_sigmoid(positive_probability, count_outputs(recipe)),
    ]
    if shares is not None:
        checks.append(
            lambda: check_initial_loss(
                network, context.loss, _batch(context, range(TRIED_PATCHES)), shares=shares
            )
        )
    return checks


# ---------------------------------------------------------------- what they check


def slide_fingerprints(slides: Sequence[LabeledSlide]) -> list[Fingerprint]:
    """Compute the fingerprints of slides, by which copies are recognized.

    Args:
        slides: The slides.

    Returns:
        One fingerprint for each slide.
    """
    return [Fingerprint.of(labeled.slide, labeled.patient) for labeled in slides]


def _find_all_landmarks(data: TrainingData) -> list[Landmarks]:
    """The landmarks of the slides of both sets: 0.1 to 0.4 s per slide."""
    return [
        find_landmarks(labeled.slide, labeled.tissue, labeled.patient, split)
        for split, slides in (("train", data.train), ("tune", data.tune))
        for labeled in slides
    ]


def _draw_patches(context: TrainingContext) -> list[Patch]:
    return [context.training_examples.sampler.draw(number) for number in range(COMPARED_PATCHES)]


def _locations(slides: Sequence[LabeledSlide], windows: Sequence[Patch]) -> list[PatchLocation]:
    keys = [(labeled.slide.path or id(labeled.slide), labeled.slide.name) for labeled in slides]
    return [PatchLocation(keys[window.slide], window.box) for window in windows]


@dataclass(frozen=True)
class FixedSampler:
    """A sampler that draws the same patch for every number.

    Attributes:
        window: The patch.
    """

    window: Patch

    def draw(self, number: int) -> Patch:
        """The patch."""
        return self.window


def _augmented_patch(context: TrainingContext) -> AugmentedPatch:
    """One patch of the training set, with the positive class if any has it, augmented by given choices."""
    windows = _draw_patches(context)
    window = next((window for window in windows if window.kind == "positive"), windows[0])

    def read(choices: AugmentConfig, number: int) -> Pixels:
        recipe = context.recipe.model_copy(update={"augment": choices})
        return replace(context.training_examples, sampler=FixedSampler(window), recipe=recipe)[number][0]

    return read


def _mask_reader(context: TrainingContext) -> MaskReader:
    """Reads masks through the very code of training examples, without augmentation."""
    # the examples of a tile classifier hold only the class of the tile
    if context.recipe.network.predicts_tiles:
        return LabeledSlide.mask
    recipe = context.recipe.model_copy(update={"augment": NO_AUGMENTATION})

    def read(labeled: LabeledSlide, box: Box, mpp: float) -> NDArray[np.uint8]:
        sampler = FixedSampler(Patch(0, box, "grid"))
        return replace(context.training_examples, slides=[labeled], sampler=sampler, recipe=recipe)[0][1]

    return read


def _plain_example(context: TrainingContext, number: int) -> Example:
    """A tuning patch read straight from its slide."""
    window, mpp = context.tuning_examples.patches[number], context.recipe.patches.mpp
    labeled = context.tuning_examples.slides[window.slide]
    return labeled.picture(window.box, mpp), make_target(labeled.mask(window.box, mpp), context.recipe)


def _validation_input(context: TrainingContext, number: int) -> Tensor:
    """A tuning patch as validation should hand it to the network: float32 (C, H, W)."""
    pixels = torch.from_numpy(context.tuning_examples[number][0])
    return normalize(pixels[None], context.recipe.network.input_channels)[0]


def _batch(context: TrainingContext, numbers: Sequence[int]) -> Batch:
    """Training patches by their numbers, as the loop hands them to the network."""
    examples = [context.training_examples[number] for number in numbers]
    pictures, targets = (torch.from_numpy(np.stack(parts)) for parts in zip(*examples, strict=True))
    images = normalize(context.fabric.to_device(pictures), context.recipe.network.input_channels)
    return Batch(images.contiguous(memory_format=torch.channels_last), context.fabric.to_device(targets))


def _overfit_one_batch(context: TrainingContext, network: nn.Module) -> Verdict:
    """Overfit a few patches on a copy of the network, by the very steps of the loop."""
    # half of the patches with the positive class, if there are enough
    examples = [context.training_examples[number] for number in range(OVERFIT_CANDIDATES)]
    positive = [example for example in examples if (example[1] == 1).any()]
    negative = [example for example in examples if not (example[1] == 1).any()]
    half = OVERFIT_PATCHES // 2
    chosen = [*positive[:half], *negative[:half], *positive[half:]][:OVERFIT_PATCHES]
    pictures, targets = (torch.from_numpy(np.stack(parts)) for parts in zip(*chosen, strict=True))
    # steps on a copy
    copied = copy.deepcopy(network)
    optimizer = make_optimizer(copied, context.recipe.training)
    state = TrainingState(network=copied, average={}, optimizer=optimizer)
    wrapped = context.fabric.setup_module(copied)

    def step() -> float:
        loss = take_step(context, state, (pictures, targets), network=wrapped)
        state.step += 1
        return loss

    base_rate = base_rate_loss(context.loss, targets, count_outputs(context.recipe))
    minutes = context.recipe.training.minutes
    seconds = OVERFIT_SECONDS if minutes is None else min(OVERFIT_SECONDS, OVERFIT_SHARE * 60 * minutes)
    return check_overfits_one_batch(step, base_rate, seconds)
