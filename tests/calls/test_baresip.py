"""baresip calls: what it says is transcribed, what it hears is what the agent said."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from media.correlate import coverage
from media.frames import Samples, to_pcm, to_samples
from media.wav import read_channels
from tests.calls.conftest import wavs_of
from tests.support.baresip import Baresip, spoken
from tests.support.stack import Installation, normal

pytestmark = [pytest.mark.peers, pytest.mark.usefixtures("needs_baresip")]

Turns = list[dict[str, Any]]
#: Longer than the longest answer.
_ANSWER_S = 6.5
_GREETING_S = 4.5


def agent_channel(installation: Installation, call: dict[str, Any]) -> Samples:
    with installation.recording(call).open("rb") as file:
        channels, rate = read_channels(file)
    assert rate == 8000
    return to_samples(to_pcm(channels[:, 1]))


def answered(call: dict[str, Any], turns: Turns) -> None:
    """The transcript holds what was said, in order, and the answers that were due."""
    heard = [turn for turn in call["turns"] if turn["caller_text"]]
    assert [normal(turn["caller_text"]) for turn in heard] == [turn["said"] for turn in turns]
    for turn, due in zip(heard, turns, strict=True):
        assert re.search(due["expects"], turn["agent_text"], re.IGNORECASE), turn


def dial(phone: Baresip, installation: Installation, turns: Turns) -> None:
    say = spoken(wavs_of(turns), before_s=_GREETING_S, between_s=_ANSWER_S, after_s=8)
    phone.prepare(say)
    seconds = len(say) // 8000
    phone.wait(phone.dial(f"sip:clinic@127.0.0.1:{installation.sip_port}", seconds), seconds + 10)


def test_a_conversation_in_a_law(
    installation: Installation, script: dict[str, Turns], tmp_path: Path
) -> None:
    caller = "refill-aspirin"
    phone = Baresip(tmp_path / "phone", caller, codecs="PCMA")
    dial(phone, installation, script[caller])
    call = installation.recorded_call(caller)
    answered(call, script[caller])
    assert call["ending"] == "agent_hung_up"  # the script ends with a goodbye
    assert call["codec"] == "PCMA"
    assert call["quality"]["lost"] == 0
    agent = agent_channel(installation, call)
    assert coverage(agent, phone.heard) > 0.95
    assert all(turn["voice_to_voice_ms"] < 5000 for turn in call["turns"] if turn["caller_text"])


@pytest.mark.deep  # ten phones on two cores: over a minute
def test_ten_calls_at_once(
    installation: Installation, script: dict[str, Turns], tmp_path: Path
) -> None:
    """Ten callers say ten different things; no word strays into another call."""
    callers = list(script)[:10]
    phones = [Baresip(tmp_path / caller, f"{caller}-of-ten") for caller in callers]
    running = []
    for caller, phone in zip(callers, phones, strict=True):
        say = spoken(wavs_of(script[caller]), before_s=_GREETING_S, between_s=_ANSWER_S, after_s=8)
        phone.prepare(say)
        uri = f"sip:clinic@127.0.0.1:{installation.sip_port}"
        running.append((phone, phone.dial(uri, len(say) // 8000), len(say) / 8000 + 15))
    for phone, process, patience in running:
        phone.wait(process, patience)
    for caller, phone in zip(callers, phones, strict=True):
        call = installation.recorded_call(phone.name)
        answered(call, script[caller])
        assert coverage(agent_channel(installation, call), phone.heard) > 0.95, caller
