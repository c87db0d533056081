"""Files: atomic writing, text encodings, checksums."""

import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

from histoscout.errors import OutputError
from histoscout.io.inputs import open_regular, read_bytes

try:
    import fcntl
except ImportError:
    # Windows
    fcntl = None  # type: ignore[assignment]

StrPath = str | os.PathLike[str]
"""A path as users write it: text or a `Path`."""

TEMPORARY = ".part."
"""How the names of temporary files and folders begin."""

OLD_TEMPORARY = re.compile(r"\.\d+\.part\.")
"""How they began in histoscout 0.1.0."""

PURPOSE = "replacement.json"
"""File beside new results that are being made; it tells what they are made from."""

LOCKS = ".locks"
"""Folder in an output folder that tells which runs write there."""

MAX_SUFFIX = 24
"""Characters of a temporary name that come from the file's name, so that it is never too long."""

_WITHOUT_MARK: Mapping[str, str] = MappingProxyType(
    {"x000": "utf-32-le", "000x": "utf-32-be", "x0x0": "utf-16-le", "0x0x": "utf-16-be"}
)
"""Where the zero bytes of the first two or four letters are -> the encoding, in files without a byte-order mark."""


def package_file(*parts: str) -> Path:
    """The path of a file that is installed with the package; it may not exist.

    Args:
        *parts: Folders and name, below the package `histoscout`.
    """
    return Path(str(files("histoscout").joinpath(*parts)))


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write a file completely or not at all, through a temporary file beside it.

    The temporary file has a random name, reaches the disk before it is renamed to `path`, and is deleted if the block
    fails. Its name keeps the suffixes of `path`, since writers choose their format by them.

    Args:
        path: The file to write; missing folders are created.

    Yields:
        The temporary path to write to.

    Raises:
        OutputError: The disk is full, a permission is missing, or the path is not possible.
    """
    temporary = path.with_name(temporary_name("".join(path.suffixes[-2:])[-MAX_SUFFIX:]))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _in_use(temporary):
            yield temporary
            flush_to_disk(temporary)
            os.replace(temporary, path)
        flush_to_disk(path.parent)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        # if the folder could not be created, there is nothing to delete
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Make a folder for temporary files of this user alone, which is deleted at the end.

    Args:
        parent: The folder to make it in, which exists.

    Yields:
        The new folder.

    Raises:
        OSError: The folder cannot be made.
    """
    folder = parent / temporary_name()
    try:
        with _in_use(folder, is_folder=True):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def temporary_name(suffix: str = "") -> str:
    """A random name for a temporary file or folder, which also tells on which machine it is written.

    Args:
        suffix: The end of the name.

    Returns:
        The name, which begins with `.part.`.
    """
    return f"{TEMPORARY}{_machine_mark()}{secrets.token_hex(8)}{suffix}"


def flush_to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, have reached the disk, so that no power cut loses them.

    Args:
        path: The file or folder.

    Raises:
        OSError: The disk reports an error, such as no space.
    """
    if path.is_dir():
        # Windows cannot open folders, and some network drives cannot flush them
        with suppress(PermissionError):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
                    raise
            finally:
                os.close(descriptor)
        return
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def is_temporary(path: Path) -> bool:
    """Whether a name is that of a temporary file or folder, of this version or of 0.1.0.

    Args:
        path: The file or folder.
    """
    return path.name.startswith(TEMPORARY) or OLD_TEMPORARY.match(path.name) is not None


def holds_nothing(folder: Path) -> bool:
    """Whether a folder holds nothing but locks, temporary files, and folders that hold nothing else.

    Args:
        folder: The folder; it may be missing.

    Returns:
        Whether a run that was killed in its first moment may have left it.
    """
    if not folder.exists():
        return True
    if folder.is_symlink() or not folder.is_dir():
        return False
    return all(
        is_temporary(path) or path.name in (LOCKS, PURPOSE) or (path.is_dir() and holds_nothing(path))
        for path in folder.iterdir()
    )


def remove_leftovers(*folders: Path, alone: bool = False) -> None:
    """Remove temporary files that killed runs have left in folders; those that are in use stay.

    Args:
        *folders: The folders, without those in them; they may be missing.
        alone: Whether a lock guarantees that no other run writes to these folders; then nothing is in use.
    """
    for folder in folders:
        # a folder that cannot be read is told by those who need it
        with suppress(OSError):
            for path in [path for path in folder.iterdir() if is_temporary(path)]:
                # what is locked is in use
                with suppress(OSError):
                    _remove_left_over(path, alone=alone)


@contextmanager
def _in_use(temporary: Path, *, is_folder: bool = False) -> Iterator[None]:
    """Make a temporary file or folder under a lock that the system releases when the process ends.

    The name of a file must stay free on Windows, where no open file can be renamed.
    """
    if fcntl is None:
        if is_folder:
            temporary.mkdir(mode=0o700)
        yield
        return
    descriptor = _make_locked(temporary, is_folder=is_folder)
    try:
        yield
    finally:
        os.close(descriptor)


def _make_locked(temporary: Path, *, is_folder: bool) -> int:
    """Make a temporary file or folder and lock it, again if another run removes it in between."""
    while True:
        if is_folder:
            temporary.mkdir(mode=0o700)
        flags = os.O_RDONLY if is_folder else os.O_RDWR | os.O_CREAT | os.O_EXCL
        descriptor = os.open(temporary, flags, 0o666)
        # some network drives have no locks: temporary files of killed runs then stay there
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        if temporary.exists():
            return descriptor
        os.close(descriptor)


def _remove_left_over(temporary: Path, *, alone: bool) -> None:
    """Remove a temporary file or folder, unless it is in use or of another machine."""
    own = temporary.name.startswith(TEMPORARY + _machine_mark())
    if not alone and (fcntl is None or not own):
        return
    if fcntl is None or temporary.is_symlink():
        _remove(temporary)
        return
    descriptor = os.open(temporary, os.O_RDONLY | os.O_NONBLOCK)
    try:
        if not alone:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(temporary)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    """Remove a file, link or folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def machine_name() -> str:
    """A name of the running system that is the same in all of its containers, where the system tells it.

    Returns:
        The name; another one after each start of the machine, where the system tells it.
    """
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return platform.node()


