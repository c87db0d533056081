"""What training asks itself before it spends time: which guards, on what, and what becomes of their verdicts.

A guard that finds what would make results wrong stops the training with one line; what may make them so is told and
written into the model folder. Guards work on copies: windows, weights and random states stay those of a training
without them.
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

from histoscout.checks.alignment.slides import labeled_fit
from histoscout.checks.alignment.windows import fits_in_training
from histoscout.checks.leakage import Landmarks, landmarks_of, tissue_apart
from histoscout.cohort.annotated_slide import LabeledSlide
from histoscout.cohort.leakage import Fingerprint, enough_patients, sets_apart
from histoscout.detection.self_check import field_of_view
from histoscout.errors import TrainingError
from histoscout.geometry.box import Box
from histoscout.io.files import write_text
from histoscout.network.detector import count_outputs, prepare
from histoscout.progress import Progress
from histoscout.recipe import AugmentConfig
from histoscout.registry import ARCHITECTURES
from histoscout.sampling.datasets import Example, target_of
from histoscout.sampling.sampler import Window
from histoscout.training.checkpoint import State
from histoscout.training.data import Sets
from histoscout.training.loop import Job, make_optimizer, take_step
from histoscout.training.sanity.data import (
    STILL,
    Mask,
    Picture,
    Place,
    Recorder,
    augmentation_rests,
    augmentation_varies,
    masks_are_whole,
    validation_sees,
    windows_apart,
)
from histoscout.training.sanity.network import (
    Batch,
    base_loss,
    gives_logits,
    learns_by_heart,
    loss_at_start,
    one_sigmoid,
    optimizer_owns,
)
from histoscout.training.validation import positive_probability
from histoscout.verdict import Verdict

SanityMode = Literal["all", "quick", "warn"]
Question = Callable[[], Verdict]

DRAWN = 256  # training windows held against the tuning windows
TRIED = 4  # training windows that the network is tried on
PROBE_PX = 128  # of a made-up window; some networks see no smaller one
BY_HEART, LOOKED_AT = 4, 16  # windows of the batch that is learnt by heart, out of so many
BY_HEART_SECONDS, BY_HEART_SHARE = 10.0, 0.03  # at most so long, and at most this share of the minutes


def guard(job: Job, state: State, sets: Sets, guarding: str = "all") -> tuple[Verdict, ...]:
    """Ask every guard before the first step; the verdicts, which are also kept in the training's folder.

    A training that goes on takes the verdicts of its beginning. `guarding`: "all" stops at the first failure
    (TrainingError), "quick" does not learn a batch by heart, "tell" tells failures and goes on.
    """
    if guarding not in get_args(SanityMode):
        known = ", ".join(get_args(SanityMode))
        raise TrainingError("--guards", f"{guarding!r} is not a way to guard", f"Take one of {known}")
    file = job.folder / "sanity_checks.json"
    if file.exists():
        return read_verdicts(file)
    questions = [*data_questions(job, sets), *network_questions(job, state)]
    if guarding != "quick":
        questions.append(partial(_by_heart, job, state.network))
    verdicts = []
    job.progress.start("sanity checks", len(questions))
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        for question in questions:
            verdicts.append(question())
            tell(verdicts[-1], job.progress, stop=guarding != "warn")
            job.progress.advance()
    job.progress.done()
    write_text(file, json.dumps([vars(verdict) for verdict in verdicts], indent=1) + "\n")
    return tuple(verdicts)


def guard_division(job: Job, sets: Sets, guarding: str = "all") -> tuple[Verdict, ...]:
    """Ask of a further member, for which the same slides are divided otherwise, whether its two sets are apart."""
    verdicts = tuple(question() for question in division_questions(sets))
    for verdict in verdicts:
        tell(verdict, job.progress, stop=guarding != "warn")
    return verdicts


def read_verdicts(file: Path) -> tuple[Verdict, ...]:
    """The verdicts that `guard` kept."""
    return tuple(Verdict.from_dict(values) for values in json.loads(file.read_text(encoding="utf-8")))


def tell(verdict: Verdict, progress: Progress, *, stop: bool) -> None:
    """Say what is not good; TrainingError if it failed and `stop`."""
    if verdict.state == "failed" and stop:
        remedy = f"{verdict.remedy}. To train all the same: --guards tell"
        raise TrainingError(f"guard: {verdict.name}", verdict.message, remedy)
    if verdict.state != "good":
        remedy = f". {verdict.remedy}" if verdict.remedy else ""
        progress.note(f"{verdict.state}: {verdict.name}: {verdict.message}{remedy}")


# ---------------------------------------------------------------- what is asked


def data_questions(job: Job, sets: Sets) -> list[Question]:
    """The guards over sets, windows and masks, in the order in which they are asked."""
    recipe, learning, tuning = job.recipe, job.learning, job.tuning
    patients = {labeled.patient for labeled in (*sets.train, *sets.tune)}
    questions: list[Question] = [
        lambda: enough_patients(patients, sets.split.blocks),
        lambda: field_of_view([(one.regions, one.slide.mpp) for one in sets.train], recipe),
        lambda: windows_apart(
            _places(sets.train, [learning.sampler.draw(number) for number in range(DRAWN)]),
            _places(sets.tune, tuning.windows),
        ),
        lambda: augmentation_varies(_look(job), recipe.augment),
        lambda: augmentation_rests(tuning.__getitem__, [_plain(job, n) for n in range(min(2, len(tuning)))]),
        lambda: validation_sees(job.validate, _recorder(job), partial(_prepared, job), len(tuning)),
    ]
    if not sets.by_class:  # on which nothing is outlined
        questions.insert(1, lambda: labeled_fit(sets.train))
        questions.insert(4, lambda: masks_are_whole(_mask_of(job), sets.train, recipe.patches.mpp))
    if ARCHITECTURES[recipe.network.architecture].answers == "pixels":
        questions.append(lambda: fits_in_training(learning))
    return [*division_questions(sets), *questions]


def division_questions(sets: Sets) -> list[Question]:
    """The guards over who is in which set; none where both are the same slides on purpose, and called optimistic."""
    if sets.split.blocks:
        return []
    questions: list[Question] = [lambda: sets_apart(fingerprints(sets.train), fingerprints(sets.tune))]
    if not sets.by_class:  # thousands of small images, which take too long
        questions.append(lambda: tissue_apart(_landmarks(sets)))
    return questions


def network_questions(job: Job, state: State) -> list[Question]:
    """The guards over network, optimiser and loss that take no step."""
    network, optimizer, recipe = state.network, state.optimizer, job.recipe
    probe_px = min(PROBE_PX, recipe.patch_px)
    questions: list[Question] = [
        lambda: optimizer_owns(network, optimizer),
        lambda: gives_logits(network, _batch(job, range(TRIED)).images, probe_px),
        lambda: one_sigmoid(positive_probability, count_outputs(recipe)),
    ]
    if job.prior is not None:
        questions.append(lambda: loss_at_start(network, job.loss, _batch(job, range(TRIED)), job.prior))
    return questions


def fingerprints(slides: Sequence[LabeledSlide]) -> list[Fingerprint]:
    """What the slides look like from far away."""
    return [Fingerprint.of(labeled.slide, labeled.patient) for labeled in slides]


def _landmarks(sets: Sets) -> list[Landmarks]:
    """What both sets show at their densest places: .1 to .4 s a slide."""
    return [
        landmarks_of(one.slide, one.tissue, one.patient, split)
        for split, slides in (("train", sets.train), ("tune", sets.tune))
        for one in slides
    ]


def _places(slides: Sequence[LabeledSlide], windows: Sequence[Window]) -> list[Place]:
    keys = [labeled.slide.path or id(labeled.slide) for labeled in slides]
    return [Place(keys[window.slide], window.box) for window in windows]


@dataclass(frozen=True)
class Always:
    """A sampler that draws the same window whatever the number."""

    window: Window

    def draw(self, number: int) -> Window:
        return self.window


def _look(job: Job) -> Callable[[AugmentConfig, int], Picture]:
    """One window of the training set, a lesion if there is one, as any number and any choices vary it."""
    drawn = [job.learning.sampler.draw(number) for number in range(DRAWN)]
    window = next((one for one in drawn if one.kind == "positive"), drawn[0])

    def look(choices: AugmentConfig, number: int) -> Picture:
        recipe = job.recipe.model_copy(update={"augment": choices})
        return replace(job.learning, sampler=Always(window), recipe=recipe)[number][0]

    return look


def _mask_of(job: Job) -> Mask:
    """Masks by the very road of training's examples, with nothing varied."""
    if ARCHITECTURES[job.recipe.network.architecture].answers == "tile":
        return LabeledSlide.mask  # the examples hold the tile's class only

    still = job.recipe.model_copy(update={"augment": STILL})

    def mask(labeled: LabeledSlide, box: Box, mpp: float) -> NDArray[np.uint8]:
        sampler = Always(Window(0, box, "grid"))
        return replace(job.learning, slides=[labeled], sampler=sampler, recipe=still)[0][1]

    return mask


