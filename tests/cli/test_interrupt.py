"""Ctrl-C during training: one line, exit code 130, and the same command resumes."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

from histoscout.recipe import Recipe
from tests import toy
from tests.cli.program import PROGRAM

pytestmark = pytest.mark.slow


def test_ctrl_c_in_training_loses_nothing(tmp_path: Path) -> None:
    table = toy.write_cohort(tmp_path / "cohort")
    training = {**toy.CHOICES["training"], "epochs": 20, "steps_per_epoch": 10}
    Recipe.from_dict({**toy.CHOICES, "training": training}).write(tmp_path / "recipe.toml")
    command = [PROGRAM, "train", table, "-o", tmp_path / "model", "--recipe", tmp_path / "recipe.toml"]
    running = subprocess.Popen(
        [*map(str, command)],
        stderr=subprocess.PIPE,
        text=True,
        # a shell without job control makes background jobs, and so the children of tests, ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    last = tmp_path / "model" / "training" / "last.safetensors"
    deadline = time.monotonic() + 120
    while not last.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=120)
    assert running.returncode == 130, errors
    assert "resume" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    again = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "step" in again.stderr.partition("note: ")[2].partition("\n")[0]
