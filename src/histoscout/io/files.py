"""Writing files so that a half-written one is never taken for a whole one."""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path

from histoscout.errors import OutputError


def packaged(*parts: str) -> Path:
    """Where a file lies that comes with the package, which may not be there."""
    return Path(str(files("histoscout").joinpath(*parts)))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` if the block ends well, delete it if not.

    The temporary name keeps the suffixes of `path`, since writers choose their format by them.
    Raises OutputError for a full disk, a missing permission or a path that cannot exist.
    """
    temporary = path.with_name(f".{os.getpid()}.part.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        with suppress(OSError):  # its folder may be what could not be made
            temporary.unlink(missing_ok=True)


def output_error(path: Path, error: OSError) -> OutputError:
    """What the operating system says about a file that cannot be written, with the remedy."""
    remedies = {
        errno.ENOSPC: (
            "the disk is full",
            "Free some space or give another folder with -o; what was finished is kept",
        ),
        errno.EDQUOT: ("your disk quota is used up", "Free some space or give another folder with -o"),
        errno.EACCES: ("no permission to write here", "Give a folder you may write to with -o"),
        errno.EROFS: ("this disk is read-only", "Give a folder you may write to with -o"),
        errno.ENOTDIR: ("part of this path is a file, not a folder", "Give another folder with -o"),
        errno.EEXIST: ("part of this path is a file, not a folder", "Give another folder with -o"),
    }
    fault, remedy = remedies.get(
        error.errno or 0, (f"cannot be written ({error})", "Give another folder with -o")
    )
    return OutputError(path, fault, remedy)


def write_text(path: Path, text: str) -> None:
    """Write a text file as a whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def decoded(content: bytes) -> str | None:
    """The text of a table in UTF-8, in UTF-16 (Excel's "Unicode text"), or else in Windows' western page; None if it is none."""
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ("utf-16",) if wide else ("utf-8-sig", "cp1252"):
        with suppress(UnicodeDecodeError):
            text = content.decode(encoding)
            return None if "\0" in text else text
    return None


def sha256(path: Path) -> str:
    """The checksum of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
