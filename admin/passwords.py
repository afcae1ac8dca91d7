"""The dashboard's password and its session secret, made on first start and kept in 0600 files."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_HASHER = PasswordHasher()

#: Letters and digits that nobody confuses when reading a password off a terminal.
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
_GROUPS, _GROUP = 4, 5  # 20 letters of 31: 99 bits


def hash_password(plain: str) -> str:
    """Hash a password (argon2id, RFC 9106 parameters of argon2-cffi)."""
    return _HASHER.hash(plain)


def verify_password(password_hash: str, plain: str) -> bool:
    """Compare, at the deliberate cost of some 50 ms of CPU and 64 MiB."""
    try:
        return _HASHER.verify(password_hash, plain)
    except (VerificationError, InvalidHashError):
        return False


def first_password(data_dir: Path) -> tuple[str, str | None]:
    """Read the password's hash, or make a password.

    Returns:
        The hash, and the password itself if this process made it just now: print it, it is nowhere
        else. Of several processes that start at once, one makes it and the others read its hash.

    Raises:
        OSError: the directory cannot be written.
    """
    plain = "-".join(
        "".join(secrets.choice(_LETTERS) for _ in range(_GROUP)) for _ in range(_GROUPS)
    )
    mine = hash_password(plain)
    kept = _kept(data_dir / "admin-password.hash", mine)
    return kept, plain if kept == mine else None


def session_secret(data_dir: Path) -> str:
    """Read the key that signs session cookies, or make one. Removing its file signs everyone out.

    Raises:
        OSError: the directory cannot be written.
    """
    return _kept(data_dir / "admin-session.key", secrets.token_urlsafe(32))


def _kept(path: Path, proposal: str) -> str:
    """Keep `proposal` unless something is kept already; give what is kept.

    The file appears whole or not at all: it is written under another name, and link(2) gives it its
    own only if nobody was first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(proposal + "\n")
            with suppress(FileExistsError):
                os.link(draft, path)
        finally:
            draft.unlink()
    return path.read_text().strip()
