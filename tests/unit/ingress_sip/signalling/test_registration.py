"""A registration's life, step by step: when it is refreshed, what it does when it is refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.message import Response
from ingress_sip.signalling.registration import (
    MAX_S,
    Input,
    Register,
    Registration,
    State,
    refresh_after,
)
from ingress_sip.signalling.uri import SipUri

REGISTRAR = SipUri.of("example.com")
REGISTER = Register(REGISTRAR, 1, 600)


class Life:
    def __init__(self, jitter: float = 0.0) -> None:
        self.registration = Registration(REGISTRAR, "1234", 600, lambda: jitter)
        self.now = 1000.0
        self.sent: Register | None = None

    def step(self, happened: Input | Response) -> Register | None:
        self.sent = self.registration.step(happened, self.now)
        return self.sent

    def answer(self, status: int, *headers: tuple[str, str], cseq: int = 0) -> Register | None:
        numbered = ("CSeq", f"{cseq} REGISTER") if cseq else ("X", "")
        return self.step(Response(status, "Said", headers=Headers([numbered, *headers])))

    def registered(self, *headers: tuple[str, str]) -> Life:
        assert self.step(Input.START) == REGISTER
        assert self.answer(200, *headers) is None
        assert self.registration.state is State.REGISTERED
        return self

    @property
    def wait(self) -> float:
        assert self.registration.due is not None
        return self.registration.due - self.now

    def is_registered(self) -> bool:
        return self.registration.is_registered(self.now)


def contact(text: str) -> tuple[str, str]:
    return ("Contact", text)


@pytest.mark.parametrize(
    ("granted", "refresh"), [(3600, 3240), (600, 540), (300, 268), (60, 30), (30, 15), (1, 5)]
)
def test_refreshes_leave_time_to_notice_that_nobody_answers(granted: int, refresh: float) -> None:
    assert refresh_after(granted) == refresh


@pytest.mark.parametrize(
    ("headers", "granted"),
    [
        ([], 600),
        ([("Expires", "120")], 120),
        ([contact("<sip:1234@192.0.2.1>;expires=300"), ("Expires", "120")], 300),
        ([contact("<sip:1234@192.0.2.1>"), ("Expires", "120")], 120),
        # Others are bound too: ours was refreshed just now.
        ([contact("<sip:1234@192.0.2.9>;expires=17, <sip:1234@192.0.2.1>;expires=600")], 600),
        ([contact("<sip:1234@192.0.2.9>;expires=7200"), contact("<sip:1234@a>;expires=600")], 600),
        ([contact("<sip:other@192.0.2.9>;expires=17"), ("Expires", "300")], 300),
        # The registrar gives more than we asked for; or nothing that can be read.
        ([contact("<sip:1234@192.0.2.1>;expires=7200")], 7200),
        ([contact("<sip:1234@192.0.2.1>;expires=99999999999")], 600),
        ([contact('"')], 600),
        ([contact("<sip:1234@192.0.2.1>;expires=soon")], 600),
    ],
)
def test_how_long_it_was_granted(headers: list[tuple[str, str]], granted: int) -> None:
    life = Life().registered(*headers)
    assert life.wait == refresh_after(granted)
    life.now += granted - 1
    assert life.is_registered()
    life.now += 1
    assert not life.is_registered()


def test_it_is_refreshed_with_rising_numbers() -> None:
    life = Life().registered()
    for cseq in (2, 3):
        life.now += life.wait
        assert life.step(Input.DUE) == Register(REGISTRAR, cseq, 600)
        assert life.registration.due is None  # an answer will come
        life.answer(200)


def test_challenges_took_numbers_of_their_own() -> None:
    life = Life()
    life.step(Input.START)
    life.answer(200, cseq=2)
    assert life.step(Input.DUE) == Register(REGISTRAR, 3, 600)


def test_a_registrar_that_wants_longer_gets_it() -> None:
    life = Life()
    life.step(Input.START)
    assert life.answer(423, ("Min-Expires", "1800")) == Register(REGISTRAR, 2, 1800)
    life.answer(200)
    assert life.wait == refresh_after(1800)


@pytest.mark.parametrize("least", [[], [("Min-Expires", "600")], [("Min-Expires", "x")]])
def test_a_423_without_sense_is_a_failure(least: list[tuple[str, str]]) -> None:
    life = Life()
    life.step(Input.START)
    assert life.answer(423, *least) is None
    assert life.registration.state is State.WAITING


def test_a_redirection_is_followed_until_it_fails() -> None:
    life = Life()
    life.step(Input.START)
    elsewhere = SipUri.of("b.example.com", 5070)
    assert life.answer(302, contact(f"<{elsewhere}>")) == Register(elsewhere, 2, 600)
    life.answer(200)
    assert life.step(Input.DUE) == Register(elsewhere, 3, 600)
    life.answer(408)
    assert life.step(Input.DUE) == Register(REGISTRAR, 4, 600)


def test_redirections_in_a_ring_end() -> None:
    life = Life()
    life.step(Input.START)
    count = 0
    while count < 10 and life.answer(302, contact(f"<{REGISTRAR}>")):
        count += 1
    assert count == 3
    assert life.registration.state is State.WAITING


@pytest.mark.parametrize("headers", [[], [contact("<tel:+49>")], [contact("<")]])
def test_a_redirection_to_nowhere_is_a_failure(headers: list[tuple[str, str]]) -> None:
    life = Life()
    life.step(Input.START)
    assert life.answer(302, *headers) is None
    assert life.registration.state is State.WAITING


def test_pauses_double_up_to_half_an_hour() -> None:
    for jitter, factor in ((0.0, 1.0), (1.0, 0.5)):
        life = Life(jitter)
        life.step(Input.START)
        waits = []
        for _ in range(40):
            life.answer(403)
            waits.append(life.wait / factor)
            life.now += life.wait
            life.step(Input.DUE)
        assert waits[:7] == [60, 120, 240, 480, 960, 1800, 1800]
        assert waits[-1] == MAX_S
        life.answer(200)
        life.step(Input.DUE)
        life.answer(403)
        assert life.wait == 60 * factor  # a success begins it anew


def test_a_200_that_grants_nothing_is_a_failure() -> None:
    life = Life()
    life.step(Input.START)
    life.answer(200, contact("<sip:1234@192.0.2.1>;expires=0"))
    assert life.registration.state is State.WAITING
    assert life.registration.has_failed


@pytest.mark.parametrize(
    ("value", "wait"),
    [("120", 120), ("7 (soon);duration=3", 7), ("0", 1), ("99999", MAX_S), ("x", 60), ("-1", 60)],
)
def test_the_registrar_may_say_when_to_come_again(value: str, wait: float) -> None:
    life = Life()
    life.step(Input.START)
    life.answer(503, ("Retry-After", value))
    assert life.wait == wait


def test_the_binding_outlives_a_refresh_that_fails() -> None:
    life = Life().registered()
    life.now += life.wait
    life.step(Input.DUE)
    life.answer(408)
    assert life.registration.state is State.WAITING
    assert life.is_registered()
    assert (life.registration.status, life.registration.reason) == (408, "Said")


def test_a_new_address_is_registered_at_once() -> None:
    life = Life().registered()
    assert life.step(Input.MOVED) == Register(REGISTRAR, 2, 600)
    # RFC 3261 10.2: not before the last one has its answer.
    assert life.step(Input.MOVED) is None
    assert life.answer(200) == Register(REGISTRAR, 3, 600)
    assert life.answer(403) is None
    assert life.step(Input.MOVED) == Register(REGISTRAR, 4, 600)


def test_it_takes_leave() -> None:
    life = Life().registered()
    assert life.step(Input.DRAIN) == Register(REGISTRAR, 2, 0)
    life.answer(200)
    assert life.registration.state is State.LEFT
    assert not life.is_registered()
    assert life.registration.due is None


def test_it_takes_leave_after_the_answer_that_is_out() -> None:
    life = Life()
    life.step(Input.START)
    assert life.step(Input.DRAIN) is None
    assert life.answer(408) == Register(REGISTRAR, 2, 0)
    life.answer(408)
    assert life.registration.state is State.LEFT


def test_without_a_binding_there_is_no_leave_to_take() -> None:
    life = Life()
    life.step(Input.START)
    life.answer(403)
    assert life.step(Input.DRAIN) is None
    assert life.registration.state is State.LEFT


def test_the_registrar_tells_where_we_are() -> None:
    life = Life()
    life.step(Input.START)
    via = "SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bK1;received=203.0.113.7;rport=40000"
    life.answer(200, ("Via", via), cseq=1)
    assert life.registration.seen_as == ("203.0.113.7", 40000)


@given(
    st.lists(
        st.sampled_from((Input.START, Input.DUE, Input.MOVED, Input.DRAIN)) | st.integers(200, 699),
        max_size=30,
    )
)
def test_whatever_happens_one_register_is_out_and_numbers_rise(steps: list[Input | int]) -> None:
    life = Life()
    out = False
    numbers = [0]
    for happened in steps:
        if isinstance(happened, int):
            if not out:
                continue  # nobody answers what was not sent
            out = False
            sent = life.answer(happened, contact("<sip:b>"), ("Min-Expires", str(happened * 2)))
        else:
            sent = life.step(happened)
        if sent:
            assert not out
            out = True
            numbers.append(sent.cseq)
    assert all(a < b for a, b in pairwise(numbers))
