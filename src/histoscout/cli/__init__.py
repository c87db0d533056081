"""The command line: one module for each command, and what they share.

- `main`: the table of commands, and how errors end the program.
- `options`: options that several commands share, their old spellings, and the layout of `--help`.
- `console`: progress bars on a terminal, plain lines elsewhere.
- `tables`: scores and other results as plain text tables.
- `images`: what commands do with image classification data.
- `demo`, `info`, `doctor`, `convert`, `check`, `bracs`, `plan`, `train`, `crossval`, `pretrain`, `detect`,
  `evaluate`, `study`: one command each. Heavy imports are inside the functions, so that `--help` is quick.
"""
