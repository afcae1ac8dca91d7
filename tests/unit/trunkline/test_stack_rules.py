"""How the stack restarts what dies, and what it tells people."""

from __future__ import annotations

from calls.agent import Agent, Agents
from trunkline.listen import HostPort
from trunkline.settings import load_settings
from trunkline.stack import ROLES, next_pause
from trunkline.up import as_text


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
    assert sorted(ROLES) == ["admin", "asr", "llm", "recorder", "sip", "tts"]


def told(*agents: Agent, password: str | None = None) -> str:
    announcement = {"sip": "udp:127.0.0.1:5062", "http": "http://127.0.0.1:8080"}
    settings = load_settings(http_listen=HostPort("127.0.0.1", 8080))
    return as_text(announcement, Agents(agents=agents), settings, password)


def test_people_are_told_what_to_dial_and_where_the_dashboard_is() -> None:
    text = told(Agent(name="clinic", numbers=("+1555*", "desk")))
    assert "sip:desk@127.0.0.1:5062" in text
    for word in ("baresip", "linphone", "Twilio", "http://127.0.0.1:8080"):
        assert word in text
    assert "Password   as shown on the first start; if it is lost, remove" in text
    assert "sip:clinic@127.0.0.1:5062" in told(Agent(name="clinic"))


def test_a_password_that_was_made_is_shown() -> None:
    assert "correct-horse" in told(Agent(name="clinic"), password="correct-horse")
