"""Runs the program as a user does."""

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("histoscout")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `histoscout` with these arguments, each as text."""
    return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False)


def assert_refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """Check that the program ended with an error message that holds these words, and not with a traceback."""
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr + result.stdout, result.stderr
