"""One question and its answer over every transport, encryption and codec that baresip has.

All phones call at once; each test then looks at one call, from both ends.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

from media.correlate import coverage
from media.frames import Samples, to_pcm, to_samples
from media.wav import read_channels
from tests.calls.conftest import CALLERS
from tests.support import baresip
from tests.support.baresip import Baresip, spoken
from tests.support.exchange import WIDEBAND, Exchange
from tests.support.stack import Installation, normal

pytestmark = [pytest.mark.peers, pytest.mark.usefixtures("needs_baresip")]

QUESTION: Final = CALLERS / "awb-when-do-you-open.wav"
ASKED: Final = "when do you open"
ANSWER: Final = "monday to friday"
_GREETING_S: Final = 4.5
_ANSWER_S: Final = 7.0


@dataclass(frozen=True)
class Line:
    """How a phone is connected, and what of it the call has to show."""

    phone: Baresip
    codec: str = "PCMU"
    #: What the phone says once its media is encrypted.
    secure: str = ""
    #: How much of the agent it hears: DTLS takes its time before the first packet.
    heard: float = 0.95


_ANY: Final = Path()
LINES: Final = {
    "udp": Line(Baresip(_ANY, "udp")),
    "tcp": Line(Baresip(_ANY, "tcp", transport="tcp")),
    "tls": Line(Baresip(_ANY, "tls", transport="tls")),
    "tls-srtp": Line(
        Baresip(_ANY, "tls-srtp", transport="tls", encryption="srtp-mand"), secure="SRTP is Enabled"
    ),
    "dtls-srtp": Line(
        Baresip(_ANY, "dtls-srtp", encryption="dtls_srtp"), secure="DTLS-SRTP complete", heard=0.9
    ),
    # These call from the address of a trunk that has such codecs.
    "g722": Line(Baresip(_ANY, "g722", codecs="G722/16000", host=WIDEBAND), codec="G722"),
    "opus": Line(Baresip(_ANY, "opus", codecs="opus/48000/2", host=WIDEBAND), codec="opus"),
}


@pytest.fixture(scope="module")
def phones(exchange: Exchange, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Baresip]:
    if not baresip.available:
        pytest.skip("baresip is not installed (Debian: baresip-core)")
    folder = tmp_path_factory.mktemp("phones")
    say = spoken([QUESTION], before_s=_GREETING_S, between_s=_ANSWER_S, after_s=4)
    seconds = int(_GREETING_S + _ANSWER_S + 2)
    found = {
        name: replace(line.phone, folder=folder / name, authority=exchange.authority)
        for name, line in LINES.items()
    }
    running = []
    for phone in found.values():
        phone.prepare(say)
        port = exchange.tls_port if phone.transport == "tls" else exchange.sip_port
        # It adds the transport of its account.
        running.append((phone, phone.dial(f"sip:clinic@127.0.0.1:{port}", seconds)))
    for phone, process in running:
        phone.wait(process, seconds + 10)
    return found


@pytest.mark.parametrize("name", LINES)
def test_a_question_is_understood_and_its_answer_heard(
    exchange: Exchange, phones: dict[str, Baresip], name: str
) -> None:
    phone, line = phones[name], LINES[name]
    assert "Call established" in phone.log, phone.log[-2000:]
    call = exchange.recorded(caller=name)
    understood(call)
    assert call["codec"] == line.codec
    assert call["quality"]["lost"] == 0
    assert coverage(agent_channel(exchange.installation, call), phone.heard) > line.heard
    assert line.secure in phone.log


def understood(call: dict[str, Any]) -> None:
    """The question stands in the transcript, and the answer that was due to it."""
    [turn] = [turn for turn in call["turns"] if turn["caller_text"]]
    assert normal(turn["caller_text"]) == ASKED
    assert ANSWER in turn["agent_text"].lower()


def agent_channel(installation: Installation, call: dict[str, Any]) -> Samples:
    with installation.recording(call).open("rb") as file:
        channels, rate = read_channels(file)
    assert rate == 8000
    return to_samples(to_pcm(channels[:, 1]))
