"""DATA_DIR: what callers said is kept in it, so it is made for its owner alone."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from trunkline.errors import UserError

_OWNER_ONLY = 0o700


def keep_private() -> None:
    """Make whatever this process and its children write readable by their user alone."""
    os.umask(0o777 & ~_OWNER_ONLY)


def prepare(folder: Path) -> None:
    """Make it where it is missing, and see that it can be written to.

    Raises:
        UserError: it cannot.
    """
    try:
        folder.mkdir(mode=_OWNER_ONLY, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"TRUNKLINE_DATA_DIR={folder}: {error.strerror}; choose a folder you may write to"
        ) from error


def new_folder_in(folder: Path, name: str) -> Path:
    """Make a folder of that name, or of the nearest name that nobody has.

    Raises:
        UserError: nothing can be written there.
    """
    prepare(folder)
    number = 1
    while True:
        path = folder / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir(mode=_OWNER_ONLY)
        except FileExistsError:
            number += 1
        else:
            return path
