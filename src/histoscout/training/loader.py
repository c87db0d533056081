"""Examples to batches, read by worker processes."""

from collections.abc import Iterable

from torch import Tensor
from torch.utils.data import DataLoader

from histoscout.cores import usable_cores
from histoscout.recipe import Recipe
from histoscout.training.loop import Batches
from histoscout.windows.examples import PlainExamples, SampledExamples

MOST_WORKERS = 8


def sampled_batches(examples: SampledExamples, recipe: Recipe, start: int, stop: int) -> Batches:
    """The batches of the steps from `start` up to `stop`; the same whatever the number of workers."""
    size = recipe.training.batch
    return iter(_loader(examples, range(start * size, stop * size), recipe))


def plain_batches(examples: PlainExamples, recipe: Recipe) -> Iterable[tuple[Tensor, Tensor]]:
    """The validation windows in order, the last batch perhaps smaller."""
    return _loader(examples, range(len(examples)), recipe)


def _loader(
    examples: SampledExamples | PlainExamples, numbers: range, recipe: Recipe
) -> Iterable[tuple[Tensor, Tensor]]:
    wanted = MOST_WORKERS if recipe.training.workers is None else recipe.training.workers
    workers = min(wanted, usable_cores())  # a recipe may come from a larger machine
    return DataLoader(
        examples,  # type: ignore[arg-type]  # numbered access is all that is needed
        batch_size=recipe.training.batch,
        sampler=numbers,
        num_workers=workers if isinstance(examples, SampledExamples) else 0,
        drop_last=False,
        pin_memory=False,
    )
