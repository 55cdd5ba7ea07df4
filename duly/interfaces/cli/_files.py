"""Files that commands write: each whole or not at all, and none over another that is there."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from duly.domain.errors import DulyError, InvalidInput


class NotWritten(DulyError):
    """A file could not be written."""


def check_free(files: Mapping[str, Path], force: bool) -> None:
    """Refuse to write two things into one file, or over what is there unless that is wanted.

    Raises: InvalidInput.
    """
    if len({path.resolve() for path in files.values()}) < len(files):
        raise InvalidInput("two files have the same name", wanted="a file of its own for each")
    for path in files.values():
        if path.exists() and not force:
            raise InvalidInput(f"{path} exists", wanted="another file, or --force")


def write(path: Path, content: bytes) -> None:
    """Write a file.

    Raises: NotWritten; what was there before is still there then.
    """
    if path.exists() and not path.is_file():  # such as /dev/stdout, which cannot be replaced
        _write_into(path, content)
        return
    unfinished: str | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            unfinished = file.name
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(file.name, path.stat().st_mode & 0o777 if path.exists() else 0o644)
        # A link goes on to point at the file.
        os.replace(file.name, path.resolve())
    except OSError as error:
        if unfinished is not None:
            Path(unfinished).unlink(missing_ok=True)
        raise _not_written(path, error) from None


def _write_into(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise _not_written(path, error) from None


def _not_written(path: Path, error: OSError) -> NotWritten:
    return NotWritten(f"{path} cannot be written: {error.strerror or error}")