def _plain(job: Job, number: int) -> Example:
    """A validation window as it lies on the slide."""
    window, mpp = job.tuning.windows[number], job.recipe.patches.mpp
    labeled = job.tuning.slides[window.slide]
    return labeled.picture(window.box, mpp), target_of(labeled.mask(window.box, mpp), job.recipe)


def _recorder(job: Job) -> Recorder:
    tile = ARCHITECTURES[job.recipe.network.architecture].answers == "tile"
    return Recorder(count_outputs(job.recipe), tile)


def _prepared(job: Job, number: int) -> Tensor:
    """A validation window as the network should see it."""
    picture = torch.from_numpy(job.tuning[number][0])
    return prepare(picture[None], job.recipe.network.input_channels)[0]


def _batch(job: Job, numbers: Sequence[int]) -> Batch:
    """Training windows by their numbers, as the loop would hand them to the network."""
    examples = [job.learning[number] for number in numbers]
    pictures, targets = (torch.from_numpy(np.stack(parts)) for parts in zip(*examples, strict=True))
    images = prepare(job.fabric.to_device(pictures), job.recipe.network.input_channels)
    return Batch(images.contiguous(memory_format=torch.channels_last), job.fabric.to_device(targets))


def _by_heart(job: Job, network: nn.Module) -> Verdict:
    """Learn a few windows by heart, on a copy of the network, by the very steps of the loop."""
    examples = [job.learning[number] for number in range(LOOKED_AT)]
    with_class = [example for example in examples if (example[1] == 1).any()]
    without = [example for example in examples if not (example[1] == 1).any()]
    chosen = [*with_class[: BY_HEART // 2], *without[: BY_HEART // 2], *with_class[BY_HEART // 2 :]][
        :BY_HEART
    ]
    pictures, targets = (torch.from_numpy(np.stack(parts)) for parts in zip(*chosen, strict=True))
    double = copy.deepcopy(network)
    state = State(double, {}, make_optimizer(double, job.recipe.training))
    wrapped = job.fabric.setup_module(double)

    def step() -> float:
        loss = take_step(job, state, wrapped, (pictures, targets))
        state.step += 1
        return loss

    base = base_loss(job.loss, targets, count_outputs(job.recipe))
    minutes = job.recipe.training.minutes
    seconds = BY_HEART_SECONDS if minutes is None else min(BY_HEART_SECONDS, BY_HEART_SHARE * 60 * minutes)
    return learns_by_heart(step, base, seconds)
