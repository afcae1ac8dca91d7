"""Which connections are kept, and for how long."""

from __future__ import annotations

from ingress_sip.sockets.liveness import Due, Liveness, StreamLimits

LIMITS = StreamLimits(message_s=30, idle_s=600, ping_s=100, pong_s=10, closing_s=5)


def accepted() -> Liveness:
    return Liveness(LIMITS, 1000.0, ours=False, spread=0.5)


def opened() -> Liveness:
    return Liveness(LIMITS, 1000.0, ours=True, spread=0.5)


def test_who_connects_has_to_say_something() -> None:
    life = accepted()
    assert life.due(1030.0) is None
    assert life.due(1030.1) is Due.SLOW
    life.heard(1020.0, whole=False, mid_message=False)  # line ends are no message
    assert life.due(1030.1) is Due.SLOW
    life.heard(1030.0, whole=True, mid_message=False)
    assert life.due(1100.0) is None


def test_a_message_has_to_end_however_slowly_it_drips() -> None:
    life = accepted()
    life.heard(1001.0, whole=True, mid_message=False)
    for now in range(1100, 1131):
        life.heard(float(now), whole=False, mid_message=True)
    assert life.due(1130.0) is None
    assert life.due(1130.1) is Due.SLOW


def test_one_message_after_another_is_not_slow() -> None:
    life = accepted()
    for now in range(1000, 1100):
        life.heard(float(now), whole=True, mid_message=True)
    assert life.due(1100.0) is None


def test_a_quiet_connection_is_let_go() -> None:
    life = accepted()
    life.heard(1000.0, whole=True, mid_message=False)
    life.said(1300.0)
    assert life.due(1900.0) is None
    assert life.due(1900.1) is Due.IDLE
    life.heard(1900.2, whole=False, mid_message=False)  # its keep-alive
    assert life.due(2500.0) is None


def test_we_ping_where_we_connected() -> None:
    life = opened()
    assert life.due(1089.9) is None
    assert life.due(1090.0) is Due.PING
    life.pinged(1090.0, spread=0.0)
    assert life.due(1169.9) is None
    assert life.due(1170.0) is Due.PING
    pinged = accepted()
    pinged.heard(1000.0, whole=True, mid_message=False)
    assert pinged.due(1170.0) is None


def test_a_peer_that_never_pongs_is_not_held_to_it() -> None:
    life = opened()
    life.pinged(1090.0, spread=1.0)
    assert life.due(1150.0) is None


def test_a_peer_that_did_pong_is() -> None:
    life = opened()
    life.pinged(1090.0, spread=1.0)
    life.ponged()
    life.heard(1090.1, whole=False, mid_message=False)
    assert life.due(1110.0) is None
    life.pinged(1190.0, spread=1.0)
    assert life.due(1200.0) is None
    assert life.due(1200.1) is Due.DEAD
    life.heard(1200.2, whole=True, mid_message=False)  # whatever it says, it lives
    assert life.due(1201.0) is None


def test_an_empty_line_that_answers_no_ping_is_no_pong() -> None:
    life = opened()
    life.ponged()
    life.pinged(1090.0, spread=1.0)
    assert life.due(1150.0) is None


def test_what_does_not_let_go_is_torn() -> None:
    life = accepted()
    life.closing(1001.0)
    assert life.due(1006.0) is None
    assert life.due(1006.1) is Due.STUCK
