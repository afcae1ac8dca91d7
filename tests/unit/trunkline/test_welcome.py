"""What `trunkline up` tells people when it is up."""

from __future__ import annotations

from pathlib import Path

from calls.agent import Agent, Agents
from ingress_sip.trunking.config import OPEN
from trunkline.settings import load_settings
from trunkline.trunks_file import parse_trunks
from trunkline.welcome import as_text

CLINIC = Agent(name="clinic")
LINES = """
trunks:
  - {name: carrier, uri: sip:203.0.113.20}
  - {name: pbx, uri: sip:192.0.2.30}
phones:
  realm: voice.example.com
  users: [{name: alice, password_env: A}, {name: "201", password_env: A}]
"""


def told(
    *agents: Agent,
    sip: str = "udp:127.0.0.1:5062",
    file: str = "",
    password: str | None = None,
    web: str | None = None,
    **others: object,
) -> str:
    """What is told when `file` is what the trunks' file says, and carriers come to `web`; empty,
    None: there is no such thing.
    """
    settings = load_settings(trunks=Path("trunks.yaml") if file else None, **others)
    trunks = parse_trunks(file, lambda _: "secret") if file else OPEN
    announcement = {"sip": sip, "http": "http://127.0.0.1:8080", **({"web": web} if web else {})}
    return as_text(announcement, Agents(agents=agents or (CLINIC,)), trunks, settings, password)


def test_people_are_told_what_to_dial_and_where_the_dashboard_is() -> None:
    text = told(Agent(name="clinic", numbers=("+1555*", "desk")))
    assert "sip:desk@127.0.0.1:5062" in text
    for word in ("baresip", "linphone", "http://127.0.0.1:8080"):
        assert word in text
    assert "<Dial><Sip>sip:desk@YOUR-PUBLIC-ADDRESS:5062</Sip></Dial>" in text
    assert "Password   as shown on the first start; if it is lost, remove" in text
    assert "sip:clinic@127.0.0.1:5062" in told()


def test_the_usual_port_needs_no_saying() -> None:
    assert 'dial sip:clinic@127.0.0.1"' in told(sip="udp:127.0.0.1:5060")
    assert 'dial sip:clinic@127.0.0.1;transport=tls"' in told(sip="tls:127.0.0.1:5061")
    assert 'dial sip:clinic@[::1]:5061;transport=tcp"' in told(sip="tcp:[::1]:5061")
    assert "sip:clinic@203.0.113.7</Sip>" in told(
        sip="udp:0.0.0.0:5060", public_address="203.0.113.7"
    )


def test_a_password_that_was_made_is_shown() -> None:
    assert "correct-horse" in told(password="correct-horse")


def test_without_a_file_anybody_may_call() -> None:
    text = told(sip="udp:127.0.0.1:5060,tcp:127.0.0.1:5060")
    assert "Listens    udp:127.0.0.1:5060, tcp:127.0.0.1:5060" in text
    assert "Callers    anybody; a file that TRUNKLINE_TRUNKS names would say who may" in text
    assert "Trunks " not in text
    assert "Phones " not in text


def test_trunks_and_phones_are_named() -> None:
    listeners = "udp:127.0.0.1:5060,tcp:127.0.0.1:5060,tls:127.0.0.1:5063"
    text = told(sip=listeners, file=LINES)
    assert "Trunks     carrier, pbx   (`trunkline status` says how they are)" in text
    assert (
        "Phones     alice, 201: register at voice.example.com, "
        "by the proxy sip:127.0.0.1:5063;transport=tls"
    ) in text
    assert "Callers    these alone, by " in text


def test_nobody_is_told_to_dial_who_would_be_refused() -> None:
    text = told(file=LINES)
    assert "(from a trunk, or a phone that is registered here)" in text
    assert "baresip" not in text
    open_too = told(file=LINES + "policy: {unknown_callers: accept}\n")
    assert "baresip" in open_too
    assert "Callers    these, and anybody else, by " in open_too


def test_of_many_phones_the_first_are_named() -> None:
    users = ", ".join(f"{{name: u{number}, password_env: A}}" for number in range(9))
    text = told(file=f"phones: {{realm: voice.example.com, users: [{users}]}}\n")
    assert "u0, u1, u2, u3, u4, u5 and 3 more: register at" in text


WEB = "http://127.0.0.1:8088"


def test_carriers_are_told_our_webhook() -> None:
    text = told(web=WEB, public_url="https://voice.example.com/a", twilio_auth_token="secret")
    assert "webhook: https://voice.example.com/a/twilio/voice   (HTTP POST)" in text
    assert "secret" not in text
    assert "without TRUNKLINE_TWILIO_AUTH_TOKEN" not in text
    assert "webhook" not in told()


def test_people_are_told_how_to_get_a_webhook() -> None:
    text = told(web=WEB)
    assert f"{WEB} needs a public name" in text
    assert "TRUNKLINE_PUBLIC_URL" in text
    assert "without TRUNKLINE_TWILIO_AUTH_TOKEN webhooks are refused" in text
    assert "unsigned webhooks from nearby are taken" in told(web=WEB, twilio_unsigned=True)
    assert "AUTH_TOKEN" not in told(web=WEB, stream_key="0123456789abcdef")
