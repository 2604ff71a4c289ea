"""Files that are whole or as they were before, whatever stops the writer."""

from __future__ import annotations

import os
from contextlib import suppress


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Puts ``data`` at ``path``, whole or not at all, and waits until it is on the disk."""
    folder, prefix = _beside(path)
    temporary = os.path.join(folder, f"{prefix}{os.urandom(8).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:  # an interrupt too, wherever it comes
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno is not None:  # a full disk names no file
            error.filename = os.fsdecode(path)
            del error.filename2
        raise
    if os.name == "posix":  # the new name has to reach the disk too
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sweep(path: str | os.PathLike[str]) -> None:
    """Removes what writers of ``path`` left when they were killed.

    One that is alive still gets an error, and never another's data under its name.
    """
    folder, prefix = _beside(path)
    with suppress(OSError):  # what cannot be removed does no harm
        for entry in os.listdir(folder):
            if entry.startswith(prefix) and entry.endswith(".tmp"):
                os.unlink(os.path.join(folder, entry))


def _beside(path: str | os.PathLike[str]) -> tuple[str, str]:
    """The folder, and how temporary names for this path begin: as short for a long name."""
    from hashlib import sha256  # here: it brings OpenSSL, which takes its time

    folder, name = os.path.split(os.path.abspath(os.fsdecode(path)))
    return folder, f".streamce-{sha256(os.fsencode(name)).hexdigest()[:16]}-"
