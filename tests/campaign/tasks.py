"""The commands of the campaign, on a tiny cohort with a tiny network, and what of their results must be the same."""

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from histoscout.cli.entry import main
from histoscout.synthetic.cohort import write_synthetic_cohort
from tests import toy

Snapshot = Mapping[str, str]
"""Hash of each file by its path in the folder, without seconds."""

TRACES = (".part.", ".locks", ".new", ".commit", ".old", "replacement.json")
"""What names of leftovers hold."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A command of the campaign.

    Attributes:
        name: Its name in the table.
        command: Runs it on an output folder; returns the exit code.
        prepare: Makes what is in the output folder before.
        first: The command whose results the output folder holds before; it must go on working after a kill.
    """

    name: str
    command: Callable[[Path], int]
    prepare: Callable[[Path], None] = field(default=lambda out: None)
    first: Callable[[Path], int] | None = None


@dataclass(frozen=True)
class Setting:
    """The inputs of all commands.

    Attributes:
        folder: Holds cohort, recipes, model and annotations.
    """

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> "Setting":
        """Write the inputs into a new folder."""
        setting = cls(folder)
        toy.write_cohort(folder / "cohort")
        for name, seed in (("recipe", 0), ("other", 5)):
            choices = {"seed": seed, "training.epochs": 2, "training.steps_per_epoch": 2}
            toy.RECIPE.with_choices(choices).write(folder / f"{name}.toml")
        for name in ("recipe", "other"):
            setting.train(name, folder / f"model-{name}")
        setting.detect(folder / "found", "--quiet")
        setting.evaluate(folder / "scores", "--quiet")
        return setting

    @property
    def model(self) -> Path:
        """A trained model."""
        return self.folder / "model-recipe"

    def train(self, recipe: str, out: Path, *options: str) -> int:
        """Train with one of the recipes."""
        table, choices = self.folder / "cohort" / "cohort.csv", self.folder / f"{recipe}.toml"
        return run("train", table, "-o", out, "--recipe", choices, "--sanity", "quick", *CPU, *options)

    def detect(self, out: Path, *options: str, model: Path | None = None) -> int:
        """Detect on two slides."""
        slides = [self.folder / "cohort" / f"slide_{number}.tif" for number in (2, 3)]
        return run("detect", model or self.model, *slides, "-o", out, "--device", "torch", *options)

    def evaluate(self, out: Path, *options: str) -> int:
        """Evaluate on the test slide."""
        table = self.folder / "cohort" / "cohort.csv"
        return run("evaluate", self.model, table, "-o", out, "--device", "torch", *options)

    def tasks(self) -> tuple[Task, ...]:
        """All commands."""

        def copy(name: str) -> Callable[[Path], None]:
            def prepare(out: Path) -> None:
                shutil.copytree(self.folder / name, out)

            return prepare

        def crossval(out: Path) -> int:
            table, recipe = self.folder / "cohort" / "cohort.csv", self.folder / "recipe.toml"
            choices = ("--folds", "3", "--device", "torch", "--sanity", "warn")
            return run("crossval", table, "-o", out, "--recipe", recipe, *choices)

        def convert(out: Path) -> int:
            return run("convert", self.folder / "cohort", out, "--to", ".xml")

        def cohort(out: Path) -> int:
            return write_synthetic_cohort(out, patients=3, size=(512, 512)).is_file() - 1

        threshold = ("--overwrite", "--threshold", "0.9")
        return (
            Task(name="train", command=lambda out: self.train("recipe", out)),
            Task(
                name="train --overwrite",
                command=lambda out: self.train("other", out, "--overwrite"),
                prepare=copy("model-recipe"),
                first=lambda out: self.detect(out.with_name("check"), "--overwrite", model=out),
            ),
            Task(name="detect", command=self.detect),
            Task(
                name="detect --overwrite",
                command=lambda out: self.detect(out, *threshold),
                prepare=copy("found"),
                first=self.detect,
            ),
            Task(name="evaluate", command=self.evaluate),
            Task(
                name="evaluate --overwrite",
                command=lambda out: self.evaluate(out, "--overwrite"),
                prepare=copy("scores"),
            ),
            Task(name="crossval", command=crossval),
            Task(name="convert", command=convert),
            Task(name="demo (its slides)", command=cohort),
        )


CPU = ("--device", "cpu", "--quiet")


def run(*arguments: object) -> int:
    """Run a command of histoscout in this process, as its program does."""
    sys.argv = ["histoscout", *map(str, arguments)]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def snapshot(folder: Path) -> Snapshot:
    """Hash all results in a folder; seconds and the folder's own name are no results."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(_content(path, folder)).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "tensorboard" not in path.parts and not _is_trace(path, folder)
    }


def leftovers(folder: Path) -> list[str]:
    """The files and folders in a folder that only a running command should have."""
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if _is_trace(path, folder)
    )


def _is_trace(path: Path, folder: Path) -> bool:
    return any(trace in part for part in path.relative_to(folder).parts for trace in TRACES)


def _content(path: Path, folder: Path) -> bytes:
    """The content of a file without what may differ between two runs."""
    content = path.read_bytes()
    if path.name == "last.safetensors":
        # the same tensors, in any order of the header
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        meta = header.pop("__metadata__", {})
        tensors = {
            name: hashlib.sha256(content[8 + size :][slice(*facts["data_offsets"])]).hexdigest()
            for name, facts in header.items()
        }
        return json.dumps([meta, tensors], sort_keys=True).encode()
    if path.suffix not in {".csv", ".json", ".html", ".md", ".toml"}:
        return content
    text = content.decode().replace(str(folder), "OUT")
    if path.name in {"ledger.csv", "curves.csv"}:
        lines = [line.split(",") for line in text.splitlines()]
        place = lines[0].index("seconds")
        return "\n".join(",".join(cells[:place] + cells[place + 1 :]) for cells in lines).encode()
    text = re.sub(r'("\w*seconds": )[-\d.e]+', r"\1 0", text)
    return re.sub(r"\b\d+(\.\d+)? (s|ms|min|minutes|seconds)\b", "TIME", text).encode()
