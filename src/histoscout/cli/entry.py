"""The entry point of the program: Ctrl-C ends it with one sentence, also while it still loads."""

import sys

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 + SIGINT."""


def main() -> None:
    """Run the program; loading it takes a few tenths of a second, in which Ctrl-C counts, too."""
    try:
        from histoscout.cli.main import main as run

        code = run()
    except KeyboardInterrupt:
        code = INTERRUPTED
    if code == INTERRUPTED:
        sys.stderr.write("histoscout: interrupted. Finished work is kept; run the same command to resume.\n")
    sys.exit(code)
