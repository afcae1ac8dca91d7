"""Whom the softphone can call and what it can say, and how it refuses the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from trunkline.errors import UserError
from trunkline.softphone import Target, load_wav, parse_uri


@pytest.mark.parametrize(
    ("uri", "target"),
    [
        ("sip:clinic@127.0.0.1:5070", Target("clinic", "127.0.0.1", 5070)),
        ("sip:+15550100@pbx.example", Target("+15550100", "pbx.example", 5060)),
        (" sip:bot@10.0.0.1;transport=udp ", Target("bot", "10.0.0.1", 5060)),
    ],
)
def test_sip_uris_are_read(uri: str, target: Target) -> None:
    assert parse_uri(uri) == target


@pytest.mark.parametrize("uri", ["tel:+15550100", "clinic@127.0.0.1", "sip:127.0.0.1", "sip:a@"])
def test_what_is_no_sip_uri_is_refused_with_the_form(uri: str) -> None:
    with pytest.raises(UserError, match="write sip:USER@HOST:PORT"):
        parse_uri(uri)


def test_a_wav_that_cannot_be_said_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.wav: No such file"):
        load_wav(tmp_path / "absent.wav")
    (no_wav := tmp_path / "no.wav").write_bytes(b"RIFF, but no more")
    with pytest.raises(UserError, match=r"no\.wav: "):
        load_wav(no_wav)
