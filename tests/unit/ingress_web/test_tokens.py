from __future__ import annotations

import pytest

from ingress_web.tokens import LIFE_S, StreamTokens, TokenError

CALL = "CA" + "1" * 32
ACCOUNT = "AC" + "2" * 32


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def _tokens(clock: Clock, key: str = "secret") -> StreamTokens:
    return StreamTokens(key, clock=clock)


def _fault(tokens: StreamTokens, token: str, call: str = CALL, account: str = ACCOUNT) -> str:
    with pytest.raises(TokenError) as refused:
        tokens.redeem(token, call, account)
    return refused.value.fault


def test_a_token_is_good_for_one_stream() -> None:
    tokens = _tokens(Clock())
    token = tokens.issue(CALL, ACCOUNT)
    assert len(token) < 200
    tokens.redeem(token, CALL, ACCOUNT)
    assert _fault(tokens, token) == "used"
    assert _fault(tokens, token) == "used"


def test_each_token_is_another() -> None:
    tokens = _tokens(Clock())
    first, second = tokens.issue(CALL, ACCOUNT), tokens.issue(CALL, ACCOUNT)
    tokens.redeem(first, CALL, ACCOUNT)
    tokens.redeem(second, CALL, ACCOUNT)


@pytest.mark.parametrize(("later", "good"), [(LIFE_S, True), (LIFE_S + 1, False), (-1, False)])
def test_a_token_has_its_time(later: float, good: bool) -> None:
    clock = Clock()
    tokens = _tokens(clock)
    token = tokens.issue(CALL, ACCOUNT)
    clock.now += later
    if good:
        tokens.redeem(token, CALL, ACCOUNT)
    else:
        assert _fault(tokens, token) == "expired"


def test_a_token_is_of_its_call_and_account() -> None:
    tokens = _tokens(Clock())
    token = tokens.issue(CALL, ACCOUNT)
    assert _fault(tokens, token, call="CA" + "3" * 32) == "other_call"
    assert _fault(tokens, token, account="AC" + "3" * 32) == "other_call"
    tokens.redeem(token, CALL, ACCOUNT)  # a wrong try does not use it up


@pytest.mark.parametrize("spoil", [lambda t: t[:-1], lambda t: "x" + t, lambda _: "a.b.c"])
def test_a_spoilt_token_is_none(spoil: object) -> None:
    tokens = _tokens(Clock())
    token = spoil(tokens.issue(CALL, ACCOUNT))  # type: ignore[operator]
    assert _fault(tokens, token) == "malformed"


@pytest.mark.parametrize("token", ["\x00", "é.é.é", "." * 400, "a" * 501, "x" * 100_000])
def test_garbage_is_no_token(token: str) -> None:
    assert _fault(_tokens(Clock()), token) == "malformed"


def test_no_token_is_said() -> None:
    assert _fault(_tokens(Clock()), "") == "missing"


def test_another_installation_s_token_is_none() -> None:
    clock = Clock()
    token = _tokens(clock, "theirs").issue(CALL, ACCOUNT)
    assert _fault(_tokens(clock, "ours"), token) == "malformed"


def test_ingresses_with_one_key_read_each_other_s_tokens() -> None:
    clock = Clock()
    _tokens(clock).redeem(_tokens(clock).issue(CALL, ACCOUNT), CALL, ACCOUNT)


def test_used_tokens_are_forgotten_once_they_have_expired() -> None:
    clock = Clock()
    tokens = _tokens(clock)
    for _ in range(100):
        clock.now += 10
        tokens.redeem(tokens.issue(CALL, ACCOUNT), CALL, ACCOUNT)
    assert len(tokens._used) <= LIFE_S / 10 + 1
