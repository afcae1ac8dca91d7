from __future__ import annotations

import stat
from pathlib import Path

import pytest

from admin import passwords


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    cheap = passwords.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "_HASHER", cheap)


def test_a_password_is_made_once_and_told_once(tmp_path: Path) -> None:
    kept, plain = passwords.first_password(tmp_path / "new")
    assert plain is not None
    assert passwords.verify_password(kept, plain)
    assert not passwords.verify_password(kept, plain + "x")
    assert passwords.first_password(tmp_path / "new") == (kept, None)


def test_only_the_hash_is_stored_and_only_for_us(tmp_path: Path) -> None:
    _, plain = passwords.first_password(tmp_path)
    assert plain is not None
    (file,) = tmp_path.iterdir()
    assert plain not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_who_comes_second_takes_what_the_first_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = passwords.first_password(tmp_path)
    # The second had looked before the first wrote.
    monkeypatch.setattr(Path, "exists", lambda self: False)
    assert passwords.first_password(tmp_path) == (first, None)
    assert len(list(tmp_path.iterdir())) == 1


def test_the_session_secret_lasts(tmp_path: Path) -> None:
    secret = passwords.session_secret(tmp_path)
    assert len(secret) >= 43  # 256 bits
    assert passwords.session_secret(tmp_path) == secret


def test_a_damaged_hash_admits_nobody() -> None:
    assert not passwords.verify_password("not a hash", "")
