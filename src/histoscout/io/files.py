"""Files: atomic writing, text encodings, checksums."""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path

from histoscout.errors import OutputError


def package_file(*parts: str) -> Path:
    """The path of a file that is installed with the package; it may not exist.

    Args:
        *parts: Folders and name, below the package `histoscout`.
    """
    return Path(str(files("histoscout").joinpath(*parts)))


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write a file completely or not at all, through a temporary file beside it.

    The temporary file is renamed to `path` if the block succeeds, and deleted if not. Its name keeps the suffixes of
    `path`, since writers choose their format by them.

    Args:
        path: The file to write; missing folders are created.

    Yields:
        The temporary path to write to.

    Raises:
        OutputError: The disk is full, a permission is missing, or the path is not possible.
    """
    temporary = path.with_name(f".{os.getpid()}.part.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        # if the folder could not be created, there is nothing to delete
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def output_error(path: Path, error: OSError) -> OutputError:
    """The `OutputError` for a file that the operating system refuses to write, with its remedy.

    Args:
        path: The file.
        error: What the operating system reports.

    Returns:
        The error to raise.
    """
    another_folder = "Choose another output folder with -o"
    free_space = "Free some space or choose another output folder with -o"
    remedies = {
        errno.ENOSPC: ("the disk is full", f"{free_space}; finished work is kept"),
        errno.EDQUOT: ("your disk quota is used up", free_space),
        errno.EACCES: ("you have no permission to write here", another_folder),
        errno.EROFS: ("this disk is read-only", another_folder),
        errno.ENOTDIR: ("part of this path is a file, not a folder", another_folder),
        errno.EEXIST: ("part of this path is a file, not a folder", another_folder),
    }
    fault, remedy = remedies.get(error.errno or 0, (f"the file cannot be written ({error})", another_folder))
    return OutputError(path, fault, remedy)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, completely or not at all.

    Args:
        path: The file, which is replaced if it exists.
        text: Its content.

    Raises:
        OutputError: The file cannot be written.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def decode_text(content: bytes) -> str | None:
    """Decode a text file that may come from a spreadsheet program.

    Args:
        content: The bytes of the file.

    Returns:
        The text, by UTF-16 if there is its byte-order mark (Excel's "Unicode text"), else by UTF-8, else by
        Windows-1252; None if the file is not text.
    """
    is_utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ("utf-16",) if is_utf16 else ("utf-8-sig", "cp1252"):
        with suppress(UnicodeDecodeError):
            text = content.decode(encoding)
            return None if "\0" in text else text
    return None


def sha256(path: Path) -> str:
    """The SHA-256 checksum of a file, as 64 hexadecimal digits.

    Args:
        path: The file.

    Returns:
        The checksum.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
