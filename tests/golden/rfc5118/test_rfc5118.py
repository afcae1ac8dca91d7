"""RFC 5118: the IPv6 torture messages are read and answered as its text asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingress_sip.signalling.routing import Hop, Transport
from tests.support.torture import Torture, check, torture_messages

PEER = Hop(Transport.UDP, "2001:db8::99", 5060)
MESSAGES = torture_messages(Path(__file__).parent)


@pytest.mark.parametrize("torture", MESSAGES, ids=lambda torture: torture.name)
def test_a_torture_message_is_answered_as_the_rfc_asks(torture: Torture) -> None:
    check(torture, PEER)
