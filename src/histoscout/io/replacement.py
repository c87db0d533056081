"""Replacing results that exist: the new ones are made aside, then take the place of the old ones together.

    OUT/.new      results that are being made; a killed run resumes them, and the old results stay as they are
    OUT/.commit   new results that are whole: each file is moved to its place; a killed run is finished by the next
    OUT/.old      old results that were moved away; they come back if one file cannot be moved

Which of the three exists tells how far a replacement came, whatever else is in the folder.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from histoscout.errors import OutputError
from histoscout.io.files import (
    LOCKS,
    PURPOSE,
    flush_to_disk,
    is_temporary,
    output_error,
    read_text,
    remove_leftovers,
    scratch_folder,
    write_text,
)
from histoscout.io.inputs import parse_json

NEW = ".new"
COMMIT = ".commit"
OLD = ".old"

LAST: Mapping[str, int] = MappingProxyType({"ledger.csv": 1, "scores.json": 2, "model.json": 3})
"""Files that say that the others are whole; they are moved after all others."""


@dataclass(frozen=True)
class Replacement:
    """Results that replace others.

    Attributes:
        out: The folder whose results are replaced.
        replaced: Folders in it of which nothing old stays.
    """

    out: Path
    replaced: Sequence[str] = ()

    @property
    def folder(self) -> Path:
        """Where the new results are made."""
        return self.out / NEW

    @contextmanager
    def prepare(self, purpose: Mapping[str, Any]) -> Iterator[None]:
        """Resume the new results of a killed run if they were made for the same purpose, else start anew.

        Args:
            purpose: What decides the new results; JSON values.

        Yields:
            Nothing; new results are made in `folder`, which is removed if it stays empty.

        Raises:
            OutputError: The folder cannot be written, or its files cannot be moved.
        """
        try:
            self._begin(purpose)
            yield
        finally:
            if self.folder.is_dir() and not _files(self.folder):
                shutil.rmtree(self.folder, ignore_errors=True)

    def _begin(self, purpose: Mapping[str, Any]) -> None:
        """Keep what a killed run has made for this purpose, and nothing else."""
        try:
            if self.folder.is_dir() and _stated(self.folder).get("purpose") != purpose:
                shutil.rmtree(self.folder)
            self._check_moves()
        except OSError as error:
            raise output_error(self.out, error) from error
        self._state(purpose, [])
        for folder in (self.folder, *(path for path in self.folder.rglob("*") if path.is_dir())):
            remove_leftovers(folder, alone=True)

    def commit(self) -> None:
        """Put the new results in the place of the old ones.

        Raises:
            OutputError: A file cannot be moved; then the old results are back, and the new ones are kept aside.
        """
        files = [path.relative_to(self.folder).as_posix() for path in _files(self.folder)]
        self._state(_stated(self.folder)["purpose"], files)
        try:
            # from here on, the replacement is finished whatever happens
            self.folder.rename(self.out / COMMIT)
            flush_to_disk(self.out)
        except OSError as error:
            raise output_error(self.out, error) from error
        finish_replacement(self.out)

    def _state(self, purpose: Mapping[str, Any], files: Sequence[str]) -> None:
        """Write what the new results are made from, and their files once they are whole."""
        stated = {"purpose": purpose, "replaced": list(self.replaced), "files": list(files)}
        write_text(self.folder / PURPOSE, json.dumps(stated, indent=1, sort_keys=True) + "\n")

    def _check_moves(self) -> None:
        """Try whether files can be moved, before hours of work: a folder may be another disk."""
        self.folder.mkdir(exist_ok=True)
        for name in self.replaced:
            if (self.out / name).is_dir():
                with scratch_folder(self.out / name) as here:
                    (here / "file").touch()
                    os.replace(here / "file", self.folder / "file")
                    (self.folder / "file").unlink()


def is_unfinished(out: Path) -> bool:
    """Whether a run was killed while its new results, which are whole, took the place of the old ones.

    Args:
        out: The folder whose results are replaced.
    """
    return (out / COMMIT).is_dir()


def final_place(path: Path) -> Path:
    """Where a file of new results will be in the end, to name it to the user.

    Args:
        path: The file; it may also be outside of new results.

    Returns:
        Its path without the folder of new results.
    """
    return Path(*(part for part in path.parts if part != NEW))


def finish_replacement(out: Path) -> dict[str, Any] | None:
    """Finish a replacement whose new results were whole when its run was killed.

    Args:
        out: The folder whose results are replaced.

    Returns:
        The purpose of the replacement; None if there was nothing to finish.

    Raises:
        OutputError: A file cannot be moved; then the old results are back, and the new ones are kept aside.
    """
    commit, old = out / COMMIT, out / OLD
    moved: list[tuple[Path, Path]] = []
    try:
        if not commit.is_dir():
            shutil.rmtree(old, ignore_errors=True)
            return None
        stated = _stated(commit)
        for name in stated["replaced"]:
            for path in _files(out / name):
                # some new files are there already, if the run before was killed while it moved them
                if path.relative_to(out).as_posix() not in stated["files"]:
                    moved.append(_move(path, old / path.relative_to(out)))
        for path in _files(commit):
            place = out / path.relative_to(commit)
            if os.path.lexists(place):
                moved.append(_move(place, old / place.relative_to(out)))
            moved.append(_move(path, place))
        for name in stated["replaced"]:
            _remove_empty_folders(out / name)
        flush_to_disk(out)
        shutil.rmtree(commit)
    except OSError as error:
        # put everything back in the reverse order
        with suppress(OSError):
            for source, target in reversed(moved):
                _move(target, source)
            commit.rename(out / NEW)
            shutil.rmtree(old, ignore_errors=True)
        raise _cannot_replace(out, error) from error
    shutil.rmtree(old, ignore_errors=True)
    purpose: dict[str, Any] = stated["purpose"]
    return purpose


def _cannot_replace(out: Path, error: OSError) -> OutputError:
    fault = f"the results cannot be replaced ({error}); the old ones are kept"
    return OutputError(out, fault, "Close programs that use these files, then run the same command again")


def _stated(folder: Path) -> dict[str, Any]:
    """What is stated beside new results; nothing if they were killed in their first moment."""
    try:
        stated: dict[str, Any] = parse_json(read_text(folder / PURPOSE))
    except FileNotFoundError:
        return {}
    return stated


def _files(folder: Path) -> list[Path]:
    """The files of results; those that say that results are whole come last."""
    files = [
        path
        for path in folder.rglob("*")
        if path.name != PURPOSE
        and not any(is_temporary(Path(part)) or part == LOCKS for part in path.relative_to(folder).parts)
        and (path.is_symlink() or not path.is_dir())
    ]
    return sorted(files, key=lambda path: (LAST.get(path.name, 0), path))


def _move(source: Path, target: Path) -> tuple[Path, Path]:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)
    return source, target


def _remove_empty_folders(folder: Path) -> None:
    for path in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        with suppress(OSError):
            path.rmdir()
