"""RFC 4028: who refreshes, and how often."""

from __future__ import annotations

import pytest

from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.session_timer import (
    Refresh,
    TimerPolicy,
    answered,
    answering,
    asking,
    least_asked,
)
from ingress_sip.signalling.uri import SipUri

POLICY = TimerPolicy(expires=1800, least=90)


def invite(**fields: str) -> Request:
    headers = Headers((name.replace("_", "-"), value) for name, value in fields.items())
    return Request("INVITE", SipUri.of("192.0.2.1"), headers=headers)


def response(**fields: str) -> Response:
    return Response(200, "OK", headers=invite(**fields).headers)


@pytest.mark.parametrize(
    ("supports", "asked", "agreed"),
    [  # section 9, table 2; where it leaves the choice, the UAC refreshes
        (False, "", "uas"),
        (True, "", "uac"),
        (True, ";refresher=uac", "uac"),
        (True, ";refresher=uas", "uas"),
        # not applicable there: who knows no timers names nobody, and is not to be relied on
        (False, ";refresher=uac", "uas"),
        (False, ";refresher=uas", "uas"),
        (True, ";refresher=proxy", "uac"),
    ],
)
def test_who_refreshes(supports: bool, asked: str, agreed: str) -> None:
    request = invite(Session_Expires=f"600{asked}", **({"Supported": "timer"} if supports else {}))
    refresh, said = answering(request, POLICY)
    assert refresh == Refresh(600, ours=agreed == "uas")
    assert ("Session-Expires", f"600;refresher={agreed}") in said
    assert (("Require", "timer") in said) is supports


def test_what_is_required_is_known() -> None:
    refresh, _ = answering(invite(Session_Expires="600", Require="timer"), POLICY)
    assert refresh == Refresh(600, ours=False)


@pytest.mark.parametrize(
    ("fields", "refresh"),
    [  # section 9: we may ask for one where it is known
        ({}, None),
        ({"Supported": "timer"}, Refresh(1800, ours=False)),
        ({"Supported": "100rel, timer", "Min_SE": "3600"}, Refresh(3600, ours=False)),
    ],
)
def test_nobody_asked_for_a_timer(fields: dict[str, str], refresh: Refresh | None) -> None:
    assert answering(invite(**fields), POLICY)[0] == refresh
    assert answering(invite(**fields), TimerPolicy(expires=0)) == (None, ())


def test_too_small_is_refused_where_the_refusal_is_understood() -> None:
    with pytest.raises(SipError) as refused:
        answering(invite(Session_Expires="89", Supported="timer"), POLICY)
    assert (refused.value.status, refused.value.headers) == (422, (("Min-SE", "90"),))
    assert answering(invite(Session_Expires="89"), POLICY)[0] == Refresh(90, ours=True)


@pytest.mark.parametrize(
    "value", ["", "x", "-5", "1e3", "\u00b2", "9" * 10, "600;=", ";refresher=uac"]
)
def test_a_timer_that_cannot_be_read(value: str) -> None:
    with pytest.raises(SipError) as refused:
        answering(invite(Session_Expires=value), POLICY)
    assert refused.value.status == 400
    assert answered(response(Session_Expires=value)) is None
    assert least_asked(response(Min_SE=value)) == (600 if value == "600;=" else 0)


@pytest.mark.parametrize(
    ("value", "refresh"),
    [  # 7.2
        ("600;refresher=uac", Refresh(600, ours=True)),
        ("600 ; Refresher=UAS", Refresh(600, ours=False)),
        ("600", Refresh(600, ours=True)),
        ("1;refresher=uac", Refresh(90, ours=True)),  # section 4: nobody makes us hurry
        ("999999999;refresher=uas", Refresh(86400, ours=False)),
    ],
)
def test_what_a_2xx_agrees_to(value: str, refresh: Refresh) -> None:
    assert answered(response(Session_Expires=value)) == refresh
    assert answered(response()) is None


@pytest.mark.parametrize(
    ("running", "least", "fields"),
    [  # sections 7.1, 7.3, 7.4
        (None, 0, (("Session-Expires", "1800"),)),
        (None, 3600, (("Session-Expires", "3600"), ("Min-SE", "3600"))),
        (None, 120, (("Session-Expires", "1800"), ("Min-SE", "120"))),
        (Refresh(600, ours=True), 0, (("Session-Expires", "600;refresher=uac"),)),
        (Refresh(600, ours=False), 0, (("Session-Expires", "600;refresher=uas"),)),
    ],
)
def test_what_we_ask_for(
    running: Refresh | None, least: int, fields: tuple[tuple[str, str], ...]
) -> None:
    assert asking(POLICY, running, least) == fields


def test_we_need_not_ask() -> None:
    assert asking(TimerPolicy(expires=0)) == ()


def test_when() -> None:
    refresh = Refresh(1800, ours=True)
    assert (refresh.refresh_after, refresh.give_up_after) == (900, 1768)
    assert Refresh(90, ours=True).give_up_after == 60  # section 10: a third, where 32 s is more
