"""How the stack restarts what dies."""

from __future__ import annotations

from trunkline.stack import ROLES, next_pause


def test_pauses_grow_to_a_limit_and_start_anew_after_a_steady_run() -> None:
    pauses = []
    pause = None
    for _ in range(8):
        pause = next_pause(pause, ran_s=1.0)
        pauses.append(pause)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0]
    assert next_pause(None, ran_s=11.0) == 0.0
    assert next_pause(15.0, ran_s=11.0) == 0.0
    assert next_pause(0.0, ran_s=1.0) == 0.5


def test_every_role_is_started_once() -> None:
    assert sorted(ROLES) == ["admin", "asr", "llm", "recorder", "sip", "tts", "web"]
