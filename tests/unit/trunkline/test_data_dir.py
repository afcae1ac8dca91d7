"""DATA_DIR is its owner's alone, and one that cannot be written to is refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from trunkline.data_dir import keep_private, new_folder_in, prepare
from trunkline.errors import UserError


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_it_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    prepare(tmp_path / "data")
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    keep_private()
    (tmp_path / "recordings").mkdir()
    (tmp_path / "call.wav").touch()
    assert (tmp_path / "recordings").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "call.wav").stat().st_mode & 0o777 == 0o600


def test_one_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (file := tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"TRUNKLINE_DATA_DIR=.*file: .*choose a folder"):
        prepare(file)
    with pytest.raises(UserError, match="choose a folder you may write to"):
        new_folder_in(file / "below", "demo")


def test_two_in_one_second_get_a_folder_each(tmp_path: Path) -> None:
    made = [new_folder_in(tmp_path, "demo-1").name for _ in range(3)]
    assert made == ["demo-1", "demo-1-2", "demo-1-3"]