def _machine_mark() -> str:
    return hashlib.sha256(machine_name().encode()).hexdigest()[:6] + "-"


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
    try:
        content = text.encode("utf-8")
    except UnicodeEncodeError as error:
        # names of files from an old archive may be bytes of no encoding
        wrong = text[max(0, error.start - 20) : error.end + 20].encode("ascii", "backslashreplace").decode()
        fault = f"a name in it is not in UTF-8 ({wrong!r})"
        raise OutputError(path, fault, "Rename the file that has this name") from error
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def decode_text(content: bytes) -> str | None:
    """Decode a text file from whatever program wrote it.

    Args:
        content: The bytes of the file.

    Returns:
        The text, by UTF-8 (with a byte-order mark or not), UTF-16 or UTF-32, else by Windows-1252; None if the file is
        not text.
    """
    encoding = text_encoding(content)
    return None if encoding is None else content.decode(encoding)


def text_encoding(content: bytes) -> str | None:
    """The encoding of a text file, as Python calls it.

    Args:
        content: The bytes of the file.

    Returns:
        "utf-8-sig" for UTF-8 with a byte-order mark or not, "utf-16" or "utf-32" (with "-le" or "-be" if there is no
        mark), "cp1252" for what is none of these; None if the file is not text.

    Example:
        >>> from histoscout.io.files import text_encoding
        >>> [text_encoding("M\u00fcller".encode(name)) for name in ("utf-8", "utf-16", "cp1252")]
        ['utf-8-sig', 'utf-16', 'cp1252']
        >>> text_encoding(bytes(8)) is None
        True
    """
    # the mark of UTF-32 begins like that of UTF-16
    candidates = ["utf-8-sig", "cp1252"]
    if content.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        candidates = ["utf-32"]
    elif content.startswith((b"\xff\xfe", b"\xfe\xff")):
        candidates = ["utf-16"]
    elif 0 in content[:4]:
        # without a mark, zero bytes beside Latin letters give UTF-16 and UTF-32 away
        zeros = "".join("0" if byte == 0 else "x" for byte in content[:4])
        candidates = [_WITHOUT_MARK[zeros]] if zeros in _WITHOUT_MARK else []
    for encoding in candidates:
        with suppress(UnicodeDecodeError):
            return None if "\0" in content.decode(encoding) else encoding
    return None


def encoding_note(content: bytes) -> str:
    """The note on a text that is not in UTF-8, "" for one that is or that is no text.

    Args:
        content: The bytes of the file.

    Returns:
        One sentence for the user.
    """
    encoding = text_encoding(content)
    if encoding is None or encoding == "utf-8-sig":
        return ""
    if encoding == "cp1252":
        return "the file is not in UTF-8; it is read as Windows-1252: check names with accents"
    return f"the file is in {encoding[:6].upper()}, not UTF-8"


def read_text(path: Path) -> str:
    """Read a text file from whatever program wrote it, see `decode_text`.

    Args:
        path: The file.

    Returns:
        The text; line ends are as in the file.

    Raises:
        OSError: The file cannot be read.
        UnicodeDecodeError: The file is not text.
    """
    content = read_bytes(path)
    text = decode_text(content)
    if text is None:
        raise UnicodeDecodeError("utf-8", content[:1], 0, min(1, len(content)), "the file is not text")
    return text


def sha256(path: Path) -> str:
    """The SHA-256 checksum of a file, as 64 hexadecimal digits.

    Args:
        path: The file.

    Returns:
        The checksum.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
