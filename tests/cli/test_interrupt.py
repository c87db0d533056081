"""Ctrl-C in the middle: one line, exit code 130, and the same command goes on."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from histoscout.recipe import Recipe
from tests import toy
from tests.toy import CHOICES

PROGRAM = Path(sys.executable).with_name("histoscout")


def test_ctrl_c_in_training_loses_nothing(tmp_path: Path) -> None:
    table = toy.write_cohort(tmp_path / "cohort")
    training = {**CHOICES["training"], "epochs": 20, "steps_per_epoch": 10}
    Recipe.from_dict({**CHOICES, "training": training}).write(tmp_path / "recipe.toml")
    command = [PROGRAM, "train", table, "-o", tmp_path / "model", "--recipe", tmp_path / "recipe.toml"]
    running = subprocess.Popen(
        [*map(str, command)],
        stderr=subprocess.PIPE,
        text=True,
        # a shell without job control lets what it starts in the background ignore Ctrl-C, the tests' children too
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    last = tmp_path / "model" / "training" / "last.safetensors"
    deadline = time.monotonic() + 120
    while not last.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=120)
    assert running.returncode == 130, said
    assert "goes on from there" in said
    assert "Traceback" not in said
    again = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "going on at step" in again.stderr
