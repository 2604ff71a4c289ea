"""Finds local files that are named twice, also under two spellings or through links."""

import os


def file_identity(file: str | int) -> tuple[int, int]:
    """Return the device and inode of a local file, given its path or descriptor."""
    status = os.stat(file)
    return status.st_dev, status.st_ino


def named_twice(name: str, first: str) -> str:
    """Return what is wrong with the name of a file whose first name was another one or the same."""
    same = "this file is named twice" if name == first else f"this is the same file as {first}"
    return f"{same}, so its rows would count twice"
